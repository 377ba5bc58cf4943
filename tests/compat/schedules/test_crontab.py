"""Crontabs: what is read, what is refused, and when they are due where clocks are changed."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyqs_celery_compat.schedules import ParseException, cronfield, crontab, crontab_parser, schedule

NEW_YORK = ZoneInfo("America/New_York")
UTC = timezone.utc


def new_york(*fields: int, fold: int = 0) -> datetime:
    return datetime(*fields, tzinfo=NEW_YORK, fold=fold)  # type: ignore[arg-type, misc]


def ask(make_app: Any, now: datetime, last: datetime, *fields: Any, zone: str = "America/New_York", **settings: Any) -> Any:
    return tuple(crontab(*fields, app=make_app(zone, now, **settings)).is_due(last))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"minute": 60}, "minute 60: 60 is not in 0-59"),
        ({"minute": "0-60"}, "minute '0-60': 60 is not in 0-59"),
        ({"minute": [0, 60]}, "minute [0, 60]: 60 is not in 0-59"),
        ({"minute": "-1"}, "-1 is not in 0-59"),
        ({"minute": "*/0"}, "a step is a number from 1 on, not '0'"),
        ({"minute": "*/x"}, "a step is a number from 1 on, not 'x'"),
        ({"minute": "*/"}, "no number after the '/'"),
        ({"minute": ""}, "minute '': empty part"),
        ({"minute": "1,,2"}, "empty part"),
        ({"minute": "5/2"}, "'5/2' is neither a number nor the name of a day or a month"),
        ({"minute": []}, "it never occurs: minute has no number"),
        ({"hour": 24}, "hour 24: 24 is not in 0-23"),
        ({"day_of_week": 7}, "day_of_week 7: 7 is not in 0-6"),
        ({"day_of_week": "someday"}, "day_of_week 'someday': 'someday' is neither"),
        ({"day_of_month": 0}, "day_of_month 0: 0 is not in 1-31"),
        ({"month_of_year": 13}, "month_of_year 13: 13 is not in 1-12"),
        ({"day_of_month": "30,31", "month_of_year": "feb"}, "day_of_month '30,31' never occurs in month_of_year 'feb'"),
    ],
)
def test_what_is_no_crontab_is_one_clear_error(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParseException) as caught:
        crontab(**fields)
    assert said in str(caught.value)
    assert isinstance(caught.value, ValueError)  # which Celery raises for most of these
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("field", [None.__class__, 1.5, ["1"], [1.5], object()])
def test_a_field_of_a_wrong_type_is_a_type_error(field: Any) -> None:
    with pytest.raises(TypeError, match="a field of a crontab"):
        crontab(minute=field)


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "@daily"])
def test_a_line_of_cron_has_five_fields(text: str) -> None:
    with pytest.raises(ParseException, match="five fields are needed"):
        crontab.from_string(text)


def test_a_line_of_cron_is_in_crons_order() -> None:
    assert crontab.from_string("1  2 3 4 5") == crontab(minute=1, hour=2, day_of_month=3, month_of_year=4, day_of_week=5)


def test_names_ranges_and_steps() -> None:
    assert crontab(day_of_week="mon-wed,SAT").day_of_week == {1, 2, 3, 6}
    assert crontab(month_of_year="november-feb").month_of_year == {11, 12, 1, 2}
    assert crontab_parser(60).parse("55-5/3,20") == {55, 58, 1, 4, 20}
    assert crontab_parser(31, 1).parse("*/10") == {1, 11, 21, 31}
    assert cronfield(None) == "*"
    assert cronfield("") == ""


def test_it_survives_a_pickle_and_shows_what_was_written() -> None:
    made = crontab(5, "6", "sat", "*/4", [1, 2], nowfun=datetime.now)
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert again == made
    assert again.nowfun == datetime.now
    assert repr(again) == "<crontab: 5 6 */4 [1, 2] sat (m/h/dM/MY/d)>"
    assert made != crontab(5, "6", "sat", "*/4", [1, 2])
    assert made != schedule(5)
    with pytest.raises(TypeError):
        hash(made)


def test_another_zone_can_be_set(make_app: Any) -> None:
    # django-celery-beat's crontab does so.
    now = datetime(2026, 1, 1, 13, 30, tzinfo=UTC)
    made = crontab(0, 9, app=make_app("UTC", now))
    made.tz = NEW_YORK
    assert made.remaining_estimate(now) == timedelta(minutes=30)


def test_a_time_that_is_left_out_is_due_as_much_later(make_app: Any) -> None:
    # On 8 March 02:00 was 03:00 at once, so that 02:30 was 03:30.
    last = new_york(2026, 3, 7, 2, 30)
    assert ask(make_app, new_york(2026, 3, 8, 1, 30), last, 30, 2) == (False, 3600)
    assert ask(make_app, new_york(2026, 3, 8, 3, 30), last, 30, 2) == (True, 23 * 3600)


def test_a_time_that_comes_twice_is_due_the_first_time(make_app: Any) -> None:
    # On 1 November 02:00 was 01:00 again.
    assert ask(make_app, new_york(2026, 11, 1, 1, 30), new_york(2026, 10, 31, 1, 30), 30, 1) == (True, 25 * 3600)
    assert ask(make_app, new_york(2026, 11, 1, 1, 30, fold=1), new_york(2026, 11, 1, 1, 30), 30, 1) == (False, 24 * 3600)


@pytest.mark.parametrize("seconds", [0, 30, 59, 60])
def test_nothing_is_due_without_a_pause_in_an_hour_that_comes_twice(make_app: Any, seconds: int) -> None:
    # Celery's is_due says (True, 0) here until the hour is over: beat would send the task as fast as it can.
    last = new_york(2026, 11, 1, 1, 10, fold=1)
    now = new_york(2026, 11, 1, 1, 10 + seconds // 60, seconds % 60, fold=1)
    assert ask(make_app, now, last) == (False, 50 * 60 - seconds)


def test_a_run_that_was_missed_for_too_long_is_left_out(make_app: Any) -> None:
    last, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 5, tzinfo=UTC)  # 03:00 was two hours ago
    for deadline, due in [(None, True), (7200, True), (7199, False), (10**9, True), (0, False)]:
        found = ask(make_app, now, last, 0, 3, zone="UTC", beat_cron_starting_deadline=deadline)
        assert found == (due, 22 * 3600)


def test_a_deadline_is_of_elapsed_time(make_app: Any) -> None:
    # 00:30 the first time; the clock is set back at 02:00, and 01:45 the second time is 2:15 hours later.
    last, now = new_york(2026, 10, 31, 23, 0), new_york(2026, 11, 1, 1, 45, fold=1)
    assert ask(make_app, now, last, 30, 0, beat_cron_starting_deadline=2 * 3600)[0] is False
    assert ask(make_app, now, last, 30, 0, beat_cron_starting_deadline=2 * 3600 + 15 * 60)[0] is True


def test_a_day_that_never_comes_is_an_error_and_no_endless_search(make_app: Any) -> None:
    made = crontab(0, 0, app=make_app())
    made.day_of_month, made.month_of_year = {31}, {4}
    with pytest.raises(RuntimeError, match="is due on no day of the next"):
        made.remaining_estimate(datetime(2026, 1, 1, tzinfo=UTC))
