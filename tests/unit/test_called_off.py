"""What was called off counts as long as it was said to, and is news once, or twice where it is to be killed as well."""

from __future__ import annotations

from pyqs import called_off
from pyqs.called_off import CalledOffCalls
from pyqs.message import CalledOff


def test_what_is_said_again_is_no_news() -> None:
    calls = CalledOffCalls(lambda: 0.0)
    assert calls.add([CalledOff("a", 10), CalledOff("b", 10)]) == (CalledOff("a", 10), CalledOff("b", 10))
    assert calls.add([CalledOff("a", 20)]) == ()
    assert set(calls.by_id) == {"a", "b"}


def test_to_be_killed_as_well_is_news_and_stays_so() -> None:
    calls = CalledOffCalls(lambda: 0.0)
    calls.add([CalledOff("a", 10)])
    assert calls.add([CalledOff("a", 10, 15)]) == (CalledOff("a", 10, 15),)
    assert calls.add([CalledOff("a", 10), CalledOff("a", 10, 9)]) == ()
    assert calls.by_id["a"].signal == 15


def test_what_no_longer_counts_goes() -> None:
    now = [0.0]
    calls = CalledOffCalls(lambda: now[0])
    by_id = calls.by_id
    calls.add([CalledOff("a", 10), CalledOff("b", 80)])
    now[0] = 60.0
    calls.add([CalledOff("c", 70)])
    assert calls.add([CalledOff("late", 10)]) == ()
    assert list(by_id) == ["b", "c"], "whoever looks into it looks into the same dict for ever"


def test_there_is_a_bound_and_the_oldest_go_first() -> None:
    calls = CalledOffCalls(lambda: 0.0)
    calls.add(CalledOff(str(number), 1) for number in range(called_off.MOST + 2))
    assert len(calls.by_id) == called_off.MOST
    assert next(iter(calls.by_id)) == "2"
