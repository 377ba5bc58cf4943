"""What a worker does with a task of Django's: the task itself, its context, signals, times, connections, and nothing else."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("django.tasks", reason="needs Django 6.0 or newer (nox -s django)")

from django.db import connections
from django.tasks import TaskResultStatus
from django.tasks.exceptions import InvalidTaskBackend
from django.tasks.signals import task_finished, task_started
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from pyqs import ShutdownRequested, interruption
from pyqs.config import RuntimeConfig
from pyqs.django import SqsBackend
from pyqs.message import DeadLetter, Delete, Hide, Resend
from pyqs.native import NativeRuntime

World = Any
SetTasks = Callable[..., None]


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """What receivers of both signals were told."""
    told: list[Any] = []

    def started(sender: Any, task_result: Any, **_: Any) -> None:
        told.append(("started", sender, task_result.status, task_result.id))

    def finished(sender: Any, task_result: Any, **_: Any) -> None:
        told.append(("finished", sender, task_result.status, task_result))

    task_started.connect(started)
    task_finished.connect(finished)
    yield told
    task_started.disconnect(started)
    task_finished.disconnect(finished)


@pytest.mark.parametrize(("name", "value", "ran"), [("add", 1, (1, 0)), ("waits", 2, ("waits", 1))])
def test_it_runs_and_its_signals_are_sent(world: World, heard: list[Any], name: str, value: int, ran: Any) -> None:
    sent = getattr(world.jobs, name).enqueue(1)
    outcome = world.run()
    assert (outcome.status, outcome.verdict, outcome.call_id) == ("succeeded", Delete(), sent.id)
    assert outcome.task == f"django_jobs.{name}"
    assert world.jobs.ran == [ran]
    (started, finished) = heard
    assert started == ("started", SqsBackend, TaskResultStatus.RUNNING, sent.id)
    assert finished[:3] == ("finished", SqsBackend, TaskResultStatus.SUCCESSFUL)
    result = finished[3]
    assert (result.return_value, result.errors, result.attempts, result.enqueued_at) == (value, [], 1, sent.enqueued_at)
    assert sent.enqueued_at <= result.started_at <= result.finished_at


def test_a_failure_comes_again_and_its_signal_says_what_it_was(world: World, heard: list[Any]) -> None:
    world.jobs.fails.enqueue("on purpose")
    outcome = world.run()
    assert (outcome.status, outcome.reason) == ("failed", "ValueError")
    assert isinstance(outcome.verdict, Hide)
    result = heard[-1][3]
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert "on purpose" in error.traceback


def test_the_context_knows_the_attempt(world: World) -> None:
    sent = world.jobs.asks.enqueue(7)
    delivery = world.take()
    attributes = {**delivery.message.attributes, "ApproximateReceiveCount": "3"}
    again = replace(delivery, message=replace(delivery.message, attributes=attributes))
    for one in (delivery, again):
        assert world.run(one).status == "succeeded"
    assert world.jobs.ran == [(1, sent.id, [7], 7), (3, sent.id, [7], 7)]


def test_receivers_that_raise_change_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def raises(**_: Any) -> None:
        raise ValueError("a receiver's")

    for signal in (task_started, task_finished):
        signal.connect(raises)
    try:
        world.jobs.add.enqueue(1)
        assert world.run().status == "succeeded"
    finally:
        for signal in (task_started, task_finished):
            signal.disconnect(raises)
    assert caplog.text.count("a receiver's") >= 2


def test_an_answer_that_is_no_json_is_no_reason_to_do_it_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.jobs.odd.enqueue()
    assert world.run().status == "succeeded"
    assert "has returned what is not JSON" in caplog.text


def test_one_that_ends_because_the_worker_stops_is_not_finished(
    world: World, heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stops:
        def append(self, _: Any) -> None:
            raise ShutdownRequested

    monkeypatch.setattr(interruption.shutdown, "begun", True)
    monkeypatch.setattr(world.jobs, "ran", Stops())
    world.jobs.add.enqueue(1)
    outcome = world.run()
    assert (outcome.status, outcome.verdict) == ("stopped", Hide(0))
    assert [one[0] for one in heard] == ["started"]


# -- what may be run -------------------------------------------------------------------------------------------------


def message_of(world: World, name: str) -> Any:
    world.jobs.add.enqueue(1)
    delivery = world.take()
    body = json.loads(delivery.message.body)
    return replace(delivery, message=replace(delivery.message, body=json.dumps({**body, "task": name})))


@pytest.mark.parametrize(
    "name", ["django_jobs.plain", "django_jobs.asyncio", "django_jobs.add.func", "os.system", "django.tasks.task", "add"]
)
def test_only_tasks_run(world: World, name: str) -> None:
    outcome = world.run(message_of(world, name))
    assert outcome.status == "unknown"
    assert isinstance(outcome.verdict, Hide)
    assert world.jobs.ran == []


def test_a_task_is_found_under_its_own_name_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "borrowed", world.jobs.add, raising=False)
    assert world.run(message_of(world, "json.borrowed")).status == "unknown"


def test_a_lazy_object_is_not_made_because_a_message_names_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(world.jobs, "lazy", SimpleLazyObject(lambda: made.append(1)), raising=False)
    assert world.run(message_of(world, "django_jobs.lazy")).status == "unknown"
    assert made == []


def test_a_module_under_the_working_directory_is_imported_for_it(world: World) -> None:
    world.jobs.add.enqueue(5)
    del sys.modules["django_jobs"]
    assert world.run(working_directory="/nowhere/at/all").status == "unknown"
    world.clock[0] += 120
    assert world.run().status == "succeeded"
    assert sys.modules["django_jobs"].ran == [(5, 0)]


def test_included_ones_are_counted_at_the_start(world: World) -> None:
    report = NativeRuntime(RuntimeConfig(include=("django_jobs",))).boot()
    assert {"django_jobs.add", "django_jobs.waits", "django_jobs.mails"} <= set(report.tasks)
    assert "django_jobs.plain" not in report.tasks


def test_a_backend_of_others_that_is_not_here_stops_no_worker(
    world: World, tasks_setting: SetTasks, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "set.by.hand")
    tasks_setting(default={}, other={"BACKEND": "nowhere.at.all.Backend"})
    NativeRuntime(RuntimeConfig(include=("django_jobs",))).boot()
    assert "TASKS['other']" in caplog.text
    tasks_setting(default={"OPTIONS": {"quues": {}}})
    with pytest.raises(InvalidTaskBackend, match="quues"):
        NativeRuntime(RuntimeConfig(include=("django_jobs",))).boot()


def test_a_message_without_our_notes_runs_too(world: World) -> None:
    delivery = message_of(world, "django_jobs.asks")
    body = {"task": "django_jobs.asks", "args": [1], "kwargs": {}}
    assert world.run(replace(delivery, message=replace(delivery.message, body=json.dumps(body)))).status == "succeeded"
    assert world.jobs.ran == [(1, delivery.message.message_id, [1], 1)]


@pytest.mark.parametrize(
    "about", [5, {"id": 5}, {"eta": "soon"}, {"eta": True}, {"id": ""}], ids=["number", "id", "eta", "bool", "empty"]
)
def test_notes_that_are_none_are_left(world: World, about: Any) -> None:
    delivery = message_of(world, "django_jobs.add")
    body = {**json.loads(delivery.message.body), "pyqs": about}
    outcome = world.run(replace(delivery, message=replace(delivery.message, body=json.dumps(body))))
    assert outcome.status == "undecodable"
    assert isinstance(outcome.verdict, Hide)


@pytest.mark.parametrize("django", [5, {"backend": 5}, {"backend": "gone", "queue_name": "gone"}, {"enqueued_at": "never"}])
def test_what_these_settings_do_not_know_is_no_reason_not_to_run(world: World, django: Any) -> None:
    delivery = message_of(world, "django_jobs.add")
    body = {**json.loads(delivery.message.body), "pyqs": {"django": django}}
    assert world.run(replace(delivery, message=replace(delivery.message, body=json.dumps(body)))).status == "succeeded"


# -- options, times, connections -------------------------------------------------------------------------------------


def test_options_of_the_backend_are_its_tasks(world: World, tasks_setting: SetTasks) -> None:
    options = {"max_deliveries": 2, "retry_backoff": lambda count: 77, "time_limit": 50, "soft_time_limit": 40}
    tasks_setting(default={"OPTIONS": options})
    world.jobs.fails.enqueue("no")
    delivery = world.take()
    prepared = NativeRuntime(RuntimeConfig(working_directory="/tmp")).prepare(delivery)
    assert (prepared.time_limit, prepared.soft_time_limit) == (50, 40)
    assert prepared.run().verdict == Hide(77)
    attributes = {**delivery.message.attributes, "ApproximateReceiveCount": "3"}
    outcome = world.run(replace(delivery, message=replace(delivery.message, attributes=attributes)))
    assert outcome.status == "exhausted"
    assert isinstance(outcome.verdict, DeadLetter)


def test_what_is_due_later_than_sqs_can_delay_hops(world: World) -> None:
    world.jobs.add.using(run_after=timezone.now() + timedelta(seconds=2000)).enqueue(1)
    world.clock[0] += 901
    outcome = world.run()  # our own clock has not moved: 2000 s are left
    assert outcome.status == "postponed"
    assert isinstance(outcome.verdict, Resend)
    assert outcome.verdict.delay == 900
    assert world.jobs.ran == []


def test_what_is_due_in_a_moment_waits_in_the_executor(world: World) -> None:
    soon = timezone.now() + timedelta(seconds=0.9)
    world.jobs.add.using(run_after=soon).enqueue(1)
    world.clock[0] += 2
    prepared = NativeRuntime(RuntimeConfig(working_directory="/tmp")).prepare(world.take())
    assert prepared.start_at == pytest.approx(soon.timestamp())


def test_connections_are_closed_as_after_a_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    main = threading.get_ident()
    before = connections["default"].connection  # another test's

    def close(**_: Any) -> None:
        seen.append("here" if threading.get_ident() == main else "there")

    monkeypatch.setattr("pyqs.django.close_old_connections", close)
    world.jobs.add.enqueue(1)
    world.run()
    assert seen == ["here", "here"]
    seen.clear()
    world.jobs.waits.enqueue(1)
    world.run()
    assert seen == ["here", "here", "there"]
    assert connections["default"].connection is before


def test_a_failure_is_in_djangos_log_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "django.tasks"):
        sent = world.jobs.fails.enqueue("no")
        world.run()
    lines = [record for record in caplog.records if record.name == "django.tasks"]
    assert [record.levelname for record in lines] == ["INFO", "ERROR"]
    assert sent.id in lines[1].getMessage()
    assert lines[1].exc_info is not None
