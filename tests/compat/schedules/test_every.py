"""``schedule``, ``maybe_schedule`` and what all schedules have."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import pyqs_celery_compat
from pyqs_celery_compat.schedules import BaseSchedule, crontab, maybe_schedule, schedstate, schedule

UTC = timezone.utc


def test_the_module_is_an_attribute_of_the_package() -> None:
    assert pyqs_celery_compat.schedules.crontab is crontab


def test_every_so_often(make_app: Any) -> None:
    now = datetime(2026, 1, 1, 10, 59, 30, tzinfo=UTC)
    hourly, on_the_hour = (schedule(3600, relative=relative, app=make_app("UTC", now)) for relative in (False, True))
    last = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
    assert hourly.is_due(last) == schedstate(True, 3600)
    assert on_the_hour.is_due(last) == schedstate(True, 30)
    assert hourly.is_due(datetime(2026, 1, 1, 10, 0)) == (False, 30)
    assert on_the_hour.is_due(datetime(2026, 1, 1, 10, 0)) == (False, 30)


def test_days_on_the_clock_end_at_midnight_whatever_their_length(make_app: Any) -> None:
    zone = ZoneInfo("Europe/Paris")
    for day, hours in [(datetime(2026, 3, 29), 23), (datetime(2026, 10, 25), 25), (datetime(2026, 6, 1), 24)]:
        midnight = day.replace(tzinfo=zone)
        daily = schedule(timedelta(days=1), relative=True, app=make_app("Europe/Paris", midnight))
        assert daily.remaining_estimate(midnight) == timedelta(hours=hours)


def test_a_last_run_in_the_future_is_waited_for(make_app: Any) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)  # the clock was wrong, and is right again
    assert schedule(10, app=make_app("UTC", now)).is_due(now + timedelta(hours=1)) == (False, 3610)


def test_equality_pickles_and_texts() -> None:
    made = schedule(90, relative=True)
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert again == made
    assert again.relative
    assert made == timedelta(seconds=90)
    assert made != 90
    assert made != crontab()
    assert repr(made) == "<freq: 1.50 minutes>"
    assert (made.seconds, schedule(-5).seconds) == (90, 0)
    assert BaseSchedule() == BaseSchedule()
    assert BaseSchedule(nowfun=datetime.now) != BaseSchedule()


def test_numbers_and_spans_are_schedules(make_app: Any) -> None:
    app = make_app()
    assert maybe_schedule(None) is None
    assert maybe_schedule(5, app=app) == schedule(5)
    assert maybe_schedule(timedelta(5), relative=True).relative
    line = crontab()
    assert maybe_schedule(line, app=app) is line
    assert line.app is app
    with pytest.raises(TypeError, match="a schedule is a number of seconds"):
        maybe_schedule("every day")


def test_without_an_app_it_is_the_current_ones(make_app: Any) -> None:
    app = make_app("Asia/Tokyo")
    app.set_current()
    try:
        assert str(schedule(5).tz) == "Asia/Tokyo"
        assert schedule(5).utc_enabled is True
    finally:
        pyqs_celery_compat._state.set_current_app(None)


def test_a_base_schedule_knows_no_time() -> None:
    for question in (BaseSchedule().is_due, BaseSchedule().remaining_estimate):
        with pytest.raises(NotImplementedError):
            question(datetime(2026, 1, 1))
