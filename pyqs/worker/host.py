"""The worker's side of the host: asks it what becomes of killed tasks, and tells it what happens to the worker.

Owns: the host's pipe, its start, and giving up on one that is dead or hangs. One thread; ``ask``, ``tell``, ``beat``,
``hurry``, ``close`` and ``kill`` may be called from any. Every question is answered once, whatever becomes of the host: with
its word, or with None. Never blocks another thread, never decodes a body, never settles a delivery.

A worker that is killed after the host has published nothing but called an app's handlers, or after follow-ups were sent and
before the delete, has its message received again: handlers and errbacks may then hear of one death twice (at least once).
"""

from __future__ import annotations

import logging
import selectors
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyqs.clock import boottime
from pyqs.message import CalledOff, Death, Delivery
from pyqs.runtime import ALIVE, BEAT, BEAT_ENDS
from pyqs.wire import CallOff, Done, Event, Frame, Killed, Line, NotReady, Ready, Stop, Written
from pyqs.worker.lines import GiveBack, Lines
from pyqs.worker.service import Bell, OnCrash, Service
from pyqs.worker.slot import Slot
from pyqs.worker.spawner import Spawner

log = logging.getLogger(__name__)

#: Seconds in which it must have answered, and in which it must be ready when it is needed.
ANSWER_LIMIT = 30.0
BOOT_LIMIT = 120.0
#: The same for an answer when the worker must end.
HURRY_LIMIT = 2.0
#: Seconds after which another one comes where it watches for calls that are called off, or sends periodic tasks.
WATCH_AGAIN = 5.0
#: Hosts that end before they are ready, in a row, before what waits for one is given up.
MOST_FAILURES = 3
#: How often a death is told of whose message cannot come back.
MOST_TRIES = 2

#: Called in the host's thread (or in the asker's, after its end) with what the host said, or None.
Answer = Callable[[Done | None], None]


@dataclass(eq=False, slots=True)
class _Question:
    delivery: Delivery
    death: Death
    answer: Answer
    tries: int = 0


class Host(Service):
    """The host of one worker, there or not.

    Parameters:
        at_start: an app is named: it is started with the worker and hears of all that happens to it. Otherwise it is
            started when somebody asks, and hears of killed tasks only.
        beats: it sends periodic tasks. One that dies is replaced at once, and not told to once ``end_beat`` was called.
        on_called_off: told, in the host's thread, which calls were called off.
    """

    def __init__(
        self,
        spawner: Spawner,
        on_crash: OnCrash,
        *,
        at_start: bool,
        beats: bool = False,
        on_called_off: Callable[[Sequence[CalledOff]], None] = lambda _: None,
    ) -> None:
        super().__init__("host", on_crash)
        self._on_called_off = on_called_off
        #: Boot-time second from which on there should be one again, because the last one watched; None where none did.
        self._wanted_at: float | None = None
        self._spawner = spawner
        self._at_start = at_start
        self._beats = beats
        self._bell = Bell()
        self._selector = selectors.DefaultSelector()
        self._notes: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._ended = False
        self._slot: Slot | None = None
        self._requested = False
        self._questions: deque[_Question] = deque()
        #: The first question was put to the host.
        self._asked = False
        self._events: list[Event] = []
        self._lines = Lines(taken=at_start)
        #: There was a host, so that one that comes now is not the one that has heard of the worker's start.
        self._once = False
        self._hurried = False
        #: Boot-time second at which it is killed for what it owes.
        self._due: float | None = None
        self._failures = 0
        #: Why the last one could not load the app.
        self._not_ready: NotReady | None = None
        self._closing = False

    # -- any thread -----------------------------------------------------------------------------------------------

    def ask(self, delivery: Delivery, death: Death, answer: Answer) -> None:
        """What becomes of this delivery, whose executor is dead? ``answer`` is called, sooner or later, and once."""
        question = _Question(delivery, death, answer)
        if not self._note(lambda: self._questions.append(question)):
            answer(None)

    def tell(self, name: str, **details: str | int) -> None:
        """Something has happened to the worker (``runtime.EVENTS``)."""
        if self._at_start:
            if name == "stopping":
                self.end_beat()
            self._note(lambda: self._happened(Event(name, details)))

    def end_beat(self) -> None:
        """The worker stops: no more periodic tasks are sent."""
        self._note(self._end_beat)

    def beat(self) -> None:
        """The worker is alive. It hears of it if it can now; what is late is not worth hearing."""
        if self._at_start:
            self._note(self._pass_beat)

    def log(self, line: Line, give_back: GiveBack) -> bool:
        """Have the host log a line of ours. False, or ``give_back`` called later, says that somebody else must."""
        with self._lock:
            if self._ended or self._thread is None or not self._lines.add(line, give_back):
                return False
        self._bell.ring()
        return True

    def hurry(self) -> None:
        """The worker must end: nothing more is waited for longer than a moment."""
        self._note(self._hurry)

    def close(self) -> None:
        """Nothing more will be asked: answer what was, let the host hear of the end, and end."""
        self._note(self._close)

    def kill(self) -> None:
        """End it now."""
        self._note(self._kill)

    def _note(self, action: Callable[[], None]) -> bool:
        """Leave it for the thread; False when there is none."""
        with self._lock:
            if self._ended or self._thread is None:
                return False
            self._notes.append(action)
        self._bell.ring()
        return True

    def _arrived_later(self, slot: Slot) -> None:
        if not self._note(lambda: self._arrived(slot)):
            slot.kill("the worker has ended")
            slot.close()

    def _failed_later(self, number: int, exc: Exception) -> None:
        self._note(lambda: self._failed(f"the host could not be started: {type(exc).__name__}: {exc}"))

    def _happened(self, event: Event) -> None:
        if self._once and (self._slot is None or not self._slot.ready):
            log.warning("there is no host just now that could hear that the worker is %s", event.name)
        else:
            self._events.append(event)

    def _end_beat(self) -> None:
        if self._beats:
            self._beats = False
            if self._slot is not None and self._slot.ready:
                self._events.append(Event(BEAT_ENDS))

    def _pass_beat(self) -> None:
        slot = self._slot
        if slot is not None and slot.ready and not (slot.clogged or slot.stopping or self._events):
            slot.send(Event(ALIVE))

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until closed."""
        self._selector.register(self._bell, selectors.EVENT_READ)
        try:
            while not self._over:
                for key, _ in self._selector.select(self._pause()):
                    if key.data is None:
                        self._bell.hush()
                    else:
                        self._hear(key.data, dead=key.fd == key.data.pidfd)
                while self._notes:
                    self._notes.popleft()()
                self._look_at_clock()
                self._go_on()
        finally:
            with self._lock:
                self._ended = True
            while self._notes:
                self._notes.popleft()()
            self._give_up()
            self._lines.gone()
            if self._slot is not None:
                self._slot.kill("the worker has ended")
                self._slot.close()
            self._selector.close()

    @property
    def _over(self) -> bool:
        return self._closing and self._slot is None and not self._requested and not self._questions

    def _pause(self) -> float | None:
        wanted = self._wanted_at if self._slot is None and not (self._requested or self._closing) else None
        moments = (self._due, self._lines.due, wanted)
        return min((max(0.0, moment - boottime()) for moment in moments if moment is not None), default=None)

    def _look_at_clock(self) -> None:
        if self._due is None or boottime() < self._due:
            return
        self._due = None
        if self._slot is None:
            self._failed("the host does not start")
        else:
            self._hear(self._slot, dead=False)  # this thread may have been stopped since it last listened
            if self._slot is not None and (self._asked or not self._slot.ready):
                self._slot.kill("it does not answer" if self._slot.ready else "it does not get ready")

    def _go_on(self) -> None:
        """Put the next question, pass on events, and see to it that somebody is there to hear them."""
        slot = self._slot
        self._lines.look(ready=slot is not None and slot.ready)
        if slot is None and not self._requested and (self._questions or self._events or self._wanted):
            self._request()
        if self._questions and self._due is None and not (slot and slot.ready):
            self._due = boottime() + (HURRY_LIMIT if self._hurried else BOOT_LIMIT)
        if slot is None:
            return
        if slot.ready:
            while not slot.clogged and (line := self._lines.next()) is not None:
                slot.send(line)
                slot.flush()
            for event in self._events:
                slot.send(event)
            self._events.clear()
            if self._questions and not self._asked:
                first = self._questions[0]
                first.tries += 1
                self._asked = True
                slot.send(Killed(first.delivery, first.death))
                self._due = boottime() + (HURRY_LIMIT if self._hurried else ANSWER_LIMIT)
            if self._closing and not self._questions and not slot.stopping:
                slot.stopping = True
                slot.send(Stop())
        elif self._closing and not self._questions:
            slot.kill("the worker stops")
        slot.flush()
        self._selector.modify(slot.channel, selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.clogged else 0), slot)

    @property
    def _wanted(self) -> bool:
        return self._wanted_at is not None and not self._closing and boottime() >= self._wanted_at

    # -- what it says ---------------------------------------------------------------------------------------------

    def _hear(self, slot: Slot, *, dead: bool) -> None:
        if slot is not self._slot:
            return  # buried in this same round
        try:
            for frame in slot.read(everything=dead):
                self._obey(slot, frame)
        except EOFError:
            dead = True
        if dead:
            self._bury(slot)

    def _obey(self, slot: Slot, frame: Frame) -> None:
        match frame:
            case Done() if self._asked and frame.delivery_id == self._questions[0].delivery.id:
                self._asked = False
                self._due = None
                self._questions.popleft().answer(frame)
            case CallOff(calls):
                self._wanted_at = self._wanted_at or boottime()
                self._on_called_off(calls)
            case Written(count):
                self._lines.written(count)
            case Ready():
                slot.ready = self._once = True
                self._lines.ready()
                self._due = None
                self._failures = 0
                if self._beats:
                    self._events.append(Event(BEAT))
                    self._wanted_at = self._wanted_at or boottime()
                log.debug("%s is ready", slot)
            case NotReady():
                slot.killed = f"it could not load the app: {frame.reason}"
                self._not_ready = frame
                if frame.retry_without_preload and self._spawner.without_preload(frame.forkserver_pid):
                    log.warning("%s; every executor imports for itself now", frame.reason)
            case _:
                log.error("%s said %s, which nobody has asked for", slot, type(frame).__name__)

    # -- it comes and goes ----------------------------------------------------------------------------------------

    def _request(self) -> None:
        self._requested = True
        self._spawner.request_host(self._arrived_later, self._failed_later)

    def _arrived(self, slot: Slot) -> None:
        if not self._requested:  # given up meanwhile
            slot.kill("it came too late")
            slot.close()
            return
        self._requested = False
        self._slot = slot
        self._selector.register(slot.channel, selectors.EVENT_READ, slot)
        if slot.pidfd is not None:
            self._selector.register(slot.pidfd, selectors.EVENT_READ, slot)

    def _failed(self, why: str) -> None:
        """There is no host, and none on its way."""
        self._not_soon()
        self._requested = False
        self._due = None
        self._failures += 1
        refusal, self._not_ready = self._not_ready, None
        if self._failures < MOST_FAILURES and not self._closing and (refusal is None or refusal.retry_without_preload):
            level = logging.WARNING if refusal is None else logging.DEBUG  # the executors say so, too
            log.log(level, "%s; it is started again when it is needed", why)
            return
        level = logging.ERROR if self._questions or refusal is None else logging.DEBUG
        log.log(level, "%s; what becomes of killed tasks is decided without it", why)
        self._failures = 0
        self._events.clear()
        self._lines.gone()
        self._give_up()

    def _bury(self, slot: Slot) -> None:
        slot.kill_group()
        self._selector.unregister(slot.channel)
        if slot.pidfd is not None:
            self._selector.unregister(slot.pidfd)
        how = slot.describe_end() + (f" ({slot.killed})" if slot.killed else "")
        slot.close()
        self._lines.gone()
        self._slot = None
        self._due = None
        self._not_soon()
        if slot.stopping:
            return
        if not slot.ready:
            self._failed(f"{slot} {how} before it was ready")
            return
        asked, self._asked = self._asked, False
        if not asked:
            log.error("%s %s; it is started again when it is needed", slot, how)
            return
        first = self._questions[0]
        log.error("%s %s when it was told of %s; it is started again when it is needed", slot, how, first.delivery)
        if not first.death.acked_early or first.tries >= MOST_TRIES:
            self._questions.popleft().answer(None)

    def _not_soon(self) -> None:
        if self._wanted_at is not None:
            self._wanted_at = boottime() + WATCH_AGAIN

    def _give_up(self) -> None:
        while self._questions:
            self._questions.popleft().answer(None)

    # -- the end --------------------------------------------------------------------------------------------------

    def _hurry(self) -> None:
        self._hurried = True
        if self._questions:
            soon = boottime() + HURRY_LIMIT
            self._due = soon if self._due is None else min(self._due, soon)

    def _close(self) -> None:
        self._closing = True
        if self._slot is None or not self._slot.ready:
            self._events.clear()
        if not self._questions:
            self._requested = False  # one that is still on its way is not waited for

    def _kill(self) -> None:
        self._closing = True
        self._lines.gone()
        self._give_up()
        self._asked = False
        if self._slot is not None:
            log.warning("%s is killed: it does not leave", self._slot)
            self._slot.stopping = True
            self._slot.kill("it does not leave")
        self._requested = False
