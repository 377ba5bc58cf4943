"""When a burst is over: every queue has answered two receives in a row with nothing, and nothing is held here. And when it
cannot go on: no receive has worked for a while.

Owns: those counts. Fetchers report answers and failures, the main thread asks. Never reads a queue's attributes, so it needs
no permission beyond receiving; what is delayed, hidden or held by others is not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from pyqs.clock import boottime

#: Empty answers in a row that make a queue drained: one alone may be SQS's short sample.
ENOUGH = 2
#: Failed receives in a row, and seconds since the first of them, after which a burst, which must end, gives up. The count alone
#: would make a moment's throttling of a dozen fetchers the end; the time alone, one try that was long in failing.
MOST_FAILURES = 6
PATIENCE = 20.0


class Burst:
    """Counts empty answers. Only receives that were begun after the last thing that happened here count."""

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._empty: dict[str, int] = {}
        self._changed_at = clock()
        self._failures = 0
        self._failing_since = 0.0

    def answered(self, queue: str, begun_at: float, count: int) -> None:
        """A receive begun at ``begun_at`` (boot-time clock) has brought ``count`` messages."""
        with self._lock:
            self._failures = 0
            if count:
                self._empty.clear()
                self._changed_at = self._clock()
            elif begun_at >= self._changed_at:
                self._empty[queue] = self._empty.get(queue, 0) + 1

    def settled(self) -> None:
        """A delivery has ended, which may have brought new messages about."""
        with self._lock:
            self._empty.clear()
            self._changed_at = self._clock()

    def failed(self) -> bool:
        """A receive has failed. Answers whether none has worked for so long that it is of no use to go on."""
        with self._lock:
            if not self._failures:
                self._failing_since = self._clock()
            self._failures += 1
            return self._failures >= MOST_FAILURES and self._clock() - self._failing_since >= PATIENCE

    def drained(self, queues: Iterable[str]) -> bool:
        """Whether each of these has answered with nothing often enough."""
        with self._lock:
            return all(self._empty.get(queue, 0) >= ENOUGH for queue in queues)
