"""Tasks that ask from time to time whether somebody wants them to stop.

Owns: ``AbortableTask`` and ``AbortableAsyncResult``. The wish is a state in the result backend, written by the caller's process
and read by the task: both must see the same backend. Never interrupts anything.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat.app.task import Task
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result import AsyncResult

__all__ = ("AbortableAsyncResult", "AbortableTask")

#: The state of a task that is to stop.
ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult):
    """A result with ``abort``."""

    def is_aborted(self) -> bool:
        """Whether the task is to stop."""
        return self.state == ABORTED

    def abort(self) -> Any:
        """Have it stop, as soon as it asks."""
        return self.backend.store_result(self.id, result=None, state=ABORTED, traceback=None)


class AbortableTask(Task):
    """Base of tasks that ask ``self.is_aborted()`` and return when they are."""

    abstract = True

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AbortableAsyncResult:  # noqa: N802 - Celery's public name
        """The result with this id, which can be aborted."""
        return AbortableAsyncResult(task_id, backend=self.backend, **{"app": self._get_app(), **kwargs})

    def is_aborted(self, **kwargs: Any) -> bool:
        """Whether the running call, or that with ``task_id``, is to stop."""
        task_id: Any = kwargs.get("task_id", self.request.id)
        result = self.AsyncResult(task_id)
        return isinstance(result, AbortableAsyncResult) and result.is_aborted()


belongs_to("celery.contrib.abortable", AbortableAsyncResult, AbortableTask)
