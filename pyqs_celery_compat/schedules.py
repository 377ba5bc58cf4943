"""Celery's schedules: when a periodic task is due.

Owns: ``schedule``, which is due every so often, and ``maybe_schedule``; the others are found here, too, as in Celery. Runs in
beat, and where schedules are made. Never sends anything, and remembers no run: the last one is asked with.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from pyqs_celery_compat.base_schedule import BaseSchedule, schedstate
from pyqs_celery_compat.crontab import crontab
from pyqs_celery_compat.crontab_parser import ParseException, cronfield, crontab_parser
from pyqs_celery_compat.solar import solar
from pyqs_celery_compat.utils.time import humanize_seconds, maybe_timedelta, remaining

__all__ = [
    "BaseSchedule",
    "ParseException",
    "cronfield",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
]


class schedule(BaseSchedule):  # noqa: N801 - Celery's public name
    """Due every so often.

    Parameters:
        run_every: seconds or a timedelta.
        relative: on the clock: every hour at the full hour, and not an hour after it ran last.
        nowfun, app: as in ``BaseSchedule``.
    """

    relative = False

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        self.run_every = maybe_timedelta(run_every)
        self.relative = relative
        super().__init__(nowfun=nowfun, app=app)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """What is left until it is due, having run last then. Negative if it is late."""
        last, now = self.maybe_make_aware(last_run_at), self.maybe_make_aware(self.now())
        return remaining(last, self.run_every, now, self.relative)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, having run last then, and in how many seconds to ask again."""
        left = self.remaining_estimate(last_run_at)
        if left > timedelta(0):
            return schedstate(False, left.total_seconds())
        as_if_run_now = self.maybe_make_aware(self.now()).astimezone(self.maybe_make_aware(last_run_at).tzinfo)
        again = self.remaining_estimate(as_if_run_now).total_seconds() if self.relative else 0
        return schedstate(True, again if again > 0 else self.seconds)

    @property
    def seconds(self) -> float:
        """How often, in seconds."""
        return max(self.run_every.total_seconds(), 0)  # type: ignore[no-any-return]

    @property
    def human_seconds(self) -> str:
        """How often, in words."""
        return humanize_seconds(self.seconds)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_every, self.relative, self.nowfun)

    def __eq__(self, other: object) -> bool:
        every = other.run_every if isinstance(other, schedule) else other
        return bool(self.run_every == every)


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """A schedule from seconds or a timedelta; a schedule is its own answer and is given the app. None stays None.

    Raises:
        TypeError: it is none of these.
    """
    if s is None:
        return None
    every = maybe_timedelta(s)
    if isinstance(every, timedelta):
        return schedule(every, relative, app=app)
    try:
        s.app = app
    except AttributeError:
        raise TypeError(f"a schedule is a number of seconds, a timedelta or an object such as crontab(), not {s!r}") from None
    return s
