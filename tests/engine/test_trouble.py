"""What is said while something fails, works and fails again."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyqs.errors import Throttled, Unreachable
from pyqs.worker.trouble import CALM, Trouble

log = logging.getLogger("pyqs.test")
GONE, SLOW = Unreachable("no network"), Throttled("slow down")


@pytest.fixture
def trouble(clock: Any, caplog: pytest.LogCaptureFixture) -> Trouble:
    caplog.set_level(logging.INFO)
    return Trouble(log, "it fails", "it works again", clock=clock)


def test_one_line_for_each_change(trouble: Trouble, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    trouble.worked()
    for exc in (GONE, GONE, SLOW, GONE, SLOW):
        trouble.failed(exc)
        clock.now += 10
    trouble.worked()
    trouble.worked()
    assert caplog.messages == ["it fails: no network", "it fails: slow down", "it works again after 50 s"]


def test_an_outage_a_day_is_said_each_time(trouble: Trouble, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        trouble.failed(GONE)
        clock.now += 5
        trouble.worked()
        clock.now += 86_400
    assert caplog.messages == ["it fails: no network", "it works again after 5 s"] * 3


def test_what_fails_now_and_then_is_said_in_few_lines(trouble: Trouble, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(1000):
        trouble.failed(GONE)
        clock.now += 1
        trouble.worked()
        clock.now += 3
    assert len(caplog.messages) == 3
    assert "again and again" in caplog.messages[-1]
    clock.now += CALM
    trouble.worked()
    assert len(caplog.messages) == 4
    assert "it works again" in caplog.messages[-1]
    clock.now += CALM
    trouble.failed(GONE)
    assert caplog.messages[-1] == "it fails: no network", "it counts as working since"
