"""Whether processes grow: looks at their memory, descriptors and threads over time, and what those looks say.

Owns: ``Look`` and the judges. Pure; the looking is the row's. Executors are replaced now and then, which hides what grows in
each of them: so a series is judged over the whole time (``grown``) and within the lives of its processes (``grown_in_lives``).
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Part of the time that is warm-up.
WARM_UP = 0.25
#: Into so many windows the rest is cut.
WINDOWS = 4
#: How many descriptors and threads more are no leak: a queue has up to 16 fetchers and 32 senders, each with a connection, who
#: come and go by need; in a slow minute a few more stay. Over hours a leak passes this soon.
SLACK = 5
#: Looks that a life must have had to be judged.
ENOUGH_LOOKS = 12


@dataclass(frozen=True)
class Look:
    """One look at one process: bytes resident, open descriptors, threads."""

    at: float
    pid: int
    memory: int
    files: int
    threads: int


#: What is looked at, and whether it comes and goes with the load, one by one.
WHAT: dict[str, tuple[Callable[[Look], int], bool]] = {
    "memory": (lambda look: look.memory, False),
    "descriptors": (lambda look: look.files, True),
    "threads": (lambda look: look.threads, True),
}


def windows(looks: Sequence[Look], of: Callable[[Look], int]) -> list[list[int]]:
    """The values in each window after the warm-up."""
    began, over = looks[0].at, looks[-1].at
    start = began + WARM_UP * (over - began)
    width = (over - start) / WINDOWS or 1.0
    found: list[list[int]] = [[] for _ in range(WINDOWS)]
    for look in looks:
        if look.at >= start:
            found[min(WINDOWS - 1, int((look.at - start) / width))].append(of(look))
    return [values for values in found if values]


def medians(looks: Sequence[Look], of: Callable[[Look], int]) -> tuple[float, float]:
    """Of the first window after the warm-up, and of the last."""
    found = windows(looks, of)
    return statistics.median(found[0]), statistics.median(found[-1])


def grown(looks: Sequence[Look], allowed: float, slack: int = SLACK) -> list[str]:
    """What has grown over the whole time, memory by more than ``allowed`` of it.

    Threads and their connections come and go with the load. A leak lifts both the fewest and the most that there were, and the
    fewest never fall again.
    """
    wrong = []
    for name, (of, elastic) in WHAT.items():
        found = windows(looks, of)
        if elastic:
            least, most = [min(values) for values in found], [max(values) for values in found]
            rises = least[-1] > least[0] + slack and most[-1] > most[0] and _never_falls(least)
            if rises:
                wrong.append(f"{name} rose from {_span(found[0])} to {_span(found[-1])}")
        else:
            before, after = medians(looks, of)
            if after > before * (1 + allowed):
                wrong.append(f"{name} grew from {before:g} by {after / before - 1:.1%}")
    return wrong


def grown_in_lives(looks: Sequence[Look], allowed: float) -> list[str]:
    """What has grown within most of the lives that are long enough to tell; one alone may have met something rare."""
    lives: dict[int, list[Look]] = defaultdict(list)
    for look in looks:
        lives[look.pid].append(look)
    told = [grown(life, allowed, slack=0) for life in lives.values() if len(life) >= ENOUGH_LOOKS]
    wrong = []
    for name in WHAT:
        lines = [line for life in told for line in life if line.startswith(name)]
        if told and len(lines) > len(told) / 2:
            wrong.append(f"in {len(lines)} of {len(told)} lives; the first: {lines[0]}")
    return wrong


def judged_lives(looks: Sequence[Look]) -> int:
    """How many lives are long enough to tell."""
    counts: dict[int, int] = defaultdict(int)
    for look in looks:
        counts[look.pid] += 1
    return sum(count >= ENOUGH_LOOKS for count in counts.values())


def _never_falls(values: Sequence[int]) -> bool:
    return all(later >= earlier for earlier, later in pairwise(values))


def _span(values: Sequence[int]) -> str:
    return f"{min(values)}-{max(values)} ({statistics.median(values):g})"
