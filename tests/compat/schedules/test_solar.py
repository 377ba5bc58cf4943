"""The sun's schedules, with ephem and without it."""

from __future__ import annotations

import pickle
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.schedules import schedule, solar

MIDNIGHT = datetime(2026, 6, 1, tzinfo=timezone.utc)


def test_without_ephem_it_is_refused_where_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ephem", None)
    with pytest.raises(ImproperlyConfigured, match=r"install pyqs\[solar\]"):
        solar("sunrise", 60, 30)


class TestWithEphem:
    @pytest.fixture(autouse=True)
    def _ephem(self) -> None:
        pytest.importorskip("ephem")

    def test_sunrise(self, make_app: Any) -> None:
        # Saint Petersburg, as genuine Celery and any almanac have it: 00:49:32 UTC.
        left = solar("sunrise", 60, 30, app=make_app("UTC", MIDNIGHT)).remaining_estimate(MIDNIGHT)
        assert abs(left - timedelta(minutes=49, seconds=32)) < timedelta(seconds=5)
        late = solar("sunrise", 60, 30, app=make_app("UTC", MIDNIGHT + timedelta(days=1))).is_due(MIDNIGHT)
        assert late.is_due
        assert 47 * 60 < late.next < 50 * 60

    @pytest.mark.parametrize("event", sorted(solar._all_events))
    def test_every_event_comes(self, make_app: Any, event: str) -> None:
        left = solar(event, 40, -3, app=make_app("Asia/Tokyo", MIDNIGHT)).remaining_estimate(MIDNIGHT)
        assert timedelta(0) < left < timedelta(days=1)

    def test_a_polar_night_is_waited_for(self, make_app: Any) -> None:
        december = datetime(2026, 12, 15, tzinfo=timezone.utc)
        found = solar("sunrise", 69.6492, 18.9553, app=make_app("UTC", december)).is_due(december)
        assert not found.is_due
        assert found.next > timedelta(days=30).total_seconds()

    @pytest.mark.parametrize(
        ("event", "lat", "lon", "said"),
        [
            ("tea", 0, 0, "there is no event 'tea'"),
            ("sunset", 91, 0, "latitude 91"),
            ("sunset", 0, -181, "longitude -181"),
            ("sunset", float("nan"), 0, "latitude nan"),
        ],
    )
    def test_no_such_event_or_place(self, event: str, lat: float, lon: float, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            solar(event, lat, lon)

    def test_equality_and_pickles(self) -> None:
        made = solar("sunset", 60, 30)
        assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301
        assert made != solar("sunset", 60, 31)
        assert made != schedule(5)
        assert repr(made) == "<solar: sunset at latitude 60, longitude: 30>"
