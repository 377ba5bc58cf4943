"""A Celery app's tasks in a Lambda function: what an executor does with a message, and what Lambda is told of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambdas import Context, Mapping, event_of, record_of
from pyqs import events, registry
from pyqs.errors import AccessDenied, ConfigError
from pyqs.interruption import interruptible, should_stop, shutdown
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, OutgoingMessage
from pyqs_celery_compat import Celery, chain, publisher, signals
from pyqs_celery_compat.app.control import Control
from pyqs_celery_compat.exceptions import Ignore, ImproperlyConfigured, Reject, SoftTimeLimitExceeded

Ran = list[Any]


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = time.time()
    return clock


@pytest.fixture
def sqs(clock: Clock) -> InProcessSqs:
    return InProcessSqs(Store(clock=clock))


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(publisher, "_worker", None)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    events.clear_events()
    yield
    events.clear_events()


@pytest.fixture
def ran() -> Ran:
    return []


@pytest.fixture
def app(make_app: Callable[..., Celery], ran: Ran, tmp_path: Path) -> Celery:
    app = make_app(task_acks_late=True, backend=f"db+sqlite:///{tmp_path}/results")

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        ran.append((x, y))
        return x + y

    @app.task(name="fails")
    def fails(number: int = 0) -> None:
        ran.append(number)
        raise ValueError("no")

    return app


def counts(sqs: InProcessSqs, queue: str = "celery") -> tuple[int, int, int]:
    """Visible, hidden, delayed."""
    found = sqs.queue_attributes(sqs.queue_url(queue))
    return (
        int(found["ApproximateNumberOfMessages"]),
        int(found["ApproximateNumberOfMessagesNotVisible"]),
        int(found["ApproximateNumberOfMessagesDelayed"]),
    )


def test_calls_run_and_their_messages_go(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    results = [app.tasks["add"].delay(n, 1) for n in range(3)]
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed) == (3, [])
    assert sorted(ran) == [(0, 1), (1, 1), (2, 1)]
    assert counts(sqs) == (0, 0, 0)
    assert (results[2].state, results[2].result) == ("SUCCESS", 3)


def test_the_handler_is_made_once_and_called_with_or_without_a_context(app: Celery, sqs: InProcessSqs) -> None:
    assert app.lambda_handler is app.lambda_handler
    assert app.lambda_handler({"Records": []}, None) == {"batchItemFailures": []}


def test_a_failed_task_is_deleted_as_celery_does_it(app: Celery, sqs: InProcessSqs) -> None:
    """acks_on_failure_or_timeout is on: the failure is the end of it."""
    result = app.tasks["fails"].delay()
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed) == (1, [])
    assert result.state == "FAILURE"


def test_one_that_comes_back_fails_alone_and_is_hidden(app: Celery, sqs: InProcessSqs, ran: Ran, clock: Clock) -> None:
    @app.task(name="again", acks_on_failure_or_timeout=False)
    def again() -> None:
        ran.append("again")
        raise ValueError("no")

    @app.task(name="requeues")
    def requeues() -> None:
        raise Reject("not here", requeue=True)

    sqs.create_queue("dead")
    arn = sqs.queue_attributes(sqs.queue_url("dead"))["QueueArn"]
    sqs.create_queue("celery", {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})})
    again.delay()
    app.tasks["add"].delay(1, 2)
    requeues.delay()
    mapping = Mapping(sqs, "celery", app.lambda_handler)
    done, failed = mapping.poll()
    assert (len(done), len(failed)) == (1, 2)
    assert counts(sqs) == (0, 2, 0)
    clock.now += 20  # the queue's own time is 5400 s
    mapping.poll()
    assert ran == ["again", (1, 2), "again"]


def test_a_retry_is_a_message_more_and_the_record_has_succeeded(app: Celery, sqs: InProcessSqs, ran: Ran, clock: Clock) -> None:
    @app.task(name="flaky", autoretry_for=(OSError,), retry_backoff=30, retry_jitter=False, bind=True)
    def flaky(self: Any) -> None:
        ran.append(self.request.retries)
        if not self.request.retries:
            raise OSError("away")

    flaky.delay()
    mapping = Mapping(sqs, "celery", app.lambda_handler)
    done, failed = mapping.poll()
    assert (len(done), failed) == (1, [])
    assert counts(sqs) == (0, 0, 1)
    clock.now += 31
    monotonic = time.time
    try:
        time.time = lambda: clock.now  # type: ignore[assignment]
        mapping.poll()
    finally:
        time.time = monotonic  # type: ignore[assignment]
    assert ran == [0, 1]
    assert counts(sqs) == (0, 0, 0)


def test_links_and_chains_are_sent_before_the_record_succeeds(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    chain(app.signature("add", (1, 2)), app.signature("add", (3,))).delay()
    mapping = Mapping(sqs, "celery", app.lambda_handler)
    mapping.poll()
    assert counts(sqs) == (1, 0, 0)
    mapping.poll()
    assert ran == [(1, 2), (3, 3)]


def test_a_follow_up_that_cannot_be_sent_has_the_message_run_again(
    app: Celery, sqs: InProcessSqs, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a task that Celery acks early: its message is still there."""
    app.tasks["add"].acks_late = False
    app.tasks["add"].apply_async((1, 2), link=app.signature("add", (3,)))

    def refused(*_: Any) -> Any:
        raise AccessDenied("no", code="AccessDenied")

    mapping = Mapping(sqs, "celery", app.lambda_handler)
    monkeypatch.setattr(sqs, "send_batch", refused)
    monkeypatch.setattr(sqs, "send", refused)
    done, failed = mapping.poll()
    assert (done, len(failed)) == ([], 1)
    assert ran == [(1, 2)]
    assert counts(sqs) == (0, 1, 0)


def test_an_early_acked_task_that_fails_is_done_and_one_that_raises_systemexit_too(app: Celery, sqs: InProcessSqs) -> None:
    app.tasks["fails"].acks_late = False

    @app.task(name="leaves", acks_late=False)
    def leaves() -> None:
        raise SystemExit(3)

    app.tasks["fails"].delay()
    leaves.delay()
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed) == (2, [])


def test_what_is_due_later_hops_and_is_not_run(app: Celery, sqs: InProcessSqs, ran: Ran, clock: Clock) -> None:
    app.tasks["add"].apply_async((1, 2), countdown=5000)
    clock.now += 901  # the store's: by our clock it is early still, as a message written by Celery would be
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed, ran) == (1, [], [])
    assert counts(sqs) == (0, 0, 1)


def test_a_hop_that_cannot_be_sent_is_hidden(
    app: Celery, sqs: InProcessSqs, ran: Ran, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.tasks["add"].apply_async((1, 2), countdown=5000)
    clock.now += 901

    def refused(*_: Any) -> Any:
        raise AccessDenied("no", code="AccessDenied")

    monkeypatch.setattr(sqs, "send_batch", refused)
    monkeypatch.setattr(sqs, "send", refused)
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (done, len(failed), ran) == ([], 1, [])
    assert counts(sqs) == (0, 1, 0)
    clock.now += 4000
    assert counts(sqs) == (0, 1, 0), "hidden for all that was left, in one step"


def test_a_copied_message_that_comes_again_is_only_deleted(app: Celery, sqs: InProcessSqs, ran: Ran, clock: Clock) -> None:
    """Lambda's delete may fail, and the event may come twice."""
    app.tasks["add"].delay(1, 2)
    messages = sqs.receive(sqs.queue_url("celery"), wait=0)
    event = event_of("celery", messages)
    assert app.lambda_handler(event, Context()) == {"batchItemFailures": []}
    assert app.lambda_handler(event, Context()) == {"batchItemFailures": []}
    assert ran == [(1, 2)]


def test_expired_ignored_and_revoked(app: Celery, sqs: InProcessSqs, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.task(name="ignores")
    def ignores() -> None:
        raise Ignore

    expired = app.tasks["add"].apply_async((1, 2), expires=0.01)
    ignores.delay()
    revoked = app.tasks["add"].delay(3, 4)
    monkeypatch.setattr(Control, "revoked_store", _RevokedStore(revoked.id))
    time.sleep(0.02)
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed, ran) == (3, [], [])
    assert (expired.state, revoked.state) == ("REVOKED", "REVOKED")


class _RevokedStore:
    def __init__(self, call_id: str) -> None:
        self.call_id = call_id

    def revoked_since(self, mark: Any) -> tuple[Any, list[Any]]:
        from pyqs.message import CalledOff

        return 1, [CalledOff(self.call_id, time.time() + 60)] if mark is None else []


@pytest.mark.parametrize(("policy", "left", "dead"), [("leave", 1, 0), ("delete", 0, 0), ("dlq", 0, 1)])
@pytest.mark.parametrize("kind", ["undecodable", "unknown", "refused"])
def test_what_cannot_be_run_goes_by_the_policies(
    app: Celery, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch, kind: str, policy: str, left: int, dead: int
) -> None:
    monkeypatch.setenv(f"PYQS_ON_{kind.upper()}", policy)
    sqs.create_queue("dead")
    arn = sqs.queue_attributes(sqs.queue_url("dead"))["QueueArn"]
    sqs.create_queue("celery", {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})})
    if kind == "undecodable":
        sqs.send(sqs.queue_url("celery"), OutgoingMessage("nonsense"))
    elif kind == "unknown":
        app.send_task("nobody.knows")
    else:
        app.send_task("add", (1, 2), serializer="yaml")
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(failed), len(done)) == (left, 1 - left)
    assert counts(sqs) == (0, left, 0)
    assert counts(sqs, "dead") == (dead, 0, 0)


def test_what_fails_for_good_goes_to_the_dead_letter_queue_in_its_time(app: Celery, sqs: InProcessSqs) -> None:
    """A rejected message is deleted where there is no redrive policy, as kombu does it; else it is SQS's to move it."""

    @app.task(name="rejects")
    def rejects() -> None:
        raise Reject("never")

    rejects.delay()
    assert len(Mapping(sqs, "celery", app.lambda_handler).poll()[0]) == 1


def test_signals_and_native_hooks(app: Celery, sqs: InProcessSqs) -> None:
    heard: list[str] = []

    def process(**_: Any) -> None:
        heard.append("worker_process_init")

    def hear(name: str) -> Callable[..., None]:
        def receive(**_: Any) -> None:
            heard.append(name)

        return receive

    names = ("task_received", "task_prerun", "task_success", "task_postrun")
    receivers = {name: hear(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    signals.worker_process_init.connect(process)
    try:
        registry.registry.register("tasks.native", lambda: heard.append("native"))
        events.register_event("pre_process", lambda context: heard.append("pre"))
        events.register_event("post_process", lambda context: heard.append(context["status"]))
        handler = app.lambda_handler
        app.tasks["add"].delay(1, 2)
        Mapping(sqs, "celery", handler).poll()
        sqs.send(sqs.queue_url("celery"), OutgoingMessage(json.dumps({"task": "tasks.native", "args": [], "kwargs": {}})))
        Mapping(sqs, "celery", handler).poll()
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)
        signals.worker_process_init.disconnect(process)
    assert heard == ["worker_process_init", *names, "pre", "native", "success"]


def test_a_message_may_name_no_module_of_the_functions_directory(
    app: Celery, sqs: InProcessSqs, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function's directory holds all that it was packed with: there only what is registered is a task."""
    (tmp_path / "packed.py").write_text("raise SystemExit('imported')\ndef t(f): return f\n@t\ndef run(): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sqs.create_queue("celery")
    sqs.send(sqs.queue_url("celery"), OutgoingMessage(json.dumps({"task": "packed.run", "args": [], "kwargs": {}})))
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (done, len(failed)) == ([], 1)


def test_a_soft_limit_is_raised_in_the_task(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    @app.task(name="slow", soft_time_limit=0.1)
    def slow() -> None:
        try:
            threading.Event().wait(30)
        except SoftTimeLimitExceeded:
            ran.append("cleaned up")
            raise

    result = slow.delay()
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed, ran) == (1, [], ["cleaned up"])
    assert result.state == "FAILURE"


def test_in_another_thread_tasks_run_without_soft_limits_which_is_said_once(
    app: Celery, sqs: InProcessSqs, ran: Ran, caplog: pytest.LogCaptureFixture
) -> None:
    """Python delivers signals to the main thread only."""
    app.tasks["add"].soft_time_limit = 0.01
    for number in range(2):
        app.tasks["add"].delay(number, 0)
    mapping = Mapping(sqs, "celery", app.lambda_handler)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(mapping.poll()))
    thread.start()
    thread.join(30)
    assert len(found[0][0]) == len(ran) == 2
    assert (
        len([record for record in caplog.records if "soft limits are kept in a process's main thread" in record.message]) == 1
    )


def test_a_rate_limit_is_this_processs(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    app.tasks["add"].rate_limit = "1/m"
    for number in range(3):
        app.tasks["add"].delay(number, 0)
    done, failed = Mapping(sqs, "celery", app.lambda_handler).poll()
    assert (len(done), failed, len(ran)) == (3, [], 1)
    assert counts(sqs) == (0, 0, 2), "sent again with a delay"


# -- the function's time ----------------------------------------------------------------------------------------------


def test_no_further_task_starts_when_its_like_took_longer_than_what_is_left(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    @app.task(name="half")
    def half() -> None:
        ran.append("half")
        time.sleep(0.5)

    for _ in range(4):
        half.delay()
    done, failed = Mapping(sqs, "celery", app.lambda_handler, seconds=1.2).poll()
    assert 1 <= len(done) == len(ran) <= 2
    assert len(failed) == 4 - len(done)
    assert counts(sqs) == (len(failed), 0, 0), "what was not started may be had by anybody at once"


def test_a_last_life_is_not_lost_on_what_was_not_started(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    sqs.create_queue("dead")
    arn = sqs.queue_attributes(sqs.queue_url("dead"))["QueueArn"]
    sqs.create_queue("celery", {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})})
    app.tasks["add"].delay(1, 2)
    mapping = Mapping(sqs, "celery", app.lambda_handler, seconds=0)
    assert len(mapping.poll()[0]) == 1, "a copy took its place"
    assert not ran
    assert counts(sqs) == (1, 0, 0)
    assert counts(sqs, "dead") == (0, 0, 0)


def test_what_is_done_is_deleted_before_the_function_is_killed(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    """Lambda calls the whole batch failed then: nothing that is done may run again for it."""
    sqs.create_queue("celery")
    at_the_end: list[tuple[int, int, int]] = []

    @app.task(name="endless")
    def endless() -> None:
        while not should_stop():
            time.sleep(0.01)
        with app.lambda_handler._books.lock:
            at_the_end.append(counts(sqs))

    handler, url = app.lambda_handler, sqs.queue_url("celery")
    messages = []
    for call in (app.signature("add", (1, 2)), endless.s(), app.signature("add", (3, 4))):
        call.delay()
        messages += sqs.receive(url, wait=0)
    answer = handler(event_of("celery", messages), Context(2.0))
    assert ran == [(1, 2)]
    assert at_the_end == [(1, 1, 0)], "one is deleted, one given back, one runs"
    assert answer == {"batchItemFailures": [{"itemIdentifier": messages[2].message_id}]}
    assert not shutdown.begun, "the next invocation is not told to stop"


def test_an_interruptible_block_ends_with_the_functions_time_and_runs_again(app: Celery, sqs: InProcessSqs, ran: Ran) -> None:
    @app.task(name="long")
    def long() -> None:
        ran.append("long")
        if ran.count("long") == 1:
            with interruptible():
                threading.Event().wait(30)

    long.delay()
    mapping = Mapping(sqs, "celery", app.lambda_handler, seconds=1.2)
    assert len(mapping.poll()[1]) == 1
    assert counts(sqs) == (1, 0, 0), "given back: it has not failed"
    assert len(mapping.poll()[0]) == 1
    assert ran == ["long", "long"]


# -- FIFO -------------------------------------------------------------------------------------------------------------


def test_after_a_failure_the_rest_of_its_group_waits(make_app: Callable[..., Celery], sqs: InProcessSqs, clock: Clock) -> None:
    ran: Ran = []
    app = make_app(task_acks_late=True, task_acks_on_failure_or_timeout=False, task_default_queue="orders.fifo")
    broken = [True]

    @app.task(name="step")
    def step(group: str, number: int) -> None:
        ran.append((group, number))
        if group == "a" and number == 1 and broken[0]:
            raise ValueError("not yet")

    sqs.create_queue("dead.fifo", {"FifoQueue": "true"})
    arn = sqs.queue_attributes(sqs.queue_url("dead.fifo"))["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 9})
    sqs.create_queue("orders.fifo", {"FifoQueue": "true", "RedrivePolicy": redrive})
    for number in range(4):
        for group in "ab":
            step.apply_async((group, number), MessageGroupId=group)
    mapping = Mapping(sqs, "orders.fifo", app.lambda_handler)
    done, failed = mapping.poll()
    assert (len(done), len(failed)) == (5, 3)
    assert [number for group, number in ran if group == "a"] == [0, 1]
    assert [number for group, number in ran if group == "b"] == [0, 1, 2, 3]
    broken[0] = False
    clock.now += 60  # the rest was hidden to the same moment as its head, not for the queue's own time
    done, failed = mapping.poll()
    assert (len(done), failed) == (3, [])
    assert [number for group, number in ran if group == "a"] == [0, 1, 1, 2, 3]


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [{}, {"Records": None}, {"Records": [1]}, [], None, {"Records": [{"eventSource": "aws:kinesis", "kinesis": {}}]}],
)
def test_an_event_of_something_else_is_one_clear_error(app: Celery, event: Any) -> None:
    with pytest.raises(ConfigError, match="this handler is for"):
        app.lambda_handler(event, Context())


@pytest.mark.parametrize(
    "change", [{"body": None}, {"receiptHandle": 5}, {"eventSourceARN": "arn:aws:sns:x"}, {"attributes": 1}]
)
def test_a_broken_record_fails_alone(app: Celery, sqs: InProcessSqs, ran: Ran, change: dict[str, Any]) -> None:
    app.tasks["add"].delay(1, 2)
    app.tasks["add"].delay(3, 4)
    first, second = (record_of("celery", one) for one in sqs.receive(sqs.queue_url("celery"), wait=0))
    answer = app.lambda_handler({"Records": [{**first, **change}, second]}, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": first["messageId"]}]}
    assert len(ran) == 1


def test_attributes_of_a_message_come_through(app: Celery, sqs: InProcessSqs) -> None:
    from pyqs.aws_lambda.event import read_event
    from pyqs.config import ConnectionConfig
    from pyqs.message import Delivery

    sqs.create_queue("celery")
    attributes = {"a": MessageAttribute("String", "x"), "b": MessageAttribute("Binary", binary_value=b"\0\1")}
    sqs.send(sqs.queue_url("celery"), OutgoingMessage("text", message_attributes=attributes))
    (message,) = sqs.receive(sqs.queue_url("celery"), wait=0)
    (delivery,) = read_event(event_of("celery", [message]), ConnectionConfig(), iter([7]))
    assert isinstance(delivery, Delivery)
    assert delivery.message.message_attributes == attributes
    assert (delivery.id, delivery.queue, delivery.receive_count) == (7, "celery", 1)
    assert delivery.queue_url == "https://sqs.us-east-1.amazonaws.com/123456789012/celery"


def test_what_goes_wrong_in_our_own_code_is_one_records_affair(
    app: Celery, sqs: InProcessSqs, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = app.lambda_handler
    app.tasks["add"].delay(1, 2)
    app.tasks["add"].delay(3, 4)
    settle, calls = handler._settling.settle, iter([True, False])

    def once(*args: Any) -> Any:
        if next(calls):
            raise RuntimeError("a bug")
        return settle(*args)

    monkeypatch.setattr(handler._settling, "settle", once)
    done, failed = Mapping(sqs, "celery", handler).poll()
    assert (len(done), len(failed), len(ran)) == (1, 1, 2)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PYQS_ON_UNKNOWN", "burn", "--on-unknown is one of"),
        ("PYQS_LAMBDA_MARGIN", "soon", "PYQS_LAMBDA_MARGIN must be a number from 0 to 899, not 'soon'"),
        ("PYQS_MAX_PAYLOAD", "0", "PYQS_MAX_PAYLOAD must be a number"),
        ("PYQS_APP", "proj", "handler = app.lambda_handler"),
        ("PYQS_INCLUDE", "there_is_no_such_module", "there_is_no_such_module"),
    ],
)
def test_a_wrong_setting_fails_the_start(
    app: Celery, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Exception, match=said):
        app.lambda_handler  # noqa: B018


def test_an_app_of_another_broker_fails_the_start(make_app: Callable[..., Celery]) -> None:
    with pytest.raises(ImproperlyConfigured, match="is not SQS"):
        make_app(broker="redis://localhost").lambda_handler  # noqa: B018
