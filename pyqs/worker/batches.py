"""Collects entries into batches of ten per lane, for several threads to carry out.

Owns: the lanes, when a lane is due, and the pause of one that fails. For any thread. Never looks into an entry.

A lane is due when it holds a batch or its oldest entry has waited a few milliseconds, and it is not pausing. A lane may have as
many batches under way as threads are left for the others: half of them, then half of what remains, so that one whose calls do
not return holds up nobody else.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pyqs.backoff import NetworkBackoff
from pyqs.config import MAX_BATCH

Lane = TypeVar("Lane")
Entry = TypeVar("Entry")

#: Seconds that an entry waits for company.
LINGER = 0.01
#: Seconds until the entries of a batch that were not accepted, as others were, are tried again.
DEFERRED = 0.5


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Entry]):
    entries: deque[tuple[float, Entry]] = field(default_factory=deque)
    #: When each may join the entries again, soonest first.
    deferred: deque[tuple[float, Entry]] = field(default_factory=deque)
    not_before: float = 0.0
    backoff: NetworkBackoff = field(default_factory=lambda: NetworkBackoff(base=0.2, cap=10.0))


class Batches(Generic[Lane, Entry]):
    """Lanes of entries. ``take`` is for the threads that carry them out, which say ``done`` after each batch.

    Parameters:
        takers: how many threads those are.
    """

    def __init__(self, takers: int, *, linger: float = LINGER, clock: Callable[[], float] = time.monotonic) -> None:
        self._takers = takers
        self._linger = linger
        self._clock = clock
        self._changed = threading.Condition()
        self._lanes: dict[Lane, _Waiting[Entry]] = {}
        self._under_way: Counter[Lane] = Counter()
        self._closed = False
        self._abandoned = False

    def put(self, lane: Lane, entry: Entry) -> None:
        """Add one entry."""
        with self._changed:
            waiting = self._lanes.setdefault(lane, _Waiting())
            waiting.entries.append((self._clock(), entry))
            # A thread is woken to watch the time of a new lane, and again when a batch is full.
            if len(waiting.entries) % MAX_BATCH in (0, 1):
                self._changed.notify()

    def retry(self, lane: Lane, entries: Sequence[Entry]) -> None:
        """Put entries back in front, and let their lane pause, longer each time."""
        with self._changed:
            waiting = self._lanes.setdefault(lane, _Waiting())
            now = self._clock()
            waiting.entries.extendleft((now, entry) for entry in reversed(entries))
            waiting.not_before = now + waiting.backoff.failed()
            self._changed.notify()

    def defer(self, lane: Lane, entries: Sequence[Entry]) -> None:
        """Others of their batch were accepted: the lane works, and these come again in a moment, behind what waits."""
        with self._changed:
            waiting = self._lanes.setdefault(lane, _Waiting())
            waiting.not_before = 0.0
            waiting.backoff.succeeded()
            at = self._clock() + DEFERRED
            waiting.deferred.extend((at, entry) for entry in entries)
            self._changed.notify()

    def succeeded(self, lane: Lane) -> bool:
        """The lane works; True when it had been failing."""
        with self._changed:
            waiting = self._lanes.get(lane)
            if waiting is None or not waiting.backoff.failures:
                return False
            waiting.not_before = 0.0
            return waiting.backoff.succeeded()

    def failing(self, lane: Lane) -> bool:
        """Whether the lane's last try failed."""
        with self._changed:
            waiting = self._lanes.get(lane)
            return waiting is not None and waiting.backoff.failures > 0

    def failures(self) -> list[Lane]:
        """Every lane whose last try failed."""
        with self._changed:
            return [lane for lane, waiting in self._lanes.items() if waiting.backoff.failures]

    def take(self) -> tuple[Lane, list[Entry]] | None:
        """Wait for a batch, which is under way until ``done``; None when there is nothing more to do."""
        with self._changed:
            while True:
                if self._abandoned:
                    return None
                now = self._clock()
                due, at = self._due(now)
                if due is not None:
                    self._under_way[due] += 1
                    waiting = self._lanes.pop(due)
                    entries = [waiting.entries.popleft()[1] for _ in range(min(MAX_BATCH, len(waiting.entries)))]
                    if waiting.entries or waiting.deferred or waiting.backoff.failures:
                        self._lanes[due] = waiting  # at the end: the other lanes come first
                        if waiting.entries or waiting.deferred:
                            self._changed.notify()
                    return due, entries
                if self._closed and not any(one.entries or one.deferred for one in self._lanes.values()):
                    self._changed.notify()  # the next one sees the same
                    return None
                self._changed.wait(None if at == float("inf") else at - now)

    def done(self, lane: Lane) -> None:
        """A batch of this lane, taken before, is under way no more."""
        with self._changed:
            self._under_way[lane] -= 1
            if not self._under_way[lane]:
                del self._under_way[lane]
            self._changed.notify()  # a lane that had to leave the rest to others may be due

    def _due(self, now: float) -> tuple[Lane | None, float]:
        """A lane that is due, or None and when one will be, as far as that does not hang on a batch under way."""
        soonest = float("inf")
        free = self._takers - self._under_way.total()
        for lane, waiting in self._lanes.items():
            if self._under_way[lane] >= free:
                continue
            while waiting.deferred and waiting.deferred[0][0] <= now:
                waiting.entries.append(waiting.deferred.popleft())
            if waiting.deferred:
                soonest = min(soonest, waiting.deferred[0][0])
            if not waiting.entries:
                continue
            full = self._closed or len(waiting.entries) >= MAX_BATCH
            at = max(waiting.not_before, now if full else waiting.entries[0][0] + self._linger)
            if at <= now:
                return lane, now
            soonest = min(soonest, at)
        return None, soonest

    def close(self) -> None:
        """Nothing waits for company any more; ``take`` answers None once all is empty, retries included."""
        with self._changed:
            self._closed = True
            for waiting in self._lanes.values():
                waiting.not_before = 0.0  # one more try at once
                waiting.entries.extend(waiting.deferred)
                waiting.deferred.clear()
            self._changed.notify_all()

    def abandon(self) -> list[Entry]:
        """End every ``take``; what was still waiting."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
            return [entry for waiting in self._lanes.values() for _, entry in (*waiting.entries, *waiting.deferred)]
