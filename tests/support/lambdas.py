"""Lambda's side of an SQS event source mapping: the event that it makes of messages, the context, and what it does afterwards.

Owns: ``event_of``, ``Context`` and ``Mapping``, which receives, calls a handler and deletes what did not fail (Lambda developer
guide, "Using Lambda with Amazon SQS"). Runs in the test's thread.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any

from pyqs.message import MessageAttribute, ReceivedMessage
from pyqs.sqs import Sqs

ACCOUNT, REGION = "123456789012", "us-east-1"


def arn_of(queue: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"


def record_of(queue: str, message: ReceivedMessage) -> dict[str, Any]:
    return {
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": dict(message.attributes),
        "messageAttributes": {name: _attribute(value) for name, value in message.message_attributes.items()},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": arn_of(queue),
        "awsRegion": REGION,
    }


def event_of(queue: str, messages: Sequence[ReceivedMessage]) -> dict[str, Any]:
    return {"Records": [record_of(queue, message) for message in messages]}


def _attribute(value: MessageAttribute) -> dict[str, Any]:
    """As Lambda writes it: the lists are there, empty."""
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value.data_type}
    if value.string_value is not None:
        shown["stringValue"] = value.string_value
    if value.binary_value is not None:
        shown["binaryValue"] = base64.b64encode(value.binary_value).decode()
    return shown


class Context:
    """Lambda's context object; its time runs from when it is made."""

    def __init__(self, seconds: float = 900.0) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))


class Mapping:
    """An event source mapping of one queue, with ReportBatchItemFailures.

    Parameters:
        seconds: the function's timeout.
    """

    def __init__(self, sqs: Sqs, queue: str, handler: Callable[[Any, Any], Any], seconds: float = 900.0) -> None:
        self._sqs, self._queue, self._handler, self._seconds = sqs, queue, handler, seconds

    def poll(self) -> tuple[list[str], list[str]]:
        """One batch: message ids of those that were deleted, and of those that failed."""
        url = self._sqs.queue_url(self._queue)
        messages = self._sqs.receive(url, wait=0, visibility=5400)
        answer = self._handler(event_of(self._queue, messages), Context(self._seconds))
        failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        done = [message for message in messages if message.message_id not in failed]
        if done:
            self._sqs.delete_batch(url, [message.receipt_handle for message in done])
        return [message.message_id for message in done], failed
