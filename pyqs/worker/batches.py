"""Collects entries into batches of ten per lane, for several threads to carry out.

Owns: the lanes, when a lane is due, and the pause of one that fails. For any thread. Never looks into an entry.

A lane is due when it holds a batch or its oldest entry has waited a few milliseconds, and it is not pausing. A lane may have as
many batches under way as threads are left for the others: half of them, then half of what remains, so that one whose calls do
not return holds up nobody else.

One waiting thread keeps the time for all, and a thread is woken only for a full batch or when nobody keeps the time: waking one
for each new lane was a fifth of the worker's work (profiled).
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
        takers: how many threads those are, at most.
        short_of: called, with the lock held, when something is to be done, now or soon, and none of them waits.
    """

    def __init__(
        self,
        takers: int,
        *,
        linger: float = LINGER,
        clock: Callable[[], float] = time.monotonic,
        short_of: Callable[[], None] = lambda: None,
    ) -> None:
        self._takers = takers
        self._short_of = short_of
        #: Threads in ``take`` that wait.
        self._idle = 0
        self._linger = linger
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._lanes: dict[Lane, _Waiting[Entry]] = {}
        self._under_way: Counter[Lane] = Counter()
        self._busy = 0
        #: Until when somebody waits to look again; a list, so that who waits knows whether it is still the one.
        self._watch: list[float] | None = None
        #: A lane with something in it was passed over, because it has its share of the threads.
        self._passed_over = False
        self._closed = False
        self._abandoned = False

    def put(self, lane: Lane, entry: Entry) -> None:
        """Add one entry."""
        with self._lock:
            waiting = self._lanes.get(lane)
            if waiting is None:
                waiting = self._lanes[lane] = _Waiting()
            now = self._clock()
            waiting.entries.append((now, entry))
            full = not len(waiting.entries) % MAX_BATCH
            if not self._idle and (full or len(waiting.entries) == 1):
                self._short_of()
            elif full or self._watch is None or self._watch[0] > now + self._linger:
                self._changed.notify()

    def retry(self, lane: Lane, entries: Sequence[Entry]) -> None:
        """Put entries back in front, and let their lane pause, longer each time."""
        with self._lock:
            waiting = self._lanes.setdefault(lane, _Waiting())
            now = self._clock()
            waiting.entries.extendleft((now, entry) for entry in reversed(entries))
            waiting.not_before = now + waiting.backoff.failed()
            self._changed.notify()

    def defer(self, lane: Lane, entries: Sequence[Entry]) -> None:
        """Others of their batch were accepted: the lane works, and these come again in a moment, behind what waits."""
        with self._lock:
            waiting = self._lanes.setdefault(lane, _Waiting())
            waiting.not_before = 0.0
            waiting.backoff.succeeded()
            at = self._clock() + DEFERRED
            waiting.deferred.extend((at, entry) for entry in entries)
            self._changed.notify()

    def succeeded(self, lane: Lane) -> bool:
        """The lane works; True when it had been failing."""
        with self._lock:
            waiting = self._lanes.get(lane)
            if waiting is None or not waiting.backoff.failures:
                return False
            waiting.not_before = 0.0
            return waiting.backoff.succeeded()

    def failing(self, lane: Lane) -> bool:
        """Whether the lane's last try failed."""
        with self._lock:
            waiting = self._lanes.get(lane)
            return waiting is not None and waiting.backoff.failures > 0

    def failures(self) -> list[Lane]:
        """Every lane whose last try failed."""
        with self._lock:
            return [lane for lane, waiting in self._lanes.items() if waiting.backoff.failures]

    def take(self) -> tuple[Lane, list[Entry]] | None:
        """Wait for a batch, which is under way until ``done``; None when there is nothing more to do."""
        with self._lock:
            while True:
                if self._abandoned:
                    return None
                now = self._clock()
                due, at = self._due(now)
                if due is not None:
                    self._under_way[due] += 1
                    self._busy += 1
                    waiting = self._lanes.pop(due)
                    entries = [waiting.entries.popleft()[1] for _ in range(min(MAX_BATCH, len(waiting.entries)))]
                    if waiting.entries or waiting.deferred or waiting.backoff.failures:
                        self._lanes[due] = waiting  # at the end: the other lanes come first
                    if self._watch is None or len(waiting.entries) >= MAX_BATCH:
                        self._notify_if_any()
                    return due, entries
                if self._closed and not any(one.entries or one.deferred for one in self._lanes.values()):
                    self._changed.notify()  # the next one sees the same
                    return None
                self._wait(at, now)

    def done(self, lane: Lane) -> None:
        """A batch of this lane, taken before, is under way no more."""
        with self._lock:
            self._busy -= 1
            self._under_way[lane] -= 1
            if not self._under_way[lane]:
                del self._under_way[lane]
            if self._passed_over:
                self._passed_over = False
                self._changed.notify()

    def _wait(self, at: float, now: float) -> None:
        """Wait until something is due, and for a word before that; keep the time unless somebody does who looks no later."""
        self._idle += 1
        if at == float("inf") or (self._watch is not None and self._watch[0] <= at):
            self._changed.wait()
        else:
            watch = self._watch = [at]
            self._changed.wait(at - now)
            if self._watch is watch:
                self._watch = None
        self._idle -= 1

    def _notify_if_any(self) -> None:
        """Somebody should look after what is left."""
        if any(waiting.entries or waiting.deferred for waiting in self._lanes.values()):
            if self._idle:
                self._changed.notify()
            else:
                self._short_of()

    def _due(self, now: float) -> tuple[Lane | None, float]:
        """A lane that is due, or None and when one will be, as far as that does not hang on a batch under way."""
        soonest = float("inf")
        free = self._takers - self._busy
        for lane, waiting in self._lanes.items():
            if self._under_way[lane] >= free:
                self._passed_over = True
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
        with self._lock:
            self._closed = True
            for waiting in self._lanes.values():
                waiting.not_before = 0.0  # one more try at once
                waiting.entries.extend(waiting.deferred)
                waiting.deferred.clear()
            self._changed.notify_all()

    def abandon(self) -> list[Entry]:
        """End every ``take``; what was still waiting."""
        with self._lock:
            self._abandoned = True
            self._changed.notify_all()
            return [entry for waiting in self._lanes.values() for _, entry in (*waiting.entries, *waiting.deferred)]
