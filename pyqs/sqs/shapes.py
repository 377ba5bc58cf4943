"""SQS's JSON and our values: what a message is called on the wire, in both directions.

Owns: the parameters that are made of an ``OutgoingMessage`` and the values that are made of an answer. Pure; any thread;
shared by both clients. Never does I/O and never judges an answer: what it must hold is checked by the caller.

Names and types are those of the SQS API reference (SendMessage, ReceiveMessage, Message). botocore takes and gives binary
values as bytes; in the JSON itself they are base64.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pyqs.message import EMPTY, MessageAttribute, MoveTask, OutgoingMessage, ReceivedMessage, SentMessage

#: What an answer must have to be one.
REQUIRED: Mapping[str, frozenset[str]] = {
    "SendMessage": frozenset({"MessageId"}),
    "GetQueueUrl": frozenset({"QueueUrl"}),
    "CreateQueue": frozenset({"QueueUrl"}),
    "StartMessageMoveTask": frozenset({"TaskHandle"}),
}


def outgoing(message: OutgoingMessage) -> dict[str, Any]:
    """SendMessage's parameters without the queue; a batch entry's without the Id."""
    params: dict[str, Any] = {"MessageBody": message.body}
    if message.delay is not None:
        params["DelaySeconds"] = message.delay
    if message.group_id is not None:
        params["MessageGroupId"] = message.group_id
    if message.dedup_id is not None:
        params["MessageDeduplicationId"] = message.dedup_id
    if message.trace_header is not None:
        params["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": message.trace_header}}
    if message.message_attributes:
        params["MessageAttributes"] = {name: _typed(value) for name, value in message.message_attributes.items()}
    return params


def received(message: Mapping[str, Any]) -> ReceivedMessage:
    """One entry of ReceiveMessage's ``Messages``.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    found = message.get("MessageAttributes")
    attributes = {name: _attribute(value) for name, value in found.items()} if found else EMPTY
    return ReceivedMessage(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message.get("Body", ""),
        attributes=message.get("Attributes") or EMPTY,
        message_attributes=attributes,
    )


def sent(answer: Mapping[str, Any]) -> SentMessage:
    """SendMessage's answer, or one of SendMessageBatch's ``Successful``.

    Raises:
        KeyError, TypeError: it is none.
    """
    message_id = answer["MessageId"]
    if not isinstance(message_id, str):
        raise TypeError("a message id that is no text")
    return SentMessage(message_id, answer.get("SequenceNumber"))


def move_handle(answer: Mapping[str, Any]) -> str:
    """StartMessageMoveTask's answer.

    Raises:
        KeyError, TypeError: it is none.
    """
    handle = answer["TaskHandle"]
    if not isinstance(handle, str):
        raise TypeError("a task handle that is no text")
    return handle


def move_task(entry: Mapping[str, Any]) -> MoveTask:
    """One entry of ListMessageMoveTasks's ``Results``.

    Raises:
        KeyError, TypeError: it is none.
    """
    get = entry.get
    return MoveTask(
        status=str(entry["Status"]),
        source_arn=str(entry["SourceArn"]),
        destination_arn=get("DestinationArn"),
        moved=int(get("ApproximateNumberOfMessagesMoved") or 0),
        to_move=get("ApproximateNumberOfMessagesToMove"),
        rate=get("MaxNumberOfMessagesPerSecond"),
        started_ms=int(get("StartedTimestamp") or 0),
        reason=get("FailureReason"),
        handle=get("TaskHandle"),
    )


def as_json(value: object) -> str:
    """What ``json.dumps`` cannot write by itself: binary values, as base64."""
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"no SQS parameter is a {type(value).__name__}")


def _attribute(value: Mapping[str, Any]) -> MessageAttribute:
    binary = value.get("BinaryValue")
    if isinstance(binary, str):
        try:
            binary = base64.b64decode(binary, validate=True)
        except binascii.Error as exc:
            raise ValueError(f"a binary attribute that is not base64: {exc}") from None
    return MessageAttribute(value["DataType"], value.get("StringValue"), binary)


def _typed(attribute: MessageAttribute) -> dict[str, Any]:
    value: dict[str, Any] = {"DataType": attribute.data_type}
    if attribute.binary_value is not None:
        value["BinaryValue"] = attribute.binary_value
    else:
        value["StringValue"] = attribute.string_value
    return value
