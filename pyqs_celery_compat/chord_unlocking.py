"""``celery.chord_unlock``: asking whether a chord's header has ended, for backends that cannot count.

Owns: ``unlock``. Runs in an executor, as the task of that name; while the header runs it comes again as a retry. Sends the body
under its fixed id once it has claimed to; its own message is deleted after that.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import chord_parts, of_task
from pyqs_celery_compat.chord_parts import chord_error
from pyqs_celery_compat.exceptions import Retry
from pyqs_celery_compat.result import result_from_tuple
from pyqs_celery_compat.signatures import maybe_signature

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task

logger = logging.getLogger("celery.app.builtins")


def unlock(
    task: Task, app: Celery, group_id: str, callback: Any, interval: float | None, max_retries: int | None, result: Any,
    _chord_unlock_exchange_type: str | None = None, **kwargs: Any,
) -> None:  # fmt: skip
    """Send the body if the header has ended, else come again.

    Parameters:
        interval: seconds until then; default ``result_chord_retry_interval``. max_retries: how often; None is no end.
        result: the header's results as tuples.

    Raises:
        Retry: it comes again. Whatever kept it from that, when the body has failed with it.
    """
    interval = task.default_retry_delay if interval is None else interval
    backend: Any = app.backend
    callback = maybe_signature(callback, app=app)
    deps = app.GroupResult(group_id, [result_from_tuple(one, app) for one in result or ()], app=app)
    again: dict[str, Any] = {"countdown": interval, "max_retries": max_retries}
    if _chord_unlock_exchange_type is not None:
        again["exchange_type"] = _chord_unlock_exchange_type
    failure: Exception | None = None
    try:
        try:
            ready = deps.ready()
        except Exception as exc:
            failure = exc
            raise task.retry(exc=exc, **again) from exc
        if not ready:
            raise task.retry(**again)
    except Retry:
        raise
    except Exception as exc:
        cause = getattr(exc, "reason", None) or exc
        reason = f"chord_unlock could not be retried: {cause!r}"
        if failure is not None and failure is not cause:
            reason += f" (after deps.ready() raised {failure!r})"
        logger.exception("Chord %r: chord_unlock could not be retried: %r", group_id, exc)
        backend.chord_error_from_stack(callback, chord_error(reason, cause))
        raise
    with of_task.directly():
        claimed = backend.claim_chord(group_id, chord_parts.CLAIM)
        if claimed is False:
            raise task.retry(**again)  # another copy of this message sends it, or dies before that
        if claimed:
            backend.finish_chord(group_id, deps, callback, task.request)
