"""From a native body to a verdict, and what hooks are told on the way."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyqs import SoftTimeLimitExceeded, events
from pyqs.clock import boottime
from pyqs.config import ConnectionConfig, RuntimeConfig, process_defaults
from pyqs.errors import BootFailed
from pyqs.message import DeadLetter, Delete, Delivery, Hide, ReceivedMessage
from pyqs.native import NativeCall, NativeRuntime, left
from pyqs.registry import Registry
from pyqs.runtime import Outcome, Prepared, TaskRuntime
from pyqs.task_options import TaskOptions

KEYS = {
    "message_id", "task_name", "args", "kwargs", "full_task_path", "fetch_time", "queue_url", "timeout", "receipt_handle",
}  # fmt: skip


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Registry:
    tasks = Registry()
    monkeypatch.setattr("pyqs.native.registry", tasks)
    return tasks


@pytest.fixture(autouse=True)
def _no_hooks() -> Iterator[None]:
    events.clear_events()
    yield
    events.clear_events()


@pytest.fixture
def runtime(tmp_path: Path) -> NativeRuntime:
    return NativeRuntime(RuntimeConfig(working_directory=str(tmp_path)))


def delivery(body: Any, count: int = 1, held: float = 0.0) -> Delivery:
    text = body if isinstance(body, str) else json.dumps(body)
    message = ReceivedMessage("m-1", "handle", text, {"ApproximateReceiveCount": str(count)})
    return Delivery(1, "email", "http://sqs/1/email", message, boottime() - held, 1234.5, 120)


def prepared(runtime: TaskRuntime, name: str = "shop.send", *args: Any, count: int = 1, **kwargs: Any) -> NativeCall:
    call = runtime.prepare(delivery({"task": name, "args": args, "kwargs": kwargs}, count))
    assert isinstance(call, NativeCall)
    return call


def test_it_is_a_task_runtime(runtime: NativeRuntime, tasks: Registry) -> None:
    tasks.register("shop.send", lambda: None)
    as_runtime: TaskRuntime = runtime
    as_prepared: Prepared = prepared(as_runtime)
    assert as_prepared.soft_limit_error is SoftTimeLimitExceeded
    assert (as_prepared.task, as_prepared.call_id, as_prepared.ack_early) == ("shop.send", "m-1", False)
    assert as_prepared.start_at is as_prepared.time_limit is as_prepared.soft_time_limit is as_prepared.rate_key is None


def test_success_deletes_and_the_arguments_arrive(runtime: NativeRuntime, tasks: Registry) -> None:
    seen: list[Any] = []
    tasks.register("shop.send", lambda *args, **kwargs: seen.append((args, kwargs)))
    outcome = prepared(runtime, "shop.send", 1, [2], key=None).run()
    assert seen == [((1, [2]), {"key": None})]
    assert outcome == Outcome(Delete(), "succeeded", (), "shop.send", "m-1", "")


def test_an_async_function_is_run_to_its_end(runtime: NativeRuntime, tasks: Registry) -> None:
    seen: list[Any] = []

    async def send(number: int) -> None:
        await asyncio.sleep(0)
        seen.append(number)
        if number > 1:
            raise ValueError

    tasks.register("shop.send", send)
    assert prepared(runtime, "shop.send", 1).run().verdict == Delete()
    assert prepared(runtime, "shop.send", 2).run().status == "failed"
    assert seen == [1, 2]


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(0), KeyboardInterrupt(), GeneratorExit(), MemoryError()])
def test_failure_hides_for_longer_each_time(runtime: NativeRuntime, tasks: Registry, error: BaseException) -> None:
    def fail() -> None:
        raise error

    tasks.register("shop.send", fail)
    hidden = []
    for count in (1, 3, 6, 40):
        outcome = prepared(runtime, count=count).run()
        assert isinstance(outcome.verdict, Hide)
        assert (outcome.status, outcome.reason) == ("failed", type(error).__name__)
        hidden.append(outcome.verdict.seconds)
    assert hidden == sorted(hidden)
    assert 1 <= hidden[0] <= 10
    assert hidden[-1] <= 3600


@pytest.mark.parametrize("body", ["", "x", "[]", "5", '{"task": null}', '{"task": "t", "args": {}}'])
def test_the_undecodable_is_left(runtime: NativeRuntime, body: str) -> None:
    outcome = runtime.prepare(delivery(body))
    assert isinstance(outcome, Outcome)
    assert outcome.status == "undecodable"
    assert isinstance(outcome.verdict, Hide)
    assert outcome.call_id == "m-1"


def test_the_unknown_is_left_with_its_name(runtime: NativeRuntime, tasks: Registry) -> None:
    outcome = runtime.prepare(delivery({"task": "shop.nothing"}))
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.task) == ("unknown", "shop.nothing")
    assert "shop.nothing" in outcome.reason


def test_what_is_left_comes_back_later_each_time_and_within_sqs_limits() -> None:
    def seconds(count: int, held: float = 0.0) -> float:
        verdict = left(delivery("x", count, held), "unknown", "why").verdict
        assert isinstance(verdict, Hide)
        return verdict.seconds

    assert 15 <= seconds(1) <= 30
    assert seconds(4) > seconds(1)
    assert seconds(10**9) <= 3600
    assert seconds(20, held=43000) <= 200


def test_hooks_get_pyqs_keys(runtime: NativeRuntime, tasks: Registry) -> None:
    seen: list[dict[str, Any]] = []
    tasks.register("shop.send", lambda *args, **kwargs: None)
    events.register_event("pre_process", lambda context: seen.append(dict(context)))
    events.register_event("post_process", lambda context: seen.append(dict(context)))
    prepared(runtime, "shop.send", 1, key=2).run()
    before, after = seen
    assert set(before) == KEYS
    assert before == {
        "message_id": "m-1", "task_name": "send", "args": [1], "kwargs": {"key": 2}, "full_task_path": "shop.send",
        "fetch_time": 1234.5, "queue_url": "http://sqs/1/email", "timeout": 120, "receipt_handle": "handle",
    }  # fmt: skip
    assert after == {**before, "status": "success"}


def test_the_hook_after_a_failure_gets_the_traceback_as_text(runtime: NativeRuntime, tasks: Registry) -> None:
    seen: list[dict[str, Any]] = []

    def fail() -> None:
        raise ValueError("on purpose")

    tasks.register("shop.send", fail)
    events.register_event("post_process", seen.append)
    prepared(runtime).run()
    assert set(seen[0]) == KEYS | {"status", "exception"}
    assert seen[0]["status"] == "exception"
    assert seen[0]["exception"].startswith("Traceback")
    assert "ValueError: on purpose" in seen[0]["exception"]


def test_a_hook_before_may_change_the_arguments_and_only_the_task_sees_that(runtime: NativeRuntime, tasks: Registry) -> None:
    ran: list[Any] = []
    after: list[Any] = []
    tasks.register("shop.send", ran.append)
    events.register_event("pre_process", lambda context: context.update(args=["changed"], extra=1))
    events.register_event("post_process", after.append)
    prepared(runtime, "shop.send", "original").run()
    assert ran == ["changed"]
    assert after[0]["args"] == ["original"]
    assert "extra" not in after[0]


def test_a_hook_before_that_fails_is_the_tasks_failure(runtime: NativeRuntime, tasks: Registry) -> None:
    ran: list[Any] = []
    after: list[Any] = []
    tasks.register("shop.send", lambda: ran.append(1))

    def refuse(context: dict[str, Any]) -> None:
        raise RuntimeError("not today")

    events.register_event("pre_process", refuse)
    events.register_event("post_process", after.append)
    outcome = prepared(runtime).run()
    assert (outcome.status, outcome.reason, ran) == ("failed", "RuntimeError", [])
    assert after[0]["status"] == "exception"


@pytest.mark.parametrize("error", [RuntimeError("hook"), SystemExit(1)])
def test_a_hook_after_that_fails_changes_nothing_and_the_others_are_called(
    runtime: NativeRuntime, tasks: Registry, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    after: list[Any] = []
    tasks.register("shop.send", lambda: None)

    def broken(context: dict[str, Any]) -> None:
        raise error

    events.register_event("post_process", broken)
    events.register_event("post_process", after.append)
    assert prepared(runtime).run().verdict == Delete()
    assert len(after) == 1
    assert "post_process hook" in caplog.text


def test_a_failure_is_logged_with_its_traceback_and_without_arguments(
    runtime: NativeRuntime, tasks: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(secret: str) -> None:
        raise ValueError("on purpose")

    tasks.register("shop.send", fail)
    prepared(runtime, "shop.send", "a-secret-argument").run()
    (record,) = caplog.records
    assert record.exc_info
    assert "on purpose" in "".join(traceback.format_exception(*record.exc_info))
    assert "a-secret-argument" not in record.getMessage()


def test_boot_imports_what_is_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "booted_tasks.py").write_text("from pyqs import task\n@task\ndef one(): ...")
    monkeypatch.syspath_prepend(str(tmp_path))
    report = NativeRuntime(RuntimeConfig(include=("booted_tasks",))).boot()
    assert "booted_tasks.one" in report.tasks
    assert report.at_most_once == 0


def test_boot_names_what_does_not_load() -> None:
    with pytest.raises(BootFailed, match=r"module nowhere_at_all\.tasks does not load: ModuleNotFoundError"):
        NativeRuntime(RuntimeConfig(include=("nowhere_at_all.tasks",))).boot()


def test_a_task_that_is_refused_is_named_with_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "async_tasks.py").write_text("from pyqs import task\n@task\nasync def one(): yield")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BootFailed, match="module async_tasks does not load: @task on one: an async generator"):
        NativeRuntime(RuntimeConfig(include=("async_tasks",))).boot()


def test_after_fork_sets_what_a_tasks_own_delay_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_connection", "_create_queues", "generation"):
        monkeypatch.setattr(process_defaults, name, getattr(process_defaults, name))
    connection = ConnectionConfig(region="eu-west-1")
    NativeRuntime(RuntimeConfig(connection=connection, create_queues=False)).after_fork()
    assert process_defaults.connection == connection
    assert process_defaults.create_queues is False


def test_a_task_says_how_long_its_failures_wait(runtime: NativeRuntime, tasks: Registry) -> None:
    def fail() -> None:
        raise ValueError

    tasks.register("shop.send", fail, TaskOptions(retry_backoff=lambda count: 7 * count))
    call = prepared(runtime, count=3)
    assert call.run().verdict == Hide(21)
    assert (call.if_killed, call.tells) == (Hide(21), False)
    tasks.register("shop.send", fail, TaskOptions(retry_backoff=(2.0, 4.0)))
    verdict = prepared(runtime, count=30).run().verdict
    assert isinstance(verdict, Hide)
    assert 2 <= verdict.seconds <= 4


def test_the_worker_decides_for_a_task_without_a_backoff_of_its_own(runtime: NativeRuntime, tasks: Registry) -> None:
    tasks.register("shop.send", lambda: None, TaskOptions(time_limit=5.0, soft_time_limit=4.0))
    call = prepared(runtime)
    assert (call.time_limit, call.soft_time_limit) == (5.0, 4.0)
    assert (call.if_killed, call.tells) == (None, False)


def test_above_max_deliveries_it_is_not_run(runtime: NativeRuntime, tasks: Registry) -> None:
    ran: list[int] = []
    tasks.register("shop.send", lambda: ran.append(1), TaskOptions(max_deliveries=3, retry_backoff=(5.0, 600.0)))
    assert prepared(runtime, count=3).run().status == "succeeded"
    outcome = runtime.prepare(delivery({"task": "shop.send"}, 4))
    assert isinstance(outcome, Outcome)
    assert outcome.status == "exhausted"
    assert outcome.verdict == DeadLetter(outcome.reason, otherwise=600)
    assert "4 times" in outcome.reason
    assert ran == [1]
