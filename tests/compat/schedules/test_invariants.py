"""What holds of every schedule in every zone, clock changes above all."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyqs_celery_compat.schedules import ParseException, crontab, crontab_parser, schedule

UTC = timezone.utc
#: A zone and the day (UTC) of one of its clock changes: an hour, half of one, at midnight, a whole day; and one without any.
CHANGES = {
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-04", "2026-10-03"],
    "Africa/Cairo": ["2026-04-23", "2026-10-29"],
    "America/Havana": ["2026-03-08", "2026-11-01"],
    "Pacific/Apia": ["2011-12-30"],
    "Asia/Tokyo": ["2026-01-01"],
}
SCRAPS = "0123456789*/-, sunjafeb_"
SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))

zones = st.sampled_from(sorted(CHANGES))
hours = st.floats(0, 30).map(lambda n: timedelta(hours=round(n, 3)))


def field(count: int, first: int) -> st.SearchStrategy[Any]:
    number = st.integers(first, first + count - 1)
    several = st.lists(number, min_size=1, max_size=4)
    return st.one_of(st.just("*"), number, several, st.integers(1, count).map(lambda n: f"*/{n}"))


lines = st.fixed_dictionaries({"minute": field(60, 0), "hour": field(24, 0)}, optional={"day_of_week": field(7, 0)})


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone, a last run near one of its clock changes, and a now."""
    zone = draw(zones)
    day = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=UTC)
    last = day - timedelta(hours=8) + draw(hours)
    return zone, last, last + draw(hours)


@cache
def app(make_app: Any, zone: str) -> Any:
    return make_app(zone)


def walls(zone: str, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Each minute from start to end in UTC, and what the clock of the zone shows then."""
    first = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    count = max(int((end - first) / timedelta(minutes=1)), 0)
    return [(when, when.astimezone(ZoneInfo(zone))) for when in (first + timedelta(minutes=n) for n in range(count + 1))]


@SETTINGS
@given(line=lines, at=moments())
def test_a_crontab_says_the_same_twice_and_never_asks_again_at_once(make_app: Any, line: Any, at: Any) -> None:
    zone, last, now = at
    made = crontab(**line, nowfun=lambda: now, app=app(make_app, zone))
    left = made.remaining_estimate(last).total_seconds()
    due, again = made.is_due(last)
    assert due == (left <= 0)
    assert again > 0
    assert due or again == left


@SETTINGS
@given(line=lines, at=moments())
@example(  # the clock goes from 2:00 to 2:30, and leaves 2:01 out
    line={"minute": [1, 30], "hour": "*"},
    at=("Australia/Lord_Howe", datetime(2026, 10, 3, 15, tzinfo=timezone.utc), datetime(2026, 10, 3, 15, tzinfo=timezone.utc)),
)
def test_a_crontab_is_due_next_when_the_clock_first_shows_one_of_its_times(make_app: Any, line: Any, at: Any) -> None:
    zone, last, now = at
    made = crontab(**line, nowfun=lambda: now, app=app(make_app, zone))
    following = now + made.remaining_estimate(last)
    assert following > last

    def named(wall: datetime) -> bool:
        day = wall.isoweekday() % 7 in made.day_of_week
        return day and wall.hour in made.hour and wall.minute in made.minute and not wall.fold

    shown = [when for when, wall in walls(zone, last, min(following, last + timedelta(days=2))) if named(wall)]
    if shown:
        assert shown == [following]
    # Or it is a time that the clock leaves out, or none is so near.


@SETTINGS
@given(line=lines, at=moments())
def test_beat_runs_a_crontab_once_for_each_time_of_the_clock(make_app: Any, line: Any, at: Any) -> None:
    zone, last, _ = at
    end, now, ran = last + timedelta(hours=12), last, list[datetime]()
    made = crontab(**line, nowfun=lambda: now, app=app(make_app, zone))
    while now < end:
        due, again = made.is_due(last)
        if due:
            ran.append(now)
            last = now
        now += timedelta(seconds=again)
    clock = [when.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) for when in ran]
    assert clock == sorted(set(clock))
    assert all((when.second, when.microsecond) == (0, 0) for when in ran)


@SETTINGS
@given(seconds=st.sampled_from([60, 90, 3600, 7200, 86400, 172800]), relative=st.booleans(), at=moments())
def test_beat_is_never_stuck_on_a_schedule(make_app: Any, seconds: int, relative: bool, at: Any) -> None:
    zone, last, now = at
    made = schedule(seconds, relative=relative, nowfun=lambda: now, app=app(make_app, zone))
    left = made.remaining_estimate(last.astimezone(ZoneInfo(zone)))
    due, again = made.is_due(last.astimezone(ZoneInfo(zone)))
    assert due == (left <= timedelta(0))
    assert 0 < again <= seconds + 86400
    end = (now + left).astimezone(ZoneInfo(zone))
    assert end > last
    if relative:
        assert end.second == 0


@SETTINGS
@given(line=lines, at=moments())
def test_the_zones_of_what_is_given_make_no_difference(make_app: Any, line: Any, at: Any) -> None:
    zone, last, now = at
    said = set()
    for shown in (None, UTC, ZoneInfo(zone), ZoneInfo("Asia/Kathmandu")):
        given_last, given_now = (when.astimezone(shown) if shown else when.replace(tzinfo=None) for when in (last, now))
        made = crontab(**line, nowfun=lambda now=given_now: now, app=app(make_app, zone))
        said.add((*made.is_due(given_last), made.remaining_estimate(given_last)))
    assert len(said) == 1


@SETTINGS
@given(line=lines, seconds=st.integers(1, 10**6), relative=st.booleans())
def test_a_pickle_of_one_is_its_equal(line: Any, seconds: int, relative: bool) -> None:
    for made in (crontab(**line), schedule(seconds, relative)):
        assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301


@SETTINGS
@given(
    text=st.text("0123456789*/-, sunjafeb_", max_size=12) | st.text(max_size=6),
    count=st.integers(1, 60),
    first=st.integers(0, 1),
)
def test_any_text_is_numbers_in_range_or_one_error(text: str, count: int, first: int) -> None:
    try:
        found = crontab_parser(count, first).parse(text)
    except ParseException:
        return
    assert found
    assert found <= set(range(first, first + count))
