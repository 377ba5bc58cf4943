"""An executor that runs several deliveries at a time: ``--async-slots``.

Owns: ``LanedExecutor`` and its ``Lane`` threads. Each lane takes one delivery after the other from its decoding to its
verdict, by the code of any executor (``Work``); a plain task runs in the lane's thread, the coroutine of an ``async def``
task in the main thread's loop (``SharedLoop``), for which the lane waits. The reader thread owns the pipe's reading end, the
clock, and which lane gets what. Never gives a lane a delivery while it has one, unless all have.
"""

from __future__ import annotations

import contextvars
import logging
import math
import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pyqs import coroutines, log_fields
from pyqs.called_off import CalledOffCalls
from pyqs.clock import boottime
from pyqs.coroutine_steps import Body
from pyqs.executor import lifeline
from pyqs.executor.endings import after_early_ack, broken, flush
from pyqs.executor.inbox import TICK, Inbox
from pyqs.executor.lane_interrupts import LaneInterrupts
from pyqs.executor.process import Pipe, guarded
from pyqs.executor.retirement import Retirement
from pyqs.executor.shared_loop import SharedLoop
from pyqs.executor.work import Work
from pyqs.interruption import have_own, shutdown
from pyqs.message import CalledOff, Delivery
from pyqs.runtime import Outcome, Prepared, TaskRuntime
from pyqs.wire import Admitted, CallOff, Cancelled, Frame, FrameReader, HandedBack, Leaving, Postponed, Ready, Recall, Run, Stop

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024


class Lane(Work):
    """One thread that runs tasks, one after the other. Made in the reader thread; what follows is its own.

    Parameters:
        number: its own, from 1. executor: its.
    """

    _limit: LaneInterrupts

    def __init__(self, number: int, executor: LanedExecutor) -> None:
        pipe, limit = executor.pipe, LaneInterrupts(executor.called_off)

        def hand_back(ids: tuple[int, ...]) -> None:
            executor.gone(ids)
            pipe.send(HandedBack(ids))

        super().__init__(pipe, executor.runtime, _LaneInbox(hand_back, executor.gone), executor, limit, limit.shutdown)
        #: Deliveries that it has. Under the executor's lock.
        self.load = 0
        #: Whether it has run a coroutine.
        self.in_use = False
        self._executor = executor
        self._loop = executor.loop
        self._context = executor.context.copy()
        self._context.run(have_own, self._shutdown)
        self._django: Any = None
        self.thread = threading.Thread(
            target=guarded, args=(f"lane {number}", self._serve), name=f"pyqs-lane-{number}", daemon=True
        )

    # -- reader thread ------------------------------------------------------------------------------------------------

    @property
    def inbox(self) -> Inbox:
        """What it holds."""
        return self._inbox

    def look(self) -> float | None:
        """Do what is due; seconds until the next look, None for no need."""
        self._limit.fire()
        waits = [wait for wait in (self._inbox.look(), self._limit.remaining()) if wait is not None]
        return min(waits, default=None)

    def look_for_call_off(self) -> None:
        """Some calls were called off."""
        self._limit.look_for_call_off()

    def recall(self) -> None:
        """The worker has begun to stop."""
        self._shutdown.begin()
        self._inbox.recall()

    # -- its own thread -----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        self._limit.settle_in()
        coroutines.run_at(self)
        # What a task sets in its context, the next one does not see.
        while self._context.copy().run(self.run_one):
            self._executor.look_at_retirement()
        self._executor.lane_ended()

    def _handle(self, run: Run) -> None:
        self._have_a_thread_for_django()
        super()._handle(run)

    def _have_a_thread_for_django(self) -> None:
        """asgiref runs what a process's coroutines do with the ORM in one thread, unless a context has its own.

        Each lane has: what closes a task's connections then closes no other's.
        """
        asgiref = sys.modules.get("asgiref.sync")
        variable = getattr(getattr(asgiref, "SyncToAsync", None), "thread_sensitive_context", None)
        if variable is not None:
            if self._django is None:
                self._django = asgiref.ThreadSensitiveContext()  # type: ignore[union-attr]
            variable.set(self._django)

    def _call(self, delivery: Delivery, prepared: Prepared, began: float) -> Outcome:
        self._executor.look_at_retirement()  # what runs beside this one may run for long
        self._limit.expect(prepared.call_id if prepared.tells else "", prepared.time_limit)
        try:
            outcome = super()._call(delivery, prepared, began)
        except BaseException as exc:  # what was thrown at its very end, twice
            self._settle()
            log.exception("%s: %s was interrupted at its end", delivery, prepared.task)
            outcome = after_early_ack(delivery, prepared, broken(delivery, "failed", exc, prepared))
        self._settle()  # what was thrown may have kept it from being done before
        return outcome

    def _settle(self) -> None:
        self._limit.disarm()
        self._shutdown.task_ended()

    def _say_done(self, delivery: Delivery, outcome: Outcome, seconds: float | None) -> None:
        if seconds is not None and self._limit.was_given_up:
            self._pipe.send(Cancelled(delivery.id))
        else:
            super()._say_done(delivery, outcome, seconds)

    def _clean_up(self) -> None:
        """Signals are the main thread's."""
        flush()

    def run(self, body: Body, name: str) -> Any:
        """A coroutine's answer: a ``coroutines.Place``."""
        self.in_use = True
        self._have_a_thread_for_django()
        return self._limit.wait_for(self._loop, body, name)


class _LaneInbox(Inbox):
    """One that tells when a delivery is no longer in it.

    Parameters:
        hand_back: as any inbox's. gone: called with its id when one has ended.
    """

    def __init__(self, hand_back: Callable[[tuple[int, ...]], None], gone: Callable[[tuple[int, ...]], None]) -> None:
        super().__init__(hand_back)
        self._gone = gone

    def finish(self) -> None:
        """The delivery in hand has ended."""
        run = self._current
        super().finish()
        if run is not None:
            self._gone((run.delivery.id,))


class LanedExecutor:
    """The process: its reader, its loop and its lanes. Made in the main thread.

    Parameters:
        pipe: to the worker.
        runtime: booted.
        retirement: says when it is time to leave.
        slots: deliveries that it runs at a time, at most.
    """

    def __init__(self, pipe: Pipe, runtime: TaskRuntime, retirement: Retirement, slots: int) -> None:
        self.pipe = pipe
        self.runtime = runtime
        self.loop = SharedLoop(slots)
        self.called_off = CalledOffCalls()
        #: What hooks of a new executor have set, for every lane.
        self.context = contextvars.copy_context()
        self._retirement = retirement
        self._slots = slots
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._running = 0
        #: Those without a delivery; the one that had one last comes first, so that few threads are in use.
        self._free: list[Lane] = []
        #: Who has which delivery.
        self._where: dict[int, Lane] = {}
        self._leaving = False
        self._stopping = False
        self._look_at = math.inf

    def serve(self, ready: Ready) -> None:
        """Say that we are ready, then run what comes until Stop."""
        log_fields.by_context()
        shutdown.serve(lambda: None)  # threads of no lane are told that they cannot be interrupted
        self.pipe.send(ready)
        threading.Thread(target=guarded, args=("the reader", self._read), name="pyqs-reader", daemon=True).start()
        guarded("the event loop", self.loop.serve)
        try:
            self.runtime.close()
        except BaseException:
            log.exception("closing the runtime failed")
        coroutines.close()  # the runtime's own
        self.loop.close()

    # -- lanes' threads -----------------------------------------------------------------------------------------------

    def gone(self, ids: tuple[int, ...]) -> None:
        """These are no longer with their lanes. Called before the worker is told, so that there is room for what it sends."""
        with self._lock:
            for number in ids:
                lane = self._where.pop(number, None)
                if lane is not None:
                    lane.load -= 1
                    if not lane.load:
                        self._free.append(lane)

    def task_began(self) -> None:
        """Count one more."""
        with self._lock:
            self._retirement.task_began()

    def look_at_retirement(self) -> None:
        """Say goodbye to the worker when it is time: what runs here ends, nothing starts."""
        reason = None if self._leaving else self._retirement.due()
        if reason is not None:
            self._leave(reason)

    def _leave(self, reason: str) -> None:
        with self._lock:
            if self._leaving:
                return
            self._leaving = True
            lanes = tuple(self._lanes)
        self.pipe.send(Leaving(reason))
        for lane in lanes:
            lane.inbox.close()

    def lane_ended(self) -> None:
        """After Stop; the last one ends the loop."""
        with self._lock:
            self._running -= 1
            last = not self._running
        if last:
            self.loop.end()

    # -- reader thread ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self.pipe.fd, select.POLLIN)
        frames = FrameReader()
        while True:
            left = self._look_at - boottime()
            events = poll.poll(None if left == math.inf else max(0, math.ceil(left * 1000)))
            if events:
                self._hear(frames)
            self._look()

    def _look(self) -> None:
        """The lanes' clocks, all at once: not at each frame."""
        now = boottime()
        if now < self._look_at:
            return
        waits = [wait for wait in (lane.look() for lane in self._busy()) if wait is not None]
        self._look_at = now + min(waits, default=math.inf)

    def _busy(self) -> tuple[Lane, ...]:
        with self._lock:
            return tuple(set(self._where.values()))

    def _hear(self, frames: FrameReader) -> None:
        try:
            data = self.pipe.socket.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._worker_gone()
        for frame in frames.feed(data):
            self._take_in(frame)

    def _worker_gone(self) -> None:
        """What runs here will be handed out again, so it must not go on."""
        if any(lane.inbox.running for lane in self._busy()):
            lifeline.end_group()
        os._exit(0)

    def _take_in(self, frame: Frame) -> None:
        """What the worker says. Raises ValueError: it is for somebody else."""
        match frame:
            case Run():
                self._put(frame)
                self._look_at = min(self._look_at, boottime() + TICK)
            case Recall():
                shutdown.begin()
                for lane in self._lanes:
                    lane.recall()
            case Stop():
                self._stop()
            case Admitted() | Postponed():
                asks = self._where.get(frame.delivery_id)
                if asks is not None:
                    asks.inbox.answer(frame)
            case CallOff(calls):
                self.runtime.call_off(calls)
                self._call_off(calls)
            case _:
                raise ValueError(f"a {type(frame).__name__} frame is not for an executor")

    def _call_off(self, calls: Sequence[CalledOff]) -> None:
        """What runs of these is ended, if that was asked for."""
        if self.called_off.add(calls):
            for lane in self._busy():
                lane.look_for_call_off()
            self._look_at = 0.0

    def _stop(self) -> None:
        if self._stopping:
            return
        with self._lock:
            self._stopping = True
            nobody = not self._running
        for lane in self._lanes:
            lane.inbox.stop()
        if nobody:
            self.loop.end()

    def _put(self, run: Run) -> None:
        """Give it to a lane that has nothing to do, or is the next to be made."""
        number = run.delivery.id
        lane = None if self._leaving or self._stopping else self._lane()
        if lane is None:
            self.pipe.send(HandedBack((number,)))
            return
        with self._lock:
            lane.load += 1
            self._where[number] = lane
        lane.inbox.put(run)

    def _lane(self) -> Lane | None:
        with self._lock:
            if self._free:
                return self._free.pop()
        if len(self._lanes) < self._slots:
            return self._new_lane()
        # More than was asked for. Behind a task that runs it goes back soon, if that does not end; else nobody knows when.
        return next((lane for lane in self._lanes if lane.inbox.running), None)

    def _new_lane(self) -> Lane | None:
        number = len(self._lanes) + 1
        lane = Lane(number, self)
        if shutdown.begun:
            lane.recall()
        with self._lock:
            if self._leaving:
                return None
            self._running += 1
            self._lanes.append(lane)
        try:
            lane.thread.start()
        except RuntimeError as exc:  # the system has no more
            with self._lock:
                self._running -= 1
                self._lanes.remove(lane)
            self._leave(f"it cannot start thread {number} of {self._slots} (--async-slots): {exc}")
            return None
        return lane
