"""Handlers of raw queues: what reaches them, and what of it cannot be unwrapped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs import RawMessage, raw, raw_task
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.errors import ConfigError
from pyqs.message import Delete, Delivery, Hide, MessageAttribute, ReceivedMessage
from pyqs.native import NativeRuntime
from pyqs.runtime import Outcome

S3 = {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "a"}}}]}
SNS = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": json.dumps(S3)}
EVENT = {"version": "0", "source": "aws.ec2", "detail-type": "state", "detail": {"state": "running"}}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    known = dict(raw._handlers)
    raw._handlers.clear()
    yield
    raw._handlers.clear()
    raw._handlers.update(known)


def run(body: str, queue: str = "events") -> Outcome:
    message = ReceivedMessage("m1", "h1", body, {"ApproximateReceiveCount": "2"}, {"colour": MessageAttribute("String", "red")})
    prepared = NativeRuntime(RuntimeConfig()).prepare(Delivery(1, queue, "url", message, boottime(), 0.0, 60))
    return prepared if isinstance(prepared, Outcome) else prepared.run()


@pytest.mark.parametrize(
    ("unwrap", "body", "payload"),
    [
        ((), "anything at all", "anything at all"),
        ("json", "[1]", [1]),
        ("s3", json.dumps(S3), S3["Records"]),
        ("s3", json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}), []),
        ("sns", json.dumps(SNS), SNS["Message"]),
        (("sns", "s3"), json.dumps(SNS), S3["Records"]),
        ("eventbridge", json.dumps(EVENT), EVENT),
    ],
)
def test_a_handler_gets_what_was_unwrapped(unwrap: Any, body: str, payload: Any) -> None:
    seen: list[RawMessage] = []
    raw_task(queue="events", unwrap=unwrap)(seen.append)  # type: ignore[arg-type]
    assert isinstance(run(body).verdict, Delete)
    assert seen[0].payload == payload
    assert (seen[0].id, seen[0].queue, seen[0].body) == ("m1", "events", body)
    assert seen[0].attributes["ApproximateReceiveCount"] == "2"
    assert seen[0].message_attributes["colour"].string_value == "red"


@pytest.mark.parametrize(
    ("unwrap", "body"),
    [
        ("json", "{"), ("json", "[" * 100_000), ("s3", "[]"), ("s3", "{}"), ("sns", '{"Type": "Notification"}'), ("sns", "1"),
        ("eventbridge", "{}"), (("sns", "s3"), json.dumps(SNS | {"Message": "hello"})),
    ],
)  # fmt: skip
def test_what_cannot_be_unwrapped_stays_on_its_queue(unwrap: Any, body: str) -> None:
    raw_task(queue="events", unwrap=unwrap)(lambda message: pytest.fail("it ran"))
    outcome = run(body)
    assert outcome.status == "undecodable"
    assert isinstance(outcome.verdict, Hide)


def test_even_a_tasks_message_goes_to_the_handler_and_a_failure_is_hidden() -> None:
    @raw_task(queue="https://sqs.us-east-1.amazonaws.com/1/events")
    def handler(message: RawMessage) -> None:
        raise ValueError(message.payload)

    outcome = run('{"task": "os.system", "args": ["true"], "kwargs": {}}')
    assert (outcome.status, type(outcome.verdict)) == ("failed", Hide)
    assert outcome.task.endswith("handler")


def test_a_queue_has_one_handler() -> None:
    raw_task(queue="events")(print)
    raw_task(queue="events")(print)  # a module that is imported twice
    with pytest.raises(ConfigError, match="two handlers"):
        raw_task(queue="arn:aws:sqs:us-east-1:1:events")(len)
    with pytest.raises(ConfigError, match="cannot unwrap 'xml'"):
        raw_task(queue="other", unwrap="xml")  # type: ignore[arg-type]


def test_an_async_generator_is_refused() -> None:
    async def handler(message: RawMessage) -> Any:
        yield 1

    with pytest.raises(ConfigError, match="an async generator cannot be a handler"):
        raw_task(queue="events")(handler)
