"""When a burst is over: every queue has answered two receives in a row with nothing, and nothing is held here.

Owns: that count. Fetchers report answers, the main thread asks. Never reads a queue's attributes, so it needs no permission
beyond receiving; what is delayed, hidden or held by others is not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pyqs.clock import boottime

#: Empty answers in a row that make a queue drained: one alone may be SQS's short sample.
ENOUGH = 2


class Burst:
    """Counts empty answers. Only receives that were begun after the last thing that happened here count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._empty: dict[str, int] = {}
        self._changed_at = boottime()

    def answered(self, queue: str, begun_at: float, count: int) -> None:
        """A receive begun at ``begun_at`` (boot-time clock) has brought ``count`` messages."""
        with self._lock:
            if count:
                self._empty.clear()
                self._changed_at = boottime()
            elif begun_at >= self._changed_at:
                self._empty[queue] = self._empty.get(queue, 0) + 1

    def settled(self) -> None:
        """A delivery has ended, which may have brought new messages about."""
        with self._lock:
            self._empty.clear()
            self._changed_at = boottime()

    def drained(self, queues: Iterable[str]) -> bool:
        """Whether each of these has answered with nothing often enough."""
        with self._lock:
            return all(self._empty.get(queue, 0) >= ENOUGH for queue in queues)
