"""The calls that were called off, as each process of a worker that can stop one keeps them.

Owns: ``CalledOffCalls``. The worker's pool thread has one, from which executors that come later learn what was said before; in
an executor the reader thread adds to one and the main thread looks. Never decides what becomes of a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice

from pyqs.message import CalledOff

#: How many are kept; the oldest go first.
MOST = 50_000
#: Seconds between two looks for those that no longer count.
TIDY_EVERY = 60.0


class CalledOffCalls:
    """Calls by their ids, each as long as it counts.

    Parameters:
        wall: seconds since the epoch.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._tidy_at = 0.0
        #: The oldest first. For those who look before each task, and find it empty nearly always: to be read only.
        self.by_id: dict[str, CalledOff] = {}

    def add(self, calls: Iterable[CalledOff]) -> tuple[CalledOff, ...]:
        """Keep these; those that are news: not known before, or only now to be killed where they run."""
        now = self._wall()
        news = []
        for one in calls:
            known = self.by_id.get(one.call_id)
            if one.until <= now or (known is not None and (known.signal or not one.signal)):
                continue
            self.by_id[one.call_id] = one
            news.append(one)
        self._tidy(now)
        return tuple(news)

    def _tidy(self, now: float) -> None:
        gone = []
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY
            gone = [one.call_id for one in self.by_id.values() if one.until <= now]
        gone += islice(self.by_id, max(0, len(self.by_id) - MOST))
        for call_id in gone:
            self.by_id.pop(call_id, None)
