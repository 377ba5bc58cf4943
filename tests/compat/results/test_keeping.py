"""A message is deleted when how its task ended is kept, and not before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import Death, Delete, Delivery, Hide, Leave
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery, publisher, signals
from pyqs_celery_compat import _state as state
from pyqs_celery_compat.exceptions import Reject
from pyqs_celery_compat.key_value_backend import KeyValueStoreBackend
from pyqs_celery_compat.result_backend import ResultTooLarge
from pyqs_celery_compat.runtime import CeleryRuntime

LATE = {"acks_late": True}


class Shelf(KeyValueStoreBackend):
    """Keeps results in a dict, as long as it is up."""

    def __init__(self, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.kept: dict[str, bytes] = {}
        self.down = False
        self.most = 10**9

    def get(self, key: str) -> bytes | None:
        self._ask()
        return self.kept.get(key)

    def set(self, key: str, value: bytes) -> None:
        self._ask()
        if len(value) > self.most:
            raise ResultTooLarge("too large")
        self.kept[key] = value

    def _ask(self) -> None:
        if self.down:
            raise ConnectionError("the shelf is down")


class Stand:
    """An executor's runtime on the in-process SQS, and an app whose results are on a shelf."""

    def __init__(self) -> None:
        self.sqs = InProcessSqs(Store())
        self.app = Celery("keeping", broker="sqs://", backend=f"{__name__}:Shelf", set_as_current=True)
        self.app.publisher.connector = lambda connection: self.sqs
        self.runtime = CeleryRuntime(RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime"))
        self.runtime.boot()
        self.runtime.after_fork()
        self.ran: list[str] = []

    @property
    def shelf(self) -> Any:
        return self.app.backend

    def task(self, what: Callable[[], Any] = lambda: 1, **options: Any) -> Any:
        def work() -> Any:
            self.ran.append("work")
            return what()

        return self.app.task(name="work", shared=False, **options)(work)

    def delivered(self, task: Any, **options: Any) -> Delivery:
        task.apply_async(task_id="one", **options)
        (message,) = self.sqs.receive(self.sqs.queue_url("celery"), wait=0)
        return Delivery(1, "celery", self.sqs.queue_url("celery"), message, boottime(), time.time(), 120)

    def end(self, task: Any, **options: Any) -> Outcome:
        prepared = self.runtime.prepare(self.delivered(task, **options))
        return prepared if isinstance(prepared, Outcome) else prepared.run()

    def state(self) -> Any:
        return self.app.AsyncResult("one").state


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(publisher, "_worker", None)
    monkeypatch.setattr(state._tls, "current_app", None, raising=False)
    monkeypatch.setattr(state, "default_app", None)
    for app in state.active_apps():
        state.deregister_app(app)
    return Stand()


def fail() -> None:
    raise ValueError("no")


def reject() -> None:
    raise Reject("no")


@pytest.mark.parametrize(("what", "word"), [(lambda: 1, "SUCCESS"), (fail, "FAILURE"), (reject, "FAILURE")])
def test_what_is_kept_is_deleted(stand: Stand, what: Callable[[], Any], word: str) -> None:
    outcome = stand.end(stand.task(what, acks_late=word == "SUCCESS"))
    assert (outcome.verdict, stand.state()) == (Delete(), word)


@pytest.mark.parametrize("what", [lambda: 1, fail, reject])
def test_what_is_not_kept_comes_again_and_sends_nothing(stand: Stand, what: Callable[[], Any]) -> None:
    task = stand.task(what, **LATE)
    delivery = stand.delivered(task, link=task.si(), link_error=task.si())
    stand.shelf.down = True
    outcome: Any = stand.runtime.prepare(delivery)
    outcome = outcome.run()
    assert isinstance(outcome.verdict, Hide)
    assert (outcome.status, outcome.reason) == ("rejected", "its result backend did not take how it ended")
    assert outcome.follow_ups == ()
    assert stand.ran == ["work"]


def test_what_was_acknowledged_at_its_start_sends_what_follows_all_the_same(stand: Stand) -> None:
    task = stand.task()
    delivery = stand.delivered(task, link=task.si())
    stand.shelf.down = True
    prepared: Any = stand.runtime.prepare(delivery)
    outcome = prepared.run()
    assert outcome.verdict == Delete()
    assert len(outcome.follow_ups) == 1


def test_nothing_begins_whose_beginning_cannot_be_kept(stand: Stand) -> None:
    stand.shelf.down = True
    outcome = stand.end(stand.task(track_started=True, **LATE))
    assert isinstance(outcome.verdict, Hide)
    assert stand.ran == []


def test_a_retry_is_on_its_way_whatever_its_state_says(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    stand.shelf.down = True
    task: Any = stand.app.task(name="again", bind=True, shared=False, **LATE)(lambda self: self.retry(countdown=0))
    outcome = stand.end(task)
    assert (outcome.verdict, len(outcome.follow_ups)) == (Delete(), 1)
    assert "did not take how it ended" in caplog.text


def test_an_expired_call_says_so_before_it_goes(stand: Stand) -> None:
    heard: list[Any] = []

    def revoked(request: Any, **kwargs: Any) -> None:
        heard.append(request.id)

    signals.task_revoked.connect(revoked)  # weakly: it goes with this test
    delivery = stand.delivered(stand.task(), expires=-5)
    stand.shelf.down = True
    outcome: Any = stand.runtime.prepare(delivery)
    assert isinstance(outcome.verdict, Hide)
    assert heard == []
    stand.shelf.down = False
    outcome = stand.runtime.prepare(delivery)
    assert (outcome.verdict, stand.state(), heard, stand.ran) == (Delete(), "REVOKED", ["one"], [])


@pytest.mark.parametrize("death", [Death("died (SIGKILL)", 1.0), Death("died (exit code 3)")])
def test_a_killed_task_fails_in_its_backend_or_comes_again(stand: Stand, death: Death) -> None:
    stand.runtime.become_host()
    delivery = stand.delivered(stand.task(time_limit=9, **LATE))
    stand.shelf.down = True
    assert isinstance(stand.runtime.killed(delivery, death).verdict, Hide)
    stand.shelf.down = False
    assert stand.runtime.killed(delivery, death).verdict == Delete()
    assert stand.state() == "FAILURE"


def test_a_killed_task_that_was_acknowledged_at_its_start_cannot_come_again(stand: Stand) -> None:
    stand.runtime.become_host()
    delivery = stand.delivered(stand.task())
    stand.shelf.down = True
    assert stand.runtime.killed(delivery, Death("died (SIGKILL)", acked_early=True)).verdict == Leave()


def test_a_result_that_no_try_would_store_fails_its_task(stand: Stand) -> None:
    stand.shelf.most = 1000
    outcome = stand.end(stand.task(lambda: "x" * 2000, **LATE))
    assert outcome.verdict == Delete()
    assert "ResultTooLarge" in repr(stand.app.AsyncResult("one").result)


def test_a_failure_that_is_too_large_is_kept_as_one(stand: Stand) -> None:
    def huge() -> None:
        raise ValueError("x" * 2000)

    stand.shelf.most = 1000
    assert stand.end(stand.task(huge, **LATE)).verdict == Delete()
    assert stand.state() == "FAILURE"


def test_a_second_run_takes_no_success_back(stand: Stand) -> None:
    stand.end(stand.task(lambda: stand.shelf.kept.clear() or 1, **LATE))
    stand.app.backend.store_result("one", ValueError("late"), "FAILURE")
    assert stand.state() == "SUCCESS"


def again(stand: Stand, task: Any, **options: Any) -> Outcome:
    """The same message, received once more."""
    delivery = stand.delivered(task, **options)
    message = replace(delivery.message, attributes={**delivery.message.attributes, "ApproximateReceiveCount": "2"})
    prepared = stand.runtime.prepare(replace(delivery, message=message))
    return prepared if isinstance(prepared, Outcome) else prepared.run()


def test_what_has_succeeded_is_not_run_again_but_what_follows_it_is_sent(stand: Stand) -> None:
    stand.app.conf.worker_deduplicate_successful_tasks = True
    task = stand.task(lambda: 7, **LATE)
    stand.app.backend.store_result("one", 7, "SUCCESS")  # and then its worker died
    outcome = again(stand, task, link=task.si())
    assert (outcome.verdict, len(outcome.follow_ups), stand.ran) == (Delete(), 1, [])


@pytest.mark.parametrize("kept", ["STARTED", "FAILURE", None])
def test_what_has_not_succeeded_is_run_again(stand: Stand, kept: str | None) -> None:
    stand.app.conf.worker_deduplicate_successful_tasks = True
    task = stand.task(**LATE)
    if kept:
        stand.app.backend.store_result("one", ValueError("x") if kept == "FAILURE" else None, kept)
    assert again(stand, task).verdict == Delete()
    assert (stand.ran, stand.state()) == (["work"], "SUCCESS")
