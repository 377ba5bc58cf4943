"""What process 1 of a container owes to orphans: their zombies are waited for.

Owns: that, and only for pids that nobody here waits for. Called by the main thread. Does nothing when the worker is not
process 1.
"""

from __future__ import annotations

import os
from collections.abc import Collection


def reap_orphans(owned: Collection[int]) -> int:
    """Wait for every zombie child whose pid is not in ``owned``; how many there were."""
    if os.getpid() != 1:
        return 0
    return sum(_reap(pid) for pid in _zombies(os.getpid()) if pid not in owned)


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _zombies(parent: int) -> list[int]:
    """Pids of zombies whose parent is ``parent``, from /proc (proc(5): state and ppid follow the name in parentheses)."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                state, ppid = stat.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # gone meanwhile
        if state == "Z" and int(ppid) == parent:
            found.append(int(entry))
    return found
