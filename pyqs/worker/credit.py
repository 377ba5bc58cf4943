"""How much this worker may hold: never more than can be run soon.

Owns: the measured run time of each queue's tasks, what is held, and from both the room for more. Called from fetchers
and the pool; one lock. Never blocks but in ``wait``.
"""

from __future__ import annotations

import threading
from collections import Counter

#: Seconds of work that one executor may hold. More than one delivery only while their sum stays under this.
HOLD_SECONDS = 0.1
#: Most deliveries for one executor, however short they are.
MAX_DEPTH = 50
#: Weight of the newest measurement in the moving average: quick to notice that tasks became long.
_WEIGHT = 0.2


class Credit:
    """Counts what is held against what can be run.

    Parameters:
        bound: most deliveries held at once, whatever credit says; None for no bound.
    """

    def __init__(self, bound: int | None = None) -> None:
        self._bound = bound
        self._executors = 0
        self._mean: dict[str, float] = {}
        self._held: Counter[str] = Counter()
        self._total = 0
        self._asked = 0
        self._changed = threading.Condition()

    def executors(self, ready: int) -> None:
        """So many executors can take work now."""
        with self._changed:
            self._executors = ready
            self._changed.notify_all()

    def depth(self, queue: str) -> int:
        """Deliveries of this queue that one executor may hold."""
        mean = self._mean.get(queue)
        if mean is None:
            return 1
        return max(1, min(MAX_DEPTH, int(HOLD_SECONDS / max(mean, 1e-6))))

    def seconds(self, queue: str) -> float:
        """The expected run time of one task of this queue; HOLD_SECONDS while nothing is known."""
        return self._mean.get(queue, HOLD_SECONDS)

    def measured(self, queue: str, seconds: float) -> None:
        """One task of this queue took so long."""
        mean = self._mean.get(queue)
        # A long task counts in full at once; short ones bring the mean down slowly.
        self._mean[queue] = seconds if mean is None or seconds > HOLD_SECONDS else mean + _WEIGHT * (seconds - mean)

    def taken(self, queue: str, count: int) -> None:
        """So many deliveries have come in."""
        with self._changed:
            self._held[queue] += count
            self._total += count

    def ended(self, queue: str, count: int = 1) -> None:
        """So many are no longer held."""
        with self._changed:
            self._held[queue] -= count
            self._total -= count
            self._changed.notify_all()

    def wait(self, queue: str, most: int, timeout: float) -> int:
        """Wait until this queue may bring more; answers how many (1 to ``most``), or 0 after ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._room(queue) > 0, timeout)
            return max(0, min(most, self._room(queue)))

    def is_hungry(self, queue: str) -> bool:
        """True while executors could take more from this queue than is held: another fetcher is worth it."""
        with self._changed:
            return self._room(queue) > 0

    @property
    def total(self) -> int:
        """Deliveries held by this worker."""
        return self._total

    def held(self, queue: str) -> int:
        """Deliveries of this queue held by this worker."""
        return self._held[queue]

    def wake(self) -> None:
        """Let every waiting fetcher look again."""
        with self._changed:
            self._changed.notify_all()

    def _room(self, queue: str) -> int:
        capacity = self._executors * self.depth(queue)
        if self._bound is not None:
            capacity = min(capacity, self._bound)
        return capacity - self._total
