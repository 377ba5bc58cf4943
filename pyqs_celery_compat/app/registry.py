"""The tasks of an app by name.

Owns: ``TaskRegistry``, and how a pickled task is found again: by its name, in the current app. Pure.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from pyqs_celery_compat._state import current_app
from pyqs_celery_compat.exceptions import InvalidTaskError, NotRegistered


class TaskRegistry(dict[str, Any]):
    """Task name -> task. A name that is missing raises NotRegistered (a KeyError)."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> Any:
        raise self.NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task, or a task class (an instance is made); one of the same name is replaced.

        Raises:
            InvalidTaskError: it has no name.
        """
        task = task() if inspect.isclass(task) else task
        if not task.name:
            raise InvalidTaskError(f"Task class {type(task).__name__!r} must specify .name attribute")
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

    def periodic(self) -> dict[str, Any]:
        """Those that say they are, by their ``type``."""
        return self.filter_types("periodic")

    def filter_types(self, kind: str) -> dict[str, Any]:
        """The tasks of one ``type`` attribute."""
        return {name: task for name, task in self.items() if getattr(task, "type", "regular") == kind}


def _unpickle_task(name: str) -> Any:
    return current_app.tasks[name]


def _unpickle_task_v2(name: str, module: str | None = None) -> Any:
    if module:
        importlib.import_module(module)
    return _unpickle_task(name)
