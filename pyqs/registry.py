"""Task names and the objects behind them.

Owns: ``Registry`` and this process's one. Runs wherever tasks are defined or looked up. Never imports a task's module
(``import_policy`` does).
"""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs.message import Call, Delivery


class Adapted(ABC):
    """A task of another framework's, which needs to know of which delivery its call is."""

    @abstractmethod
    def bound(self, delivery: Delivery, call: Call) -> Callable[..., Any]:
        """The function to be called with the call's arguments."""


class Registry:
    """Task name -> task object. What a task object is, is its runtime's concern."""

    def __init__(self) -> None:
        self._tasks: dict[str, Any] = {}
        self._options: dict[str, Any] = {}
        self._finders: list[Callable[[str], None]] = []
        self._lock = threading.Lock()

    def add_finder(self, finder: Callable[[str], None]) -> None:
        """Have ``finder(name)`` called for a name that is not known: it may register it, and imports nothing."""
        if finder not in self._finders:
            self._finders.append(finder)

    def look_into(self, module: str) -> None:
        """Find what a module that is loaded has for the finders."""
        if self._finders:
            for name in list(getattr(sys.modules.get(module), "__dict__", ())):
                self.get(f"{module}.{name}")

    def register(self, name: str, task: Any, options: Any = None) -> None:
        """Add a task; the same name again replaces it (a module that is imported twice, a reloaded one)."""
        with self._lock:
            self._tasks[name] = task
            self._options[name] = options

    def get(self, name: str) -> Any | None:
        """The task, or None."""
        task = self._tasks.get(name)
        if task is None and self._finders:
            for finder in self._finders:
                finder(name)
            task = self._tasks.get(name)
        return task

    def options(self, name: str) -> Any | None:
        """What was registered with the task, or None."""
        return self._options.get(name)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        with self._lock:
            return tuple(sorted(self._tasks))


#: The tasks of this process.
registry = Registry()
