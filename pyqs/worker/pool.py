"""Hands deliveries to executors and hears what became of them.

Owns: all slots, the buffer of deliveries that wait for one, and the hard limits; one thread with one selector. Never blocks
on a pipe, never decodes a body, and starts nothing whose lease has ended. A dead executor is replaced at once: what it held
and had not started runs elsewhere.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyqs.backoff import retry_seconds
from pyqs.clock import boottime
from pyqs.errors import BootFailed
from pyqs.message import Delete, Delivery, Hide, Leave
from pyqs.wire import Done, Frame, HandedBack, NotReady, Ready, Recall, Started, Stop
from pyqs.worker.acker import Acker
from pyqs.worker.credit import HOLD_SECONDS, Credit
from pyqs.worker.fifo import FifoGate
from pyqs.worker.leases import Leases
from pyqs.worker.report import Report
from pyqs.worker.service import Crashed, Service
from pyqs.worker.slot import LARGE_FRAME, Slot, Spawner

log = logging.getLogger(__name__)

#: Executors that may die before they are ready, in a row, before the worker gives up.
BOOT_DEATHS = 3
#: Seconds of a running task from which on nothing is put behind it (it hands that back anyway).
_LONG = 0.3
_LOOK = 0.25


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the pool calls."""

    acker: Acker
    leases: Leases
    credit: Credit
    report: Report
    boot_failed: Callable[[BootFailed], None]
    crashed: Crashed


class Pool(Service):
    """The executors of a worker.

    Parameters:
        spawner: makes executors; the first ones are made by ``spawn`` on the main thread.
        concurrency: how many there should be.
    """

    def __init__(self, spawner: Spawner, concurrency: int, wiring: Wiring) -> None:
        super().__init__("pool", wiring.crashed)
        self._spawner = spawner
        self._concurrency = concurrency
        self._wiring = wiring
        self._slots: list[Slot] = []
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._inbox: deque[Callable[[], None]] = deque()
        self._buffer: dict[str, deque[Delivery]] = {}
        self._fifo = FifoGate()
        self._boot_deaths = 0
        self._draining = False
        self._changed = threading.Condition()
        self._ready = threading.Event()

    # -- called from other threads ----------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start the forkserver and the executors. On the main thread, before any other thread is there."""
        for _ in range(self._concurrency):
            self._add_slot()

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries over; they are held from now on."""
        for delivery in deliveries:
            self._wiring.leases.hold(delivery)
            self._wiring.credit.taken(delivery.queue, 1)
        self._wiring.report.received(len(deliveries))
        self._post(lambda: self._buffer_in(deliveries))

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give deliveries back to SQS unstarted."""
        for delivery in deliveries:
            self._wiring.leases.hold(delivery)
            self._wiring.acker.settle(delivery, Hide(0))
        self._wiring.report.released(len(deliveries))

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the first executor that can take work."""
        return self._ready.wait(timeout)

    def drain(self) -> None:
        """Start nothing more: recall what has not started and release it and the buffer."""
        self._post(self._drain)

    def wait_idle(self, timeout: float | None) -> bool:
        """Wait until no executor holds anything; True if so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._wiring.credit.total == 0 and not self._inbox, timeout)

    def kill_running(self, *, spare_acked: bool) -> None:
        """Kill the executors that still run something, and release what is not acked."""
        self._post(lambda: self._kill_running(spare_acked))

    @property
    def running(self) -> list[tuple[Delivery, Started]]:
        """What runs now; a picture, taken without a lock."""
        found = []
        for slot in list(self._slots):
            started = slot.running
            held = slot.held.get(started.delivery_id) if started else None
            if started and held:
                found.append((held.delivery, started))
        return found

    def stop(self) -> None:
        """Tell the executors to leave and end the thread."""
        super().stop()
        self._post(lambda: None)

    def one_by_one(self, queue: str) -> bool:
        """True while a failing head of a FIFO group lets only single messages be received from this queue."""
        return self._fifo.one_by_one(queue)

    def _post(self, action: Callable[[], None]) -> None:
        self._inbox.append(action)
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # it is awake

    # -- the thread ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve executors until stopped; then let them leave."""
        while not self.stopping.is_set():
            self._turn(_LOOK)
        for slot in self._slots:
            slot.leaving = True
            slot.send(Stop())
        deadline = boottime() + 5.0
        while self._slots and boottime() < deadline:
            self._turn(0.1)
        for slot in list(self._slots):
            slot.kill()
            self._forget(slot)
        self._selector.close()

    def _turn(self, timeout: float) -> None:
        for key, mask in self._selector.select(timeout):
            if key.data is None:
                os.read(self._wake_read, 4096)
                continue
            slot: Slot = key.data
            if slot not in self._slots:
                continue
            if key.fd == slot.pidfd:
                self._hear(slot)
                if slot in self._slots:
                    self._died(slot)
                continue
            if mask & selectors.EVENT_WRITE:
                slot.write()
            if mask & selectors.EVENT_READ:
                self._hear(slot)
        while self._inbox:
            self._inbox.popleft()()
        self._enforce_limits()
        if not self._draining:
            self._dispatch()
        for slot in self._slots:
            self._watch(slot)
        with self._changed:
            self._changed.notify_all()

    def _watch(self, slot: Slot) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.wants_to_write else 0)
        if self._selector.get_key(slot.channel).events != events:
            self._selector.modify(slot.channel, events, slot)

    def _hear(self, slot: Slot) -> None:
        frames = slot.read()
        if frames is None:
            self._died(slot)
            return
        for frame in frames:
            self._handle(slot, frame)
            if slot not in self._slots:
                return

    def _handle(self, slot: Slot, frame: Frame) -> None:
        match frame:
            case Ready():
                slot.ready = frame
                self._boot_deaths = 0
                self._wiring.report.ready(frame)
                self._count_ready()
                self._ready.set()
            case NotReady():
                self._not_ready(slot, frame)
            case Started():
                self._started(slot, frame)
            case HandedBack(ids):
                self._handed_back(slot, ids)
            case Done():
                self._done(slot, frame)
            case _:
                log.error("executor %d sent a frame that is not its to send", slot.number)
                slot.kill()

    # -- deliveries -----------------------------------------------------------------------------------------------------

    def _buffer_in(self, deliveries: Sequence[Delivery], *, front: bool = False) -> None:
        for delivery in reversed(deliveries) if front else deliveries:
            queue = self._buffer.setdefault(delivery.queue, deque())
            queue.appendleft(delivery) if front else queue.append(delivery)
        if self._draining:
            self._release_buffer()

    def _dispatch(self) -> None:
        """Give what waits to who can take it, one queue after the other so that none starves."""
        progress = True
        while progress:
            progress = False
            for queue in list(self._buffer):
                waiting = self._buffer[queue]
                if not waiting:
                    del self._buffer[queue]
                elif self._dispatch_one(queue, waiting):
                    progress = True
                    # Behind the others at the next turn.
                    self._buffer[queue] = self._buffer.pop(queue)

    def _dispatch_one(self, queue: str, waiting: deque[Delivery]) -> bool:
        for index, delivery in enumerate(waiting):
            if not self._fifo.may_start(delivery):
                continue
            slot = self._pick(delivery)
            if slot is None:
                return False
            del waiting[index]
            start_before = self._wiring.leases.start_before(delivery.id)
            if start_before is None or start_before <= boottime():
                self._not_ours(delivery)
                return True
            self._fifo.started(delivery)
            slot.give(delivery, start_before)
            return True
        return False

    def _pick(self, delivery: Delivery) -> Slot | None:
        """An executor that waits; else one whose work in hand is short, if this is short too."""
        for slot in self._slots:
            if slot.idle:
                return slot
        if delivery.is_fifo or len(delivery.message.body) > LARGE_FRAME:
            return None
        credit = self._wiring.credit
        depth = credit.depth(delivery.queue)
        if depth <= 1:
            return None
        now = boottime()
        best: Slot | None = None
        best_work = HOLD_SECONDS
        for slot in self._slots:
            if slot.ready is None or slot.leaving or slot.wants_to_write or len(slot.held) >= depth:
                continue
            if slot.held and now - slot.busy_since > _LONG:
                continue
            work = sum(credit.seconds(held.delivery.queue) for held in slot.held.values())
            if work < best_work:
                best, best_work = slot, work
        return best

    def _not_ours(self, delivery: Delivery) -> None:
        """Its lease is over, or nearly: whoever receives it next runs it."""
        held = self._wiring.leases.is_held(delivery.id)
        self._wiring.acker.settle(delivery, Hide(0) if held else Leave())
        self._wiring.report.released(1)
        self._ended(delivery)

    def _started(self, slot: Slot, frame: Started) -> None:
        held = slot.held.get(frame.delivery_id)
        if held is None:
            return
        slot.running = frame
        slot.running_since = slot.busy_since = boottime()
        slot.kill_at = None if frame.time_limit is None else slot.running_since + frame.time_limit
        self._wiring.report.started()
        if frame.ack_early and not held.delivery.is_fifo:
            self._wiring.acker.ack_early(held.delivery)

    def _handed_back(self, slot: Slot, ids: tuple[int, ...]) -> None:
        back = [slot.held.pop(i).delivery for i in ids if i in slot.held]
        if slot.running is None and not slot.held:
            slot.busy_since = boottime()
        for delivery in back:
            self._fifo.ended(delivery, None)
        self._buffer_in(back, front=True)

    def _done(self, slot: Slot, frame: Done) -> None:
        held = slot.held.pop(frame.delivery_id, None)
        slot.running = None
        slot.kill_at = None
        slot.busy_since = boottime()
        if held is None:
            return
        delivery = held.delivery
        if frame.status != "postponed":
            self._wiring.credit.measured(delivery.queue, frame.seconds)
        hidden = frame.verdict.seconds if isinstance(frame.verdict, Hide) else None
        self._wiring.acker.settle(delivery, frame.verdict, frame.follow_ups)
        self._wiring.report.done(delivery, frame)
        self._ended(delivery, hidden)
        if slot.leaving and not slot.held:
            slot.send(Stop())

    def _ended(self, delivery: Delivery, hidden: float | None = None) -> None:
        """It is not held any more. A hidden head of a FIFO group takes the rest of its group with it, in order."""
        for follower in self._fifo.ended(delivery, hidden):
            self._withdraw(follower, hidden or 0.0)
        self._wiring.credit.ended(delivery.queue)

    def _withdraw(self, delivery: Delivery, hidden: float) -> None:
        waiting = self._buffer.get(delivery.queue)
        if waiting is not None and delivery in waiting:
            waiting.remove(delivery)
            self._wiring.acker.settle(delivery, Hide(hidden))
            self._wiring.report.released(1)
            self._wiring.credit.ended(delivery.queue)

    # -- executors --------------------------------------------------------------------------------------------------------

    def _add_slot(self) -> None:
        slot = self._spawner.spawn()
        self._slots.append(slot)
        self._selector.register(slot.channel, selectors.EVENT_READ, slot)
        if slot.pidfd is not None:
            self._selector.register(slot.pidfd, selectors.EVENT_READ, slot)

    def _forget(self, slot: Slot) -> None:
        self._slots.remove(slot)
        self._selector.unregister(slot.channel)
        if slot.pidfd is not None:
            self._selector.unregister(slot.pidfd)
        slot.close()
        self._count_ready()

    def _count_ready(self) -> None:
        self._wiring.credit.executors(sum(1 for s in self._slots if s.ready is not None and not s.leaving))

    def _not_ready(self, slot: Slot, frame: NotReady) -> None:
        self._forget(slot)
        if frame.retry_without_preload:
            if self._spawner.preloading:
                log.info("%s: the app is loaded by each executor instead, which takes more memory", frame.reason)
                self._spawner.restart_without_preload(frame.forkserver_pid)
            self._add_slot()
            return
        self._wiring.boot_failed(BootFailed(f"an executor could not load the tasks: {frame.reason}", frame.details))

    def _died(self, slot: Slot) -> None:
        """The executor is gone: replace it, run what it had not started elsewhere, decide about what it ran."""
        was_ready, started = slot.ready is not None, slot.running
        slot.kill()  # what its task started must not go on either
        self._forget(slot)
        deliveries = [held.delivery for held in slot.held.values()]
        victim = next((d for d in deliveries if started and d.id == started.delivery_id), None)
        if victim is None and deliveries and was_ready and not slot.killed_for:
            # It died while it decoded the first one, before it could say so.
            victim = deliveries[0]
        if victim is not None:
            deliveries.remove(victim)
            self._lost(victim, started, slot.killed_for)
        elif was_ready and not slot.leaving:
            log.warning("executor %d died while it was idle; it is replaced", slot.number)
        for delivery in deliveries:
            self._fifo.ended(delivery, None)
        self._buffer_in(deliveries, front=True)
        if self.stopping.is_set() or slot.leaving:
            return
        if not was_ready:
            self._boot_deaths += 1
            if self._boot_deaths >= BOOT_DEATHS:
                self._wiring.boot_failed(BootFailed(f"{BOOT_DEATHS} executors in a row died before they were ready"))
                return
        self._add_slot()

    def _lost(self, delivery: Delivery, started: Started | None, killed_for: str) -> None:
        acker, report = self._wiring.acker, self._wiring.report
        task = f"{started.task}[{started.call_id}]" if started else "its message"
        why = killed_for or "its executor died"
        if acker.is_acked(delivery.id):
            log.error("%s: %s is lost: it was acked when it started (acks_late is off), and %s", delivery, task, why)
            acker.settle(delivery, Delete())
            hidden: float | None = None
        else:
            # At a shutdown the message goes back at once: the task is healthy.
            hidden = 0.0 if killed_for == SHUTDOWN else float(retry_seconds(delivery.receive_count))
            log.error("%s: %s while %s ran; the message is handed out again in %.0f s", delivery, why, task, hidden)
            acker.settle(delivery, Hide(hidden))
        report.lost()
        self._ended(delivery, hidden)

    def _enforce_limits(self) -> None:
        now = boottime()
        for slot in self._slots:
            if slot.kill_at is not None and now >= slot.kill_at and slot.running is not None:
                slot.killed_for = f"it ran for longer than its time limit of {slot.running.time_limit:g} s"
                slot.kill_at = None
                slot.kill()

    # -- shutdown -----------------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        self._draining = True
        for slot in self._slots:
            for delivery in slot.take_back_unsent():
                self._buffer_in([delivery])
            if slot.held:
                slot.send(Recall())
        self._release_buffer()

    def _release_buffer(self) -> None:
        for waiting in self._buffer.values():
            for delivery in waiting:
                self._wiring.acker.settle(delivery, Hide(0))
                self._wiring.report.released(1)
                self._wiring.credit.ended(delivery.queue)
        self._buffer.clear()

    def _kill_running(self, spare_acked: bool) -> None:
        for slot in self._slots:
            started = slot.running
            if not slot.held or (spare_acked and started and self._wiring.acker.is_acked(started.delivery_id)):
                continue
            slot.killed_for = SHUTDOWN
            slot.leaving = True
            slot.kill()


#: Why an executor was killed when the shutdown's deadline had come.
SHUTDOWN = "the worker's shutdown deadline came"
