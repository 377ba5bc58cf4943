"""CeleryRuntime: from a delivery to a verdict."""

from __future__ import annotations

import base64
import json
import logging
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.message import Delete, Delivery, Drop, FollowUp, Hide, ReceivedMessage, Resend
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery, publisher, shared_task, signals
from pyqs_celery_compat import _state as state
from pyqs_celery_compat.exceptions import Ignore, ImproperlyConfigured, Reject
from pyqs_celery_compat.runtime import CeleryRuntime

CONFIG = RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime")


@pytest.fixture(autouse=True)
def _no_worker_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    modules = set(sys.modules)
    path = list(sys.path)
    monkeypatch.setattr(publisher, "_worker", None)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("job_", "proj_")):
            del sys.modules[name]


class Bench:
    """A runtime, and messages that an app of the test's has written."""

    def __init__(self, app: Celery, sqs: InProcessSqs) -> None:
        self.app, self.sqs = app, sqs
        self.runtime = CeleryRuntime(CONFIG)
        self.numbers = iter(range(1, 1000))
        self.runtime.boot()
        self.runtime.after_fork()

    def delivery(self, body: str, queue: str = "celery", receives: int = 1) -> Delivery:
        number = next(self.numbers)
        message = ReceivedMessage(f"m{number}", f"h{number}", body, {"ApproximateReceiveCount": str(receives)})
        return Delivery(number, queue, f"http://sqs/{queue}", message, boottime(), time.time(), 120)

    def written(self, queue: str = "celery") -> Delivery:
        (message,) = self.sqs.receive(self.sqs.queue_url(queue), wait=0)
        return replace(self.delivery(message.body, queue), message=message, queue_url=self.sqs.queue_url(queue))

    def end(self, delivery: Delivery) -> Outcome:
        prepared = self.runtime.prepare(delivery)
        return prepared if isinstance(prepared, Outcome) else prepared.run()

    def run(self, task: Any, *args: Any, **options: Any) -> Outcome:
        task.apply_async(args, **options)
        return self.end(self.written())

    def follow_up(self, follow_up: FollowUp) -> Delivery:
        return self.delivery(follow_up.message.body, follow_up.queue)


@pytest.fixture
def bench(app: Celery, sqs: InProcessSqs) -> Bench:
    return Bench(app, sqs)


def opened(follow_up: FollowUp) -> tuple[dict[str, Any], Any]:
    """Headers and payload of a follow-up."""
    envelope = json.loads(base64.b64decode(follow_up.message.body))
    return envelope["headers"], json.loads(base64.b64decode(envelope["body"]))


# -- the straight line ---------------------------------------------------------------------------------------------


def test_a_shared_task_called_with_delay_runs_with_its_arguments(bench: Bench) -> None:
    seen: list[Any] = []

    @shared_task
    def add(x: int, y: int = 0) -> int:
        seen.append((x, y))
        return x + y

    add.delay(1, y=2)
    outcome = bench.end(bench.written())
    assert seen == [(1, 2)]
    assert outcome.verdict == Delete()
    assert (outcome.status, outcome.task) == ("succeeded", add.name)
    assert outcome.follow_ups == ()


def test_the_request_is_what_celerys_worker_gives(bench: Bench) -> None:
    seen: list[Any] = []

    @bench.app.task(bind=True)
    def look(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append((self.request, dict(vars(self.request)), state.get_current_worker_task() is self))

    outcome = bench.run(
        look, 1, kwargs={"b": 2}, headers={"x-a": "1"}, task_id="i", shadow="s", time_limit=9, soft_time_limit=8, priority=3
    )
    (request, values, is_current) = seen[0]
    assert outcome.call_id == "i"
    assert is_current
    assert (request.id, request.root_id, request.parent_id, request.retries) == ("i", "i", None, 0)
    assert (request.args, request.kwargs) == ([1], {"b": 2})
    assert request.called_directly is False
    assert request.is_eager is False
    assert request.headers == {"x-a": "1"}
    assert request.get("x-a") == "1"
    assert values["x-a"] == "1"
    assert request.shadow == "s"
    assert (request.time_limit, request.soft_time_limit, request.timelimit) == (9, 8, [9, 8])
    assert request.delivery_info == {"exchange": "", "routing_key": "celery", "priority": 3, "redelivered": False}
    assert request.correlation_id == "i"
    assert request.reply_to == bench.app.thread_oid
    assert request.properties["delivery_mode"] == 2
    info = request.properties["delivery_info"]  # as kombu 5.7 leaves it there, where Celery's own four keys are not
    assert (info["routing_key"], info["sqs_queue"]) == ("celery", bench.sqs.queue_url("celery"))
    message = info["sqs_message"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert message["MessageId"]
    assert not [secret for secret in ("Body", "ReceiptHandle") if message[secret] in repr(request)]
    assert "ignore_result" in values
    assert request.hostname
    assert look.request.id is None


def test_limits_of_the_call_override_the_tasks(bench: Bench) -> None:
    @bench.app.task(time_limit=30, soft_time_limit=20, acks_late=True)
    def work() -> None: ...

    work.delay()
    prepared = bench.runtime.prepare(bench.written())
    assert (prepared.time_limit, prepared.soft_time_limit, prepared.ack_early) == (30, 20, False)
    work.apply_async(time_limit=5, soft_time_limit=4)
    prepared = bench.runtime.prepare(bench.written())
    assert (prepared.time_limit, prepared.soft_time_limit, prepared.call_id != "") == (5, 4, True)


def test_a_rate_limit_names_a_bucket_and_its_rate(bench: Bench) -> None:
    @bench.app.task(name="limited", rate_limit="30/m")
    def limited() -> None: ...

    @bench.app.task(name="free")
    def free() -> None: ...

    limited.delay()
    prepared = bench.runtime.prepare(bench.written())
    assert (prepared.rate_key, prepared.rate) == ("limited", 0.5)
    free.delay()
    assert bench.runtime.prepare(bench.written()).rate_key is None
    bench.app.conf.worker_disable_rate_limits = True
    limited.delay()
    assert bench.runtime.prepare(bench.written()).rate_key is None


def test_a_rate_limit_that_broke_after_the_start_leaves_the_message(bench: Bench) -> None:
    @bench.app.task(name="limited", rate_limit="often")
    def limited() -> None: ...

    limited.delay()
    outcome = bench.runtime.prepare(bench.written())
    assert outcome.status == "unsupported"
    assert isinstance(outcome.verdict, Hide)
    assert outcome.reason.startswith("rate_limit of task limited: 'often' is no rate")


def test_tasks_are_early_acked_unless_they_say_otherwise(bench: Bench) -> None:
    @bench.app.task
    def work() -> None: ...

    work.delay()
    assert bench.runtime.prepare(bench.written()).ack_early is True


# -- Celery's matrix of acknowledgement -------------------------------------------------------------------------------


def ends(kind: BaseException | None) -> Callable[[], None]:
    def body() -> None:
        if kind is not None:
            raise kind

    return body


@pytest.mark.parametrize(
    ("ending", "options", "status", "verdict"),
    [
        (None, {}, "succeeded", Delete()),
        (None, {"acks_late": True}, "succeeded", Delete()),
        (ValueError("x"), {}, "failed", Delete()),
        (ValueError("x"), {"acks_late": True}, "failed", Delete()),
        (ValueError("x"), {"acks_late": True, "acks_on_failure_or_timeout": False}, "failed", Drop),
        (ValueError("x"), {"acks_late": True, "acks_on_failure": False}, "failed", Drop),
        (Ignore(), {"acks_late": True}, "ignored", Delete()),
        (Ignore(), {}, "ignored", Delete()),
        (Reject("r", requeue=True), {"acks_late": True}, "rejected", Hide(10)),
        (Reject("r", requeue=True), {}, "rejected", Delete()),
        (Reject("r"), {"acks_late": True}, "rejected", Drop),
        (SystemExit(3), {"acks_late": True}, "failed", Delete()),
        (SystemExit(3), {"acks_late": True, "reject_on_worker_lost": True}, "failed", Hide(10)),
        (KeyboardInterrupt(), {}, "failed", Delete()),
    ],
)
def test_acknowledgement(bench: Bench, ending: BaseException | None, options: Any, status: str, verdict: Any) -> None:
    task = bench.app.task(name="t", **options)(ends(ending))
    outcome = bench.run(task)
    assert outcome.status == status
    assert outcome.verdict == verdict or type(outcome.verdict) is verdict


def test_failures_are_logged_under_celerys_name(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    task = bench.app.task(name="t")(ends(ValueError("boom")))
    with caplog.at_level(logging.INFO):
        bench.run(task, task_id="i")
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.name == "celery.app.trace"
    assert record.getMessage() == "Task t[i] raised unexpected: ValueError('boom')"
    assert record.exc_info
    assert record.data["id"] == "i"  # type: ignore[attr-defined]


def test_arguments_are_not_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @bench.app.task
    def work(secret: str) -> None:
        raise ValueError("x")

    with caplog.at_level(logging.INFO):
        bench.run(work, "hunter2")
    assert "hunter2" not in "".join(record.getMessage() for record in caplog.records)


def test_handlers_and_signals_come_in_celerys_order(bench: Bench) -> None:
    seen: list[Any] = []
    names = ("task_received", "task_prerun", "task_postrun", "task_success", "task_failure", "task_retry")

    def listen(name: str) -> Callable[..., None]:
        return lambda **kw: seen.append(name)

    receivers = [(getattr(signals, name), listen(name)) for name in names]
    for signal, receiver in receivers:
        signal.connect(receiver)

    from pyqs_celery_compat import Task

    class Base(Task):
        def before_start(self, *a: Any) -> None:
            seen.append("before_start")

        def on_success(self, *a: Any) -> None:
            seen.append("on_success")

        def on_failure(self, *a: Any) -> None:
            seen.append("on_failure")

        def after_return(self, status: str, *a: Any) -> None:
            seen.append(f"after_return {status}")

    try:
        bench.run(bench.app.task(name="ok", base=Base)(ends(None)))
        bench.run(bench.app.task(name="no", base=Base)(ends(ValueError())))
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)
    assert seen == [
        "task_received", "task_prerun", "before_start", "on_success", "task_success", "after_return SUCCESS", "task_postrun",
        "task_received", "task_prerun", "before_start", "on_failure", "task_failure", "after_return FAILURE", "task_postrun",
    ]  # fmt: skip


def test_a_handler_that_raises_changes_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    from pyqs_celery_compat import Task

    class Base(Task):
        def on_success(self, *a: Any) -> None:
            raise KeyError("handler")

    outcome = bench.run(bench.app.task(name="ok", base=Base)(ends(None)))
    assert outcome.status == "succeeded"
    assert "on_success handler raised" in caplog.text


@pytest.mark.parametrize(
    ("name", "receives", "verdict"),
    [
        ("backs-off", 1, Hide(7)),
        ("backs-off", 2, Hide(70)),
        ("backs-off", 9, Hide),  # no entry: by our own backoff, and not deleted
        ("other", 1, Drop),
    ],
)
def test_a_backoff_policy_hides_what_its_tasks_reject(
    make_app: Callable[..., Celery], sqs: InProcessSqs, name: str, receives: int, verdict: Any
) -> None:
    """Seen on Celery 5.7: neither a failure nor ``Reject`` deletes the message of such a task."""
    entry = {"url": sqs.create_queue("q"), "backoff_policy": {1: 7, "2": 70}, "backoff_tasks": ["backs-off"]}
    bench = Bench(make_app(broker_transport_options={"predefined_queues": {"q": entry}}, task_default_queue="q"), sqs)

    endings: list[Exception] = [Reject("x", requeue=True), ValueError("x"), Reject("x")]

    @bench.app.task(name=name, acks_late=True, acks_on_failure=False)
    def fails() -> None:
        raise endings.pop()

    fails.delay()
    body = bench.written("q").message.body
    while len(endings) > 1:
        outcome = bench.end(bench.delivery(body, "q", receives))
        assert outcome.verdict == verdict if isinstance(verdict, Hide) else isinstance(outcome.verdict, verdict)
    assert bench.end(bench.delivery(body, "q", receives)).verdict == Hide(10)


# -- retry, link, chain ----------------------------------------------------------------------------------------------


def test_a_retry_is_the_same_call_once_more(bench: Bench) -> None:
    seen: list[Any] = []

    @bench.app.task(bind=True, acks_late=True)
    def work(self: Any, x: int, y: int = 0) -> None:
        seen.append((x, y, self.request.retries, self.request.id, self.request.headers))
        if self.request.retries == 0:
            raise self.retry(countdown=30)

    outcome = bench.run(work, 1, kwargs={"y": 2}, task_id="i", headers={"h": "1"}, link=work.si(9), expires=999, time_limit=50)
    assert (outcome.status, outcome.verdict, outcome.reason) == ("retried", Delete(), "in 30s")
    (follow_up,) = outcome.follow_ups
    headers, payload = opened(follow_up)
    assert (follow_up.queue, follow_up.message.delay, follow_up.create) == (bench.sqs.queue_url("celery"), 30, False)
    assert (headers["id"], headers["retries"], headers["root_id"], headers["h"]) == ("i", 1, "i", "1")
    assert headers["timelimit"] == [50, None]
    assert headers["expires"]
    assert payload[:2] == [[1], {"y": 2}]
    assert payload[2]["callbacks"][0]["args"] == [9]
    assert bench.sqs.receive(bench.sqs.queue_url("celery"), wait=0) == []

    moved = json.loads(base64.b64decode(follow_up.message.body))
    moved["headers"]["eta"] = None
    assert bench.end(bench.delivery(json.dumps(moved))).status == "succeeded"
    assert seen == [(1, 2, 0, "i", {"h": "1"}), (1, 2, 1, "i", {"h": "1"})]


def test_a_retry_goes_to_the_queue_the_message_came_from(bench: Bench) -> None:
    @bench.app.task(bind=True)
    def work(self: Any) -> None:
        raise self.retry(countdown=0)

    work.delay()
    body = bench.written().message.body  # its routing key says "celery"
    (follow_up,) = bench.end(bench.delivery(body, "reports-2")).follow_ups
    assert (follow_up.queue, follow_up.create) == ("http://sqs/reports-2", False)


def test_a_retry_needs_no_look_up_of_its_queue(make_app: Callable[..., Celery], sqs: InProcessSqs) -> None:
    """A prefix that the queue has not, predefined queues among which it is not: its URL is known all the same."""
    predefined = {"dev-celery": {"url": sqs.create_queue("dev-celery")}}
    app = make_app(broker_transport_options={"queue_name_prefix": "dev-", "predefined_queues": predefined})
    bench = Bench(app, sqs)

    @app.task(bind=True)
    def work(self: Any) -> None:
        raise self.retry(countdown=0)

    work.delay()
    outcome = bench.end(bench.delivery(bench.written("dev-celery").message.body, "elsewhere"))
    assert [(one.queue, one.create) for one in outcome.follow_ups] == [("http://sqs/elsewhere", False)]


def test_a_retry_to_another_queue_goes_by_its_name(bench: Bench) -> None:
    @bench.app.task(bind=True)
    def work(self: Any) -> None:
        raise self.retry(countdown=0, queue="slow")

    assert [(one.queue, one.create) for one in bench.run(work).follow_ups] == [("slow", True)]


@pytest.mark.parametrize("late", [True, False])
def test_a_retry_that_cannot_be_written_keeps_the_message(bench: Bench, late: bool) -> None:
    """Celery rejects the message, which deletes it; acked early it is deleted in any case."""
    failed: list[Any] = []

    @bench.app.task(bind=True, acks_late=late)
    def work(self: Any) -> None:
        raise self.retry(args=(object(),))

    def hear(**given: Any) -> None:
        failed.append(given)

    signals.task_failure.connect(hear)
    outcome = bench.run(work)
    signals.task_failure.disconnect(hear)
    assert (outcome.status, outcome.reason, outcome.follow_ups) == ("rejected", "its retry cannot be sent", ())
    assert isinstance(outcome.verdict, Hide if late else Delete)
    assert failed == []


def test_too_many_retries_fail(bench: Bench) -> None:
    @bench.app.task(bind=True, max_retries=0)
    def work(self: Any) -> None:
        raise self.retry()

    outcome = bench.run(work)
    assert (outcome.status, outcome.reason, outcome.follow_ups) == ("failed", "MaxRetriesExceededError", ())


def test_autoretry(bench: Bench) -> None:
    @bench.app.task(autoretry_for=(ValueError,), retry_backoff=5, retry_jitter=False)
    def work() -> None:
        raise ValueError

    outcome = bench.run(work)
    assert (outcome.status, outcome.follow_ups[0].message.delay) == ("retried", 5)


def test_a_retry_on_a_fifo_queue_has_no_delay_and_keeps_its_group(bench: Bench) -> None:
    @bench.app.task(bind=True)
    def work(self: Any) -> None:
        raise self.retry(countdown=60)

    work.apply_async(queue="jobs.fifo", MessageGroupId="customer-1")
    outcome = bench.end(bench.written("jobs.fifo"))
    (follow_up,) = outcome.follow_ups
    assert follow_up.queue == bench.sqs.queue_url("jobs.fifo")
    assert (follow_up.message.delay, follow_up.message.group_id) == (None, "customer-1")


def test_links_and_the_chain_get_the_result(bench: Bench) -> None:
    @bench.app.task
    def first(x: int) -> int:
        return x + 1

    @bench.app.task(queue="second.queue")
    def second(x: int, y: int = 0) -> None: ...

    rest = [dict(second.si(5)), dict(second.s(y=3).set(task_id="next"))]  # stored in reverse: the last one is next
    outcome = bench.run(first, 1, task_id="p", link=[second.s(), second.si(7)], chain=rest)
    assert outcome.status == "succeeded"
    read = [opened(follow_up) for follow_up in outcome.follow_ups]
    assert [payload[:2] for _, payload in read] == [[[2], {}], [[7], {}], [[2], {"y": 3}]]
    assert {headers["parent_id"] for headers, _ in read} == {"p"}
    assert {headers["root_id"] for headers, _ in read} == {"p"}
    assert read[2][0]["id"] == "next"
    assert [sig["args"] for sig in read[2][1][2]["chain"]] == [[5]]
    assert {follow_up.queue for follow_up in outcome.follow_ups} == {"second-queue"}


def test_a_group_that_ends_a_chain_is_published_member_by_member(bench: Bench) -> None:
    @bench.app.task
    def work(x: int) -> int:
        return x

    group = {
        "task": "celery.group", "args": [], "kwargs": {"tasks": [dict(work.s()), dict(work.si(8))]},
        "options": {"task_id": "g"}, "subtask_type": "group", "immutable": False,
    }  # fmt: skip
    outcome = bench.run(work, 4, chain=[group])
    read = [opened(follow_up) for follow_up in outcome.follow_ups]
    assert [payload[0] for _, payload in read] == [[4], [8]]
    assert [(headers["group"], headers["group_index"]) for headers, _ in read] == [("g", 0), ("g", 1)]


def test_a_nested_chain_goes_on_with_the_outer_one(bench: Bench) -> None:
    @bench.app.task
    def work(x: int) -> int:
        return x

    inner = {
        "task": "celery.chain", "args": [], "kwargs": {"tasks": [dict(work.si(1)), dict(work.si(2))]}, "options": {},
        "subtask_type": "chain", "immutable": False,
    }  # fmt: skip
    outcome = bench.run(work, 0, chain=[dict(work.si(3)), inner])
    (follow_up,) = outcome.follow_ups
    _, payload = opened(follow_up)
    assert payload[0] == [1]
    assert [sig["args"] for sig in payload[2]["chain"]] == [[3], [2]]


def test_an_ordinary_delay_inside_a_task_is_sent_at_once(bench: Bench) -> None:
    @bench.app.task
    def child() -> None: ...

    @bench.app.task(bind=True)
    def parent(self: Any) -> None:
        child.apply_async(queue="children")

    outcome = bench.run(parent, task_id="p")
    assert outcome.follow_ups == ()
    (message,) = bench.sqs.receive(bench.sqs.queue_url("children"), wait=0)
    headers = json.loads(base64.b64decode(message.body))["headers"]
    assert (headers["parent_id"], headers["root_id"]) == ("p", "p")


def test_errbacks_with_one_argument_are_published_with_the_id(bench: Bench) -> None:
    seen: list[Any] = []

    @bench.app.task
    def by_id(task_id: str) -> None: ...

    @bench.app.task
    def here(request: Any, exc: BaseException, traceback: Any) -> None:
        seen.append((request.id, repr(exc), traceback.splitlines()[-1]))

    @bench.app.task
    def work() -> None:
        raise ValueError("x")

    outcome = bench.run(work, task_id="i", link_error=[by_id.s(), here.s(), {"task": "elsewhere.t", "args": [], "kwargs": {}}])
    assert outcome.status == "failed"
    assert [opened(follow_up)[1][0] for follow_up in outcome.follow_ups] == [["i"], ["i"]]
    assert seen == [("i", "ValueError('x')", "ValueError: x")]  # text, as Celery 5.7 gives it


def test_a_result_that_a_link_cannot_carry_fails_the_task(bench: Bench) -> None:
    @bench.app.task
    def work() -> Any:
        return object()

    outcome = bench.run(work, link=work.s())
    assert (outcome.status, outcome.follow_ups) == ("failed", ())


def test_the_follow_up_has_the_queue_of_the_prefix(make_app: Callable[..., Celery], sqs: InProcessSqs) -> None:
    app = make_app(broker_transport_options={"queue_name_prefix": "dev."})
    bench = Bench(app, sqs)

    @app.task(bind=True)
    def work(self: Any) -> None:
        raise self.retry(countdown=0)

    work.apply_async(queue="mail.out")
    outcome = bench.end(bench.written("dev-mail-out"))
    assert outcome.follow_ups[0].queue == sqs.queue_url("dev-mail-out")
    envelope = json.loads(base64.b64decode(outcome.follow_ups[0].message.body))
    assert envelope["properties"]["delivery_info"]["routing_key"] == "mail.out"


# -- not run, or not now -----------------------------------------------------------------------------------------------


def test_expired_calls_are_deleted_and_announced(bench: Bench) -> None:
    seen: list[Any] = []

    def revoked(request: Any, expired: bool, **kw: Any) -> None:
        seen.append((request.id, expired))

    signals.task_revoked.connect(revoked)
    task = bench.app.task(name="t")(ends(None))
    outcome = bench.run(task, task_id="i", expires=datetime.now(timezone.utc) - timedelta(seconds=1))
    assert (outcome.status, outcome.verdict) == ("expired", Delete())
    assert seen == [("i", True)]


def test_a_call_that_is_not_due_hops(bench: Bench) -> None:
    task = bench.app.task(name="t")(ends(None))

    def early(seconds: float, queue: str = "celery") -> Outcome:
        message = bench.app.amqp.create_task_message("i", "t", (), {}, countdown=seconds)
        from pyqs_celery_compat.outgoing import seal_task

        return bench.runtime.prepare(bench.delivery(seal_task(message, routing_key="celery"), queue))  # type: ignore[return-value]

    assert task.name == "t"
    far, near = early(5000).verdict, early(100).verdict
    assert isinstance(far, Resend)
    assert isinstance(near, Resend)
    assert (far.delay, near.delay) == (900, 100)
    assert (far.left, near.left) == (pytest.approx(5000, abs=5), pytest.approx(100, abs=5)), (
        "hidden so long where nothing is sent"
    )
    assert early(5000).status == "postponed"
    assert isinstance(early(100, "x.fifo").verdict, Hide)
    assert early(1.5).verdict == Resend(2, pytest.approx(1.5, abs=0.4)), "an executor that waits runs nothing else"
    for soon in (early(0.8), early(1.5, "x.fifo")):
        assert soon.start_at is not None  # type: ignore[attr-defined]
        assert 0 < soon.start_at - time.time() <= 1.5  # type: ignore[attr-defined]


def test_unknown_tasks_stay(bench: Bench) -> None:
    bench.app.send_task("os.system", ("true",))
    outcome = bench.end(bench.written())
    assert outcome.status == "unknown"
    assert isinstance(outcome.verdict, Hide)
    assert "os" in outcome.reason


def test_messages_that_cannot_be_run_are_told_of(bench: Bench) -> None:
    heard: list[tuple[Any, ...]] = []

    def unknown(sender: Any, message: Any, exc: Any, name: str, id: str, **named: Any) -> None:
        heard.append(("unknown", message.headers["task"], type(exc).__name__, name, id))

    def rejected(sender: Any, message: Any, exc: Any, **named: Any) -> None:
        heard.append(("rejected", message.body, type(exc).__name__, message.delivery_info["routing_key"]))

    signals.task_unknown.connect(unknown)
    signals.task_rejected.connect(rejected)
    sent = bench.app.send_task("os.system", ("true",))
    bench.end(bench.written())
    bench.end(bench.delivery("no task"))
    assert heard == [
        ("unknown", "os.system", "UnknownTask", "os.system", sent.id),
        ("rejected", "no task", "Undecodable", "celery"),
    ]


@pytest.mark.parametrize("name", ["os.system", "antigravity.x", "pip.main", "__main__.x", "nodots", "a..b", "builtins.eval"])
def test_no_message_has_python_or_packages_imported(bench: Bench, name: str) -> None:
    before = set(sys.modules)
    bench.app.send_task(name)
    assert bench.end(bench.written()).status == "unknown"
    assert not {"antigravity", "pip"} & (set(sys.modules) - before)


def test_a_task_module_under_the_working_directory_is_imported(tmp_path: Path, sqs: InProcessSqs, app: Celery) -> None:
    (tmp_path / "job_tasks.py").write_text(
        "from pyqs_celery_compat import shared_task\n@shared_task\ndef work(): return 1\ndef plain(): raise SystemExit\n"
    )
    bench = Bench(app, sqs)
    bench.runtime = CeleryRuntime(replace(CONFIG, working_directory=str(tmp_path)))
    bench.runtime.boot()
    app.send_task("job_tasks.work")
    assert bench.end(bench.written()).status == "succeeded"
    app.send_task("job_tasks.plain")
    assert bench.end(bench.written()).status == "unknown"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"chord": {"task": "t", "args": [], "kwargs": {}, "options": {}}}, "chord"),
        ({"link": {"task": "celery.chord", "args": [], "kwargs": {}, "options": {}, "subtask_type": "chord"}}, "chord"),
        ({"chain": [{"task": "t"}, {"task": "celery.group", "kwargs": {"tasks": []}, "subtask_type": "group"}]}, "group"),
    ],
)
def test_what_needs_a_chord_is_never_half_run(bench: Bench, options: Any, word: str) -> None:
    seen: list[int] = []
    task = bench.app.task(name="t")(lambda: seen.append(1))
    outcome = bench.run(task, **options)
    assert outcome.status == "unsupported"
    assert isinstance(outcome.verdict, Hide)
    assert word in outcome.reason
    assert seen == []


def test_celerys_own_tasks(bench: Bench) -> None:
    seen: list[Any] = []

    @bench.app.task
    def add(x: int, y: int = 0) -> int:
        seen.append((x, y))
        return x + y

    bench.app.send_task("celery.starmap", kwargs={"task": dict(add.s()), "it": [[1, 2], [3, 4]]})
    assert bench.end(bench.written()).status == "succeeded"
    bench.app.send_task("celery.map", kwargs={"task": dict(add.s()), "it": [5]})
    assert bench.end(bench.written()).status == "succeeded"
    assert seen == [(1, 2), (3, 4), (5, 0)]
    bench.app.send_task("celery.chord_unlock")
    assert bench.end(bench.written()).status == "unsupported"


@pytest.mark.parametrize("body", ["", "x", "{}", "[]", '{"a": 1}', "eyJhIjogMX0=", "\ud83d"])
def test_poison_stays_on_its_queue(bench: Bench, body: str) -> None:
    outcome = bench.end(bench.delivery(body))
    assert outcome.status == "undecodable"
    assert isinstance(outcome.verdict, Hide)


def test_native_messages_run_in_the_same_worker(bench: Bench) -> None:
    from pyqs.tasks import task

    seen: list[Any] = []

    @task(queue="native", custom_function_path="job_native.work")
    def work(x: int) -> None:
        seen.append(x)

    outcome = bench.end(bench.delivery('{"task": "job_native.work", "args": [4], "kwargs": {}}'))
    assert (outcome.status, seen) == ("succeeded", [4])


# -- what may be read --------------------------------------------------------------------------------------------------


def booted(tmp_path: Path, source: str, **changes: Any) -> tuple[CeleryRuntime, Any]:
    (tmp_path / "proj_app.py").write_text(textwrap.dedent(source))
    runtime = CeleryRuntime(replace(CONFIG, app="proj_app", working_directory=str(tmp_path), **changes))
    return runtime, runtime.boot()


SOURCE = """
from pyqs_celery_compat import Celery
app = Celery("proj_app", broker="sqs://", {})
@app.task
def work(x): return x
@app.task(acks_late=True)
def late(): return 1
"""


def test_with_an_app_its_accept_content_is_the_law(tmp_path: Path, app: Celery, bench: Bench) -> None:
    runtime, report = booted(tmp_path, SOURCE.replace("{}", ""))
    assert report.tasks == ("proj_app.late", "proj_app.work")
    assert report.at_most_once == 1
    app.send_task("proj_app.work", (1,), serializer="yaml")
    outcome = runtime.prepare(bench.written())
    assert isinstance(outcome, Outcome)
    assert outcome.status == "refused"
    assert "--accept json,yaml" in outcome.reason
    app.send_task("proj_app.work", (1,))
    assert not isinstance(runtime.prepare(bench.written()), Outcome)


def test_accept_on_the_command_line_replaces_the_law_and_is_noted(tmp_path: Path, app: Celery, bench: Bench) -> None:
    runtime, report = booted(tmp_path, SOURCE.replace("{}", "accept_content=['pickle']"), accept=("yaml",))
    assert any("--accept yaml" in note and "pickle" in note for note in report.notes)
    app.send_task("proj_app.work", (1,), serializer="yaml")
    assert not isinstance(runtime.prepare(bench.written()), Outcome)
    app.send_task("proj_app.work", (1,))
    assert runtime.prepare(bench.written()).status == "refused"  # type: ignore[union-attr]


def test_an_explicit_pickle_is_all_of_pickle_and_is_said(tmp_path: Path) -> None:
    runtime, report = booted(tmp_path, SOURCE.replace("{}", "accept_content=['json', 'pickle']"))
    assert runtime.accept.pickle_full
    assert any("run code" in note for note in report.notes)


def test_accepting_nothing_is_kept_to(tmp_path: Path) -> None:
    runtime, _ = booted(tmp_path, SOURCE.replace("{}", "accept_content=[]"))
    assert runtime.accept.content_types == frozenset()


def test_without_an_app_everything_that_runs_no_code_is_read(bench: Bench) -> None:
    for serializer in ("json", "yaml", "msgpack", "pickle"):
        bench.app.send_task("nowhere.x", ({"a": 1},), serializer=serializer)
        assert bench.end(bench.written()).status == "unknown"
    assert not bench.runtime.accept.pickle_full


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ("result_backend='mongodb://x'", "CELERY_RESULT_BACKEND=disabled://"),
        ("result_backend='cache+memory://'", "memory of one process"),
        ("worker_pool='gevent'", "gevent"),
        ("security_key='k'", "security_key"),
        ("accept_content=['auth']", "auth"),
        ("broker_transport_options={'supports_fanout': True}", "supports_fanout"),
        ("task_protocol=3", "task_protocol"),
    ],
)
def test_settings_that_cannot_be_honoured_stop_the_worker(tmp_path: Path, settings: str, word: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=word):
        booted(tmp_path, SOURCE.replace("{}", settings))


def test_a_worker_may_knowingly_go_without_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "disabled://")
    booted(tmp_path, SOURCE.replace("{}", "result_backend='mongodb://x'"))


def test_another_broker_stops_the_worker(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="redis"):
        booted(tmp_path, SOURCE.replace("sqs://", "redis://:pw@h").replace("{}", ""))


def test_the_broker_of_tests_stops_the_worker(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="within one process"):
        booted(tmp_path, SOURCE.replace("sqs://", "memory://").replace("{}", ""))


def test_an_app_that_does_not_import_says_so(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        booted(tmp_path, "1/0")
    with pytest.raises(ImproperlyConfigured, match="no Celery app"):
        booted(tmp_path, "app = None")


def test_included_modules_and_discovered_ones_are_imported(tmp_path: Path) -> None:
    (tmp_path / "job_pkg").mkdir()
    (tmp_path / "job_pkg" / "__init__.py").write_text("")
    task = "from pyqs_celery_compat import shared_task\n@shared_task\ndef work(): return 1\n"
    (tmp_path / "job_pkg" / "tasks.py").write_text(task)
    (tmp_path / "job_inc.py").write_text(task)
    (tmp_path / "job_imp.py").write_text(task)
    source = SOURCE.replace("{}", "imports=['job_imp']") + "app.autodiscover_tasks(lambda: ['job_pkg'])\n"
    _, report = booted(tmp_path, source, include=("job_inc",))
    assert {"job_pkg.tasks.work", "job_inc.work", "job_imp.work"} <= set(report.tasks)


def test_an_import_error_inside_a_discovered_module_is_not_swallowed(tmp_path: Path) -> None:
    (tmp_path / "job_broken").mkdir()
    (tmp_path / "job_broken" / "__init__.py").write_text("")
    (tmp_path / "job_broken" / "tasks.py").write_text("import no_such_thing")
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        booted(tmp_path, SOURCE.replace("{}", "") + "app.autodiscover_tasks(['job_broken'])\n")


def test_the_wire_takes_every_outcome(bench: Bench) -> None:
    from pyqs import wire

    @bench.app.task(bind=True)
    def work(self: Any) -> None:
        raise self.retry(countdown=1)

    outcome = bench.run(work)
    done = wire.Done(1, outcome.verdict, outcome.follow_ups, outcome.status, outcome.task, outcome.call_id, outcome.reason, 0.1)
    assert list(wire.FrameReader().feed(wire.encode(done))) == [done]


def test_a_task_sees_how_often_its_message_was_handed_out(bench: Bench) -> None:
    seen = []

    @bench.app.task(name="counted", bind=True)
    def counted(self: Any) -> None:
        seen.append(self.request.delivery_count)

    counted.delay()
    delivery = bench.written()
    bench.end(replace(delivery, message=replace(delivery.message, attributes={"ApproximateReceiveCount": "3"})))
    counted()
    assert seen == [3, 1]


@pytest.mark.parametrize("late", [True, False])
def test_no_number_of_receives_is_too_many(bench: Bench, late: bool) -> None:
    """Celery workers that hold a message or die with it count receives up, which say nothing about the task."""
    task = bench.app.task(name="t", acks_late=late)(lambda: "done")
    task.delay()
    delivery = bench.written()
    outcome = bench.end(replace(delivery, message=replace(delivery.message, attributes={"ApproximateReceiveCount": "1000"})))
    assert (outcome.status, outcome.verdict) == ("succeeded", Delete())
