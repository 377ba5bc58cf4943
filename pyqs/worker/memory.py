"""How much memory processes use, as the kernel says at this moment.

Owns: the reading of ``/proc``. Runs in the health thread, when somebody asks. Elsewhere than on Linux nothing is known.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from pyqs.clock import boottime

#: Seconds that may be spent on PSS in one answer: the kernel walks a process's page tables for it, and probes wait meanwhile.
BUDGET = 0.25


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one process: resident, and its share of what several have in common (None where that was not read)."""

    rss: int
    pss: int | None = None


class Reader:
    """Reads for one answer, PSS for as long as that takes no longer than the budget."""

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._until = clock() + BUDGET

    def of(self, pid: int | None) -> Memory | None:
        """Of this process; None for one that is gone, or where there is no ``/proc``."""
        if pid is None:
            return None
        if self._clock() < self._until:
            try:
                return _rollup(pid)
            except (OSError, ValueError, KeyError):
                pass  # not allowed, or a kernel before 4.14
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
                return Memory(int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        except (OSError, ValueError, IndexError):
            return None


def _rollup(pid: int) -> Memory:
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as rollup:
        for line in rollup:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                found[name] = int(rest.split()[0]) * 1024
    return Memory(found["Rss"], found["Pss"])
