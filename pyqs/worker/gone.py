"""Queues that SQS says do not exist: since when, and when each is tried again.

Owns: those names. Fetchers note them, discovery asks; for any thread. Never asks SQS.

One such answer may be a stray one, and a queue may be created again at any moment: it is tried again soon, then less often. A
deleted queue may go on being listed for a minute, and may not be created again for as long (SQS API reference, DeleteQueue).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from pyqs.backoff import NetworkBackoff
from pyqs.clock import boottime

#: Seconds for which a deleted queue may still be listed, and not be created again.
GONE = 60.0


@dataclass(eq=False, slots=True)
class _Queue:
    noticed: float = 0.0
    again: float = 0.0
    backoff: NetworkBackoff = field(default_factory=NetworkBackoff)


class Gone:
    """The queues that were gone when last asked."""

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}

    def notice(self, queue: str, *, anew: bool) -> None:
        """SQS says so; ``anew`` after it had answered."""
        with self._lock:
            one = self._queues.get(queue)
            if one is None or anew:
                one = self._queues[queue] = _Queue()
            one.noticed = self._clock()
            one.again = one.noticed + one.backoff.failed()

    def waiting(self) -> set[str]:
        """Names that are not to be received from yet."""
        now = self._clock()
        with self._lock:
            return {name for name, one in self._queues.items() if one.again > now}

    def uncreatable(self, queue: str) -> bool:
        """Whether SQS would refuse to create it, because it was there a moment ago."""
        with self._lock:
            one = self._queues.get(queue)
            return one is not None and self._clock() - one.noticed < GONE

    def settle(self, answered: Iterable[str], found: Collection[str]) -> set[str]:
        """Forget those that have ``answered`` and those that have not been ``found`` for a minute; their names."""
        now = self._clock()
        with self._lock:
            over = {name for name, one in self._queues.items() if name not in found and now - one.noticed >= GONE}
            over |= self._queues.keys() & set(answered)
            for name in over:
                del self._queues[name]
        return over

    def pause(self, longest: float) -> float:
        """Seconds until the next of them should be tried or looked at, at most ``longest``."""
        now = self._clock()
        with self._lock:
            return min([longest, *(one.again - now for one in self._queues.values() if one.again > now)])

    def __bool__(self) -> bool:
        return bool(self._queues)
