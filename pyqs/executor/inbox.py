"""What an executor holds: deliveries in order, the one in hand, and when which goes back unstarted.

Owns: the state that an executor's two threads share, and the moment at which a delivery counts as started. The reader
thread puts in, recalls and keeps the time; the main thread takes, starts and finishes. Never starts a delivery whose
``start_before`` has passed, never hands one back that has started, and hands each back once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from pyqs.clock import boottime
from pyqs.wire import Run

#: Seconds with one delivery in hand after which what waits behind it is handed back (design decision 4).
HAND_BACK_AFTER = 0.5
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
        self._changed = threading.Condition()
        self._held: deque[Run] = deque()
        self._current: Run | None = None
        self._since = 0.0
        self._started = False
        self._withdrawn = False
        self._stopping = False
        self._closed = False

    # -- reader thread ------------------------------------------------------------------------------------------------

    def put(self, run: Run) -> None:
        """Hold one more; behind a long one it goes back at once."""
        with self._changed:
            held = not (self._stopping or self._closed) and not self._long()
            if held:
                self._held.append(run)
                self._changed.notify()
        if not held:
            self._hand_back((run.delivery.id,))

    def recall(self) -> None:
        """Everything that has not started goes back, the one in hand included if its task is not running yet."""
        with self._changed:
            back = self._empty()
            self._withdrawn = True
            self._changed.notify()
        self._return(back)

    def stop(self) -> None:
        """As ``recall``, for good: ``take`` answers None once the running one has ended."""
        with self._changed:
            self._stopping = True
        self.recall()

    def look(self) -> float | None:
        """Hand back what must go now; answer the seconds until the next look, None when nothing is in hand or held."""
        with self._changed:
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
            with self._changed:
                while not self._held and not self._stopping:
                    self._changed.wait()
                if not self._held:
                    return None
                run = self._held.popleft()
                if run.start_before > self._clock():
                    self._current, self._since = run, self._clock()
                    self._started = self._withdrawn = False
                    return run
            self._hand_back((run.delivery.id,))

    def start(self, start_at: float | None) -> bool:
        """Wait until ``start_at`` (wall clock, or None) and start the delivery in hand; False if it went back instead."""
        with self._changed:
            run = self._current
            assert run is not None
            while start_at is not None and not self._withdrawn:
                left = min(start_at - self._wall(), run.start_before - self._clock())
                if left <= 0:
                    break
                self._changed.wait(left)
            self._started = not self._withdrawn and self._clock() < run.start_before
            if self._started:
                return True
            self._current = None
        self._hand_back((run.delivery.id,))
        return False

    def finish(self) -> None:
        """The delivery in hand has ended. Called before the worker is told, so that what it sends then is held."""
        with self._changed:
            self._current = None

    def close(self) -> None:
        """Nothing is taken any more: what waits here goes back, what comes too, until ``stop``."""
        with self._changed:
            self._closed = True
            back = self._empty()
        self._return(back)

    # -- with the lock held -------------------------------------------------------------------------------------------

    def _long(self) -> bool:
        return self._current is not None and self._clock() - self._since >= HAND_BACK_AFTER

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

    def _return(self, back: tuple[int, ...]) -> None:
        if back:
            self._hand_back(back)
