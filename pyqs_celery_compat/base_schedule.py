"""What all schedules have: an app, whose clock and zone they keep, and the question whether they are due.

Owns: ``BaseSchedule``, ``schedstate``. Runs in beat, and where schedules are made; making one touches no app. Never sends
anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from pyqs_celery_compat.utils.time import maybe_make_aware, timezone


class schedstate(NamedTuple):  # noqa: N801 - Celery's public name
    """Whether a schedule is due, and in how many seconds to ask again."""

    is_due: bool
    next: float


class BaseSchedule:
    """A schedule.

    Parameters:
        nowfun: answers the time instead of the app.
        app: the current one if None.
    """

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app

    @property
    def app(self) -> Any:
        """The app whose clock and zone count."""
        if self._app is None:
            from pyqs_celery_compat import current_app

            return current_app._get_current_object()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    def now(self) -> datetime:
        """The time."""
        return (self.nowfun or self.app.now)()

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """What is left until it is due, having run last then. Negative if it is late."""
        raise NotImplementedError

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, having run last then; a naive moment is one of UTC."""
        raise NotImplementedError

    @cached_property
    def tz(self) -> Any:
        """The app's zone, unless another was set."""
        return self.app.timezone

    @cached_property
    def utc_enabled(self) -> bool:
        """The app's ``enable_utc``."""
        return bool(self.app.conf.enable_utc)

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """A naive moment in the schedule's zone."""
        return maybe_make_aware(dt, self.tz, naive_as_utc=naive_as_utc)

    def to_local(self, dt: datetime) -> datetime:
        """The moment itself, or with ``enable_utc`` off in local time."""
        return dt if self.utc_enabled else timezone.to_local_fallback(dt)

    def __eq__(self, other: object) -> bool:
        return self.nowfun == other.nowfun if isinstance(other, BaseSchedule) else NotImplemented
