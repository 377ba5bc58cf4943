"""The tasks of an app by name.

Owns: ``TaskRegistry``. Pure.
"""

from __future__ import annotations

import inspect
from typing import Any

from pyqs_celery_compat.exceptions import NotRegistered


class TaskRegistry(dict[str, Any]):
    """Task name -> task. A name that is missing raises NotRegistered (a KeyError)."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> Any:
        raise self.NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task, or a task class (an instance is made); one of the same name is replaced."""
        task = task() if inspect.isclass(task) else task
        if not task.name:
            raise ValueError(f"the task class {type(task).__name__} has no name attribute")
        self[task.name] = task

    def unregister(self, name: Any) -> None:
        """Take a task out by name, or the task itself. Raises NotRegistered."""
        try:
            self.pop(getattr(name, "name", name))
        except KeyError:
            raise self.NotRegistered(name) from None

    def regular(self) -> dict[str, Any]:
        """The tasks that are not periodic: all."""
        return self.filter_types("regular")

    def filter_types(self, kind: str) -> dict[str, Any]:
        """The tasks of one ``type`` attribute."""
        return {name: task for name, task in self.items() if getattr(task, "type", "regular") == kind}
