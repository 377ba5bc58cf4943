"""How fast a worker goes: its counters of the last seconds.

Owns: the samples. Used by the health thread only, which takes one each second, so that whoever asks gets rates at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from pyqs.clock import boottime
from pyqs.worker.report import Totals

#: Seconds over which rates are taken.
WINDOW = 10.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, over the last ``seconds``; ``ended`` by status, those with none left out."""

    seconds: float
    received: float
    started: float
    ended: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    received: int
    started: int
    ended: Counter[str]


class Pace:
    """Takes samples of one worker's totals."""

    def __init__(self, totals: Totals, clock: Callable[[], float] = boottime) -> None:
        self._totals = totals
        self._clock = clock
        self._samples: deque[_Sample] = deque([self._now()])

    def sample(self) -> None:
        """Take one, and forget those that are older than the window, but for the youngest of them."""
        now = self._now()
        self._samples.append(now)
        while len(self._samples) > 2 and self._samples[1].at <= now.at - WINDOW:
            self._samples.popleft()

    def rates(self) -> Rates:
        """Up to this moment."""
        first, last = self._samples[0], self._now()
        seconds = last.at - first.at
        if seconds <= 0:
            return Rates(0.0, 0.0, 0.0, {})
        ended = {status: count / seconds for status, count in sorted((last.ended - first.ended).items())}
        return Rates(seconds, (last.received - first.received) / seconds, (last.started - first.started) / seconds, ended)

    def _now(self) -> _Sample:
        totals = self._totals
        return _Sample(self._clock(), totals.received, totals.started, totals.done.copy())
