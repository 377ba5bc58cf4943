"""What a project tests with a worker in a thread. Nothing here knows which of the two Celeries it runs on."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from celery import chain, chord, group, signals
from celery.contrib.testing.manager import Manager
from celery.contrib.testing.worker import TestWorkController, start_worker, test_worker_started, test_worker_stopped
from celery.exceptions import TimeoutError
from celery.result import AsyncResult
from shop import tasks


def until(happened: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_result_comes_back(celery_app, celery_worker):
    result = tasks.add.delay(4, 4)
    assert result.get(timeout=10) == 8
    assert (result.state, AsyncResult(result.id, app=celery_app).result) == ("SUCCESS", 8)


def test_a_failure_is_raised_where_it_is_waited_for(celery_app, celery_worker):
    result = tasks.refuse.delay("no")
    with pytest.raises(ValueError, match="no"):
        result.get(timeout=10)
    assert result.failed()
    assert "ValueError" in result.traceback


def test_retries(celery_app, celery_worker, seen):
    assert tasks.flaky.delay(2).get(timeout=20) == 2
    assert seen == [0, 1, 2]


def test_retries_that_are_used_up(celery_app, celery_worker, seen):
    with pytest.raises(OSError, match="no cable"):
        tasks.unplugged.delay().get(timeout=20)
    assert seen == ["tried"] * 3


def test_a_chain(celery_app, celery_worker):
    assert chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4))().get(timeout=20) == 10


def test_a_group(celery_app, celery_worker):
    assert group(tasks.add.s(n, n) for n in range(5))().get(timeout=20) == [0, 2, 4, 6, 8]


def test_a_chord(celery_app, celery_worker):
    assert chord([tasks.add.s(n, 1) for n in range(3)], tasks.total.s())().get(timeout=30) == 6


def test_links(celery_app, celery_worker, seen):
    tasks.add.apply_async((1, 1), link=tasks.remember.s("linked"))
    until(lambda: seen)
    assert seen == [((2, "linked"), {})]


def test_errbacks(celery_app, celery_worker, seen):
    result = tasks.refuse.apply_async(("bad",), link_error=tasks.remember.si("called"))
    until(lambda: seen)
    assert (seen, result.state) == ([(("called",), {})], "FAILURE")


def test_a_countdown(celery_app, celery_worker):
    began = time.monotonic()
    assert tasks.add.apply_async((1, 1), countdown=1).get(timeout=20) == 2
    assert time.monotonic() - began >= 0.9


def test_one_that_has_expired(celery_app, celery_worker):
    result = tasks.add.apply_async((1, 1), expires=-1)
    until(lambda: result.state == "REVOKED")


def test_one_that_is_revoked(celery_app, celery_worker):
    result = tasks.add.apply_async((1, 1), countdown=3)
    result.revoke()
    until(lambda: result.state == "REVOKED")


def test_ignored_and_rejected(celery_app, celery_worker, seen):
    tasks.ignored.delay()
    tasks.rejected.delay()
    assert tasks.add.delay(1, 1).get(timeout=10) == 2
    assert seen == ["rejected"]


def test_the_request(celery_app, celery_worker):
    result = tasks.who.delay()
    said = result.get(timeout=10)
    assert said == {"id": result.id, "eager": False, "queue": "celery"}


def test_a_route(celery_app, celery_worker, seen):
    tasks.quiet.delay("by mail")
    until(lambda: seen)
    assert seen == ["by mail"]


def test_a_task_calls_another(celery_app, celery_worker):
    other = AsyncResult(tasks.calls_another.delay(3).get(timeout=10), app=celery_app)
    assert other.get(timeout=10) == 6


def test_a_task_of_the_test(celery_app, celery_worker):
    @celery_app.task
    def multiply(x, y):
        return x * y

    celery_worker.reload()
    assert multiply.delay(4, 4).get(timeout=10) == 16


def test_signals(celery_app, celery_worker):
    order = []

    def note(sender=None, signal=None, **kwargs):
        order.append(next(name for name in names if getattr(signals, name) is signal))

    names = ["task_prerun", "task_success", "task_postrun"]
    for name in names:
        getattr(signals, name).connect(note)
    try:
        tasks.add.delay(1, 1).get(timeout=10)
        until(lambda: len(order) == 3)
    finally:
        for name in names:
            getattr(signals, name).disconnect(note)
    assert order == names


@pytest.mark.celery(task_always_eager=True, task_eager_propagates=True)
def test_settings_of_this_test(celery_app):
    assert celery_app.conf.task_always_eager
    celery_app.set_current()
    assert tasks.add.delay(1, 2).get() == 3


def test_not_finished_in_time(celery_app, celery_worker):
    result = tasks.waits.delay()
    with pytest.raises(TimeoutError):
        result.get(timeout=0.3)
    tasks.go_on.set()
    assert result.get(timeout=10) == "went on"


def test_what_runs_at_the_end_of_the_block_ends(celery_app, seen):
    import celery.contrib.testing.tasks  # noqa: F401

    with start_worker(celery_app, perform_ping_check=False):
        result = tasks.sleeps.delay(0.5)
        began = threading.Event()
        until(lambda: not began.wait(0.2))
    assert result.get(timeout=1) == "slept"


def test_several_at_once(celery_app):
    with start_worker(celery_app, concurrency=2, pool="threads", perform_ping_check=False) as worker:
        assert isinstance(worker, TestWorkController)
        waiting = tasks.waits.delay()
        assert tasks.add.delay(1, 1).get(timeout=10) == 2
        tasks.go_on.set()
        assert waiting.get(timeout=10) == "went on"


def test_a_worker_with_a_name_and_its_signals(celery_app):
    told = []

    def note(sender=None, signal=None, worker=None, **kwargs):
        told.append((signal is test_worker_stopped, sender, worker))

    test_worker_started.connect(note)
    test_worker_stopped.connect(note)
    try:
        with start_worker(celery_app, perform_ping_check=False, hostname="me@here") as worker:
            assert worker.hostname == "me@here"
    finally:
        test_worker_started.disconnect(note)
        test_worker_stopped.disconnect(note)
    assert told == [(False, celery_app, worker), (True, celery_app, worker)]


def test_without_the_ping_task_a_worker_is_refused():
    from celery.contrib.testing.app import TestApp, setup_default_app

    app = TestApp()
    app.finalize()
    app.tasks.pop("celery.ping", None)
    with setup_default_app(app), pytest.raises(AssertionError), start_worker(app):
        pass


def test_an_error_in_the_block_is_the_tests_own(celery_app):
    with pytest.raises(ZeroDivisionError), start_worker(celery_app, perform_ping_check=False):
        raise ZeroDivisionError


def test_a_manager_joins(celery_app, celery_worker):
    manager = Manager(celery_app, block_timeout=10)
    results = [tasks.add.delay(n, n) for n in range(3)]
    manager.join(group(tasks.add.s(1, 1), tasks.add.s(2, 2))(), timeout=10)
    assert [result.get(timeout=10) for result in results] == [0, 2, 4]
    manager.assert_result_tasks_in_progress_or_completed(results)
    assert manager.wait_for(lambda: "here", (KeyError,)) == "here"


def test_a_purge(celery_app):
    celery_app.set_current()
    celery_app.control.purge()
    for _ in range(3):
        tasks.add.delay(1, 1)
    assert celery_app.control.purge() == 3
    assert celery_app.control.purge() == 0


class TestWithOneWorkerForAll:
    @pytest.fixture(autouse=True)
    def session(self, celery_session_app, celery_session_worker):
        celery_session_app.set_current()

    @pytest.mark.parametrize("x", [1, 2, 3])
    def test_it_is_there_each_time(self, celery_session_app, x):
        assert tasks.add.delay(x, x).get(timeout=10) == 2 * x

    def test_a_class_is_a_task(self, celery_session_app, seen):
        assert celery_session_app.tasks["shop.greet"].delay("you").get(timeout=10) == "Hello you"
        until(lambda: seen)
        assert seen == [("on_success", "Hello you")]
