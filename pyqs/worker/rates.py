"""Rate limits: who may start a task of which only so many may start in a time.

Owns: one token bucket for each task name in this worker, and the moments at which what was postponed comes back. Used by the
pool thread, asked by executors before they run such a task. Pure: the clock is injected. Never touches a delivery: it
answers with the frame that goes to the executor.

A bucket holds one token, as Celery's does: starts of one task are at least ``1 / rate`` seconds apart. Who comes a moment
too early waits in its executor for the token that is kept for it; who would wait for longer is sent away until a token is
likely to be there for it. Those moments are handed out one behind the other, so a flood comes back as fast as it may
start, not all at once.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pyqs.clock import boottime
from pyqs.config import MAX_DELAY
from pyqs.wire import Admitted, MayStart, Postponed

#: Longest wait for a token in an executor that has nothing better to do, seconds.
PATIENCE = 1.0
#: The same while there is other work.
HURRY = 0.1
#: The same while the worker stops, for what has no life left to come back with. Shorter than what passes for a hang.
LAST_LIFE = 30.0
#: Seconds after the start of another task in which more such work is expected: its messages may be on their way here.
RECENT = 5.0
#: Most moments of return that one bucket remembers; beyond them, and beyond SQS's longest delay, returns are spread.
MOST_RETURNS = 10_000
#: Buckets beyond which the idle ones are forgotten.
MOST_BUCKETS = 1_000


@dataclass(eq=False, slots=True)
class _Bucket:
    """When the next token is there, and when those come back, in order, who were sent away for want of one."""

    free_at: float
    returns: deque[float] = field(default_factory=deque)


class Rates:
    """The buckets of one worker.

    Parameters:
        clock: seconds, as ``boottime``.
        rand: answers a float in [0, 1).
    """

    def __init__(self, clock: Callable[[], float] = boottime, rand: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._rand = rand
        self._buckets: dict[str, _Bucket] = {}
        #: The task that started last, and the last one that was another; with the moments.
        self._last = self._other = ("", -math.inf)

    def started(self, task: str) -> None:
        """A task has started, with a limit or without."""
        if task != self._last[0]:
            self._other = self._last
        self._last = (task, self._clock())

    def ask(self, frame: MayStart, patience: float = PATIENCE, longest: int = MAX_DELAY) -> Admitted | Postponed:
        """Whether this delivery may start, after how short a wait, or only when it has come back.

        Parameters:
            patience: longest wait in its executor. While other tasks run here ``PATIENCE`` is too much.
            longest: seconds for which it can be sent away at once.
        """
        now = self._clock()
        _, other_work = self._last if self._last[0] != frame.rate_key else self._other
        if patience == PATIENCE and now - other_work < RECENT:
            patience = HURRY
        step = 1.0 / frame.per_second
        bucket = self._bucket(frame.rate_key, now)
        returns = bucket.returns
        while returns and returns[0] <= now:
            returns.popleft()
        if returns and returns[0] <= now + patience:
            returns.popleft()  # this one, most likely: they are sent back so early that they wait for their token here
        start = max(now, bucket.free_at)
        if start - now <= patience:
            bucket.free_at = start + step
            return Admitted(frame.delivery_id, start - now)
        return Postponed(frame.delivery_id, self._delay(bucket, now, step, patience, longest))

    def _delay(self, bucket: _Bucket, now: float, step: float, patience: float, longest: int) -> int:
        """Seconds until it should come back: to the next token if nobody else does, else behind the last who will."""
        returns = bucket.returns
        if not returns or returns[0] > bucket.free_at + step / 4:
            back = bucket.free_at
            first = True
        else:
            back = max(bucket.free_at, returns[-1]) + step
            first = False
        if back - now > longest or len(returns) >= MOST_RETURNS:
            back = now + longest * (1 + self._rand()) / 2
        elif first:
            returns.appendleft(back)
        else:
            returns.append(back)
        return max(1, min(longest, math.ceil(back - now - patience)))

    def _bucket(self, key: str, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MOST_BUCKETS:
                self._buckets = {name: one for name, one in self._buckets.items() if one.free_at > now or one.returns}
            bucket = self._buckets[key] = _Bucket(now)
        return bucket
