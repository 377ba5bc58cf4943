"""Who hears of a task that was killed at its hard limit, or whose executor died with it.

Owns: the order in which that is told. Runs in the host, the process that holds the app and runs no task, where Celery's
users expect what its parent process does (``ended_itself`` in the executor, which lives on). Errbacks that are tasks go into
the outcome's outbox. Never decides on a message.

Order (observed on Celery 5.7): a hard limit: errbacks, on_failure, after_return, task_failure; a lost executor: errbacks,
task_failure, and neither handler. Before all of it the result backend keeps the failure, which may raise ``ResultNotStored``.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyqs_celery_compat import continuations, of_task, retrying, signals, states, storing
from pyqs_celery_compat._state import _task_stack
from pyqs_celery_compat.app import trace
from pyqs_celery_compat.einfo import ExceptionInfo
from pyqs_celery_compat.exceptions import Retry, TimeLimitExceeded, WorkerLostError

if TYPE_CHECKING:
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.request import Context

logger = logging.getLogger("celery.worker.request")
control_logger = logging.getLogger("celery.worker.control")


def timed_out(task: Task, request: Context, limit: float | None) -> None:
    """Tell that it was killed at its hard limit."""
    exc = TimeLimitExceeded(limit)
    einfo = _raised(exc)
    storing.failed(task, request, exc, None)
    with _Running(task, request):
        continuations.on_failure(task.app, task.name, request, exc, einfo)
        task_id, args, kwargs = str(request.id), request.args, request.kwargs
        _guarded(task, request, "on_failure", lambda: task.on_failure(exc, task_id, args, kwargs, einfo))
        if trace.task_has_custom(task, "after_return"):
            _guarded(task, request, "after_return", lambda: task.after_return(states.FAILURE, exc, task_id, args, kwargs, None))
        signals.task_failure.send(
            sender=task, task_id=request.id, exception=exc, args=request.args, kwargs=request.kwargs,
            traceback=exc.__traceback__, einfo=einfo,
        )  # fmt: skip


def terminated(task: Task, request: Context, number: int) -> None:
    """Tell that it was revoked while it ran, and killed: no errback, no handler."""
    asked = signal.Signals(number)
    control_logger.info("Terminating %s (%s)", request.id, number)
    storing.revoked(task, request, "terminated")
    signals.task_revoked.send(sender=task, request=request, terminated=True, signum=asked, expired=False)


def ended_itself(task: Task, request: Context, name: str, exc: BaseException) -> None:
    """Tell, in the executor, that it ended its process (SystemExit, KeyboardInterrupt, MemoryError): lost, as for Celery's
    parent.

    Parameters:
        name: the task's, for the logs.
    """
    lost = WorkerLostError(f"the task raised {type(exc).__name__}")
    lost.__cause__ = exc
    einfo = ExceptionInfo.of(exc)
    trace.logger.error("Task %s[%s] ended by %s", name, request.id, type(exc).__name__, exc_info=exc)
    storing.failed(task, request, lost, einfo.traceback)
    continuations.on_failure(task.app, task.name, request, lost, einfo)
    _guarded(task, request, "on_failure", lambda: task.on_failure(lost, request.id, request.args, request.kwargs, einfo))
    signals.task_failure.send(
        sender=task, task_id=request.id, exception=lost, args=request.args, kwargs=request.kwargs,
        traceback=exc.__traceback__, einfo=einfo,
    )  # fmt: skip


def lost(task: Task, request: Context, how: str) -> None:
    """Tell that its executor died with it."""
    exc = WorkerLostError(f"Worker exited prematurely: the executor {how}")
    einfo = _raised(exc)
    storing.failed(task, request, exc, None)
    with _Running(task, request):
        continuations.on_failure(task.app, task.name, request, exc, einfo)
        signals.task_failure.send(
            sender=task, task_id=request.id, exception=exc, args=request.args, kwargs=request.kwargs,
            traceback=einfo.traceback, einfo=einfo,
        )  # fmt: skip


def retried(task: Task, request: Context, how: str) -> bool:
    """``retry_on_worker_lost``: publish the call once more and tell of it; False if that cannot be published."""
    exc = WorkerLostError(f"Worker exited prematurely: the executor {how}")
    einfo = _raised(exc)
    retries, countdown = request.retries + 1, task.default_retry_delay
    again = retrying.signature_from_request(task, request, countdown=countdown, retries=retries)
    try:
        with of_task.into_outbox(back=True):
            again.apply_async()
    except Exception:
        logger.exception("Failed to retry task %s[%s] after worker was lost", task.name, request.id)
        return False
    reason = Retry(exc=exc, when=countdown, sig=again)
    with _Running(task, request):
        _guarded(task, request, "on_retry", lambda: task.on_retry(exc, request.id, request.args, request.kwargs, einfo))
        signals.task_retry.send(sender=task, request=request, reason=reason, einfo=einfo)
    return True


class _Running:
    """Handlers find the call in ``task.request``, as while it runs."""

    def __init__(self, task: Task, request: Context) -> None:
        self._task, self._request = task, request

    def __enter__(self) -> None:
        _task_stack.push(self._task)
        self._task.request_stack.push(self._request)

    def __exit__(self, *_: object) -> None:
        self._task.request_stack.pop()
        _task_stack.pop()


def _raised(exc: Exception) -> ExceptionInfo:
    """Its ExceptionInfo, with a traceback, which it has only once it was raised."""
    try:
        raise exc
    except type(exc):
        return ExceptionInfo.of(exc)


def _guarded(task: Task, request: Context, name: str, handler: Callable[[], object]) -> None:
    """The failure stands already: what a handler raises is logged, and the next one still hears of it."""
    try:
        handler()
    except Exception as exc:
        logger.exception("Task %s[%s] %s handler raised: %r", task.name, request.id, name, exc)
