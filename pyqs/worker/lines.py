"""Log lines of the worker that the host is to write, until it has written them.

Owns: which lines wait, and which were sent and not written yet. ``add`` is called in any thread; the rest in the host's own.
What the host does not write in time is given back, to be written by whoever has added it: a line may then be logged twice, if
the host gets round to it after all, but none is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from pyqs.clock import boottime
from pyqs.wire import Line

#: Seconds in which the host has written a line, and how many may be on their way.
PATIENCE = 5.0
MOST = 10_000

GiveBack = Callable[[], None]


class Lines:
    """Lines on their way.

    Parameters:
        taken: whether there will be a host to write them.
    """

    def __init__(self, *, taken: bool, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Line, GiveBack, float]] = deque()
        self._sent: deque[tuple[GiveBack, float]] = deque()
        #: Lines that were given back and may be written by the host nevertheless.
        self._behind = 0
        self._taken = taken

    def add(self, line: Line, give_back: GiveBack) -> bool:
        """Have a line written; False if that is left to the caller. ``give_back`` is called where it is later."""
        with self._lock:
            if not self._taken or self._behind or len(self._waiting) + len(self._sent) >= MOST:
                return False
            self._waiting.append((line, give_back, self._clock()))
            return True

    def ready(self) -> None:
        """There is a host, which has heard of nothing yet."""
        with self._lock:
            self._taken, self._behind = True, 0

    def next(self) -> Line | None:
        """The next one to send, from now on sent."""
        with self._lock:
            if not self._waiting:
                return None
            line, give_back, _ = self._waiting.popleft()
            self._sent.append((give_back, self._clock()))
            return line

    def written(self, count: int) -> None:
        """The host has written so many more."""
        with self._lock:
            late = min(count, self._behind)
            self._behind -= late
            for _ in range(min(count - late, len(self._sent))):
                self._sent.popleft()

    @property
    def due(self) -> float | None:
        """Boot-time second at which the oldest has waited for too long; None while none waits."""
        with self._lock:
            oldest = self._sent[0][1] if self._sent else self._waiting[0][2] if self._waiting else None
            return None if oldest is None else oldest + PATIENCE

    def look(self, *, ready: bool) -> None:
        """Give back what has waited for too long, and take no more until the host is there, or has caught up."""
        due = self.due
        if due is not None and self._clock() >= due:
            self._give_back(behind=ready, taken=ready)

    def gone(self) -> None:
        """There is no host, or none to wait for."""
        self._give_back(behind=False, taken=False)

    def _give_back(self, *, behind: bool, taken: bool) -> None:
        with self._lock:
            back = [give_back for give_back, _ in self._sent] + [give_back for _, give_back, _ in self._waiting]
            self._behind = self._behind + len(self._sent) if behind else 0
            self._taken = taken
            self._sent.clear()
            self._waiting.clear()
        for give_back in back:
            give_back()
