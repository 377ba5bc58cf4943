"""What SQS accepts as a queue name, a message, a batch and a number, and the MD5s it answers with.

Owns: checks that need no storage. Pure. Never changes what it checks.
Source: SQS API reference (CreateQueue, SendMessage, SendMessageBatch, ReceiveMessage) and the developer guide's
chapter on message attributes (names, types, sizes, the MD5 calculation).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence

from pyqs.local.attributes import MAX_MESSAGE_BYTES
from pyqs.local.service_error import ServiceError, bad_parameter, missing_parameter
from pyqs.message import MessageAttribute, OutgoingMessage

MAX_BATCH = 10
MAX_ATTRIBUTES = 10
MAX_TAGS = 50

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo\Z")
_BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}\Z")
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_\-.]{1,256}\Z")
_ATTRIBUTE_TYPE = re.compile(r"(String|Number|Binary)(\.[\x21-\x7e]+)?\Z")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?\Z")


def queue_name(name: str, *, fifo: bool) -> None:
    """Raise InvalidParameterValue unless this is a legal name for a queue of this kind."""
    if fifo:
        if not _FIFO_NAME.match(name):
            raise ServiceError(
                "InvalidParameterValueException",
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
                "must end with .fifo suffix and be 1 to 80 in length.",
            )
    elif not _QUEUE_NAME.match(name):
        raise ServiceError(
            "InvalidParameterValueException",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )


def number(value: int | None, name: str, low: int, high: int) -> None:
    """Raise InvalidParameterValue unless the value is None or within the bounds."""
    if value is not None and not low <= value <= high:
        raise bad_parameter(value, name, f"Must be >= {low} and <= {high}, if provided.")


def token(value: str | None, name: str) -> None:
    """Raise InvalidParameterValue unless this is None or a legal group, deduplication or attempt id."""
    if value is not None and not _TOKEN.match(value):
        reason = f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise bad_parameter(value[:200], name, reason)


def batch_ids(ids: Sequence[str], entry: str) -> None:
    """Raise the errors that refuse a batch as a whole: empty, too many, an illegal id, an id given twice."""
    if not ids:
        raise ServiceError("EmptyBatchRequest", f"There should be at least one {entry} in the request.")
    if len(ids) > MAX_BATCH:
        message = f"Maximum number of entries per request are {MAX_BATCH}. You have sent {len(ids)}."
        raise ServiceError("TooManyEntriesInBatchRequest", message)
    seen: set[str] = set()
    for id_ in ids:
        if not _BATCH_ID.match(id_):
            raise ServiceError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
            )
        if id_ in seen:
            raise ServiceError("BatchEntryIdsNotDistinct", f"Id {id_} repeated.")
        seen.add(id_)


def batch_size(messages: Sequence[OutgoingMessage]) -> None:
    """Raise BatchRequestTooLong when the messages together are over 1 MiB."""
    total = sum(size(message) for message in messages)
    if total > MAX_MESSAGE_BYTES:
        text = f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {total} bytes."
        raise ServiceError("BatchRequestTooLong", text)


def size(message: OutgoingMessage) -> int:
    """Bytes that count towards the limits: body, and name, type and value of each attribute."""
    total = _bytes(message.body)
    for name, attribute in message.message_attributes.items():
        total += _bytes(name) + _bytes(attribute.data_type) + _bytes(attribute.string_value or "")
        total += len(attribute.binary_value or b"")
    return total


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def message(outgoing: OutgoingMessage, *, fifo: bool, content_dedup: bool, max_bytes: int) -> None:
    """Raise what SQS answers to a message that it does not take. Bounds in bytes."""
    if not outgoing.body:
        raise missing_parameter("MessageBody")
    _characters(outgoing.body, "message body")
    _message_attributes(outgoing.message_attributes)
    if size(outgoing) > max_bytes:
        text = f"One or more parameters are invalid. Reason: Message must be shorter than {max_bytes} bytes."
        raise ServiceError("InvalidParameterValueException", text)
    if outgoing.delay is not None and not 0 <= outgoing.delay <= 900:
        raise bad_parameter(outgoing.delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
    token(outgoing.group_id, "MessageGroupId")
    token(outgoing.dedup_id, "MessageDeduplicationId")
    if outgoing.trace_header is not None:
        _characters(outgoing.trace_header, "message system attribute 'AWSTraceHeader'")
    wrong_kind = "The request include parameter that is not valid for this queue type."
    if not fifo:
        if outgoing.dedup_id is not None:
            raise bad_parameter(outgoing.dedup_id, "MessageDeduplicationId", wrong_kind)
        return
    if outgoing.group_id is None:
        raise missing_parameter("MessageGroupId")
    if outgoing.delay:
        raise bad_parameter(outgoing.delay, "DelaySeconds", wrong_kind)
    if outgoing.dedup_id is None and not content_dedup:
        text = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
        raise ServiceError("InvalidParameterValueException", text)


def _characters(text: str, where: str) -> None:
    found = _FORBIDDEN.search(text)
    if found:
        raise ServiceError(
            "InvalidMessageContents",
            f"Invalid binary character '#x{ord(found.group()):x}' was found in the {where}, the set of allowed characters is "
            "#x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to #xFFFD] | [#x10000 to #x10FFFF]",
        )


def _message_attributes(attributes: Mapping[str, MessageAttribute]) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        text = f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        raise ServiceError("InvalidParameterValueException", text)
    for name, attribute in attributes.items():
        problem = _attribute_name_problem(name) or _attribute_value_problem(attribute)
        if problem:
            text = f"The message attribute '{name[:256]}' {problem}"
            raise ServiceError("InvalidParameterValueException", text)
        if attribute.string_value is not None:
            _characters(attribute.string_value, f"message attribute '{name}'")


def _attribute_name_problem(name: str) -> str:
    if not _ATTRIBUTE_NAME.match(name) or name.startswith(".") or name.endswith(".") or ".." in name:
        return "has an invalid name: 1 to 256 of A-Z, a-z, 0-9, underscore, hyphen and single inner periods."
    if name.lower().startswith(("aws.", "amazon.")):
        return "has a name with a reserved prefix."
    return ""


def _attribute_value_problem(attribute: MessageAttribute) -> str:
    if len(attribute.data_type) > 256 or not _ATTRIBUTE_TYPE.match(attribute.data_type):
        return (
            f"has an invalid message attribute type '{attribute.data_type[:256]}', "
            "the set of supported type prefixes is Binary, Number, and String."
        )
    binary = attribute.data_type.startswith("Binary")
    if binary:
        if attribute.string_value is not None or not attribute.binary_value:
            return "must contain a non-empty message attribute value of type Binary."
        return ""
    if attribute.binary_value is not None or not attribute.string_value:
        return f"must contain a non-empty message attribute value of type {attribute.data_type.partition('.')[0]}."
    if attribute.data_type.startswith("Number") and not _NUMBER.match(attribute.string_value):
        return "Can't cast the value of message (user) attribute to a number."
    return ""


def md5_of_body(body: str) -> str:
    """MD5OfMessageBody, hex."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, MessageAttribute]) -> str | None:
    """MD5OfMessageAttributes, hex: over name, type, transport kind and value, each with its length, sorted by name."""
    if not attributes:
        return None
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        _update(digest.update, name.encode())
        _update(digest.update, attribute.data_type.encode())
        if attribute.binary_value is not None:
            digest.update(b"\x02")
            _update(digest.update, attribute.binary_value)
        else:
            digest.update(b"\x01")
            _update(digest.update, (attribute.string_value or "").encode())
    return digest.hexdigest()


def _update(update: Callable[[bytes], None], part: bytes) -> None:
    update(len(part).to_bytes(4, "big"))
    update(part)
