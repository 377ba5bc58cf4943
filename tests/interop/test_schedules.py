"""When crontabs and schedules are due, ours beside Celery's: random ones, at random times, mostly near a change of clocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
#: Summer time of an hour and of half of one, at midnight, south of the equator; none; a day that was left out; 45 minutes.
ZONES = ["UTC", "America/New_York", "Europe/Paris", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana"]
ZONES += ["America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", "Africa/Casablanca"]
#: Number and first of the numbers of minute, hour, day_of_week, day_of_month and month_of_year.
RANGES = [(60, 0), (24, 0), (7, 0), (31, 1), (12, 1)]
NAMES = ["sun", "Monday", "sat", "jan", "DEC", "august", "noday", "x", "", " ", "*", "*/", "1_0", "-1", "7-", "1-2-3"]
SCRAPS = "01259*/-,mont _"
WEEK = 7 * 86400

long_form = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
short_form = settings(long_form, max_examples=300, derandomize=True)


class Peer:
    """A process that answers a line for a line."""

    def __init__(self, python: str, **environment: str) -> None:
        base = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "PYQS_", "INTEROP_"))}
        self.process = subprocess.Popen(
            [python, str(HERE / "interop_schedules.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**base, **environment},
        )  # fmt: skip

    def ask(self, case: dict[str, Any]) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def both(find_peer: Callable[[str], str]) -> Iterator[tuple[Peer, Peer]]:
    peers = (
        Peer(sys.executable, PYTHONPATH=str(HERE.parents[1])),
        Peer(find_peer("PYQS_INTEROP_CELERY57"), PYTHONPATH="", INTEROP_PEER="celery"),
    )
    yield peers
    for peer in peers:
        peer.close()


@cache
def changes(zone: str) -> list[datetime]:
    """The moments, in UTC, from 2000 to 2040 at which a zone's clocks were changed, to the minute."""
    tz, found = ZoneInfo(zone), []
    day = datetime(2000, 1, 1, tzinfo=timezone.utc)
    while day.year < 2040:
        low, high = day, day + timedelta(days=1)
        if low.astimezone(tz).utcoffset() != high.astimezone(tz).utcoffset():
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                same = middle.astimezone(tz).utcoffset() == low.astimezone(tz).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high.replace(second=0, microsecond=0))
        day += timedelta(days=1)
    return found


def part(count: int, first: int) -> st.SearchStrategy[str]:
    number = st.integers(first, first + count - 1).map(str)
    step = st.integers(0, count + 1).map(lambda n: f"/{n}")
    wide = st.tuples(number, number).map("-".join)
    odd = st.one_of(st.integers(-1, count + 2).map(str), st.sampled_from(NAMES))
    some = st.one_of(number, number, wide, st.just("*"), st.tuples(st.one_of(st.just("*"), wide), step).map("".join))
    return st.one_of(*[some] * 19, odd)


def field(count: int, first: int) -> st.SearchStrategy[Any]:
    text = st.lists(part(count, first), min_size=1, max_size=3).map(",".join)
    number = st.integers(first, first + count - 1)
    return st.one_of(st.just("*"), st.just("*"), text, number, st.lists(number, min_size=1, max_size=4), st.just(count + first))


@st.composite
def questions(draw: st.DrawFn, **more: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A zone, the last run and the time that it is now."""
    zone = draw(st.sampled_from(ZONES))
    seconds = st.integers(0, 3 * 86400).map(float) | st.integers(-7200, 7200).map(float) | st.floats(-WEEK, 10 * WEEK)
    start = draw(st.datetimes(datetime(2000, 1, 1), datetime(2039, 1, 1)))
    if (near := changes(zone)) and draw(st.integers(0, 4)):
        start = draw(st.sampled_from(near)).replace(tzinfo=None) + timedelta(minutes=draw(st.integers(-2000, 2000)))
    now = start + timedelta(seconds=round(draw(seconds), 3))
    zones = st.sampled_from([zone, zone, None, "UTC", "Asia/Tokyo"])
    asked = {"last": start.isoformat(), "now": now.isoformat(), "last_in": draw(zones), "now_in": draw(zones)}
    return {"zone": zone, **asked, **{key: draw(value) for key, value in more.items()}}


crontabs = questions(
    fields=st.tuples(*(field(*numbers) for numbers in RANGES)),
    deadline=st.sampled_from([None, None, None, 60, 3600, 7200.5, 86400]),
)
spans = st.sampled_from([60, 3600, 7200, 86400, 2 * 86400, WEEK]) | st.integers(-10, 3 * 86400) | st.floats(0, 100)
schedules = questions(every=spans, relative=st.booleans())
specs = st.sampled_from(RANGES).flatmap(
    lambda numbers: st.fixed_dictionaries(
        {
            "range": st.just(numbers),
            "spec": st.lists(part(*numbers), max_size=4).map(",".join) | st.text("01259*/-,mont _", max_size=8),
        }
    )
)


def moment(case: dict[str, Any], name: str) -> datetime:
    """In UTC, ``last`` or ``now``."""
    return datetime.fromisoformat(case[name]).replace(tzinfo=timezone.utc)


def shown_again(case: dict[str, Any], name: str) -> bool:
    """Whether the clocks of the schedule's zone show this moment the second time."""
    return moment(case, name).astimezone(ZoneInfo(case["zone"])).fold == 1


def compare_crontabs(both: tuple[Peer, Peer], case: dict[str, Any]) -> None:
    """The same, but for a time that clocks show twice, where Celery errs: docs/differences.md."""
    ours, theirs = (peer.ask(case) for peer in both)
    if "refused" in (ours, theirs) or "of a wrong type" in (ours, theirs):
        assert ours == theirs
    elif shown_again(case, "last") or shown_again(case, "now"):
        assert ours[1] > 0  # Celery's may be due without a pause
    elif case["deadline"] and any(moment(case, "last") < change < moment(case, "now") for change in changes(case["zone"])):
        assert ours[1:] == theirs[1:]  # Celery may take what was due the first time for due the second time
    else:
        assert ours == theirs


@short_form
@given(case=crontabs)
def test_crontabs_are_due_when_celerys_are(both: tuple[Peer, Peer], case: dict[str, Any]) -> None:
    compare_crontabs(both, case)


@short_form
@given(case=schedules)
def test_schedules_are_due_when_celerys_are(both: tuple[Peer, Peer], case: dict[str, Any]) -> None:
    ours, theirs = (peer.ask(case) for peer in both)
    assert ours == theirs


@short_form
@given(case=specs)
def test_a_field_means_what_it_means_to_celery(both: tuple[Peer, Peer], case: dict[str, Any]) -> None:
    ours, theirs = (peer.ask(case) for peer in both)
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.timeout(1800)
@long_form
@given(case=crontabs)
def test_ten_thousand_crontabs(both: tuple[Peer, Peer], case: dict[str, Any]) -> None:
    compare_crontabs(both, case)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@long_form
@given(case=schedules)
def test_ten_thousand_schedules(both: tuple[Peer, Peer], case: dict[str, Any]) -> None:
    ours, theirs = (peer.ask(case) for peer in both)
    assert ours == theirs
