"""``@raw_task``: one handler for every message of a queue, for what no task queue writes (S3, SNS, EventBridge, others).

Owns: the decorator, the queues that have a handler, and the unwrapping of AWS's own envelopes. Unwrapping is pure and runs in
an executor. What cannot be unwrapped is undecodable, and stays on its queue like everything that is.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pyqs.errors import ConfigError, Undecodable
from pyqs.message import Delivery, MessageAttribute

Unwrap = Literal["sns", "s3", "eventbridge", "json"]

F = TypeVar("F", bound="Callable[[RawMessage], Any]")


@dataclass(frozen=True, slots=True)
class RawMessage:
    """What a handler gets.

    Parameters:
        id: the SQS message id.
        queue: the SQS queue's name.
        body: the body as SQS handed it out.
        payload: what ``unwrap`` found in it; the body where nothing is unwrapped.
        attributes: SQS's system attributes (ApproximateReceiveCount, SentTimestamp, ...), text.
        message_attributes: the sender's own.
    """

    id: str
    queue: str
    body: str = field(repr=False)
    payload: Any = field(repr=False)
    attributes: Mapping[str, str]
    message_attributes: Mapping[str, MessageAttribute] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawHandler:
    """The handler of one queue, and how its messages are unwrapped, the outermost envelope first."""

    name: str
    function: Callable[[RawMessage], Any]
    unwrap: tuple[Unwrap, ...] = ()

    def message(self, delivery: Delivery) -> RawMessage:
        """The delivery for the handler.

        Raises:
            Undecodable: the body is not what ``unwrap`` says.
        """
        received = delivery.message
        payload: Any = received.body
        for kind in self.unwrap:
            payload = _UNWRAP[kind](payload)
        return RawMessage(
            received.message_id, delivery.queue, received.body, payload, received.attributes, received.message_attributes
        )


_handlers: dict[str, RawHandler] = {}


def raw_task(queue: str, unwrap: Unwrap | tuple[Unwrap, ...] = ()) -> Callable[[F], F]:
    """Make a function the handler of every message on a queue, whatever its body is.

    The function, which may be an ``async def`` one, gets a ``RawMessage``. As with ``@task``, the message is deleted when it
    returns and comes back later when it raises.

    Parameters:
        queue: the SQS queue's name, as the AWS console shows it, or its URL or ARN.
        unwrap: "sns" (the notification's message), "s3" (the list of its records; the test event that S3 sends once has
            none), "eventbridge" (the event), "json", or several of them, the outermost first: ``("sns", "s3")``.

    Raises:
        ConfigError: a second handler for the queue, an async generator, or an envelope that is not known.
    """
    kinds: tuple[Unwrap, ...] = (unwrap,) if isinstance(unwrap, str) else tuple(unwrap)
    unknown = [kind for kind in kinds if kind not in _UNWRAP]
    if unknown:
        raise ConfigError(f"raw_task for queue {queue!r}: cannot unwrap {unknown[0]!r} (known: {', '.join(_UNWRAP)})")
    name = queue.rstrip("/").replace(":", "/").rpartition("/")[2]

    def decorate(function: F) -> F:
        own = f"{function.__module__}.{function.__qualname__}"
        if inspect.isasyncgenfunction(function):
            raise ConfigError(f"raw_task on {own}: an async generator cannot be a handler: nobody would iterate")
        known = _handlers.get(name)
        if known is not None and known.name != own:
            raise ConfigError(f"queue {name!r} has two handlers: {known.name} and {own}")
        _handlers[name] = RawHandler(own, function, kinds)
        return function

    return decorate


def handler_of(queue: str) -> RawHandler | None:
    """The handler of this SQS queue, None if its messages are calls of tasks."""
    return _handlers.get(queue)


def handled_queues() -> tuple[str, ...]:
    """Queues that have a handler, sorted."""
    return tuple(sorted(_handlers))


def _json(text: Any, kind: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Undecodable("envelope", f"it should be {kind}, but is no JSON ({type(exc).__name__})") from None


def _object(payload: Any, kind: str, *keys: str) -> dict[str, Any]:
    value = _json(payload, kind)
    if not isinstance(value, dict) or not all(key in value for key in keys):
        raise Undecodable("envelope", f"it should be {kind}, which has {', '.join(keys)}")
    return value


def _sns(payload: Any) -> Any:
    """SNS developer guide, "HTTP/HTTPS notification JSON format", which its SQS subscriptions use without raw delivery."""
    return _object(payload, "an SNS notification", "Type", "Message")["Message"]


def _s3(payload: Any) -> Any:
    """S3 user guide, "Event message structure"; the test event says so in ``Event`` and has no records."""
    value = _object(payload, "an S3 event")
    if value.get("Event") == "s3:TestEvent":
        return []
    records = value.get("Records")
    if not isinstance(records, list):
        raise Undecodable("envelope", "it should be an S3 event, which has Records")
    return records


def _eventbridge(payload: Any) -> Any:
    """EventBridge user guide, "AWS events", the fields that every event has."""
    return _object(payload, "an EventBridge event", "source", "detail-type", "detail")


_UNWRAP: Mapping[str, Callable[[Any], Any]] = {
    "sns": _sns,
    "s3": _s3,
    "eventbridge": _eventbridge,
    "json": lambda payload: _json(payload, "JSON"),
}
