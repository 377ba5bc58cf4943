"""How many processors this process may use, which is how many executors there are unless somebody says.

Owns: that number: of the affinity of the process and of the CPU quota of its control group, as containers and systemd set it.
Runs once at the start of a worker. Only reads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """At least 1; of a quota, a part counts as a whole."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> float | None:
    """The least quota of this process's control group and those above it, in processors; None without one."""
    quotas = [quota for folder in _folders(cgroups, own) for quota in (_second(folder), _first(folder)) if quota is not None]
    return min(quotas, default=None)


def _folders(cgroups: Path, own: Path) -> Iterator[Path]:
    """Where a quota may stand: control groups of version 2, and those of version 1 that are about processors."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            root = cgroups
        elif "cpu" in controllers.split(","):
            root = cgroups / "cpu"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for length in range(len(parts) + 1):
            yield root.joinpath(*parts[:length])


def _second(folder: Path) -> float | None:
    """``cpu.max`` of version 2: "50000 100000", or "max 100000"."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _first(folder: Path) -> float | None:
    """The two files of version 1; -1 is no quota."""
    try:
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
