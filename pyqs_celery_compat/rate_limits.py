"""``rate_limit``: Celery's way to write how many tasks may start in a time, as tokens per second.

Owns: reading it, and finding the task whose limit cannot be read before anything runs. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app.task import Task

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def tokens_per_second(limit: Any) -> float | None:
    """``10``, ``"10/s"``, ``"10/m"``, ``"10/h"``; None and 0 mean no limit, and so does an infinite one.

    Raises:
        ValueError: it is none of these. Celery 5.7 takes a negative one and then never runs the task again.
    """
    if not limit:
        return None
    if isinstance(limit, str):
        amount, _, unit = limit.partition("/")
        try:
            rate = float(amount) / _SECONDS[unit or "s"]
        except (KeyError, ValueError):
            rate = math.nan
    else:
        rate = float(limit) if isinstance(limit, (int, float)) else math.nan
    if not rate >= 0:
        raise ValueError(f"{limit!r} is no rate: write a number, or '10/s', '10/m' or '10/h'")
    return rate if 0 < rate < math.inf else None


def check_tasks(tasks: Iterable[Task]) -> None:
    """Raises ImproperlyConfigured for the first task with a limit that cannot be read, by its name."""
    for task in tasks:
        try:
            tokens_per_second(task.rate_limit)
        except ValueError as exc:
            raise ImproperlyConfigured(f"rate_limit of task {task.name}: {exc}") from None
