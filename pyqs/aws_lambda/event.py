"""Lambda's event of an SQS event source mapping, as deliveries.

Owns: that reading (Lambda developer guide, "Using Lambda with Amazon SQS": the event's records). Pure. Never decodes a body.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyqs.clock import boottime
from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError
from pyqs.message import Delivery, MessageAttribute, ReceivedMessage
from pyqs.queues.names import is_aws_host, parse_arn
from pyqs.sqs.session import configured_endpoint

#: Seconds of visibility where nobody has said any: a function does not know its queue's.
_UNKNOWN_VISIBILITY = 0
_SOURCE = "aws:sqs"


@dataclass(frozen=True, slots=True)
class Misshapen:
    """A record that is none of SQS's, and the id by which Lambda knows it."""

    message_id: str
    reason: str


def read_event(event: Any, connection: ConnectionConfig, numbers: Iterator[int]) -> list[Delivery | Misshapen]:
    """The records of one event, in order.

    Parameters:
        numbers: where deliveries get their ids from.

    Raises:
        ConfigError: it is no event of SQS's, so that no record of it could be answered for.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        raise ConfigError("this handler is for an event source mapping of an SQS queue; it was called with something else")
    return [_read(record, connection, numbers) for record in records]


def _read(record: Mapping[str, Any], connection: ConnectionConfig, numbers: Iterator[int]) -> Delivery | Misshapen:
    message_id, source = record.get("messageId"), record.get("eventSource", _SOURCE)
    if not isinstance(message_id, str) or not message_id or source != _SOURCE:
        raise ConfigError(f"this handler is for records of SQS, which have a messageId; it got one of {source!r}")
    try:
        queue, url = _queue(record["eventSourceARN"], _endpoint(connection))
        body, handle = record["body"], record["receiptHandle"]
        if not isinstance(body, str) or not isinstance(handle, str):
            raise TypeError("a body or receipt handle that is no text")
        attributes = {str(name): str(value) for name, value in (record.get("attributes") or {}).items()}
        own = {str(name): _attribute(value) for name, value in (record.get("messageAttributes") or {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as exc:
        return Misshapen(message_id, f"{type(exc).__name__}: {exc}")
    message = ReceivedMessage(message_id, handle, body, attributes, own)
    return Delivery(next(numbers), queue, url, message, boottime(), time.time(), _UNKNOWN_VISIBILITY)


def _endpoint(connection: ConnectionConfig) -> str:
    """Where queues are, "" for AWS's own places."""
    endpoint = configured_endpoint(connection)
    host = endpoint.partition("://")[2].partition("/")[0].partition(":")[0]
    return "" if is_aws_host(host) else endpoint


@lru_cache(maxsize=64)
def _queue(arn: str, endpoint: str) -> tuple[str, str]:
    """Name and URL of the queue with this ARN, as ``Sqs.locate`` would say it; no client is made for it."""
    address = parse_arn(arn)
    return address.name, address.url(endpoint)


def _attribute(value: Mapping[str, Any]) -> MessageAttribute:
    binary = value.get("binaryValue")
    return MessageAttribute(
        str(value["dataType"]),
        string_value=value.get("stringValue"),
        binary_value=None if binary is None else base64.b64decode(binary),
    )
