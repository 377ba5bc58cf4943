"""Messages whose body lies in S3: the pointer in its place, in the format of AWS's Extended Client Library.

Owns: that format, both ways. Pure; any process. Never fetches anything, and takes no pointer's word for where it may lead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from pyqs.errors import Undecodable
from pyqs.message import MessageAttribute, OutgoingMessage, ReceivedMessage

#: What a pointer says that it is: AWS's payload offloading library, and the Java client before its version 1.1.
_CLASS = "software.amazon.payloadoffloading.PayloadS3Pointer"
_CLASSES = (_CLASS, "com.amazon.sqs.javamessaging.MessageS3Pointer")
_BEGINNINGS = tuple(f'["{name}"' for name in _CLASSES)
#: The attribute with the size of what was put away, bytes; the same before version 1.1.
SIZE, OLD_SIZE = "ExtendedPayloadSize", "SQSLargePayloadSize"
#: More is no pointer: a bucket's name has 63 characters, a key 1024 bytes (S3 user guide), each six as JSON may write it.
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Pointer:
    """An object in S3."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def is_pointer(body: str) -> bool:
    """Whether this body says that it is a pointer."""
    return body.startswith(_BEGINNINGS)


def read_pointer(body: str) -> Pointer:
    """Where it points to.

    Raises:
        Undecodable: it says that it is a pointer, and is none.
    """
    try:
        if len(body) > _LONGEST:
            raise ValueError
        kind, place = json.loads(body)
        bucket, key = place["s3BucketName"], place["s3Key"]
        if kind not in _CLASSES or not (isinstance(bucket, str) and isinstance(key, str) and bucket and key):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Undecodable("pointer", "it says that its body lies in S3, and not where") from None
    return Pointer(bucket, key)


def pointer_of(message: ReceivedMessage) -> Pointer | None:
    """Where its body lies, None if it is here, or nobody can tell."""
    if not is_pointer(message.body):
        return None
    try:
        return read_pointer(message.body)
    except Undecodable:
        return None


def pointing(message: OutgoingMessage, pointer: Pointer, size: int) -> OutgoingMessage:
    """The message with a pointer in place of its body of ``size`` bytes."""
    body = json.dumps([_CLASS, {"s3BucketName": pointer.bucket, "s3Key": pointer.key}], separators=(",", ":"))
    attributes = {**message.message_attributes, SIZE: MessageAttribute("Number", str(size))}
    return replace(message, body=body, message_attributes=attributes)
