"""One executor: it receives deliveries over a pipe, runs them one at a time, and answers each with a verdict.

Owns: the child process from its first statement to its exit. The main thread runs tasks; the reader thread owns the
pipe's reading end and the clock (hand-backs, the soft limit). Never talks to SQS, never outlives the worker, never ends
because of what a task raised.
"""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from pyqs import coroutines, log_fields
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.executor import lifeline, process
from pyqs.executor.endings import after_early_ack, broken, end_of_fork, flush, over_limit
from pyqs.executor.inbox import Inbox
from pyqs.executor.limits import Limit, SoftLimit, serve_interruptions
from pyqs.executor.process import Pipe
from pyqs.executor.retirement import Retirement
from pyqs.interruption import shutdown
from pyqs.message import Delivery
from pyqs.runtime import Outcome, Prepared, TaskRuntime
from pyqs.start_note import StartNote
from pyqs.wire import (
    Admitted,
    CallOff,
    Frame,
    FrameReader,
    HandedBack,
    Leaving,
    MayStart,
    Postponed,
    Ready,
    Recall,
    Run,
    Started,
    Stop,
)

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024
#: Exit code of an executor with a fault of its own.
EXIT_FAULT = 70


def run(channel: socket.socket, lifeline_end: Connection, config: RuntimeConfig, note_end: Connection | None = None) -> None:
    """The target of the child process: load the tasks, report, serve until told to stop.

    Parameters:
        channel: our end of a socket pair that carries ``pyqs.wire`` frames.
        lifeline_end: the read end of a pipe whose write end only the worker has.
        config: what to load.
        note_end: the memory of a ``StartNote``; without it the worker hears of every start.
    """
    pipe = process.begin(channel, lifeline_end)
    note = None
    if note_end is not None:
        note = StartNote(note_end.fileno())
        note_end.close()
    runtime, ready, retirement = process.boot(pipe, config, lambda runtime: _begin_work(runtime, config))
    Executor(pipe, runtime, retirement, note).serve(ready)
    # Not a return: threads that a task has left behind must not keep the process.
    process.leave(pipe, None, 0)


def _begin_work(runtime: TaskRuntime, config: RuntimeConfig) -> Retirement:
    runtime.after_fork()
    return Retirement(config)


class Executor:
    """The two threads of an executor.

    Parameters:
        pipe: to the worker.
        runtime: booted.
        retirement: says when it is time to leave.
        note: where a start is noted, instead of being told.
    """

    def __init__(self, pipe: Pipe, runtime: TaskRuntime, retirement: Retirement, note: StartNote | None = None) -> None:
        self._pipe = pipe
        self._note = note
        self._runtime = runtime
        self._retirement = retirement
        self._inbox = Inbox(lambda ids: pipe.send(HandedBack(ids)))
        self._shutdown = shutdown
        self._limit = self._be_interruptible()
        self._pid = os.getpid()

    def _be_interruptible(self) -> Limit:
        """What is raised in a task from outside comes by signals, which interrupt the main thread."""
        serve_interruptions()
        return SoftLimit()

    def serve(self, ready: Ready) -> None:
        """Say that we are ready, then run what comes until Stop."""
        self._pipe.send(ready)
        threading.Thread(target=_guarded, args=(self._read,), name="pyqs-reader", daemon=True).start()
        while self.run_one():
            reason = self._retirement.due()
            if reason is not None:
                self._pipe.send(Leaving(reason))
                self._inbox.close()  # what the worker sends until it hears of it goes back, too
        try:
            self._runtime.close()
        except BaseException:
            log.exception("closing the runtime failed")
        coroutines.close()

    # -- main thread --------------------------------------------------------------------------------------------------

    def run_one(self) -> bool:
        """Run the next delivery, waited for; False after Stop."""
        run = self._inbox.take()
        if run is None:
            return False
        delivery = run.delivery
        log_fields.begin(delivery.queue, delivery.message.message_id)
        try:
            self._handle(run)
        finally:
            log_fields.end()
        return True

    def _handle(self, run: Run) -> None:
        """One delivery from its decoding to its verdict. Nothing of it is referred to when this returns."""
        delivery = run.delivery
        prepared = self._prepare(delivery)
        wait = 0.0
        if not isinstance(prepared, Outcome):
            log_fields.name(prepared.task, prepared.call_id)
        if not isinstance(prepared, Outcome) and prepared.rate_key is not None:
            answer = self._ask(delivery, prepared, prepared.rate_key)
            if answer is None:
                return
            if isinstance(answer, Postponed):
                prepared = over_limit(prepared, answer)
            else:
                wait = answer.wait
        seconds: float | None = None
        if isinstance(prepared, Outcome):
            outcome = prepared
        elif self._inbox.start(prepared.start_at, wait):
            began = boottime()
            outcome = self._call(delivery, prepared, began)
            seconds = boottime() - began
            self._retirement.task_ended()
        else:
            return
        self._clean_up()
        self._inbox.finish()
        try:
            self._pipe.send(process.done(delivery.id, outcome, seconds))
        except (TypeError, ValueError) as exc:
            log.exception("%s: its outcome cannot be sent", delivery)
            self._pipe.send(process.done(delivery.id, broken(delivery, "failed", exc), seconds))

    def _clean_up(self) -> None:
        """What is this process's, as it was before a task."""
        flush()
        lifeline.keep_signals()

    def _ask(self, delivery: Delivery, prepared: Prepared, rate_key: str) -> Admitted | Postponed | None:
        """Whether its rate limit lets it start; None if it went back meanwhile. No time limit runs yet."""
        frame = MayStart(delivery.id, rate_key, prepared.rate)
        return self._inbox.ask(prepared.start_at, lambda: self._pipe.send(frame))

    def _prepare(self, delivery: Delivery) -> Prepared | Outcome:
        try:
            return self._runtime.prepare(delivery)
        except BaseException as exc:
            log.exception("%s: cannot be prepared", delivery)
            return broken(delivery, "failed", exc)  # a fault of ours is no fact about the message

    def _call(self, delivery: Delivery, prepared: Prepared, began: float) -> Outcome:
        outcome: Outcome | None = None
        try:
            started = _started(delivery.id, prepared, began)
            if self._note is None or not self._note.write(started):
                self._pipe.send(started)
            self._limit.arm(prepared.soft_time_limit, prepared.soft_limit_error)
            try:
                outcome = prepared.run()
            finally:
                self._limit.disarm()
                self._shutdown.task_ended()
        except BaseException as exc:
            if os.getpid() != self._pid:
                end_of_fork(exc)
            if outcome is None:  # else the limit or the stop came between the task's end and disarm()
                log.exception("%s: %s ended outside its runtime's guard", delivery, prepared.task)
                outcome = broken(delivery, "failed", exc, prepared)
        if os.getpid() != self._pid:
            end_of_fork(None)
        return after_early_ack(delivery, prepared, outcome)  # also if the worker has not heard of its start yet

    # -- reader thread ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._pipe.fd, select.POLLIN)
        frames = FrameReader()
        while True:
            waits = [wait for wait in (self._inbox.look(), self._limit.remaining()) if wait is not None]
            events = poll.poll(math.ceil(min(waits) * 1000) if waits else None)
            self._limit.fire()
            if events:
                self._hear(frames)

    def _hear(self, frames: FrameReader) -> None:
        try:
            data = self._pipe.socket.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._worker_gone()
        for frame in frames.feed(data):
            self.take_in(frame)

    def _worker_gone(self) -> None:
        """The worker is gone or has given us up: what runs here will be handed out again, so it must not go on."""
        if self._inbox.running:
            lifeline.end_group()
        os._exit(0)

    def take_in(self, frame: Frame) -> None:
        """What the worker says.

        Raises:
            ValueError: it is for somebody else.
        """
        match frame:
            case Run():
                self._inbox.put(frame)
            case Recall():
                self._shutdown.begin()
                self._inbox.recall()
            case Stop():
                self._inbox.stop()
            case Admitted() | Postponed():
                self._inbox.answer(frame)
            case CallOff(calls):
                self._runtime.call_off(calls)
            case _:
                raise ValueError(f"a {type(frame).__name__} frame is not for an executor")


def _countable(seconds: float | None) -> float | None:
    """A limit as the worker takes it; a task may have been given anything. What is no number of seconds raises."""
    if seconds is None or seconds == math.inf:
        return None
    number = float(seconds)
    if number != number:
        raise ValueError("a time limit that is no number")
    return number


def _started(delivery_id: int, prepared: Prepared, began: float) -> Started:
    return Started(
        delivery_id,
        prepared.task,
        prepared.call_id,
        _countable(prepared.time_limit),
        _countable(prepared.soft_time_limit),
        prepared.ack_early,
        prepared.if_killed,
        prepared.tells,
        began,
    )


def _guarded(loop: Callable[[], None]) -> None:
    """The reader thread: an executor that no longer listens must not seem alive."""
    try:
        loop()
    except BaseException:
        log.critical("the reader of executor %d failed", os.getpid(), exc_info=True)
        flush()
        os._exit(EXIT_FAULT)
