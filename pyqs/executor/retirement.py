"""When an executor has served long enough: ``--max-tasks-per-child`` and ``--max-memory-per-child``.

Owns: the count of tasks, the look at this process's memory, and the words for the log. Used by an executor's main thread,
between tasks. Never ends anything: the executor says goodbye to its worker, which replaces it.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from typing import Protocol

from pyqs.config import RuntimeConfig
from pyqs.errors import ConfigError

_STATM = "/proc/self/statm"
#: Whether memory is what is in use now. Where there is no /proc it is the most that ever was.
MEASURES_NOW = os.path.exists(_STATM)


def memory_in_use() -> int:
    """KiB of memory of this process: resident now (Linux), elsewhere the most that was ever resident (``ru_maxrss``)."""
    if MEASURES_NOW:
        with open(_STATM, "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() // 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most  # bytes there, KiB elsewhere


class Counts(Protocol):
    """Who counts the tasks that run."""

    def task_began(self) -> None:
        """One more."""
        ...


class Retirement:
    """Judges one executor. Made when it has booted.

    Parameters:
        measure: answers KiB.

    Raises:
        ConfigError: it uses more than it may before its first task, so that no executor could ever stay.
    """

    def __init__(self, config: RuntimeConfig, measure: Callable[[], int] = memory_in_use) -> None:
        self._most_tasks = config.max_tasks_per_child
        self._most_memory = config.max_memory_per_child
        self._measure = measure
        self._tasks = 0
        self._fresh = 0
        if self._most_memory is not None:
            self._fresh = measure()
            if self._fresh > self._most_memory:
                raise ConfigError(
                    f"--max-memory-per-child is {self._most_memory} KiB, but an executor uses {self._fresh} KiB before its "
                    "first task: every one would be replaced after one task; give it more (Celery's "
                    "worker_max_memory_per_child is in KiB, too)"
                )

    def task_began(self) -> None:
        """Count one more task, however it ends."""
        self._tasks += 1

    def due(self) -> str | None:
        """Why it is time to leave, None if it is not."""
        if self._most_tasks is not None and self._tasks >= self._most_tasks:
            return f"it has run {self._tasks} tasks (--max-tasks-per-child {self._most_tasks})"
        if self._most_memory is not None and self._tasks:
            used = self._measure()
            if used > self._most_memory:
                kind = "uses" if MEASURES_NOW else "has used up to"
                return (
                    f"it {kind} {used} KiB (--max-memory-per-child {self._most_memory}; {self._fresh} KiB before its first "
                    f"task, {self._tasks} tasks since)"
                )
        return None
