"""What a process tree uses, read from ``/proc``: CPU seconds, memory, who belongs to it.

Owns: nothing; every function reads. Runs in the benchmark's process, on Linux. Never signals a process but in ``kill_tree``,
by its pid.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a whole tree, in MB (10**6 bytes). ``pss`` counts a page that n processes share as one nth for each."""

    pss: float
    rss_of_root: float
    processes: int


def stat_fields(text: str) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` behind the name, which may itself hold blanks and brackets: state is the first."""
    return text.rpartition(")")[2].split()


def cpu_of(text: str) -> float:
    """CPU seconds in one ``stat`` line: its own and those of children it has waited for."""
    return sum(map(int, stat_fields(text)[11:15])) / _TICK


def tree(pid: int, *, zombies: bool = False) -> list[int]:
    """The process and all that descends from it: those that are alive, or also those that nobody has waited for yet."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = stat_fields(Path(f"/proc/{entry}/stat").read_text())
                if zombies or fields[0] not in "ZX":
                    children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for one in found:
        found += children.get(one, ())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU seconds of the tree so far. A tick is 10 ms: measure windows of a second or more."""
    total = 0.0
    for one in tree(pid, zombies=True):  # a dead child's time is its parent's only when that has waited for it
        with contextlib.suppress(OSError):
            total += cpu_of(Path(f"/proc/{one}/stat").read_text())
    return total


def memory(pid: int) -> Memory:
    """Memory of the tree now."""
    pss, pids = 0, tree(pid)
    for one in pids:
        with contextlib.suppress(OSError):
            pss += _kib(f"/proc/{one}/smaps_rollup", "Pss:")
    return Memory(pss * 1024 / 1e6, _kib(f"/proc/{pid}/status", "VmRSS:") * 1024 / 1e6, len(pids))


def thread_count(pid: int) -> int:
    """Threads of this one process."""
    return len(os.listdir(f"/proc/{pid}/task"))


def socket_count(pid: int) -> int:
    """Sockets that this one process has open: about as many polls as it has had open at once."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
    return count


def kill_tree(pid: int) -> None:
    """SIGKILL to the process and its descendants, and wait until all are gone (the caller collects the root)."""
    pids = tree(pid)
    for one in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    deadline = time.monotonic() + 10.0
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return stat_fields(Path(f"/proc/{pid}/stat").read_text())[0] not in "ZX"
    except OSError:
        return False


def _kib(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
