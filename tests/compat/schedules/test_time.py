"""Celery's time helpers: what genuine Celery 5.7 answered, and the zone of the machine."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyqs_celery_compat import system_zone
from pyqs_celery_compat.utils import time as helpers

NEW_YORK, PARIS, UTC = ZoneInfo("America/New_York"), ZoneInfo("Europe/Paris"), ZoneInfo("UTC")
LORD_HOWE, APIA = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Pacific/Apia")


class NoOffset(tzinfo):
    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None


class Unfinished(tzinfo):
    """Like ``tzinfo()`` itself: asked for its offset it raises."""


def same(found: datetime, expected: datetime) -> bool:
    return (found.isoformat(), found.tzinfo, found.fold) == (expected.isoformat(), expected.tzinfo, expected.fold)


@pytest.mark.parametrize(
    ("wall", "zone", "expected"),
    [
        (datetime(2024, 3, 10, 2, 30), NEW_YORK, datetime(2024, 3, 10, 3, 30, tzinfo=NEW_YORK)),  # left out
        (datetime(2026, 10, 4, 2, 15, fold=1), LORD_HOWE, datetime(2026, 10, 4, 2, 45, tzinfo=LORD_HOWE)),
        (datetime(2011, 12, 30, 2, 30), APIA, datetime(2011, 12, 31, 2, 30, tzinfo=APIA)),
        (datetime(2026, 11, 1, 1, 30, fold=1), NEW_YORK, datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK)),  # twice
        (datetime(2020, 7, 1, 12, tzinfo=UTC), NEW_YORK, datetime(2020, 7, 1, 12, tzinfo=NEW_YORK)),  # replaced
        (datetime(1, 1, 1), NEW_YORK, datetime(1, 1, 1, tzinfo=NEW_YORK)),
    ],
)
def test_a_wall_time_in_a_zone(wall: datetime, zone: tzinfo, expected: datetime) -> None:
    assert same(helpers.make_aware(wall, zone), expected)


def test_zones_that_tell_no_offset_are_put_on_and_no_more() -> None:
    for zone in (NoOffset(), Unfinished()):
        assert helpers.make_aware(datetime(2026, 1, 1), zone).tzinfo is zone
    assert helpers.is_naive(datetime(2026, 1, 1, tzinfo=NoOffset()))


def test_naive_and_aware_moments() -> None:
    noon = datetime(2020, 7, 1, 12)
    assert same(helpers.maybe_make_aware(noon), noon.replace(tzinfo=UTC))
    assert same(helpers.maybe_make_aware(noon, "America/New_York"), datetime(2020, 7, 1, 8, tzinfo=NEW_YORK))
    assert same(helpers.maybe_make_aware(noon, NEW_YORK, naive_as_utc=False), noon.replace(tzinfo=NEW_YORK))
    assert same(helpers.maybe_make_aware(noon.replace(tzinfo=PARIS), NEW_YORK), noon.replace(tzinfo=PARIS))
    assert same(helpers.localize(noon.replace(tzinfo=UTC), NEW_YORK), datetime(2020, 7, 1, 8, tzinfo=NEW_YORK))
    assert same(helpers.localize(noon.replace(tzinfo=PARIS), NEW_YORK), noon.replace(tzinfo=PARIS))
    assert same(helpers.to_utc(noon.replace(tzinfo=PARIS)), noon.replace(tzinfo=UTC))
    assert same(helpers.timezone.to_local(noon, NEW_YORK), datetime(2020, 7, 1, 8, tzinfo=NEW_YORK))
    assert same(helpers.timezone.to_local(noon, NEW_YORK, PARIS), noon.replace(tzinfo=PARIS))
    assert helpers.timezone.to_system(noon.replace(tzinfo=UTC)) == noon.replace(tzinfo=UTC)
    assert same(helpers.timezone.to_local_fallback(noon), noon.replace(tzinfo=helpers.timezone.local))
    assert helpers.timezone.get_timezone(5) == 5
    assert helpers.timezone.tz_or_local() is helpers.timezone.local


def test_what_remains() -> None:
    start = datetime(2020, 3, 29, 1, 59, 55, tzinfo=PARIS)  # five seconds later it is three o'clock
    assert helpers.remaining(start, timedelta(seconds=10), datetime(2020, 3, 29, 3, 0, 5, tzinfo=PARIS)) == timedelta(0)
    assert helpers.remaining(start, helpers.ffwd(hour=2, minute=30), start) == timedelta(minutes=31)
    assert helpers.remaining(start, timedelta(hours=1), start, relative=True) == timedelta(seconds=5)
    naive = datetime(2020, 1, 1, 10, 15)
    assert helpers.remaining(naive, timedelta(hours=1), naive, relative=True) == timedelta(minutes=45)
    assert helpers.remaining(datetime.now(), timedelta(hours=1)) <= timedelta(hours=1)


def test_subtraction_is_of_elapsed_time() -> None:
    first, again = (datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=fold) for fold in (0, 1))
    assert helpers.subtract_datetimes(again, first) == timedelta(hours=1)
    assert same(helpers.add_seconds_to_datetime(first, 3600), again)
    assert helpers.subtract_datetimes(datetime(2026, 1, 1), datetime(2026, 1, 1, 5, tzinfo=UTC)) == timedelta(hours=-5)


def test_ffwd() -> None:
    sunday = datetime(2020, 1, 5, 7, 8, 9)
    assert sunday + helpers.ffwd(hour=3, weeks=2) == datetime(2020, 1, 19, 3, 8, 9)
    assert sunday + helpers.ffwd(weekday=2) == datetime(2020, 1, 8, 7, 8, 9)
    assert sunday + helpers.ffwd(weekday=6, unheard_of=1) == sunday
    assert date(2020, 1, 31) + helpers.ffwd(month=2) == date(2020, 2, 29)
    assert repr(helpers.ffwd(year=2012)) == "ffwd(year=2012, weeks=0)"
    with pytest.raises(TypeError):
        timedelta(1) + helpers.ffwd(day=1)


@pytest.mark.parametrize(
    ("seconds", "options", "text"),
    [
        (90061, {}, "1.04 days"),
        (3601, {"microseconds": True}, "1.00 hours"),
        (59.999, {}, "1.00 minute"),
        (0.5, {}, "now"),
        (0.5, {"microseconds": True, "prefix": "in", "sep": " "}, "in 0.50 seconds"),
        (-3600, {"now": "at once"}, "at once"),
    ],
)
def test_seconds_in_words(seconds: float, options: dict[str, Any], text: str) -> None:
    assert helpers.humanize_seconds(seconds, **options) == text


@pytest.mark.parametrize(("given", "found"), [("10/h", 10 / 60 / 60), ("5", 5.0), ("5/", 5.0), ("", 0), (None, 0), (7.5, 7.5)])
def test_rates(given: Any, found: float) -> None:
    assert helpers.rate(given) == found


def test_names() -> None:
    assert (helpers.weekday("Sunday"), helpers.yearmonth("DEC")) == (0, 12)
    with pytest.raises(KeyError):
        helpers.weekday("someday")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None),
        ("2011-11-04T00:05:23Z", datetime(2011, 11, 4, 0, 5, 23, tzinfo=timezone.utc)),
        ("2011-11-04 00:05:23.283+04:00", datetime(2011, 11, 4, 0, 5, 23, 283000, tzinfo=timezone(timedelta(hours=4)))),
        (datetime(2011, 1, 1), datetime(2011, 1, 1)),
    ],
)
def test_iso_8601(text: Any, found: datetime | None) -> None:
    assert helpers.maybe_iso8601(text) == found


def test_numbers() -> None:
    assert helpers.maybe_timedelta(1.5) == timedelta(seconds=1.5)
    assert helpers.maybe_timedelta("3") == "3"
    assert helpers.delta_resolution(datetime(2010, 3, 30, 11, 50, 58), timedelta(hours=25)) == datetime(2010, 3, 30)
    assert helpers.adjust_timestamp(1000, 5, here=lambda: -1) == 1000 - 6 * 3600
    assert -14 <= helpers.utcoffset() <= 12


def test_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    assert helpers.get_exponential_backoff_interval(2, 3, 600) == 16
    assert helpers.get_exponential_backoff_interval(0.1, 5000, 600) == 600
    assert helpers.get_exponential_backoff_interval(-40, 3, 100) == 0
    monkeypatch.setattr(random, "randrange", lambda n: n - 1)
    assert helpers.get_exponential_backoff_interval(2, 3, 600, full_jitter=True) == 16


@pytest.mark.parametrize(
    ("given", "key"),
    [("Europe/Paris", "Europe/Paris"), (":Asia/Tokyo", "Asia/Tokyo"), ("/usr/share/zoneinfo/Asia/Tokyo", "local")],
)
def test_the_machines_zone_by_tz(monkeypatch: pytest.MonkeyPatch, given: str, key: str) -> None:
    monkeypatch.setenv("TZ", given)
    assert getattr(system_zone.system_zone(), "key", None) == key


def test_the_machines_zone_by_its_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("TZ", raising=False)
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Asia/Kathmandu")
    monkeypatch.setattr(system_zone, "LOCALTIME", link)
    assert getattr(system_zone.system_zone(), "key", None) in {"Asia/Kathmandu", "Asia/Katmandu"}


def test_a_machine_without_a_zone_has_an_offset(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TZ", "no/zone")
    assert system_zone.system_zone().utcoffset(datetime.now()) is not None
    monkeypatch.delenv("TZ")
    monkeypatch.setattr(system_zone, "LOCALTIME", tmp_path / "none")
    assert system_zone.system_zone().utcoffset(datetime.now()) is not None


def test_local_time_of_the_c_library() -> None:
    zone = helpers.LocalTimezone()
    summer = datetime(2026, 7, 1, 12, tzinfo=zone)
    assert summer.utcoffset() == datetime(2026, 7, 1, 12).astimezone().utcoffset()
    assert summer.astimezone(timezone.utc).astimezone(zone) == summer
    assert summer.tzname()
    assert "UTC" in repr(zone)
