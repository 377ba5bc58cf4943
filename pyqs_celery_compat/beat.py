"""What Celery has in ``celery.beat``, as far as libraries import it to hook into it: the scheduler itself is not here yet.

Owns: the names. Making a scheduler says what to use until then; nothing here ever sends a task.
"""

from __future__ import annotations

from typing import Any, NoReturn

from pyqs_celery_compat.naming import belongs_to

NOT_THERE = "beat is not there yet: Celery's own sends periodic tasks, with PYQS_AS_CELERY=0"

__all__ = ("PersistentScheduler", "ScheduleEntry", "Scheduler", "SchedulingError")


class SchedulingError(Exception):
    """A periodic task could not be sent."""


class _NotHere:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(NOT_THERE)


class ScheduleEntry(_NotHere):
    """A periodic task and when it is due."""


class Scheduler(_NotHere):
    """Sends what is due."""

    Entry = ScheduleEntry

    def apply_entry(self, entry: Any, producer: Any = None) -> NoReturn:
        """Send one task; there is no scheduler that could."""
        raise NotImplementedError(NOT_THERE)

    def tick(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Send what is due now; there is no scheduler that could."""
        raise NotImplementedError(NOT_THERE)


class PersistentScheduler(Scheduler):
    """The same, remembering in a file when it did."""


belongs_to("celery.beat", ScheduleEntry, Scheduler, PersistentScheduler, SchedulingError)
