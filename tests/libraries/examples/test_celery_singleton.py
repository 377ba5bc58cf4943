"""celery-singleton 0.3.1, whose release has no tests: what its README shows, with a worker where one takes part."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from processes import wait_until


@pytest.fixture
def tasks(redis_url: str, sqs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("EXAMPLE_REDIS", redis_url)
    module = importlib.import_module("singletons")
    from celery_singleton import clear_locks

    clear_locks(module.app)
    yield module
    clear_locks(module.app)


@pytest.fixture
def worker(tasks: Any, work: Any, redis_url: str) -> None:
    """One that is ready, and so has cleared all locks."""
    work("singletons", EXAMPLE_REDIS=redis_url)
    assert tasks.do_something.delay("is there a worker").get(timeout=30) == ["is there a worker", None]


def test_a_task_is_queued_once(tasks: Any) -> None:
    first, second = (tasks.do_stuff.delay(1, 2, 3, a="b") for _ in range(2))
    assert first == second
    assert first != tasks.do_stuff.delay(4, 5, 6)


def test_only_some_arguments_may_count(tasks: Any) -> None:
    first = tasks.do_something.delay(username="bob", otherarg=99)
    assert first == tasks.do_something.delay(username="bob", otherarg=100)
    assert first != tasks.do_something.delay(username="ann", otherarg=100)


def test_a_duplicate_may_be_an_error(tasks: Any) -> None:
    from celery_singleton import DuplicateTaskError

    first = tasks.only_one.delay("bob")
    with pytest.raises(DuplicateTaskError) as caught:
        tasks.only_one.delay("bob")
    assert caught.value.task_id == first.id


def test_a_lock_may_expire(tasks: Any) -> None:
    first = tasks.expires.delay()
    assert tasks.expires.delay() == first
    assert wait_until(lambda: (second := tasks.expires.delay()) != first and second, 5)


def test_a_call_that_cannot_be_sent_leaves_no_lock(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import Task

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no broker")

    with monkeypatch.context() as down:
        down.setattr(Task, "apply_async", refuse)
        with pytest.raises(ConnectionError):
            tasks.do_stuff.delay("unsent")
    assert tasks.do_stuff.delay("unsent").id


def test_a_call_runs_here_without_a_lock(tasks: Any) -> None:
    assert tasks.do_stuff.apply((1,)).get() == tasks.do_stuff(1) == "I just woke up"


def test_a_lock_is_released_when_the_task_has_ended(tasks: Any, worker: None) -> None:
    first = tasks.do_stuff.delay("a")
    assert tasks.do_stuff.delay("a") == first
    assert first.get(timeout=30) == "I just woke up"
    assert wait_until(lambda: (again := tasks.do_stuff.delay("a")) != first and again).get(timeout=30) == "I just woke up"
    failed = tasks.fails.delay("on purpose")
    with pytest.raises(ValueError, match="on purpose"):
        failed.get(timeout=30)
    assert wait_until(lambda: tasks.fails.delay("on purpose") != failed)


def test_a_retry_is_held_up_by_the_lock_of_its_own_task(tasks: Any, worker: None) -> None:
    """Of the library, on either side: the retry's ``apply_async`` finds the lock, and so nothing is sent."""
    first = tasks.tries.delay(1)
    assert wait_until(lambda: first.state == "RETRY")
    assert tasks.tries.delay(1) == first
