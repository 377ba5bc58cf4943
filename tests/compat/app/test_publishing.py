"""What ``.delay`` and its relatives put on SQS."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pyqs.errors import BadMessageOption, NotSerializable, TooLarge
from pyqs.local.inprocess import InProcessSqs
from pyqs_celery_compat import Celery, shared_task, signals
from pyqs_celery_compat.exceptions import QueueNotFound
from pyqs_celery_compat.publisher import UndefinedQueue

Envelope = Callable[..., dict[str, Any]]


def test_delay_writes_protocol_two(app: Celery, envelope: Envelope) -> None:
    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    result = add.delay(2, y=3)
    found = envelope()
    assert found["payload"] == [[2], {"y": 3}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    headers = found["headers"]
    assert headers["task"] == add.name
    assert headers["id"] == headers["root_id"] == found["properties"]["correlation_id"] == result.id
    assert headers["argsrepr"] == "(2,)"
    assert headers["retries"] == 0
    assert headers["timelimit"] == [None, None]
    assert headers["ignore_result"] is False
    assert found["properties"]["delivery_info"] == {"exchange": "", "routing_key": "celery"}
    assert found["properties"]["body_encoding"] == "base64"
    assert found["properties"]["reply_to"] == app.thread_oid


def test_protocol_one_is_one_dict(make_app: Callable[..., Celery], envelope: Envelope) -> None:
    app = make_app(task_protocol=1)

    @app.task
    def add(x: int) -> None: ...

    add.apply_async((1,), headers={"trace": "t"})
    found = envelope()
    assert found["headers"] == {"trace": "t"}
    assert found["payload"]["task"] == add.name
    assert found["payload"]["args"] == [1]
    assert found["payload"]["utc"] is True


def test_options_land_where_celery_puts_them(app: Celery, envelope: Envelope) -> None:
    app.send_task(
        "other.task", (1,), {"a": 2}, task_id="my-id", queue="q.one", headers={"x-trace": "7"}, priority=4, shadow="shown",
        time_limit=20, soft_time_limit=10, reply_to="r", app_id="mine",
    )  # fmt: skip
    found = envelope("q-one")
    assert found["headers"]["x-trace"] == "7"
    assert found["headers"]["id"] == "my-id"
    assert found["headers"]["timelimit"] == [20, 10]
    assert found["headers"]["shadow"] == "shown"
    assert found["properties"]["priority"] == 4
    assert found["properties"]["reply_to"] == "r"
    assert found["properties"]["app_id"] == "mine"
    assert found["properties"]["delivery_info"]["routing_key"] == "q.one"
    assert "queue" not in found["properties"]


def test_a_countdown_becomes_a_delay_and_stays_an_eta(app: Celery, sqs: InProcessSqs, envelope: Envelope) -> None:
    sent: list[Any] = []
    original = sqs.send

    def send(url: str, message: Any) -> Any:
        sent.append(message)
        return original(url, message)

    sqs.send = send  # type: ignore[method-assign]
    app.send_task("t", countdown=30.2)
    app.send_task("t", countdown=5000)
    app.send_task("t", eta=datetime.now(timezone.utc) - timedelta(seconds=5))
    app.send_task("t", countdown=0)
    app.send_task("t", countdown=60, queue="x.fifo")
    assert [message.delay for message in sent] == [31, 900, None, None, None]
    assert sent[4].group_id == "default"
    assert sent[4].dedup_id


def test_a_naive_eta_goes_out_naive(app: Celery, envelope: Envelope) -> None:
    app.send_task("t", eta=datetime(2020, 1, 2, 3, 4, 5))
    assert envelope()["headers"]["eta"] == "2020-01-02T03:04:05"


def test_countdown_is_written_in_the_apps_timezone(make_app: Callable[..., Celery], envelope: Envelope) -> None:
    app = make_app(timezone="Asia/Tokyo")
    app.send_task("t", countdown=1, queue="x.fifo")
    assert envelope("x.fifo")["headers"]["eta"].endswith("+09:00")


def test_expires_is_a_header_and_a_property(app: Celery, envelope: Envelope) -> None:
    app.send_task("t", expires=60)
    found = envelope()
    left = datetime.fromisoformat(found["headers"]["expires"]).timestamp() - time.time()
    assert 55 < left <= 60
    assert found["properties"]["expiration"] in ("59999", "60000")


@pytest.mark.parametrize(
    ("serializer", "content_type"),
    [
        ("json", "application/json"),
        ("yaml", "application/x-yaml"),
        ("msgpack", "application/x-msgpack"),
        ("pickle", "application/x-python-serialize"),
    ],
)
def test_serializers(app: Celery, envelope: Envelope, serializer: str, content_type: str) -> None:
    app.send_task("t", ({"k": [1, "é"]},), serializer=serializer)
    found = envelope()
    assert found["content-type"] == content_type
    if serializer == "pickle":
        assert pickle.loads(found["payload"])[0] == ({"k": [1, "é"]},)  # noqa: S301 - written a line above


def test_compression(app: Celery, envelope: Envelope) -> None:
    app.send_task("t", ("a" * 500,), compression="zlib")
    found = envelope()
    assert found["headers"]["compression"] == "application/x-gzip"
    assert json.loads(zlib.decompress(found["payload"]))[0] == ["a" * 500]


def test_bare_json_with_the_transport_option(make_app: Callable[..., Celery], take: Callable[..., Any]) -> None:
    app = make_app(broker_transport_options={"sqs_base64_encoding": False})
    app.send_task("t")
    assert take()[0].body.startswith("{")


def test_sqs_options_of_kombu(app: Celery, take: Callable[..., Any]) -> None:
    app.send_task(
        "t", queue="orders.fifo", MessageGroupId="g", MessageDeduplicationId="d",
        message_attributes={"tenant": {"DataType": "String", "StringValue": "x"}},
    )  # fmt: skip
    (message,) = take("orders.fifo")
    assert message.attributes["MessageGroupId"] == "g"
    assert message.attributes["MessageDeduplicationId"] == "d"
    assert message.message_attributes["tenant"].string_value == "x"


def test_a_missing_queue_is_created_as_kombu_does(make_app: Callable[..., Celery], sqs: InProcessSqs) -> None:
    app = make_app(broker_transport_options={"queue_name_prefix": "prod.", "visibility_timeout": 77, "queue_tags": {"a": "b"}})
    app.send_task("t", queue="mail.out")
    attributes = sqs.queue_attributes(sqs.queue_url("prod-mail-out"))
    assert attributes["VisibilityTimeout"] == "77"
    make_app(broker_transport_options={"sqs-creation-attributes": {"KmsMasterKeyId": "k"}}).send_task("t", queue="x.fifo")
    attributes = sqs.queue_attributes(sqs.queue_url("x.fifo"))
    assert attributes["FifoQueue"] == "true"
    assert attributes["VisibilityTimeout"] == "1800"
    assert attributes.get("ContentBasedDeduplication", "false") == "false"


def test_no_queue_is_created_where_the_app_forbids_it(make_app: Callable[..., Celery], sqs: InProcessSqs) -> None:
    app = make_app(task_create_missing_queues=False, task_queues={"known": {}})
    with pytest.raises(QueueNotFound):
        app.send_task("t", queue="other")
    from kombu.exceptions import OperationalError

    with pytest.raises(OperationalError, match="known"):
        app.send_task("t", queue="known")  # declared, but it does not exist on SQS and may not be created
    assert list(sqs.list_queues()) == []


def test_predefined_queues_replace_lookup_and_creation(make_app: Callable[..., Celery], sqs: InProcessSqs) -> None:
    url = sqs.create_queue("q-1")
    app = make_app(broker_transport_options={"predefined_queues": {"q-1": {"url": url}}}, task_default_queue="q-1")
    sqs.queue_url = sqs.list_queues = sqs.create_queue = None  # type: ignore[assignment, method-assign]
    app.send_task("t")
    assert len(sqs.receive(url, wait=0)) == 1
    with pytest.raises(UndefinedQueue, match="must be defined in 'predefined_queues'"):
        app.send_task("t", queue="other")


def test_too_large_is_said_before_anything_is_sent(app: Celery, sqs: InProcessSqs) -> None:
    with pytest.raises(TooLarge, match=r"big\.one .*1048576"):
        app.send_task("big.one", ("x" * 700_000,))
    assert list(sqs.list_queues()) == []


def test_an_argument_that_cannot_be_written_is_named(app: Celery) -> None:
    from kombu.exceptions import EncodeError

    with pytest.raises(EncodeError, match="keyword argument 'b'") as caught:
        app.send_task("t", (1,), {"a": 1, "b": object()})
    assert isinstance(caught.value, NotSerializable)


def test_a_failed_publish_is_kombus_operational_error(app: Celery) -> None:
    from kombu.exceptions import OperationalError

    from pyqs.errors import Unreachable

    class Down:
        def queue_url(self, name: str) -> str:
            raise Unreachable("nobody there")

    app.publisher.connector = lambda connection: Down()  # type: ignore[assignment, return-value]
    with pytest.raises(OperationalError, match="nobody there"):
        app.send_task("t")


def test_a_passing_failure_is_retried_by_the_policy(app: Celery, sqs: InProcessSqs, take: Callable[..., Any]) -> None:
    from pyqs.errors import AccessDenied, Throttled

    slept: list[float] = []
    failures: list[Exception] = [Throttled("slow"), Throttled("slow"), Throttled("slow")]
    original = sqs.send
    sent: list[Any] = []

    def send(url: str, message: Any) -> Any:
        sent.append(message)
        if failures:
            raise failures.pop()
        return original(url, message)

    sqs.send = send  # type: ignore[method-assign]
    app.publisher._sleep = slept.append
    app.send_task("t", queue="x.fifo")
    assert slept == pytest.approx([0, 0.2, 0.4])
    assert len({message.dedup_id for message in sent}) == 1
    assert len(take("x.fifo")) == 1
    from kombu.exceptions import OperationalError

    failures[:] = [Throttled("slow")] * 9
    with pytest.raises(OperationalError):
        app.send_task("t", retry_policy={"max_retries": 1})
    assert len(failures) == 7
    with pytest.raises(OperationalError):
        app.send_task("t", retry=False)
    failures[:] = [AccessDenied("no"), AccessDenied("no")]
    with pytest.raises(OperationalError):
        app.send_task("t")
    assert len(failures) == 1


@pytest.mark.parametrize(("options", "tries"), [({}, 2), ({"retry_policy": {"interval_max": 2}}, 4), ({"retry": False}, 1)])
def test_nobody_hangs_for_minutes_who_has_not_asked_for_it(
    app: Celery, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], tries: int
) -> None:
    from kombu.exceptions import OperationalError

    from pyqs.errors import Unreachable

    now = [0.0]
    tried: list[float] = []

    def send(url: str, message: Any) -> Any:
        tried.append(now[0])
        now[0] += 6
        raise Unreachable("no answer")

    sqs.send = send  # type: ignore[method-assign]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(app.publisher, "_sleep", lambda seconds: None)
    with pytest.raises(OperationalError, match="no answer"):
        app.send_task("t", **options)
    assert len(tried) == tries


def test_an_illegal_queue_name_is_refused(app: Celery) -> None:
    with pytest.raises(BadMessageOption, match="80"):
        app.send_task("t", queue="x" * 81)


def test_wrong_arguments_are_a_type_error_where_the_task_is_called(app: Celery, make_app: Callable[..., Celery]) -> None:
    @app.task
    def add(x: int, y: int) -> None: ...

    @app.task(bind=True)
    def bound(self: Any, x: int) -> None: ...

    @app.task(typing=False)
    def loose(x: int) -> None: ...

    with pytest.raises(TypeError, match="'y'"):
        add.delay(1)
    with pytest.raises(TypeError):
        bound.delay()
    bound.delay(1)
    loose.delay(1, 2, 3)
    with pytest.raises(TypeError, match="must be a list or tuple"):
        loose.apply_async("text")
    lax = make_app(strict_typing=False)

    @lax.task
    def anything(x: int) -> None: ...

    anything.delay()


def test_before_publish_may_change_what_is_sent(app: Celery, envelope: Envelope) -> None:
    seen: list[Any] = []

    def inject(headers: dict[str, Any], declare: list[Any], body: Any, sender: Any = None, **kw: Any) -> None:
        headers["traceparent"] = "00-1"
        seen.append((sender, declare[0].exchange.type, body[0], kw["routing_key"]))

    def after(sender: Any = None, headers: Any = None, **kw: Any) -> None:
        seen.append((sender, headers["traceparent"]))

    signals.before_task_publish.connect(inject)
    signals.after_task_publish.connect(after, sender="t")
    try:
        app.send_task("t", (5,))
    finally:
        signals.before_task_publish.disconnect(inject)
        signals.after_task_publish.disconnect(after, sender="t")
    assert envelope()["headers"]["traceparent"] == "00-1"
    assert seen == [("t", "direct", (5,), "celery"), ("t", "00-1")]


def test_links_travel_as_plain_signatures(app: Celery, envelope: Envelope) -> None:
    @shared_task
    def done(result: int, more: int = 0) -> None: ...

    app.send_task("t", link=done.s(more=1).set(queue="later"), link_error=[done.si(9)])
    embed = envelope()["payload"][2]
    assert embed["callbacks"] == [
        {
            "task": done.name,
            "args": [],
            "kwargs": {"more": 1},
            "options": {"queue": "later"},
            "subtask_type": None,
            "immutable": False,
        }
    ]
    assert embed["errbacks"][0]["immutable"] is True


def test_attributes_of_the_task_are_options_of_its_calls(app: Celery, envelope: Envelope) -> None:
    @app.task(queue="special", serializer="yaml", time_limit=9, priority=3, expires=100, ignore_result=True)
    def work() -> None: ...

    work.delay()
    found = envelope("special")
    assert found["content-type"] == "application/x-yaml"
    assert found["headers"]["timelimit"] == [9, None]
    assert found["headers"]["ignore_result"] is True
    assert found["headers"]["expires"]
    assert found["properties"]["priority"] == 3


def test_attributes_given_after_the_declaration_are_options_too(app: Celery, envelope: Envelope) -> None:
    """As seen under Celery 5.7: until the first call, which is when they are read."""

    @app.task
    def later() -> None: ...

    later.queue, later.priority = "special", 3
    later.delay()
    properties = envelope("special")["properties"]
    assert (properties["priority"], properties["delivery_info"]["routing_key"]) == (3, "special")


def test_importing_the_package_and_making_tasks_loads_neither_boto_nor_kombu() -> None:
    code = """
import sys
from pyqs_celery_compat import Celery, shared_task, current_app, Task, signature, uuid
app = Celery('x', broker='sqs://')
@app.task
def f(): return 1
@shared_task
def g(): return f()
assert g() == 1 and f.name and app.conf.task_serializer == 'json'
print(*sorted({m.split('.')[0] for m in sys.modules} & {'kombu', 'boto3', 'botocore', 'celery', 'vine'}))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_a_countdown_on_a_fifo_queue_is_warned_about_once(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    app.send_task("t", countdown=60, queue="x.fifo")
    app.send_task("t", countdown=60, queue="x.fifo")
    assert [r.levelname for r in caplog.records if "holds up its message group" in r.getMessage()] == ["WARNING"]


@pytest.mark.parametrize("value", [-1, "soon"])
def test_an_impossible_delay_is_an_error(app: Celery, value: Any) -> None:
    with pytest.raises(BadMessageOption, match="delay_seconds"):
        app.send_task("t", delay_seconds=value)


def test_an_explicit_delay_is_sent_and_clamped_as_kombu_does(app: Celery, sqs: InProcessSqs, take: Callable[..., Any]) -> None:
    app.send_task("t", DelaySeconds=5000)
    assert take() == []
    found = sqs.queue_attributes(sqs.queue_url("celery"))
    assert found["ApproximateNumberOfMessagesDelayed"] == "1"
