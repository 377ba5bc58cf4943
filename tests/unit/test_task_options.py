"""What ``@task`` takes for failures and limits, and the pause that comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from pyqs import task
from pyqs.errors import ConfigError
from pyqs.registry import registry
from pyqs.task_options import DEFAULTS, TaskOptions


def pauses(options: TaskOptions, count: int) -> tuple[int, int]:
    """The shortest and the longest of many."""
    drawn = [options.pause("shop.send", count) for _ in range(300)]
    return min(drawn), max(drawn)


@pytest.mark.parametrize(
    ("backoff", "first", "last"),
    [
        (None, (5, 10), (1800, 3600)),
        (4, (2, 4), (1800, 3600)),
        (7200, (3600, 7200), (3600, 7200)),
        ((4, 100), (2, 4), (50, 100)),
        (0, (0, 0), (0, 0)),
        (lambda count: 3.0 * count, (3, 3), (120, 120)),
    ],
)
def test_the_pause_after_the_first_and_the_fortieth_receive(backoff: Any, first: Any, last: Any) -> None:
    options = TaskOptions.checked("t", backoff, None, None, None)
    for count, (low, high) in ((1, first), (40, last)):
        shortest, longest = pauses(options, count)
        assert low <= shortest <= longest <= high


def test_a_pause_stays_within_sqs_twelve_hours() -> None:
    options = TaskOptions(retry_backoff=lambda _: 1e9)
    assert options.pause("t", 1, held=3600) == 43200 - 3600 - 60


@pytest.mark.parametrize("answer", [-1, float("nan"), float("inf"), None, "5", True])
def test_a_function_that_answers_no_seconds_is_not_followed(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert 5 <= TaskOptions(retry_backoff=lambda _: answer).pause("shop.send", 1) <= 10
    assert "shop.send" in caplog.text


def test_a_function_that_raises_is_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    def broken(count: int) -> float:
        raise SystemExit(count)

    assert 5 <= TaskOptions(retry_backoff=broken).pause("shop.send", 1) <= 10
    assert "its retry_backoff failed" in caplog.text


@pytest.mark.parametrize(
    ("backoff", "seconds"), [(None, 3600), (30, 3600), (7200, 7200), ((5, 600), 600), (lambda _: 1.0, 3600)]
)
def test_what_is_not_run_any_more_waits_longest(backoff: Any, seconds: int) -> None:
    assert TaskOptions.checked("t", backoff, None, None, None).longest_pause() == seconds


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"retry_backoff": -1}, "retry_backoff"),
        ({"retry_backoff": "10"}, "retry_backoff"),
        ({"retry_backoff": True}, "retry_backoff"),
        ({"retry_backoff": float("nan")}, "retry_backoff"),
        ({"retry_backoff": 50_000}, "43200"),
        ({"retry_backoff": (1, 2, 3)}, "pair"),
        ({"retry_backoff": (20, 10)}, "longer"),
        ({"max_deliveries": 0}, "max_deliveries"),
        ({"max_deliveries": 2.5}, "max_deliveries"),
        ({"max_deliveries": True}, "max_deliveries"),
        ({"time_limit": 0}, "time_limit"),
        ({"time_limit": float("inf")}, "time_limit"),
        ({"soft_time_limit": "5"}, "soft_time_limit"),
        ({"soft_time_limit": 10, "time_limit": 10}, "less than"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_task_is_defined(options: dict[str, Any], named: str) -> None:
    def send() -> None: ...

    with pytest.raises(ConfigError, match=rf"@task .*send: .*{named}"):
        task(**options)(send)
    assert not hasattr(send, "delay")


def test_the_options_are_registered_with_the_task() -> None:
    @task(custom_function_path="shop.options", max_deliveries=4, soft_time_limit=2)
    def send() -> None: ...

    assert registry.options("shop.options") == TaskOptions(max_deliveries=4, soft_time_limit=2.0)

    @task(custom_function_path="shop.options")
    def again() -> None: ...

    assert registry.options("shop.options") == DEFAULTS, "a task that is defined anew does not inherit"
