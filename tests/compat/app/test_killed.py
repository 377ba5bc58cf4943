"""What the host makes of a task that was killed or lost: who is told, in which order, and what becomes of the message.

The table holds what Celery 5.7's parent process was seen to do (``tests/interop/test_killed.py`` runs it beside us), but for
a hard limit's double telling: there errbacks and task_failure hear of it twice when the message is acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.message import Death, Delete, Delivery, Drop, Hide, Leave, ReceivedMessage, Resend
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery, Task, publisher, signals
from pyqs_celery_compat.runtime import CeleryRuntime

CONFIG = RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime")
TIMEOUT = Death("died (SIGKILL)", 1.0)
LOST = Death("died (exit code 3)")
TOLD_OF_TIMEOUT = ["called", "on_failure", "after_return", "task_failure"]
TOLD_OF_LOSS = ["called", "task_failure"]


@pytest.fixture(autouse=True)
def _no_worker_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_worker", None)


class Stand:
    """A host's runtime, and a task whose handlers write down what they hear."""

    def __init__(self, app: Celery, sqs: InProcessSqs) -> None:
        self.app, self.sqs = app, sqs
        self.heard: list[tuple[Any, ...]] = []
        self.runtime = CeleryRuntime(CONFIG)
        self.runtime.boot()
        self.runtime.become_host()

        @app.task(name="errback")
        def errback(task_id: str) -> None: ...

        @app.task(name="called")
        def called(request: Any, exc: BaseException, traceback: Any) -> None:
            self.heard.append(("called", request.id, type(exc).__name__))

        self.errbacks = [errback.s(), called.s()]

    def task(self, **options: Any) -> Any:
        heard = self.heard

        class Told(Task):
            abstract = True

            def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                heard.append(("on_failure", str(exc), task_id, args, kwargs, self.request.id, einfo.exception.exc is exc))

            def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                heard.append(("after_return", status, str(retval), task_id, einfo))

            def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                heard.append(("on_retry", str(exc), task_id))

        @self.app.task(name="t", base=Told, time_limit=9, **options)
        def body(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("the host runs no task")

        return body

    def killed(self, task: Any, death: Death, *args: Any, receives: int = 1, **options: Any) -> Outcome:
        task.apply_async(args, task_id="i", link_error=self.errbacks, **options)
        (message,) = self.sqs.receive(self.sqs.queue_url("celery"), wait=0)
        message = replace(message, attributes={**message.attributes, "ApproximateReceiveCount": str(receives)})
        return self.runtime.killed(self.delivery(message), death)

    def delivery(self, message: ReceivedMessage) -> Delivery:
        return Delivery(1, "celery", "http://sqs/celery", message, boottime(), time.time(), 120)

    @property
    def order(self) -> list[str]:
        return [str(entry[0]) for entry in self.heard]


@pytest.fixture
def stand(app: Celery, sqs: InProcessSqs) -> Any:
    made = Stand(app, sqs)

    def failed(sender: Any, **named: Any) -> None:
        made.heard.append(("task_failure", sender.name, named))

    signals.task_failure.connect(failed)
    yield made
    signals.task_failure.disconnect(failed)


@pytest.mark.parametrize(
    ("options", "death", "told", "verdict"),
    [
        ({}, TIMEOUT, TOLD_OF_TIMEOUT, Delete),
        ({}, LOST, TOLD_OF_LOSS, Delete),
        ({"acks_late": True}, TIMEOUT, TOLD_OF_TIMEOUT, Delete),
        ({"acks_late": True}, LOST, TOLD_OF_LOSS, Delete),
        ({"acks_late": True, "acks_on_failure_or_timeout": False}, TIMEOUT, TOLD_OF_TIMEOUT, Hide),
        ({"acks_late": True, "acks_on_failure_or_timeout": False}, LOST, TOLD_OF_LOSS, Drop),
        ({"acks_late": True, "acks_on_timeout": False}, TIMEOUT, TOLD_OF_TIMEOUT, Hide),
        ({"acks_late": True, "acks_on_timeout": False}, LOST, TOLD_OF_LOSS, Delete),
        ({"acks_late": True, "acks_on_failure": False}, TIMEOUT, TOLD_OF_TIMEOUT, Delete),
        ({"acks_late": True, "acks_on_failure": False}, LOST, TOLD_OF_LOSS, Drop),
        ({"acks_late": True, "reject_on_worker_lost": True}, TIMEOUT, TOLD_OF_TIMEOUT, Delete),
        ({"acks_late": True, "reject_on_worker_lost": True}, LOST, [], Hide),
        ({"acks_late": True, "reject_on_worker_lost": True, "acks_on_failure": False}, LOST, [], Hide),
        ({"reject_on_worker_lost": True}, LOST, TOLD_OF_LOSS, Delete),
        ({"acks_on_failure_or_timeout": False}, TIMEOUT, TOLD_OF_TIMEOUT, Delete),
        ({"acks_on_failure_or_timeout": False}, LOST, TOLD_OF_LOSS, Delete),
    ],
)
def test_who_is_told_and_what_becomes_of_the_message(
    stand: Stand, options: Any, death: Death, told: list[str], verdict: type
) -> None:
    outcome = stand.killed(stand.task(**options), death)
    assert (stand.order, type(outcome.verdict)) == (told, verdict)
    assert [one.queue for one in outcome.follow_ups] == (["celery"] if told else []), "the errback that is a task"
    assert outcome.status == ("lost" if death is LOST else "timed-out")
    assert (outcome.task, outcome.call_id) == ("t", "i")


@pytest.mark.parametrize("death", [TIMEOUT, LOST])
def test_an_early_acked_message_is_left_and_everybody_told(stand: Stand, death: Death) -> None:
    outcome = stand.killed(stand.task(), replace(death, acked_early=True))
    assert outcome.verdict == Leave()
    assert len(outcome.follow_ups) == 1
    assert stand.order == (TOLD_OF_LOSS if death is LOST else TOLD_OF_TIMEOUT)


def test_what_they_are_told(stand: Stand) -> None:
    stand.killed(stand.task(), TIMEOUT, 1, kwargs={"b": 2}, time_limit=3)
    (_, on_failure, after_return, (_, sender, named)) = stand.heard
    assert on_failure == ("on_failure", "TimeLimitExceeded(3,)", "i", [1], {"b": 2}, "i", True)
    assert after_return == ("after_return", "FAILURE", "TimeLimitExceeded(3,)", "i", None)
    assert sender == "t"
    assert set(named) == {"signal", "task_id", "exception", "args", "kwargs", "traceback", "einfo"}
    assert (named["task_id"], named["args"], named["kwargs"]) == ("i", [1], {"b": 2})
    assert type(named["exception"]).__name__ == "TimeLimitExceeded"
    assert named["traceback"] is not None


def test_a_lost_executor_is_named_in_the_error(stand: Stand) -> None:
    stand.killed(stand.task(), LOST)
    named = stand.heard[-1][2]
    assert type(named["exception"]).__name__ == "WorkerLostError"
    assert str(named["exception"]) == "Worker exited prematurely: the executor died (exit code 3)"
    assert isinstance(named["traceback"], str)


def test_what_is_received_again_comes_later_each_time(stand: Stand) -> None:
    task = stand.task(acks_late=True, reject_on_worker_lost=True)
    first = stand.killed(task, LOST).verdict
    tenth = stand.killed(task, LOST, receives=10).verdict
    assert isinstance(first, Hide)
    assert isinstance(tenth, Hide)
    assert tenth.seconds > first.seconds


def test_retry_on_worker_lost_is_the_same_call_once_more(stand: Stand) -> None:
    task = stand.task(acks_late=True, retry_on_worker_lost=True, reject_on_worker_lost=True, max_retries=1)
    outcome = stand.killed(task, LOST, 7)
    assert (outcome.status, outcome.verdict) == ("retried", Delete())
    assert stand.order == ["on_retry"]
    (again,) = outcome.follow_ups
    assert again.message.delay == task.default_retry_delay
    message = ReceivedMessage("m2", "h2", again.message.body, {"ApproximateReceiveCount": "1"})
    prepared = stand.runtime.prepare(stand.delivery(message))
    assert isinstance(prepared, Outcome), "it is not due yet"
    assert isinstance(prepared.verdict, Resend)
    stand.heard.clear()
    exhausted = stand.runtime.killed(stand.delivery(message), LOST)
    assert (exhausted.status, exhausted.verdict, stand.order) == ("lost", Delete(), TOLD_OF_LOSS)
    assert exhausted.call_id == "i"


def test_a_handler_that_raises_keeps_nobody_else_from_hearing(stand: Stand, caplog: Any) -> None:
    task = stand.task(acks_late=True)

    def broken(*args: Any) -> None:
        stand.heard.append(("broken",))
        raise ValueError("in the handler")

    task.on_failure = broken
    outcome = stand.killed(task, TIMEOUT)
    assert stand.order == ["called", "broken", "after_return", "task_failure"]
    assert outcome.verdict == Delete()
    assert "on_failure handler raised" in caplog.text


def test_a_body_that_cannot_be_read_here_stays(stand: Stand) -> None:
    message = ReceivedMessage("m", "h", "{", {"ApproximateReceiveCount": "1"})
    assert isinstance(stand.runtime.killed(stand.delivery(message), LOST).verdict, Hide)
    assert stand.runtime.killed(stand.delivery(message), replace(LOST, acked_early=True)).verdict == Leave()


def test_a_native_task_that_died_is_hidden_for_longer_each_time(stand: Stand) -> None:
    message = ReceivedMessage("m", "h", '{"task": "a.b", "args": [], "kwargs": {}}', {"ApproximateReceiveCount": "1"})
    outcome = stand.runtime.killed(stand.delivery(message), LOST)
    assert (outcome.status, type(outcome.verdict)) == ("lost", Hide)


# -- the worker's signals ------------------------------------------------------------------------------------------------


def test_the_workers_signals_in_celerys_order(app: Celery, listen: Callable[[str], list[Any]]) -> None:
    runtime = CeleryRuntime(CONFIG)
    runtime.boot()
    runtime.become_host()
    heard = listen("celeryd_init celeryd_after_setup worker_init worker_ready worker_shutting_down worker_shutdown")
    runtime.worker_event("starting", {"concurrency": 3, "pid": 7, "log_level": "INFO"})
    runtime.worker_event("ready", {})
    runtime.worker_event("stopping", {"sig": "SIGTERM", "how": "Warm"})
    runtime.worker_event("stopped", {})
    assert [name for name, _, _ in heard] == [
        "celeryd_init", "worker_init", "celeryd_after_setup", "worker_ready", "worker_shutting_down", "worker_shutdown",
    ]  # fmt: skip
    by_name = {name: (sender, named) for name, sender, named in heard}
    assert by_name["celeryd_init"][0] == by_name["worker_shutting_down"][0] == runtime.hostname
    assert set(by_name["celeryd_init"][1]) == {"signal", "instance", "conf", "options"}
    worker = by_name["worker_init"][0]
    assert (worker.app, worker.hostname, worker.concurrency, worker.pid) == (app, runtime.hostname, 3, 7)
    assert worker.controller is by_name["worker_ready"][0] is by_name["worker_shutdown"][0] is worker
    named = by_name["worker_shutting_down"][1]
    assert (named["sig"], named["how"], named["exitcode"]) == ("SIGTERM", "Warm", 0)


@pytest.fixture
def listen() -> Any:
    """Connects to signals by name; what they were sent with, in order."""
    heard: list[tuple[str, Any, dict[str, Any]]] = []
    connected: list[tuple[Any, Any]] = []

    def listen(names: str) -> list[Any]:
        for name in names.split():

            def receive(sender: Any, name: str = name, **named: Any) -> None:
                heard.append((name, sender, named))

            getattr(signals, name).connect(receive, weak=False)
            connected.append((getattr(signals, name), receive))
        return heard

    yield listen
    for signal, receive in connected:
        signal.disconnect(receive)


def test_nothing_of_an_executor_happens_in_a_host(app: Celery, listen: Callable[[str], list[Any]]) -> None:
    heard = listen("worker_process_init worker_process_shutdown")
    runtime = CeleryRuntime(CONFIG)
    runtime.boot()
    runtime.become_host()
    runtime.worker_event("stopped", {})
    assert heard == []
