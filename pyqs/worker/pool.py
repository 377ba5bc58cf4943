"""The pool: picks an executor for each delivery, sends Run, and acts on what the executors say.

Owns: every slot, the buffer of waiting deliveries, hard time limits, and the replacement of executors. One thread with one
selector; it never blocks on a pipe. Other threads use ``offer``, ``drain``, ``kill``, ``forget`` and ``call_off``
only, which leave a note and ring. Never decodes a body and never talks to SQS: verdicts go to the acker.
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.message import CalledOff, Delivery
from pyqs.wire import Cancelled, Done, Frame, HandedBack, Leaving, MayStart, NotReady, Ready, Recall, Started, Stop
from pyqs.worker.acker import Acker
from pyqs.worker.boot import Boot
from pyqs.worker.ceiling import Ceiling
from pyqs.worker.course import Course
from pyqs.worker.credit import SOON, Credit
from pyqs.worker.custody import Custody
from pyqs.worker.estate import Estates
from pyqs.worker.facts import Facts
from pyqs.worker.host import Host
from pyqs.worker.leases import Leases
from pyqs.worker.placement import choose
from pyqs.worker.report import Journal, Totals
from pyqs.worker.service import Bell, OnCrash, Pulse, Service
from pyqs.worker.slot import HANGS, Slot
from pyqs.worker.spawner import Spawner

log = logging.getLogger(__name__)

#: With so many in every executor the pool listens only every few milliseconds (seconds here). A round that took longer, waiting
#: for the interpreter lock, is enough of a pause.
BUSY = 16
COALESCE = 0.002
#: Seconds between looks at limits and at what has waited for too long.
TICK = 1.0
_STOPPED = "the worker stops"
#: Seconds in which an executor must have begun with what it was given: decoding, importing a task's module.
PREPARE_LIMIT = 60.0
#: Seconds that an executor which has begun nothing has left to speak, once that is noticed: we may have been the frozen one.
LAST_WORD = 2.0
#: Seconds without a round of this thread, which never waits for anybody longer than TICK, after which it counts as hung.
TOLERANCE = 30.0


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
        facts: Facts,
        totals: Totals,
        host: Host,
        on_ready: Callable[[Ready], None],
        on_failed: Callable[[Exception], None],
        on_crash: OnCrash,
    ) -> None:
        super().__init__("pool", on_crash, tolerance=TOLERANCE)
        self._config = config
        self._ceiling = Ceiling(config.on_ceiling, acker)
        self._boot = Boot(
            spawner,
            config.concurrency,
            arrived=lambda slot: self._note(lambda: self._arrived(slot)),
            failed=lambda number, exc: self._note(lambda: self._boot.not_made(number, exc)),
            on_failed=on_failed,
        )
        self._custody = Custody(config, leases=leases, acker=acker, credit=credit, facts=facts, later=self._note)
        self._credit = credit
        self._totals = totals
        self._host = host
        journal = Journal(totals)
        self._estates = Estates(host=host, custody=self._custody, facts=facts, totals=totals, journal=journal, later=self._note)
        self._course = Course(config, custody=self._custody, acker=acker, facts=facts, totals=totals, journal=journal)
        self._on_ready = on_ready
        self._bell = Bell()
        self._notes: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._slots: dict[int, Slot] = {}
        self._dirty: set[Slot] = set()
        self._lock = threading.Lock()
        #: Nothing more will be offered; the thread has ended.
        self._closed = self._ended = False
        self._next_look = 0.0

    # -- any thread -----------------------------------------------------------------------------------------------

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Run these; they are leased and counted as held. While the pool drains, and after its end, they are released."""
        if not self._note(lambda: self._admit(deliveries)):
            for one in deliveries:
                self._custody.release(one)

    def forget(self, delivery: Delivery) -> None:
        """Its lease is gone: it must not start any more."""
        self._note(lambda: self._custody.drop(delivery))

    def call_off(self, calls: Sequence[CalledOff]) -> None:
        """These calls must not start any more, and some of them not go on."""
        self._note(lambda: self._call_off(calls))

    def held_long(self, delivery: Delivery, reached: bool) -> None:
        """It is held for nearly twelve hours, or, ``reached``, for as long as SQS allows."""
        tell = self._ceiling.reached if reached else self._ceiling.near
        self._note(lambda: tell(delivery, next((slot for slot in self.slots if slot.runs(delivery)), None)))

    def drain(self) -> None:
        """Start nothing new: release what waits and let executors finish what runs.

        What is on its last life is still run: released, it would go to the dead-letter queue without ever having started.
        """
        self._note(self._drain)

    def close(self) -> None:
        """Nothing more will be offered: end when nothing runs any more."""
        self._note(self._close)

    def kill(self, *, acked_early: bool, reason: str) -> None:
        """End what still runs; what was acked early only if told so."""
        self._note(lambda: self._kill(acked_early, reason))

    @property
    def slots(self) -> list[Slot]:
        """The executors as they are at this moment, to be looked at only."""
        return [slot for _, slot in sorted(self._slots.copy().items())]

    @property
    def pulses(self) -> tuple[Pulse | None, ...]:
        """Of the thread, and of the executors together."""
        return self.pulse, self._boot.pulse

    @property
    def waiting(self) -> int:
        """Deliveries that no executor has yet."""
        return len(self._custody)

    def _note(self, action: Callable[[], None]) -> bool:
        """Leave it for the thread; False when that has ended."""
        with self._lock:
            if self._ended:
                return False
            self._notes.append(action)
        self._bell.ring()
        return True

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until drained. After a crash executors end at once, and what they held is given back."""
        try:
            self._serve()
        except BaseException:
            self._custody.draining = self._custody.over = True
            self._boot.cancel()
            self._notes.extend([*(partial(self._give_up, slot) for slot in self.slots), self._custody.release_all])
            raise
        finally:
            self._boot.pulse.rest()
            with self._lock:
                self._ended = True
            while self._notes:
                try:
                    self._notes.popleft()()
                except Exception:
                    log.exception("at the pool's end")
            self._custody.report()

    def _serve(self) -> None:
        self._selector.register(self._bell, selectors.EVENT_READ)
        for number in range(self._config.concurrency):
            self._boot.request(number)
        listened = 0.0
        while not (self._closed and not self._slots and not self._boot.expected and not self._estates.open):
            if self._slots and all(len(slot.held) >= BUSY for slot in self._slots.values()):
                pause = listened + COALESCE - boottime()
                if pause > 0.0:
                    time.sleep(pause)  # nobody waits for us: what they say is heard in handfuls
            listened = boottime()
            for key, _ in self._selector.select(self._pause()):
                if key.data is None:
                    self._bell.hush()
                else:
                    self._hear(key.data, dead=key.fd == key.data.pidfd)
            while self._notes:
                self._notes.popleft()()
            self._look_at_clocks()
            self._dispatch()
            if self._custody.draining:
                self._let_go()
            self._custody.report()
            self._write()
        self._selector.close()

    def _pause(self) -> float:
        moments = [moment for slot in self._slots.values() for moment in (slot.kill_at, slot.look_at) if moment is not None]
        return max(0.0, min([self._next_look, *moments]) - boottime())

    def _look_at_clocks(self) -> None:
        now = boottime()
        for slot in list(self._slots.values()):
            if (moment := slot.look_at) is not None and now >= moment:
                self._catch_up(slot)
            if slot.is_due(now):
                self._catch_up(slot)  # this thread may have been stopped since it last listened
                if slot.is_due(now) and self._slots.get(slot.number) is slot:
                    slot.kill_due()
        if now >= self._next_look:
            if now > self._next_look + TICK:  # it has been stopped: what they have said meanwhile comes first
                for slot in list(self._slots.values()):
                    self._catch_up(slot)
            self._next_look = now + TICK
            self.beat()
            self._boot.look(self._slots.values(), now)
            for slot in list(self._slots.values()):
                self._look_at(slot, now)
            self._custody.look(now, list(self._slots.values()))

    def _look_at(self, slot: Slot, now: float) -> None:
        """Whether it begins with what it was given, hands back in time what it does not, and ends when it was killed."""
        if slot.resists(now):
            self._catch_up(slot)  # this thread may have been stopped since it last listened
            if self._slots.get(slot.number) is slot:
                slot.undead = True
                log.error("%s does not end although it was killed (%s): it is not waited for any more", slot, slot.killed)
                self._bury(slot)
            return
        if slot.kill_at is None and slot.is_stuck(now, PREPARE_LIMIT):
            slot.give_up(now + LAST_WORD, HANGS)  # decoding or an import hangs, or it is frozen
            return
        for one in reversed(slot.overdue(now)):
            self._custody.give_back(one)

    def _call_off(self, calls: Sequence[CalledOff]) -> None:
        self._course.calls_off.add(calls, self._slots.values())
        self._dirty.update(self._slots.values())

    # -- deliveries in --------------------------------------------------------------------------------------------

    def _admit(self, deliveries: Sequence[Delivery]) -> None:
        for one in deliveries:
            if one.receive_count > 1:  # its message may run here
                for slot in [slot for slot in self._slots.values() if slot.look_at is not None]:
                    self._catch_up(slot)
            self._custody.admit(one, self._slots.values())

    def _dispatch(self) -> None:
        """Send what can start soon, one of each queue in turn."""
        sent = not self._course.calls_off.awaited
        while sent:
            sent = False
            for delivery in self._custody.candidates():
                cost = self._credit.duration(delivery.queue)
                slot = choose(self._slots.values(), delivery, cost)
                if slot is not None:
                    sent = True
                    start_before = self._custody.take(delivery)
                    if start_before is not None:
                        slot.give(delivery, start_before, cost or SOON)
                        self._dirty.add(slot)

    def _write(self) -> None:
        for slot in self._dirty:
            if self._slots.get(slot.number) is slot and slot.flush():
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.clogged else 0)
                self._selector.modify(slot.channel, events, slot)
        self._dirty = {slot for slot in self._dirty if slot.clogged and self._slots.get(slot.number) is slot}

    # -- what executors say ---------------------------------------------------------------------------------------

    def _hear(self, slot: Slot, *, dead: bool) -> None:
        if self._slots.get(slot.number) is not slot:
            return  # buried in this same round
        try:
            for frame in slot.read(everything=dead):
                slot.speaks()
                self._obey(slot, frame)
        except EOFError:
            dead = True
        if dead:  # by its pidfd: what its task has started may hold the pipe open
            if (noted := slot.noted()) is not None:
                self._course.started(slot, noted)
            self._bury(slot)

    def _catch_up(self, slot: Slot) -> None:
        """Know what it runs at this moment. What it has said before it noted that, it has said by the time this looks again."""
        self._hear(slot, dead=False)
        if self._slots.get(slot.number) is slot and (noted := slot.noted()) is not None:
            self._hear(slot, dead=False)
            if self._slots.get(slot.number) is slot:
                slot.speaks()
                self._course.started(slot, noted)

    def _obey(self, slot: Slot, frame: Frame) -> None:
        match frame:
            case Done():
                self._course.ended(slot, frame)
            case Cancelled():
                self._estates.cancelled(slot, frame)
            case Started():
                self._course.started(slot, frame)
            case HandedBack():
                self._course.handed_back(slot, frame)
            case MayStart():
                self._course.may_start(slot, frame)
                self._dirty.add(slot)
            case Leaving():
                self._leave(slot, frame)
            case Ready():
                self._ready(slot, frame)
            case NotReady():
                self._boot.not_ready(slot, frame)
            case _:
                log.error("%s said %s, which is for the other direction", slot, type(frame).__name__)
        if slot.leaving:
            self._tell_places()

    # -- executors come and go ------------------------------------------------------------------------------------

    def _arrived(self, slot: Slot) -> None:
        self._boot.came()
        self._slots[slot.number] = slot
        slot.tasks_left = self._config.runtime.max_tasks_per_child
        self._selector.register(slot.channel, selectors.EVENT_READ, slot)
        if slot.pidfd is not None:
            self._selector.register(slot.pidfd, selectors.EVENT_READ, slot)
        if self._custody.draining:
            slot.kill(_STOPPED, dismissed=True)

    def _ready(self, slot: Slot, frame: Ready) -> None:
        slot.ready = True
        self._boot.succeeded()
        self._tell_places()
        self._course.calls_off.welcome(slot, frame)
        self._dirty.add(slot)
        self._on_ready(frame)
        if self._custody.draining:
            self._stop(slot)

    def _tell_places(self) -> None:
        """How much can run at a time; what still runs in one that leaves is in nobody's way."""
        self._credit.executors(sum(len(one.held) if one.leaving else one.lanes for one in self._slots.values() if one.ready))

    def _leave(self, slot: Slot, frame: Leaving) -> None:
        """It has served long enough: its replacement is being started while it says goodbye."""
        if slot.stopping:
            return
        log.info("%s is replaced: %s", slot, frame.reason)
        slot.leaving = True
        for one in reversed(slot.take_back()):
            self._custody.give_back(one)
        self._stop(slot)
        if not self._custody.draining:
            self._totals.add("recycled")
            del self._slots[slot.number]
            self._boot.replace(slot)
            self._slots[slot.number] = slot

    def _bury(self, slot: Slot) -> None:
        """An executor has ended, or can no longer be heard."""
        slot.kill_group()  # what its tasks have left behind, and itself, if only its pipe has ended
        del self._slots[slot.number]
        self._selector.unregister(slot.channel)
        if slot.pidfd is not None:
            self._selector.unregister(slot.pidfd)
        how = slot.describe_end()
        self._estates.settle(slot, how)
        slot.close()
        self._tell_places()
        if self._custody.draining or slot.leaving:
            return
        self._totals.add("restarts", int(slot.ready))
        self._boot.ended(slot, how)

    # -- the end --------------------------------------------------------------------------------------------------

    def _give_up(self, slot: Slot) -> None:
        try:
            self._catch_up(slot)  # what has ended is not run again
        finally:
            if self._slots.get(slot.number) is slot:
                slot.kill("the pool has crashed", dismissed=True)
                self._estates.settle(slot, "was given up")

    def _drain(self) -> None:
        if self._custody.draining:
            return
        self._custody.draining = True
        self._boot.cancel()
        self._custody.release_all()
        for slot in list(self._slots.values()):
            if slot.ready:
                for one in reversed(slot.take_back()):
                    self._custody.give_back(one)
                slot.send(Recall())
                self._dirty.add(slot)
            else:
                slot.kill(_STOPPED, dismissed=True)

    def _close(self) -> None:
        self._closed = True
        self._drain()

    def _let_go(self) -> None:
        """While draining: executors leave once nothing more comes; what waits goes when there is none left to run it."""
        ready = [slot for slot in self._slots.values() if slot.ready and not slot.killed]
        if not ready:
            self._custody.over = True
        if self._custody.over:
            self._custody.release_all()
        # What was recalled is on its way back; if it is on its last life, somebody must be there to run it.
        if self._custody.over or (self._closed and not self._custody and not any(slot.unstarted for slot in ready)):
            for slot in ready:
                if not slot.stopping:
                    self._stop(slot)

    def _stop(self, slot: Slot) -> None:
        slot.stopping = True
        slot.send(Stop())
        self._dirty.add(slot)
        slot.expect_goodbye()

    def _kill(self, acked_early: bool, reason: str) -> None:
        self._custody.over = True
        self._drain()
        self._host.hurry()
        for slot in list(self._slots.values()):
            self._catch_up(slot)  # a task that has just started is acked early, perhaps, and then spared
            if self._slots.get(slot.number) is slot and (acked_early or not slot.acked_early):
                slot.kill(reason, dismissed=True)
