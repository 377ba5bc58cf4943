"""Running a task again: ``self.retry``. What calls it by itself, ``autoretry_for``, is in ``app/autoretry.py``.

Owns: the rules of when and with what a call is repeated (Celery 5.7's, by observation). Runs inside the task. The new
message keeps the call's id; in a worker it leaves through the outcome's outbox.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from pyqs_celery_compat import publisher
from pyqs_celery_compat.exceptions import Reject, Retry

if TYPE_CHECKING:
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.request import Context
    from pyqs_celery_compat.signatures import Signature


class RetryNotSent(Reject):
    """The call could not be written once more. As in Celery a Reject, which there deletes the message; ours keeps it."""


def retry(
    task: Task,
    args: Any,
    kwargs: Mapping[str, Any] | None,
    exc: BaseException | None,
    throw: bool,
    eta: datetime | None,
    countdown: float | None,
    max_retries: int | None,
    options: dict[str, Any],
) -> Retry:
    """What ``Task.retry`` does; see there."""
    request = task.request
    retries = request.retries + 1
    if max_retries is not None:
        task.override_max_retries = max_retries
    limit = task.max_retries if max_retries is None else max_retries
    if request.called_directly:
        _raise(exc or Retry("Task can be retried", None))
    if not eta and countdown is None:
        countdown = task.default_retry_delay
    args, kwargs = _arguments(task, request, args, kwargs)
    again = signature_from_request(task, request, args, kwargs, countdown=countdown, eta=eta, retries=retries, **options)
    if limit is not None and retries > limit:
        if exc:
            _raise(exc)
        raise task.MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{again.args} kwargs:{again.kwargs}",
            task_args=again.args,
            task_kwargs=again.kwargs,
        )
    signal = Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager, sig=again)
    if not request.is_eager:
        try:
            with publisher.into_outbox(back=True):
                again.apply_async()
        except Exception as failure:
            raise RetryNotSent(failure) from failure
    if throw:
        raise signal
    return signal


def signature_from_request(
    task: Task,
    request: Context | None = None,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: Any = None,
    **extra: Any,
) -> Signature:
    """The running call as a signature, to the queue it came from."""
    request = task.request if request is None else request
    options: dict[str, Any] = {
        **request.as_execution_options(),
        "ignore_result": actual_ignore_result(task, request),
        **extra,
    }
    delivery_info = request.delivery_info or {}
    if delivery_info.get("priority") is not None:
        options["priority"] = delivery_info["priority"]
    group_id = (request.properties or {}).get("MessageGroupId")
    if group_id is not None:  # a FIFO message keeps its place among its own
        options.setdefault("MessageGroupId", group_id)
    if queue:
        options["queue"] = queue
    elif delivery_info.get("routing_key") and delivery_info.get("exchange") in ("", None):
        options["queue"] = delivery_info["routing_key"]
    else:
        options.update({k: v for k, v in delivery_info.items() if k in ("exchange", "routing_key") and v})
    return task.signature(
        request.args if args is None else args, request.kwargs if kwargs is None else kwargs, options, type=task, **extra
    )


def actual_ignore_result(task: Task, request: Context | None) -> bool:
    """The message's word on ``ignore_result``, else the task's."""
    said = None if request is None else vars(request).get("ignore_result")
    return bool(task.ignore_result if said is None else said)


def _arguments(
    task: Task, request: Context, args: Any, kwargs: Mapping[str, Any] | None
) -> tuple[Any, Mapping[str, Any] | None]:
    """Only args or only kwargs given: keep what the call had of the other, unless both would name one parameter."""
    if (args is None) == (kwargs is None):
        return args, kwargs
    try:
        signature = inspect.signature(task.run)
    except (TypeError, ValueError):
        return args, kwargs
    by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD
    positional = [p for p in signature.parameters.values() if p.kind in (inspect.Parameter.POSITIONAL_ONLY, by_name)]
    if args is not None:
        if not request.kwargs:
            return args, kwargs
        taken = {p.name for p in positional[: len(args)] if p.kind is by_name}
        return args, {name: value for name, value in request.kwargs.items() if name not in taken}
    assert kwargs is not None
    if not request.args:
        return args, kwargs
    try:
        bound = signature.bind_partial(*request.args)
    except TypeError:
        return args, kwargs
    kwargs = dict(kwargs)
    for name in list(kwargs):
        if name in bound.arguments and signature.parameters[name].kind is by_name:
            bound.arguments[name] = kwargs.pop(name)
    return bound.args, {**bound.kwargs, **kwargs}


def _raise(exc: BaseException) -> NoReturn:
    """Raise ``exc`` with the exception being handled as its cause; that one itself if it is the same."""
    current = sys.exc_info()[1]
    if current is None:
        raise exc
    if current is exc:
        raise current
    raise exc from current
