"""How a worker puts a result into its backend: before the message is deleted, or the message stays.

Owns: ``stored`` and what it raises. Runs in an executor at the end of a task, and in the host for one that was killed. Never
publishes and never decides on a message: the runtime turns ``ResultNotStored`` into a verdict.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import retrying, states
from pyqs_celery_compat.exceptions import Reject
from pyqs_celery_compat.result_backend import ResultTooLarge

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.request import Context

logger = logging.getLogger("celery.backends.base")


class ResultNotStored(Reject):
    """The backend did not take how a task ended: its message stays, and comes again when the backend may be back."""


def stored(task_id: Any, name: str, store: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``store`` answers.

    Parameters:
        task_id, name: the task's, for the log. store: a method of a backend.

    Raises:
        ResultNotStored: the backend cannot be reached, or refuses. kombu.exceptions.EncodeError, ResultTooLarge: no backend of
            this kind would ever take it.
    """
    from kombu.exceptions import EncodeError

    try:
        return store(*args, **kwargs)
    except (EncodeError, ResultTooLarge):
        raise
    except Exception as exc:
        logger.error("Task %s[%s]: its result backend did not take how it ended: %r", name, task_id, exc)
        raise ResultNotStored(exc) from exc


def stores_errors(task: Task, request: Context) -> bool:
    """Whether the backend is to keep that this call failed."""
    return bool(task.store_errors_even_if_ignored) or not retrying.actual_ignore_result(task, request)


def failed(task: Task, request: Context, exc: BaseException, traceback: str | None) -> None:
    """Keep that a call failed whose process is no more; its errbacks are the caller's. Raises as ``stored``."""
    backend: Any = task.backend
    if getattr(backend, "stores", True):
        stored(
            request.id, task.name, backend.mark_as_failure, request.id, exc, traceback, request,
            stores_errors(task, request), call_errbacks=False,
        )  # fmt: skip


def revoked(task: Task, request: Context, reason: str) -> None:
    """Keep that a call will not run. Raises as ``stored``."""
    backend: Any = task.backend
    if getattr(backend, "stores", True):
        stored(str(request.id), task.name, backend.mark_as_revoked, request.id, reason, request, stores_errors(task, request))


def stays(app: Celery, task_id: str, name: str, why: str, *, ignored: bool | None) -> None:
    """Say in the backend why a call is not run, as long as nobody knows more of it. Its message stays, so this is no end."""
    backend: Any = app.backend
    if not task_id or not getattr(backend, "stores", True) or (app.conf.task_ignore_result if ignored is None else ignored):
        return
    try:
        if backend.get_state(task_id) == states.PENDING:
            backend.store_result(task_id, why, states.REJECTED)
    except Exception as exc:
        logger.error("Task %s[%s]: its result backend was not told why it is not run: %r", name, task_id, exc)
