"""What Celery keeps in ``celery.utils.time``: zones, naive and aware moments, what remains until one, and rates.

Owns: the names in ``__all__`` and Celery's tables beside them. Pure but for reading clock and local zone; runs in any process.
Never guesses at summer time: of a wall time that comes twice the first is meant, one that a zone leaves out is moved on by what
was left out, and a span of time is one of elapsed time.
"""

from __future__ import annotations

import random
import time as _time
from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, tzinfo
from datetime import timezone as fixed_zone
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from pyqs_celery_compat.system_zone import system_zone

__all__ = [
    "LocalTimezone",
    "add_seconds_to_datetime",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "subtract_datetimes",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
    "yearmonth",
]

DAYNAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WEEKDAYS = {name: number for number, name in enumerate(DAYNAMES)}
MONTHNAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
YEARMONTHS = {name: number for number, name in enumerate(MONTHNAMES, 1)}
#: By the unit of a rate ("10/m") how many times 60 seconds of it make.
RATE_UNITS = {"s": 0, "m": 1, "h": 2}
TIME_UNITS = (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))
ZERO = timedelta(0)


# -- zones ------------------------------------------------------------------------------------------------------------
class LocalTimezone(tzinfo):
    """Local time as the C library knows it: two offsets, and it decides which one holds."""

    def __init__(self) -> None:
        self.STDOFFSET = timedelta(seconds=-_time.timezone)
        self.DSTOFFSET = timedelta(seconds=-_time.altzone) if _time.daylight else self.STDOFFSET
        self.DSTDIFF = self.DSTOFFSET - self.STDOFFSET

    def __repr__(self) -> str:
        return f"<LocalTimezone: UTC{int(self.DSTOFFSET.total_seconds() / 3600):+03d}>"

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """What local time is ahead of UTC at this wall time."""
        return self.DSTOFFSET if self._isdst(dt) else self.STDOFFSET

    def dst(self, dt: datetime | None) -> timedelta:
        """How much of that is summer time."""
        return self.DSTDIFF if self._isdst(dt) else ZERO

    def tzname(self, dt: datetime | None) -> str:
        """What the zone is called at this wall time."""
        return _time.tzname[self._isdst(dt)]

    def fromutc(self, dt: datetime) -> datetime:
        """The moment in local time, in a zone of its fixed offset."""
        offset = fixed_zone(self.utcoffset(dt))
        return dt.replace(tzinfo=fixed_zone.utc).astimezone(offset)

    def _isdst(self, dt: datetime | None) -> bool:
        wall = dt or datetime.now()
        stamp = _time.mktime((wall.year, wall.month, wall.day, wall.hour, wall.minute, wall.second, wall.weekday(), 0, 0))
        return _time.localtime(stamp).tm_isdst > 0


class _Zone:
    """``timezone``: zones by name, and moments taken to local time."""

    @cached_property
    def local(self) -> tzinfo:
        """The zone of this machine."""
        return system_zone()

    @cached_property
    def utc(self) -> ZoneInfo:
        """UTC."""
        return ZoneInfo("UTC")

    def get_timezone(self, zone: Any) -> Any:
        """The zone of this name; anything but a name is its own answer."""
        return ZoneInfo(zone) if isinstance(zone, str) else zone

    def tz_or_local(self, tzinfo: Any = None) -> Any:
        """The zone, or the one of this name; this machine's if none is given."""
        return self.local if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, dt: datetime, local: Any = None, orig: Any = None) -> datetime:
        """A moment in the zone ``local`` (or this machine's); a naive one is taken to be of ``orig`` (or UTC)."""
        if is_naive(dt):
            dt = make_aware(dt, orig or self.utc)
        return localize(dt, self.tz_or_local(local))

    def to_system(self, dt: datetime) -> datetime:
        """A moment in local time, in a zone of its fixed offset; a naive one is local already."""
        return dt.astimezone(tz=None)

    def to_local_fallback(self, dt: datetime) -> datetime:
        """A naive moment is local time, one of UTC is taken there, any other is left."""
        return make_aware(dt, self.local) if is_naive(dt) else localize(dt, self.local)


timezone = _Zone()


# -- naive and aware --------------------------------------------------------------------------------------------------
def is_naive(dt: datetime) -> bool:
    """Whether it has no zone, or one that tells no offset."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def instants(wall: datetime, tz: tzinfo) -> list[datetime]:
    """When a clock of this zone shows this (naive) time, in UTC: twice where it was set back over it, the first one first.

    Of a time that the clock leaves out: the one moment as far past the gap as the time is inside it.
    """
    both = {wall.replace(tzinfo=tz, fold=fold).astimezone(timezone.utc) for fold in (0, 1)}
    shown = sorted(when for when in both if when.astimezone(tz).replace(tzinfo=None, fold=0) == wall)
    if shown:
        return shown
    before = (min(both) - timedelta(days=1)).astimezone(tz).utcoffset() or ZERO
    return [(wall - before).replace(tzinfo=timezone.utc)]


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """The same wall time in this zone, whatever zone it had."""
    aware = dt.replace(tzinfo=tz)
    try:
        offsets = [tz.utcoffset(aware.replace(fold=fold)) for fold in (0, 1)]
    except NotImplementedError:
        return aware
    if None in offsets or offsets[0] == offsets[1]:
        return aware
    aware = aware.replace(fold=0)
    if not isinstance(tz, ZoneInfo):
        return aware
    return aware.astimezone(timezone.utc).astimezone(tz)  # out of a gap, if it was in one


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """A naive moment is of this zone, one of UTC is taken there. One of another zone is left, as Celery leaves it."""
    if is_naive(dt):
        return make_aware(dt, tz)
    return dt.astimezone(tz) if dt.tzinfo is timezone.utc else dt


def to_utc(dt: datetime) -> datetime:
    """The same wall time in UTC, whatever zone it had. To take a moment to another zone: ``astimezone``."""
    return make_aware(dt, timezone.utc)


def maybe_make_aware(dt: datetime, tz: Any = None, naive_as_utc: bool = True) -> datetime:
    """A naive moment as one of this zone (a name will do; UTC if None); an aware one as it is.

    Parameters:
        naive_as_utc: a naive moment is of UTC and taken to the zone; else it is of the zone itself.
    """
    if not is_naive(dt):
        return dt
    if naive_as_utc:
        dt = to_utc(dt)
    return localize(dt, timezone.utc if tz is None else timezone.tz_or_local(tz))


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """A moment from its ISO 8601 text; a moment is its own answer, nothing is None."""
    if not dt:
        return None
    if isinstance(dt, datetime):
        return dt
    return datetime.fromisoformat(dt[:-1] + "+00:00" if dt[-1:] in ("Z", "z") else dt)


# -- spans of time ----------------------------------------------------------------------------------------------------
def maybe_timedelta(delta: Any) -> Any:
    """A number of seconds as a timedelta; anything else is its own answer."""
    return timedelta(seconds=delta) if isinstance(delta, (int, float)) else delta


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """The moment so many elapsed seconds later, in the same zone."""
    return _later(dt, timedelta(seconds=seconds))


def _later(dt: datetime, delta: timedelta) -> datetime:
    return dt + delta if is_naive(dt) else (dt.astimezone(timezone.utc) + delta).astimezone(dt.tzinfo)


def subtract_datetimes(end: datetime, start: datetime) -> timedelta:
    """The time that elapses between two moments. Beside an aware one a naive one is of UTC."""
    if is_naive(end) and is_naive(start):
        return end.replace(tzinfo=None) - start.replace(tzinfo=None)
    in_utc = [to_utc(dt) if is_naive(dt) else dt.astimezone(timezone.utc) for dt in (end, start)]
    return in_utc[0] - in_utc[1]


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """The moment rounded down to the day, hour or minute, whichever the span has the first of; else as it is."""
    if delta >= timedelta(days=1):
        return dt.replace(hour=0, minute=0, second=0, microsecond=0)
    if delta >= timedelta(hours=1):
        return dt.replace(minute=0, second=0, microsecond=0)
    if delta >= timedelta(minutes=1):
        return dt.replace(second=0, microsecond=0)
    return dt


def remaining(start: datetime, ends_in: timedelta | ffwd, now: datetime | None = None, relative: bool = False) -> timedelta:
    """What is left until ``start + ends_in``; negative when it is past. Beside an aware moment a naive one is local time.

    Parameters:
        ends_in: elapsed time, or what sets fields when it is added to a moment.
        relative: the end is rounded down to the clock, to a full day, hour, minute or second, whichever the time has first of;
            from a minute on never to ``start`` or before it.
    """
    now = now or datetime.now(timezone.utc)
    if is_naive(start) != is_naive(now):
        start, now = start.astimezone(start.tzinfo), now.astimezone(now.tzinfo)
    if isinstance(ends_in, timedelta):
        end = _on_the_clock(start, ends_in) if relative else _later(start, ends_in)
    elif start.tzinfo is None:
        end = start + ends_in
    else:
        end = instants((start + ends_in).replace(tzinfo=None), start.tzinfo)[0]
    return subtract_datetimes(end, now)


def _on_the_clock(start: datetime, delta: timedelta) -> datetime:
    """``start + delta`` rounded down to a full day, hour, minute or second of start's clock."""
    tz = timezone.utc if is_naive(start) else start.tzinfo
    assert tz is not None
    begin = start.replace(tzinfo=tz).astimezone(timezone.utc)
    after = begin + delta
    shown = delta_resolution(start.replace(tzinfo=None) + delta, delta)
    if delta < timedelta(minutes=1):
        end = after.replace(microsecond=0)
    elif delta >= timedelta(days=1):  # days are counted on the calendar, and may be of 23 or 25 hours
        end = next(when for when in _from(shown, timedelta(days=1), tz) if when > begin)
    else:
        wall = delta_resolution(after.astimezone(tz).replace(tzinfo=None, fold=0), delta)
        reached = [when for when in instants(wall, tz) + instants(shown, tz) if begin < when <= after]
        # None is where a clock was set back in between: the next full hour or minute that it shows.
        unit = timedelta(hours=1) if delta >= timedelta(hours=1) else timedelta(minutes=1)
        end = max(reached) if reached else next(when for when in _from(wall, unit, tz) if when > after)
    return end.replace(tzinfo=None) if is_naive(start) else end


def _from(wall: datetime, unit: timedelta, tz: tzinfo) -> Iterator[datetime]:
    """When a clock shows this time, this time and a unit, and so on."""
    while True:
        yield from instants(wall, tz)
        wall += unit


class ffwd:  # noqa: N801 - Celery's public name
    """Added to a moment it sets the fields it was given: ``moment + ffwd(hour=3, minute=0)``.

    Parameters:
        year, month, day, hour, minute, second, microsecond: None leaves the field as it is, and so does 0 for a date's. A day
            that the month has not is its last.
        weeks: so many more. weekday: on to this day then, 0 being Monday.
        any other keyword: is passed over.
    """

    def __init__(
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        minute: int | None = None,
        second: int | None = None,
        microsecond: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.year, self.month, self.day = year, month, day
        self.hour, self.minute, self.second, self.microsecond = hour, minute, second, microsecond
        self.weeks, self.weekday = weeks, weekday
        self.days = weeks * 7

    def __repr__(self) -> str:
        given = self._fields(weeks=self.weeks, weekday=self.weekday)
        return f"ffwd({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, date):
            return NotImplemented
        year, month = self.year or other.year, self.month or other.month
        day = min(monthrange(year, month)[1], self.day or other.day)
        moved: date = other.replace(**self._fields(year=year, month=month, day=day)) + timedelta(days=self.days)
        if self.weekday is not None:
            moved += timedelta(days=(self.weekday - moved.weekday()) % 7)
        return moved

    def _fields(self, **extra: Any) -> dict[str, Any]:
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        fields = {**{name: getattr(self, name) for name in names}, **extra}
        return {name: value for name, value in fields.items() if value is not None}


# -- words and numbers ------------------------------------------------------------------------------------------------
def rate(r: Any) -> Any:
    """``"10/s"``, ``"10/m"``, ``"10/h"`` as a number a second; a number is its own answer, nothing is 0."""
    if not r or not isinstance(r, str):
        return r or 0
    text, _, unit = r.partition("/")
    amount = float(text)
    for _ in range(RATE_UNITS[unit or "s"]):
        amount /= 60
    return amount


def weekday(name: str) -> int:
    """The number of a day by its name or the name's first three letters, 0 being Sunday. Raises KeyError."""
    return WEEKDAYS[name[:3].lower()]


def yearmonth(name: str) -> int:
    """The number of a month by its name or the name's first three letters. Raises KeyError."""
    return YEARMONTHS[name[:3].lower()]


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """Seconds in the largest unit there is one of: ``1.50 minutes``. Less than one is ``now``, unless ``microseconds``."""
    secs = round(float(secs), 2)
    for unit, divider in TIME_UNITS:
        if secs >= divider:
            amount = secs / divider
            return f"{prefix}{sep}{amount:.2f} {unit}{'s' if amount > 1 else ''}"
    return f"{prefix}{sep}{secs:.2f} seconds" if microseconds and secs > 0 else now


def utcoffset(time: Any = _time, localtime: Callable[..., Any] = _time.localtime) -> float:
    """The hours that UTC is ahead of local time now."""
    seconds: int = time.altzone if localtime().tm_isdst else time.timezone
    return seconds / 3600


def adjust_timestamp(ts: float, offset: float, here: Callable[[], float] = utcoffset) -> float:
    """A timestamp of a machine that has this ``utcoffset`` as one of this machine."""
    return ts - (offset - here()) * 3600


def get_exponential_backoff_interval(factor: float, retries: int, maximum: float, full_jitter: bool = False) -> float:
    """Seconds until the next of several attempts: ``factor * 2 ** retries``, at most ``maximum``, never negative.

    Parameters:
        full_jitter: any whole number from 0 to that.
    """
    try:
        # The exponent is bounded: 2**(a wild retries header) is a number that nobody can hold.
        countdown = max(0, min(maximum, factor * 2 ** min(retries, 1024)))
    except OverflowError:
        countdown = maximum
    return random.randrange(int(countdown) + 1) if full_jitter else countdown
