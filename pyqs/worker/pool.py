"""The pool: picks an executor for each delivery, sends Run, and acts on what the executors say.

Owns: every slot, the buffer of waiting deliveries, hard time limits, and the replacement of executors. One thread with one
selector; it never blocks on a pipe. Other threads use ``offer``, ``drain``, ``kill`` and ``forget`` only, which leave a
note and ring. Never decodes a body and never talks to SQS: verdicts go to the acker.
"""

from __future__ import annotations

import logging
import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence

from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.message import Delete, Delivery, Hide, Verdict
from pyqs.wire import Done, Frame, HandedBack, NotReady, Ready, Recall, Started, Stop
from pyqs.worker.acker import Acker
from pyqs.worker.boot import NOT_LOADED, Boot
from pyqs.worker.buffer import Buffer, group_of
from pyqs.worker.credit import SOON, Credit
from pyqs.worker.fate import decide
from pyqs.worker.leases import Leases
from pyqs.worker.report import Journal, Totals
from pyqs.worker.service import Bell, OnCrash, Service
from pyqs.worker.slot import Slot
from pyqs.worker.spawner import Spawner

log = logging.getLogger(__name__)

#: Bytes; a longer body goes to an executor that waits for it, so that no pipe fills up (design decision 4).
LARGE = 32 * 1024
#: Most deliveries in one executor, however short they are.
DEEPEST = 64
#: With so many in every executor the pool listens only every few milliseconds (seconds here).
BUSY = 16
COALESCE = 0.002
#: Seconds between looks at limits and at what has waited for too long.
TICK = 1.0
_STOPPED = "the worker stops"
#: Seconds that an executor with nothing left to run has for its own goodbye.
GOODBYE = 5.0


class Pool(Service):
    """All executors of one worker.

    Parameters:
        on_ready: told each Ready frame.
        on_failed: told what makes it pointless to go on.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        spawner: Spawner,
        leases: Leases,
        acker: Acker,
        credit: Credit,
        totals: Totals,
        on_ready: Callable[[Ready], None],
        on_failed: Callable[[Exception], None],
        on_crash: OnCrash,
    ) -> None:
        super().__init__("pool", on_crash)
        self._config = config
        self._boot = Boot(
            spawner,
            config.concurrency,
            arrived=lambda slot: self._note(lambda: self._arrived(slot)),
            failed=lambda number, exc: self._note(lambda: self._failed(number, exc)),
            on_failed=on_failed,
        )
        self._leases = leases
        self._acker = acker
        self._credit = credit
        self._totals = totals
        self._journal = Journal(totals)
        self._on_ready = on_ready
        self._bell = Bell()
        self._notes: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._slots: dict[int, Slot] = {}
        self._buffer = Buffer()
        self._dirty: set[Slot] = set()
        self._draining = False
        self._next_look = 0.0

    # -- any thread -----------------------------------------------------------------------------------------------

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Run these; they are leased and counted as held."""
        self._note(lambda: self._admit(deliveries))

    def forget(self, delivery: Delivery) -> None:
        """Its lease is gone: it must not start any more."""
        self._note(lambda: self._drop(delivery))

    def drain(self) -> None:
        """Start nothing more: release what waits, let executors finish what runs, and end."""
        self._note(self._drain)

    def kill(self, *, acked_early: bool, reason: str) -> None:
        """End what still runs; what was acked early only if told so."""
        self._note(lambda: self._kill(acked_early, reason))

    @property
    def executors(self) -> list[int]:
        """Pids of the executors, by slot."""
        return [slot.pid for _, slot in sorted(self._slots.items()) if slot.pid is not None]

    def end_all(self) -> None:
        """Kill every executor without ceremony, for the case that this thread has crashed."""
        for slot in list(self._slots.values()):
            slot.kill("the pool has crashed")

    def _note(self, action: Callable[[], None]) -> None:
        self._notes.append(action)
        self._bell.ring()

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until drained."""
        self._selector.register(self._bell, selectors.EVENT_READ)
        for number in range(self._config.concurrency):
            self._boot.request(number)
        while not (self._draining and not self._slots and not self._boot.expected):
            if self._slots and all(len(slot.held) >= BUSY for slot in self._slots.values()):
                time.sleep(COALESCE)  # nobody waits for us: what they say is heard in handfuls
            for key, _ in self._selector.select(self._pause()):
                if key.data is None:
                    self._bell.hush()
                else:
                    self._hear(key.data, dead=key.fd == key.data.pidfd)
            while self._notes:
                self._notes.popleft()()
            self._look_at_clocks()
            self._dispatch()
            self._write()
        self._selector.close()

    def _pause(self) -> float:
        now = boottime()
        ends = [slot.kill_at for slot in self._slots.values() if slot.kill_at is not None]
        return max(0.0, min([self._next_look, *ends]) - now)

    def _look_at_clocks(self) -> None:
        now = boottime()
        for slot in list(self._slots.values()):
            if slot.kill_at is not None and now >= slot.kill_at:
                self._hear(slot, dead=False)  # this thread may have been stopped since it last listened
                if slot.kill_at is None or now < slot.kill_at:
                    continue
                slot.kill_at = None
                log.warning("%s is killed: %s", slot, slot.kill_reason)
                slot.kill(slot.kill_reason)
        if now >= self._next_look:
            self._next_look = now + TICK
            for slot in self._slots.values():
                for one in reversed(slot.overdue(now)):
                    self._returned(one)
            # Waiting costs nobody anything for a lease's time; then somebody else may be able to run it (decision 5).
            for one in list(self._buffer):
                if now - one.received_at > self._config.lease and not self._buffer.is_waiting_for_group(one):
                    self._buffer.remove(one)
                    self._release(one)

    # -- deliveries in --------------------------------------------------------------------------------------------

    def _admit(self, deliveries: Sequence[Delivery]) -> None:
        for one in deliveries:
            if self._acker.only_delete(one.message.message_id):
                log.info("%s was done before; it is only deleted", one)
                self._acker.settle(one, Delete())
                self._credit.ended(one.queue)
            elif self._draining:
                self._release(one)
            else:
                self._buffer.add((one,))

    def _dispatch(self) -> None:
        """Send what can start soon, one of each queue in turn."""
        sent = not self._draining
        while sent:
            sent = False
            for delivery in self._buffer.candidates():
                slot = self._slot_for(delivery)
                if slot is not None:
                    self._send(slot, delivery)
                    sent = True

    def _slot_for(self, delivery: Delivery) -> Slot | None:
        """An executor that waits; else, for a short task, the least loaded one that soon does."""
        cost = self._credit.duration(delivery.queue)
        body = delivery.message.body
        deep = cost is not None and cost < SOON and len(body) < (LARGE if body.isascii() else LARGE // 6)
        best, least = None, SOON
        for slot in self._slots.values():
            if slot.idle:
                return slot
            if not deep or not slot.takes_more or slot.since_started() > SOON:
                continue
            load = slot.load + (cost or SOON)
            if load > SOON or len(slot.held) >= DEEPEST:
                slot.filling = False
            elif slot.load <= SOON / 2 and len(slot.held) <= DEEPEST // 2:
                slot.filling = True  # in handfuls: one call for many
            if slot.filling and load <= least:
                best, least = slot, load
        return best

    def _send(self, slot: Slot, delivery: Delivery) -> None:
        start_before = self._leases.start_before(delivery)
        if start_before is None:
            self._drop(delivery)
            return
        self._buffer.take(delivery)
        slot.give(delivery, start_before, self._credit.duration(delivery.queue) or SOON)
        self._dirty.add(slot)

    def _write(self) -> None:
        for slot in self._dirty:
            if self._slots.get(slot.number) is slot:
                slot.flush()
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.clogged else 0)
                self._selector.modify(slot.channel, events, slot)
        self._dirty = {slot for slot in self._dirty if slot.clogged and self._slots.get(slot.number) is slot}

    # -- what executors say ---------------------------------------------------------------------------------------

    def _hear(self, slot: Slot, *, dead: bool) -> None:
        if self._slots.get(slot.number) is not slot:
            return  # buried in this same round
        try:
            for frame in slot.read(everything=dead):
                slot.silent = False
                self._obey(slot, frame)
        except EOFError:
            dead = True
        if dead:  # by its pidfd: what its task has started may hold the pipe open
            self._bury(slot)

    def _obey(self, slot: Slot, frame: Frame) -> None:
        match frame:
            case Started():
                self._started(slot, frame)
            case Done():
                self._done(slot, frame)
            case HandedBack():
                for delivery in [slot.handed_back(number) for number in reversed(frame.delivery_ids)]:
                    if delivery is not None:
                        self._returned(delivery)
                slot.slow = bool(slot.held)
                if slot.stopping:
                    self._say_goodbye(slot)
            case Ready():
                self._ready(slot, frame)
            case NotReady():
                self._boot.not_ready(slot, frame)
            case _:
                log.error("%s said %s, which is for the other direction", slot, type(frame).__name__)

    def _started(self, slot: Slot, frame: Started) -> None:
        delivery = slot.held.get(frame.delivery_id)
        if delivery is None:
            return
        slot.started, slot.started_at = frame, boottime()
        self._totals.add("started")
        if frame.time_limit is not None:
            slot.kill_at = slot.started_at + frame.time_limit
            slot.kill_reason = f"task {frame.task}[{frame.call_id}] passed its time limit of {frame.time_limit:g} s"
        if frame.ack_early:
            self._acker.ack_early(delivery)

    def _done(self, slot: Slot, frame: Done) -> None:
        ran = slot.started is not None and slot.started.delivery_id == frame.delivery_id
        delivery = slot.ended(frame.delivery_id)
        if delivery is None:
            return
        slot.slow = False
        self._journal.done(delivery, frame)
        self._settle(delivery, frame.verdict, frame)
        self._credit.ended(delivery.queue, frame.seconds if ran else None)
        if slot.stopping:
            self._say_goodbye(slot)

    def _settle(self, delivery: Delivery, verdict: Verdict, frame: Done | None = None) -> None:
        self._buffer.gone(delivery)
        follow_ups = frame.follow_ups if frame is not None else ()
        if group_of(delivery) is None:
            self._acker.settle(delivery, verdict, follow_ups)
        else:  # the next of its group waits until this verdict is carried out
            self._acker.settle(
                delivery, verdict, follow_ups, lambda final: self._note(lambda: self._group_settled(delivery, final))
            )

    def _group_settled(self, head: Delivery, verdict: Verdict) -> None:
        """Keep a FIFO group in order: on a failure what is held of it is hidden to the same moment (decision 15)."""
        if isinstance(verdict, Delete):
            self._credit.widen(head.queue, head.message.message_id)
        else:
            seconds = verdict.seconds if isinstance(verdict, Hide) else 0.0
            self._credit.narrow(head.queue, head.message.message_id, boottime() + seconds + 2 * self._config.lease)
            for one in self._buffer.remove_group(head):
                self._acker.settle(one, Hide(seconds))
                self._credit.ended(one.queue)
        self._buffer.free(head)

    def _returned(self, delivery: Delivery) -> None:
        """An executor held it and has not started it."""
        self._buffer.gone(delivery)
        self._buffer.free(delivery)
        if self._draining:
            self._release(delivery)
        else:
            self._buffer.put_back((delivery,))

    def _release(self, delivery: Delivery) -> None:
        self._acker.release(delivery)
        self._credit.ended(delivery.queue)

    def _drop(self, delivery: Delivery) -> None:
        """No longer held: not started, not hidden. Nor is what waits behind it in a FIFO group."""
        if self._buffer.remove(delivery):
            self._leases.end([delivery])
            self._credit.ended(delivery.queue)
            for one in self._buffer.remove_group(delivery):
                self._release(one)

    # -- executors come and go ------------------------------------------------------------------------------------

    def _arrived(self, slot: Slot) -> None:
        self._boot.came()
        self._slots[slot.number] = slot
        self._selector.register(slot.channel, selectors.EVENT_READ, slot)
        if slot.pidfd is not None:
            self._selector.register(slot.pidfd, selectors.EVENT_READ, slot)
        if self._draining:
            slot.kill(_STOPPED, dismissed=True)

    def _failed(self, number: int, exc: Exception) -> None:
        self._boot.came()
        if not self._draining:
            self._boot.died(number, f"an executor could not be started: {type(exc).__name__}: {exc}")

    def _ready(self, slot: Slot, frame: Ready) -> None:
        slot.ready = True
        self._boot.succeeded()
        self._credit.executors(sum(one.ready for one in self._slots.values()))
        self._on_ready(frame)
        if self._draining:
            self._stop(slot)

    def _bury(self, slot: Slot) -> None:
        """An executor has ended, or can no longer be heard."""
        slot.kill_group()  # what its tasks have left behind, and itself, if only its pipe has ended
        del self._slots[slot.number]
        self._selector.unregister(slot.channel)
        if slot.pidfd is not None:
            self._selector.unregister(slot.pidfd)
        how = slot.describe_end()
        self._settle_estate(slot, how)
        slot.close()
        self._credit.executors(sum(one.ready for one in self._slots.values()))
        if self._draining:
            return
        if slot.ready or slot.killed == NOT_LOADED:
            self._boot.request(slot.number)
        else:
            self._boot.died(slot.number, f"{slot} {how} before it was ready")

    def _settle_estate(self, slot: Slot, how: str) -> None:
        """What a dead executor held: one is blamed for its end, the rest run elsewhere."""
        unsent = slot.take_back()
        held = list(slot.held.values())
        culprit = slot.running or (held[0] if held else None)
        if culprit is not None:
            held.remove(culprit)
        for one in reversed(held + unsent):
            self._returned(one)
        if culprit is None:
            if slot.ready and not slot.stopping:
                log.error("%s %s while it held nothing; it is replaced", slot, how)
            return
        self._totals.add("released" if slot.dismissed and not slot.acked_early else "lost")
        self._settle(culprit, decide(slot, culprit, how))
        self._credit.ended(culprit.queue)

    # -- the end --------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        self._boot.cancel()
        for one in self._buffer.clear():
            self._release(one)
        for slot in list(self._slots.values()):
            if slot.ready:
                self._stop(slot)
            else:
                slot.kill(_STOPPED, dismissed=True)

    def _stop(self, slot: Slot) -> None:
        slot.stopping = True
        for one in reversed(slot.take_back()):
            self._returned(one)
        slot.send(Recall())
        slot.send(Stop())
        self._dirty.add(slot)
        self._say_goodbye(slot)

    def _say_goodbye(self, slot: Slot) -> None:
        if not slot.held:
            slot.kill_at = boottime() + GOODBYE
            slot.kill_reason = "it has nothing left to run and does not leave"

    def _kill(self, acked_early: bool, reason: str) -> None:
        for slot in list(self._slots.values()):
            self._hear(slot, dead=False)  # a task that has just started may have been acked
            if self._slots.get(slot.number) is slot and (acked_early or not slot.acked_early):
                slot.kill(reason, dismissed=True)
