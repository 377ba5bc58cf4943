"""From a task's name in a message to the task: registered, or in a module that may be imported for it.

Owns: ``TaskLookup``. Runs in an executor. Which modules may be imported is the engine's rule, handed in; a name never
leads to a plain function, only to a task that its module registers.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyqs.errors import UnknownTask

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

log = logging.getLogger(__name__)


class TaskLookup:
    """Finds tasks by name.

    Parameters:
        app: whose tasks they are.
        may_import: whether a module of this name may be imported because a message names a task in it.
    """

    def __init__(self, app: Celery, may_import: Callable[[str], bool]) -> None:
        self.app, self.may_import = app, may_import
        self._tried: set[str] = set()

    def find(self, name: str) -> Any:
        """The task. Raises UnknownTask, which says what would make it known."""
        task = dict.get(self.app.tasks, name)
        if task is not None:
            return task
        module = name.rpartition(".")[0]
        if module and module not in self._tried and self.may_import(module):
            self._tried.add(module)
            try:
                importlib.import_module(module)
            except Exception as exc:
                log.warning("module %s, imported for the task %s, failed: %s: %s", module, name, type(exc).__name__, exc)
                raise UnknownTask(name, f"importing {module} raised {type(exc).__name__}") from exc
            task = dict.get(self.app.tasks, name)
        if task is None:
            raise UnknownTask(name, "it is not registered here; name its module with --include, or its app with -A")
        return task
