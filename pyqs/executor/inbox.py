"""What an executor holds: deliveries in order, the one in hand, and when which goes back unstarted.

Owns: the state that an executor's two threads share, and the moment at which a delivery counts as started. The reader
thread puts in, recalls and keeps the time; the main thread takes, starts and finishes. Never starts a delivery whose
``start_before`` has passed, never hands one back that has started, and hands each back once.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from pyqs.clock import boottime
from pyqs.wire import Admitted, Postponed, Run

#: Seconds with one delivery in hand after which what waits behind it is handed back (design decision 4).
HAND_BACK_AFTER = 0.5
#: Seconds of waiting for a rate limit after which it is, too.
SHORT_WAIT = 0.1
#: Seconds between two looks while something is in hand: the main thread starts the next delivery without a word.
TICK = 0.25


class Inbox:
    """The deliveries of one executor.

    Parameters:
        hand_back: tells the worker that these delivery ids will not be started here; called without the lock.
        clock: seconds, as ``boottime``.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        hand_back: Callable[[tuple[int, ...]], None],
        clock: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._hand_back = hand_back
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()  # not a Condition's own: that one is entered by way of two calls in Python
        self._changed = threading.Condition(self._lock)
        self._held: deque[Run] = deque()
        self._current: Run | None = None
        self._since = 0.0
        self._started = False
        self._withdrawn = False
        self._stopping = False
        self._closed = False
        self._answer: Admitted | Postponed | None = None
        self._idle = False

    # -- reader thread ------------------------------------------------------------------------------------------------

    def put(self, run: Run) -> None:
        """Hold one more; behind a long one it goes back at once."""
        with self._lock:
            held = not (self._stopping or self._closed) and (self._current is None or not self._long())
            if held:
                self._held.append(run)
                if self._idle:  # else nobody waits for it
                    self._changed.notify()
        if not held:
            self._hand_back((run.delivery.id,))

    def recall(self) -> None:
        """Everything that has not started goes back, the one in hand included if its task is not running yet."""
        with self._lock:
            back = self._empty()
            self._withdrawn = True
            self._changed.notify()
        self._return(back)

    def stop(self) -> None:
        """As ``recall``, for good: ``take`` answers None once the running one has ended."""
        with self._lock:
            self._stopping = True
        self.recall()

    def answer(self, frame: Admitted | Postponed) -> None:
        """The worker's word on the delivery in hand, which has asked whether it may start."""
        with self._lock:
            if self._current is not None and self._current.delivery.id == frame.delivery_id:
                self._answer = frame
                self._changed.notify()

    def look(self) -> float | None:
        """Hand back what must go now; answer the seconds until the next look, None when nothing is in hand or held."""
        with self._lock:
            now = self._clock()
            if self._long():
                back = self._empty()
            else:
                back = tuple(run.delivery.id for run in self._held if run.start_before <= now)
                if back:
                    self._held = deque(run for run in self._held if run.start_before > now)
            wait = self._next_look(now)
        self._return(back)
        return wait

    @property
    def running(self) -> bool:
        """Whether a delivery has started and not ended."""
        return self._current is not None and self._started

    # -- main thread --------------------------------------------------------------------------------------------------

    def take(self) -> Run | None:
        """The next delivery, waited for; None after ``stop``."""
        while True:
            with self._lock:
                while not self._held and not self._stopping:
                    self._idle = True
                    self._changed.wait()
                    self._idle = False
                if not self._held:
                    return None
                run = self._held.popleft()
                now = self._clock()
                if run.start_before > now:
                    self._current, self._since = run, now
                    self._started = self._withdrawn = False
                    self._answer = None
                    return run
            self._hand_back((run.delivery.id,))

    def start(self, start_at: float | None, wait: float = 0.0) -> bool:
        """Wait for ``wait`` seconds and until ``start_at`` (wall clock, or None), and start the delivery in hand.

        False if it went back instead.
        """
        with self._lock:
            if start_at is None and not wait:
                self._started = self._may_start()
            else:
                first = self._clock() + wait
                self._started = self._wait(lambda: max(first - self._clock(), self._left(start_at)))
            if self._started:
                self._answer = None
                return True
        self._give_up()
        return False

    def ask(self, start_at: float | None, send: Callable[[], None]) -> Admitted | Postponed | None:
        """Wait until ``start_at``, ask the worker by ``send``, and wait for its word on the delivery in hand.

        None if it went back instead.
        """
        with self._lock:
            due = self._wait(lambda: self._left(start_at))
        if due:
            send()
            with self._lock:
                if self._wait(lambda: math.inf if self._answer is None else 0.0):
                    return self._answer
        self._give_up()
        return None

    def finish(self) -> None:
        """The delivery in hand has ended. Called before the worker is told, so that what it sends then is held."""
        with self._lock:
            self._current = None

    def close(self) -> None:
        """Nothing is taken any more: what waits here goes back, what comes too, until ``stop``."""
        with self._lock:
            self._closed = True
            back = self._empty()
        self._return(back)

    # -- with the lock held -------------------------------------------------------------------------------------------

    def _long(self) -> bool:
        if self._current is None:
            return False
        waits = isinstance(self._answer, Admitted) and self._answer.wait > SHORT_WAIT
        return waits or self._clock() - self._since >= HAND_BACK_AFTER

    def _left(self, start_at: float | None) -> float:
        return 0.0 if start_at is None else start_at - self._wall()

    def _may_start(self) -> bool:
        """Whether the delivery in hand may start still."""
        assert self._current is not None
        return not self._withdrawn and self._clock() < self._current.start_before

    def _wait(self, left: Callable[[], float]) -> bool:
        """Wait until no seconds are ``left``; False when the delivery in hand must not start any more."""
        assert self._current is not None
        while self._may_start():
            seconds = left()
            if seconds <= 0:
                return True
            self._changed.wait(min(seconds, self._current.start_before - self._clock()))
        return False

    def _empty(self) -> tuple[int, ...]:
        back = tuple(run.delivery.id for run in self._held)
        self._held.clear()
        return back

    def _next_look(self, now: float) -> float | None:
        if self._current is None and not self._held:
            return None
        moments = [now + TICK, *(run.start_before for run in self._held)]
        if self._current is not None and self._held:
            moments.append(self._since + HAND_BACK_AFTER)
        return max(0.0, min(moments) - now)

    # -- without it ---------------------------------------------------------------------------------------------------

    def _give_up(self) -> None:
        """The delivery in hand goes back unstarted."""
        run = self._current
        assert run is not None
        with self._lock:
            self._current = None
        self._hand_back((run.delivery.id,))

    def _return(self, back: tuple[int, ...]) -> None:
        if back:
            self._hand_back(back)
