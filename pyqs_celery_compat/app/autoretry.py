"""``autoretry_for``: exceptions that have a task run again.

Owns: the wrapper of ``run`` that does it, and the wait before each time. Set up when a task is made; runs inside the task.
Never publishes: ``task.retry`` does.
"""

from __future__ import annotations

import functools
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import Ignore, Retry

if TYPE_CHECKING:
    from pyqs_celery_compat.app.task import Task


def add_autoretry_behaviour(task: Task, **options: Any) -> None:
    """Wrap ``task.run`` once, if the task has ``autoretry_for``: those exceptions become a retry."""

    def option(name: str, default: Any) -> Any:
        return options.get(name, getattr(task, name, default))

    wanted = tuple(option("autoretry_for", ()))
    unwanted = tuple(option("dont_autoretry_for", ()))
    retry_kwargs = dict(option("retry_kwargs", {}) or {})
    factor = float(option("retry_backoff", False))
    maximum, jitter = int(option("retry_backoff_max", 600)), bool(option("retry_jitter", True))
    if not wanted or hasattr(task, "_orig_run"):
        return
    if factor:  # a heavy module, which most tasks do without
        from pyqs_celery_compat.utils.time import get_exponential_backoff_interval
    original = task.run

    def again(exc: BaseException) -> Retry:
        attempt = dict(retry_kwargs)
        if factor:
            attempt["countdown"] = get_exponential_backoff_interval(int(max(1, factor)), task.request.retries, maximum, jitter)
        if hasattr(task, "override_max_retries"):
            attempt["max_retries"] = task.override_max_retries
        signal = task.retry(exc=exc, **attempt)
        if hasattr(task, "override_max_retries"):
            del task.override_max_retries
        return signal

    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            answer = original(*args, **kwargs)
        except (Ignore, Retry, *unwanted):
            raise
        except wanted as exc:
            raise again(exc) from exc
        return run_on(answer) if isinstance(answer, Coroutine) else answer

    async def run_on(answer: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await answer
        except (Ignore, Retry, *unwanted):
            raise
        except wanted as exc:
            raise again(exc) from exc

    task._orig_run, task.run = original, run  # type: ignore[method-assign]
