"""Rounds: who runs when, and what the figures of several rounds say.

Owns: the order of the peers in each round, and medians of ratios that were taken within one round, with their spread. Pure.
Never measures and never prints.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several figures, and the lowest and the highest."""

    median: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 2) -> str:
        """``1.23 (1.10-1.40)``; one figure stands alone."""
        if self.count == 1:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(figures: Sequence[float]) -> Spread:
    """Raises ValueError when there are none."""
    if not figures:
        raise ValueError("no figures")
    return Spread(statistics.median(figures), min(figures), max(figures), len(figures))


def ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """Ours by theirs, round by round: only figures of one round are compared: a slow minute of the machine hits both."""
    found = [ours[number] / theirs[number] for number in sorted(ours) if theirs.get(number)]
    return spread(found) if found else None


def turns(peers: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """(round, peer): each round has every peer once and begins with another one."""
    for number in range(rounds):
        first = number % len(peers) if peers else 0
        for peer in (*peers[first:], *peers[:first]):
            yield number, peer


def percentile(figures: Sequence[float], share: float) -> float:
    """The figure that this share of them does not exceed (nearest rank)."""
    ordered = sorted(figures)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
