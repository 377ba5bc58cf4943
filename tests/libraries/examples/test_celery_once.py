"""celery-once 3.0.1, whose release has no tests: what its README shows, with a worker where one takes part."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from processes import wait_until


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("locks")


@pytest.fixture
def tasks(locks: Path, redis_url: str, sqs: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EXAMPLE_REDIS", redis_url)
    monkeypatch.setenv("EXAMPLE_LOCKS", str(locks))
    for lock in locks.iterdir():
        lock.unlink()
    return importlib.import_module("once")


def test_a_task_is_queued_once(tasks: Any) -> None:
    from celery_once import AlreadyQueued

    assert tasks.slow_task.delay().id
    with pytest.raises(AlreadyQueued) as caught:
        tasks.slow_task.delay()
    assert 0 < caught.value.countdown <= 60


def test_a_duplicate_may_be_let_go(tasks: Any) -> None:
    assert tasks.graceful.delay().id
    refused = tasks.graceful.delay()
    assert (refused.state, refused.result, refused.get()) == ("REJECTED", None, None)
    assert tasks.slow_task.delay().id
    assert tasks.slow_task.apply_async(once={"graceful": True}).state == "REJECTED"


def test_only_some_arguments_may_count(tasks: Any) -> None:
    from celery_once import AlreadyQueued

    assert tasks.slow_add.delay(1, 1).id
    with pytest.raises(AlreadyQueued):
        tasks.slow_add.delay(1, 2)
    assert tasks.slow_add.delay(2, 2).id
    assert tasks.whatever.delay(1, 1).id
    with pytest.raises(AlreadyQueued):
        tasks.whatever.delay(2, 2)


def test_a_call_has_its_own_timeout(tasks: Any) -> None:
    from celery_once import AlreadyQueued

    assert tasks.slow_task.apply_async(once={"timeout": 10}).id
    with pytest.raises(AlreadyQueued) as caught:
        tasks.slow_task.apply_async(once={"timeout": 10})
    assert 0 < caught.value.countdown <= 10


def test_a_call_here_takes_no_lock(tasks: Any) -> None:
    assert tasks.slow_add(1, 2) == tasks.slow_add(1, 2) == 3
    assert tasks.slow_task.delay().id


def test_arguments_that_do_not_fit_are_told(tasks: Any) -> None:
    with pytest.raises(TypeError):
        tasks.slow_add.delay(1)


def test_a_lock_is_cleared_when_the_task_has_ended(tasks: Any, locks: Path, work: Any, redis_url: str) -> None:
    work("once", EXAMPLE_REDIS=redis_url, EXAMPLE_LOCKS=str(locks))
    assert tasks.slow_task.delay().get(timeout=30) == "Done!"
    assert wait_until(lambda: not list(locks.iterdir()))
    with pytest.raises(ValueError, match="on purpose"):
        tasks.fails.delay("on purpose").get(timeout=30)
    assert wait_until(lambda: not list(locks.iterdir()))
    assert tasks.unlocked.delay(0).get(timeout=30) is True


def test_a_task_that_is_tried_again_keeps_its_lock_from_others_only(tasks: Any, locks: Path, work: Any, redis_url: str) -> None:
    work("once", EXAMPLE_REDIS=redis_url, EXAMPLE_LOCKS=str(locks))
    assert tasks.tries.delay(1).get(timeout=30) == 3
    assert wait_until(lambda: not list(locks.iterdir()))
