"""The crontab schedule: due whenever the clock on the wall of a zone shows one of the times that five fields name.

Owns: ``crontab``. Runs in beat, and where schedules are made. Summer time: each time of the clock counts once. One that the
clock shows twice is due the first time; one that the clock leaves out is due as much later as the clock leaves out.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from itertools import takewhile
from typing import Any

from pyqs_celery_compat.base_schedule import BaseSchedule, schedstate
from pyqs_celery_compat.crontab_parser import ParseException, cronfield, expand
from pyqs_celery_compat.utils.time import add_seconds_to_datetime, instants, maybe_make_aware, remaining, subtract_datetimes
from pyqs_celery_compat.utils.time import ffwd as set_fields
from pyqs_celery_compat.utils.time import timezone as zones

#: Of each field how many numbers there are, and the first. The order is the constructor's.
FIELDS = {"minute": (60, 0), "hour": (24, 0), "day_of_week": (7, 0), "day_of_month": (31, 1), "month_of_year": (12, 1)}
#: 29 February is on each day of the week once in so many years, 1900 and 2100 included.
YEARS_AHEAD = 41
_LEAP_YEAR = 2000
#: No clock was ever set forward by more.
_LONGEST_GAP = timedelta(hours=3)


class crontab(BaseSchedule):  # noqa: N801 - Celery's public name
    """A schedule like a line of cron's. A day must fit both ``day_of_week`` and ``day_of_month``, other than cron's.

    Parameters:
        minute, hour, day_of_month, month_of_year: a number, numbers, or text as ``crontab_parser`` reads it.
        day_of_week: the same, 0 being Sunday.
        nowfun, app: as in ``BaseSchedule``.

    Raises:
        ParseException: a field cannot be read, has a number out of range or none at all, or no month has the day.
        TypeError: a field is no number, numbers or text.
    """

    def __init__(
        self,
        minute: int | str | Iterable[int] = "*",
        hour: int | str | Iterable[int] = "*",
        day_of_week: int | str | Iterable[int] = "*",
        day_of_month: int | str | Iterable[int] = "*",
        month_of_year: int | str | Iterable[int] = "*",
        **kwargs: Any,
    ) -> None:
        self._orig_minute = cronfield(minute)
        self._orig_hour = cronfield(hour)
        self._orig_day_of_week = cronfield(day_of_week)
        self._orig_day_of_month = cronfield(day_of_month)
        self._orig_month_of_year = cronfield(month_of_year)
        self._orig_kwargs = kwargs
        self.minute = self._field("minute")
        self.hour = self._field("hour")
        self.day_of_week = self._field("day_of_week")
        self.day_of_month = self._field("day_of_month")
        self.month_of_year = self._field("month_of_year")
        self._check_that_it_occurs()
        super().__init__(**kwargs)

    def _field(self, name: str) -> set[int]:
        try:
            return self._expand_cronspec(getattr(self, f"_orig_{name}"), *FIELDS[name])
        except ParseException as exc:
            raise ParseException(f"crontab: {name} {getattr(self, f'_orig_{name}')!r}: {exc}") from None

    @staticmethod
    def _expand_cronspec(cronspec: int | str | Iterable[int], max_: int, min_: int = 0) -> set[int]:
        return expand(cronspec, max_, min_)

    def _check_that_it_occurs(self) -> None:
        for name in FIELDS:
            if not getattr(self, name):
                raise ParseException(f"crontab: it never occurs: {name} has no number")
        if all(monthrange(_LEAP_YEAR, month)[1] < min(self.day_of_month) for month in self.month_of_year):
            raise ParseException(
                f"crontab: day_of_month {self._orig_day_of_month!r} never occurs in month_of_year {self._orig_month_of_year!r}"
            )

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """From cron's own notation: ``minute hour day_of_month month_of_year day_of_week``.

        Raises:
            ParseException: as the constructor, or there are not five fields.
        """
        fields = crontab.split()
        if len(fields) != 5:
            raise ParseException(f"crontab {crontab!r}: five fields are needed, {len(fields)} are there")
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    # -- when -----------------------------------------------------------------------------------------------------------
    def remaining_delta(
        self, last_run_at: datetime, tz: Any = None, ffwd: Callable[..., Any] = set_fields
    ) -> tuple[datetime, Any, datetime]:
        """The last run, what to add to it to have the next one, and now; all in the zone ``tz`` or the schedule's own.

        Raises:
            RuntimeError: no day is left on which it is due.
        """
        zone = zones.get_timezone(tz or self.tz)
        last, now = (maybe_make_aware(dt).astimezone(zone) for dt in (last_run_at, self.now()))
        wall = self._next(last, zone)
        fields = {"year": wall.year, "month": wall.month, "day": wall.day, "hour": wall.hour, "minute": wall.minute}
        return last, ffwd(**fields, second=0, microsecond=0), now

    def remaining_estimate(self, last_run_at: datetime, ffwd: Callable[..., Any] = set_fields) -> timedelta:
        """What is left until it is due, having run last then. Negative if it is late."""
        return remaining(*self.remaining_delta(last_run_at, ffwd=ffwd))

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether it is due, having run last then, and in how many seconds to ask again.

        With ``beat_cron_starting_deadline`` (seconds) set it is not, if it was to run so long ago or longer and not since.
        """
        left = self.remaining_estimate(last_run_at)
        if left > timedelta(0):
            return schedstate(False, left.total_seconds())
        now = self.now()
        ask_again = max(self.remaining_estimate(now).total_seconds(), 0)
        return schedstate(not self._too_late(last_run_at, now), ask_again)

    def _too_late(self, last_run_at: datetime, now: datetime) -> bool:
        seconds = self.app.conf.beat_cron_starting_deadline
        if seconds is None:
            return False
        if subtract_datetimes(now, last_run_at) <= timedelta(seconds=seconds):
            return False
        return self.remaining_estimate(add_seconds_to_datetime(now, -seconds - 1e-6)) > timedelta(0)

    def _next(self, last: datetime, zone: Any) -> datetime:
        """The first time of the clock (naive) after the last run's that was not shown before it."""
        ran = last.astimezone(zones.utc)
        # After a clock was set back it shows again what was due the first time, before the last run.
        walls = (wall for wall in self._walls(last.replace(tzinfo=None, fold=0)) if instants(wall, zone)[0] > ran)
        first = next(walls)
        at = instants(first, zone)[0]
        if at.astimezone(zone).replace(tzinfo=None, fold=0) == first:
            return first
        # The clock leaves it out: it counts as so much later, and what is shown by then comes before it.
        beside = takewhile(lambda wall: wall <= first + _LONGEST_GAP, walls)
        return min((first, *beside), key=lambda wall: (instants(wall, zone)[0], wall))

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """All times (naive) that the fields name, after this one."""
        hours, minutes = sorted(self.hour), sorted(self.minute)
        today = after.date()
        for day in self._days(today):
            for hour in hours[bisect_left(hours, after.hour) if day == today else 0 :]:
                for minute in minutes:
                    wall = datetime.combine(day, time(hour, minute))
                    if wall > after:
                        yield wall
        raise RuntimeError(f"{self!r} is due on no day of the next {YEARS_AHEAD} years")

    def _days(self, start: date) -> Iterator[date]:
        """All days from this one on that the fields name."""
        months, days = sorted(self.month_of_year), sorted(self.day_of_month)
        for year in range(start.year, start.year + YEARS_AHEAD):
            for month in months:
                last = monthrange(year, month)[1]
                for number in days if (year, month) >= (start.year, start.month) else ():
                    day = date(year, month, number) if number <= last else date.min
                    if day >= start and day.isoweekday() % 7 in self.day_of_week:
                        yield day

    # -- as an object ---------------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        given = (self._orig_minute, self._orig_hour, self._orig_day_of_month, self._orig_month_of_year, self._orig_day_of_week)
        return f"<crontab: {' '.join(map(str, given))} (m/h/dM/MY/d)>"

    def __reduce__(self) -> tuple[Any, ...]:
        given = tuple(getattr(self, f"_orig_{name}") for name in FIELDS)
        return type(self), given, self._orig_kwargs

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._orig_kwargs = dict(state)
        super().__init__(**state)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, crontab):
            return NotImplemented
        return self.nowfun == other.nowfun and all(getattr(self, name) == getattr(other, name) for name in FIELDS)
