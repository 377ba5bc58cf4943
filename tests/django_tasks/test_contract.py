"""What Django's tasks framework asks of a backend, by its documentation and its own backends' behaviour."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("django.tasks", reason="needs Django 6.0 or newer (nox -s django)")

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.tasks import TaskResultStatus, default_task_backend, task, task_backends
from django.tasks.exceptions import InvalidTask, InvalidTaskBackend
from django.tasks.signals import task_enqueued
from django.utils import timezone

from pyqs.django import SqsBackend

World = Any
SetTasks = Callable[..., None]


def test_it_is_the_backend_that_the_settings_name(world: World) -> None:
    assert isinstance(task_backends["default"], SqsBackend)
    assert default_task_backend == task_backends["default"]
    assert world.jobs.add.get_backend() is task_backends["default"]


def test_what_it_supports_and_what_not(world: World) -> None:
    backend = task_backends["default"]
    assert (backend.supports_defer, backend.supports_async_task) == (True, True)
    assert (backend.supports_get_result, backend.supports_priority) == (False, False)


@pytest.mark.parametrize("name", ["add", "waits"])
def test_enqueue(world: World, name: str) -> None:
    one = getattr(world.jobs, name)
    result = one.enqueue(1) if name == "waits" else one.enqueue(1, y=3)
    assert result.status == TaskResultStatus.READY
    assert not result.is_finished
    assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
    assert result.enqueued_at is not None
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value
    assert (result.task, result.backend, result.attempts, result.errors) == (one, "default", 0, [])
    assert result.args == [1]
    assert result.kwargs == ({} if name == "waits" else {"y": 3})


@pytest.mark.parametrize("name", ["add", "waits"])
def test_aenqueue(world: World, name: str) -> None:
    result = asyncio.run(getattr(world.jobs, name).aenqueue(1))
    assert (result.status, result.args) == (TaskResultStatus.READY, [1])
    assert not world.empty()


def test_each_call_has_an_id(world: World) -> None:
    first, second = world.jobs.add.enqueue(1), world.jobs.add.enqueue(1)
    assert first.id != second.id
    assert len(first.id) >= 32


def test_arguments_are_json(world: World) -> None:
    result = world.jobs.add.enqueue((1, b"two"), y={"a": (3,)})
    assert (result.args, result.kwargs) == ([[1, "two"]], {"y": {"a": [3]}})
    for argument in (object(), {1, 2}):
        with pytest.raises(TypeError, match="Unsupported type"):
            world.jobs.add.enqueue(argument)
    with pytest.raises(ValueError, match="Unsupported value"):
        world.jobs.add.enqueue(b"\xff")
    world.take()
    assert world.empty()


def test_there_are_no_results_to_ask_for(world: World) -> None:
    result = world.jobs.add.enqueue(1)
    for ask in (lambda: world.jobs.add.get_result(result.id), result.refresh):
        with pytest.raises(NotImplementedError, match="does not support retrieving"):
            ask()
    for aask in (lambda: world.jobs.add.aget_result(result.id), result.arefresh):
        with pytest.raises(NotImplementedError, match="does not support retrieving"):
            asyncio.run(aask())


def test_tasks_that_it_cannot_run_are_refused_where_they_are_declared(world: World) -> None:
    async def generator() -> Any:
        yield 1

    generator.__qualname__ = "generator"
    with pytest.raises(InvalidTask, match="module level"):
        task(lambda: None)
    with pytest.raises(InvalidTask, match="priority"):
        world.jobs.add.using(priority=5)
    with pytest.raises(InvalidTask, match="Queue 'nowhere' is not valid"):
        world.jobs.add.using(queue_name="nowhere")
    with pytest.raises(InvalidTask, match="first argument of 'context'"):
        task(takes_context=True)(world.jobs.plain)
    with pytest.raises(InvalidTask, match="async generator"):
        task(generator)
    with pytest.raises(InvalidTask, match="aware"):
        world.jobs.add.using(run_after=timezone.now().replace(tzinfo=None))


def test_what_a_program_defines_in_itself_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.jobs.add.func, "__module__", "__main__")
    with pytest.raises(InvalidTask, match="no worker can import it"):
        world.jobs.add.enqueue(1)


def test_a_task_of_another_backend_can_be_sent_here(world: World, tasks_setting: SetTasks) -> None:
    tasks_setting(default={"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}, sqs={"QUEUES": ["mail"]})
    result = world.jobs.add.using(backend="sqs", queue_name="mail").enqueue(1)
    assert result.backend == "sqs"
    assert world.run(world.take("mail")).status == "succeeded"
    assert world.jobs.ran == [(1, 0)]


def test_who_listens_hears_of_it_and_cannot_spoil_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []

    def listen(sender: Any, task_result: Any, **_: Any) -> None:
        heard.append((sender, task_result.id, task_result.enqueued_at is not None))
        raise ValueError("not again")

    task_enqueued.connect(listen)
    try:
        with caplog.at_level(logging.DEBUG, "django.tasks"):
            result = world.jobs.add.enqueue(1)
    finally:
        task_enqueued.disconnect(listen)
    assert heard == [(SqsBackend, result.id, True)]
    assert f"Task id={result.id} path=django_jobs.add enqueued backend=default" in caplog.text
    assert "not again" in caplog.text
    assert not world.empty()


def test_the_message_is_a_native_one(world: World) -> None:
    result = world.jobs.add.enqueue(1, y=2)
    body = json.loads(world.take().message.body)
    about = body.pop("pyqs")
    assert body == {"task": "django_jobs.add", "args": [1], "kwargs": {"y": 2}}
    assert about["id"] == result.id
    assert about["django"] == {"backend": "default", "queue_name": "default", "enqueued_at": result.enqueued_at.isoformat()}


def test_queues_have_names_of_their_own_in_sqs(world: World, tasks_setting: SetTasks) -> None:
    tasks_setting(default={"QUEUES": ["default", "mail"], "OPTIONS": {"queues": {"mail": "shop-mail.high"}}})
    world.jobs.mails.enqueue()
    assert not world.empty("shop-mail-high")


def test_run_after_within_sqss_delay(world: World) -> None:
    world.jobs.add.using(run_after=timezone.now() + timedelta(seconds=300)).enqueue(1)
    attributes = world.sqs.queue_attributes(world.sqs.queue_url("default"))
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"
    world.clock[0] += 302
    assert json.loads(world.take().message.body)["pyqs"]["eta"] > 0


def test_run_after_that_has_passed_is_now(world: World) -> None:
    world.jobs.add.using(run_after=timezone.now() - timedelta(days=1)).enqueue(1)
    assert world.run().status == "succeeded"


def test_run_after_on_a_fifo_queue_is_refused(world: World, tasks_setting: SetTasks) -> None:
    tasks_setting(default={"OPTIONS": {"queues": {"default": "orders.fifo"}}})
    with pytest.raises(InvalidTask, match="FIFO"):
        world.jobs.add.using(run_after=timezone.now() + timedelta(seconds=5))
    world.jobs.add.enqueue(1)
    assert not world.empty("orders.fifo")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quues": {}}, "OPTIONS has no 'quues'"),
        ({"queues": ["default"]}, "maps names of queues"),
        ({"endpoint_url": "localhost:4566"}, "endpoint-url"),
        ({"max_deliveries": 0}, "max_deliveries is a whole number"),
        ({"time_limit": 5, "soft_time_limit": 6}, "must be less"),
    ],
)
def test_options_that_cannot_be_meant_are_errors_that_name_the_backend(
    tasks_setting: SetTasks, options: dict[str, Any], says: str
) -> None:
    tasks_setting(shop={"OPTIONS": options})
    with pytest.raises(InvalidTaskBackend, match=says) as raised:
        _ = task_backends["shop"]
    assert "TASKS['shop']" in str(raised.value)
    assert isinstance(raised.value, ImproperlyConfigured)


def test_system_checks_name_queues_that_sqs_cannot_have(tasks_setting: SetTasks) -> None:
    tasks_setting(default={"QUEUES": ["a" * 90, "fine"], "OPTIONS": {"queues": {"fine": "fine.one", "gone": "gone"}}})
    found = {one.id: one.msg for one in checks.run_checks() if str(one.id).startswith("pyqs.")}
    assert "a" * 90 in found["pyqs.E001"]
    assert "'gone'" in found["pyqs.W001"]
    tasks_setting(default={"QUEUES": ["fine"], "OPTIONS": {"queues": {"fine": "https://sqs.eu-west-1.amazonaws.com/1/fine"}}})
    assert not [one for one in checks.run_checks() if str(one.id).startswith("pyqs.")]


def test_an_endpoint_of_its_own_is_shared_by_all_contexts(tasks_setting: SetTasks, world: World) -> None:
    tasks_setting(default={"OPTIONS": {"endpoint_url": "http://127.0.0.1:9324", "region": "eu-west-1"}})
    producers = {
        id(SqsBackend("default", {"OPTIONS": {"endpoint_url": "http://127.0.0.1:9324"}})._producer()) for _ in range(3)
    }
    assert len(producers) == 1
    connection = task_backends["default"]._producer().connection
    assert (connection.endpoint_url, connection.region) == ("http://127.0.0.1:9324", "eu-west-1")
