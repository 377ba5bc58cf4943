"""Task names and the objects behind them.

Owns: ``Registry`` and this process's one. Runs wherever tasks are defined or looked up. Never imports a task's module
(``import_policy`` does).
"""

from __future__ import annotations

import threading
from typing import Any


class Registry:
    """Task name -> task object. What a task object is, is its runtime's concern."""

    def __init__(self) -> None:
        self._tasks: dict[str, Any] = {}
        self._options: dict[str, Any] = {}
        self._lock = threading.Lock()

    def register(self, name: str, task: Any, options: Any = None) -> None:
        """Add a task; the same name again replaces it (a module that is imported twice, a reloaded one)."""
        with self._lock:
            self._tasks[name] = task
            self._options[name] = options

    def get(self, name: str) -> Any | None:
        """The task, or None."""
        return self._tasks.get(name)

    def options(self, name: str) -> Any | None:
        """What was registered with the task, or None."""
        return self._options.get(name)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        with self._lock:
            return tuple(sorted(self._tasks))


#: The tasks of this process.
registry = Registry()
