"""The SQS body text and kombu's envelope inside it, in both directions.

Owns: outer base64, the envelope's JSON and the inner base64 (``properties.body_encoding``). Pure; runs in the producer and in
an executor. Never decompresses or deserialises the payload, and never prints any of it.

Layout (observed with kombu 3.0 to 5.7): body = base64(JSON ``{body, content-encoding, content-type, headers, properties}``), or
that JSON bare when the writer has ``sqs_base64_encoding`` off; ``body`` is base64 again.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial
from typing import Any

from pyqs.errors import Undecodable
from pyqs.value import value
from pyqs_celery_compat import typed_json
from pyqs_celery_compat.uuids import uuid

#: Reads base64 with nothing else in it.
_strictly: Callable[[str], bytes]
if sys.version_info >= (3, 11):
    _strictly = partial(binascii.a2b_base64, strict_mode=True)  # b64decode is this and two calls around it
else:
    _strictly = partial(base64.b64decode, validate=True)


@value
class Envelope:
    """One opened envelope.

    Parameters:
        payload: the serialised, perhaps compressed, body.
        content_type: MIME type of the payload ("" if the writer gave none).
        content_encoding: "utf-8", "binary", ... ("" if none).
        headers: message headers, typed values revived; for protocol 2 they hold the task's header.
        properties: message properties, ``delivery_info`` among them.
        outer_base64: True when the SQS body was base64, False when it was bare JSON.
        redelivered: the mark that kombu 3.0 puts on a message it sent a second time.
    """

    payload: bytes = field(repr=False)
    content_type: str
    content_encoding: str
    headers: dict[str, Any] = field(repr=False)
    properties: dict[str, Any] = field(repr=False)
    outer_base64: bool = True
    redelivered: bool = False


@value
class Native:
    """A message in PyQS's own format (bare ``{"task", "args", "kwargs"}``), already parsed; not Celery's business."""

    body: dict[str, Any] = field(repr=False)


def is_native(obj: object) -> bool:
    """Tell whether a parsed JSON body is PyQS's own format.

    The key ``task`` must be at the top: a bare kombu v2 envelope has it too, but inside ``headers``.
    """
    return (
        isinstance(obj, dict)
        and isinstance(obj.get("task"), str)
        and "properties" not in obj
        and "headers" not in obj
        and "body" not in obj
    )


def open_envelope(body: str) -> Envelope | Native:
    """Read an SQS body up to its payload.

    Parameters:
        body: the SQS message body, exactly as received.

    Returns:
        the envelope, or ``Native`` when the body is PyQS's own format.

    Raises:
        Undecodable: layer "base64" or "envelope".
    """
    bare = body.lstrip()[:1] == "{"
    text = body if bare else _unwrap(body)
    if bare and '"__type__"' in text and (native := _as_native(text)) is not None:
        return native  # PyQS's format has no typed values: such a dict is an argument like any other
    try:
        obj = typed_json.loads(text)
    except RecursionError:
        raise Undecodable("envelope", "its JSON is nested too deeply") from None
    except Exception as error:  # a typed header value runs its reader, which may raise anything
        raise Undecodable("envelope", _json_reason(error)) from None
    if not isinstance(obj, dict):
        raise Undecodable("envelope", f"a JSON object is needed, not {type(obj).__name__}")
    if "properties" in obj and "body" in obj:
        return _envelope(obj, outer_base64=not bare)
    if bare and is_native(obj):
        return Native(obj)
    raise Undecodable("envelope", _foreign_reason(obj))


def _as_native(text: str) -> Native | None:
    try:
        obj = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return Native(obj) if is_native(obj) else None


def _unwrap(body: str) -> str:
    """Take off the outer base64."""
    try:
        raw = _strictly(body)
    except ValueError:
        try:
            # Python 2's encoders break lines; only then are blanks looked for.
            raw = _strictly("".join(body.split()))
        except ValueError:
            raise Undecodable("base64", "the body is neither a JSON object nor base64") from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Undecodable("envelope", "the base64 body does not hold UTF-8 text") from None


def _envelope(obj: dict[str, Any], *, outer_base64: bool) -> Envelope:
    # What is as it should be is taken as it is, without a call: this runs for each message.
    get = obj.get
    properties, headers, kind, charset = obj["properties"], get("headers"), get("content-type"), get("content-encoding")
    if type(properties) is not dict:
        properties = _mapping(properties, "properties")
    if type(headers) is not dict:
        headers = _mapping(headers, "headers")
    body, encoding = obj["body"], properties.get("body_encoding")
    if not isinstance(body, str):
        raise Undecodable("envelope", f"its body is {type(body).__name__}, not text")
    try:
        if encoding == "base64":
            payload = binascii.a2b_base64(body)
        elif encoding is None:
            payload = body.encode("utf-8")
        else:
            raise Undecodable("base64", "an unknown properties.body_encoding")
    except ValueError:
        raise Undecodable("base64", "the envelope's body cannot be read as base64 or text") from None
    if type(kind) is not str:
        kind = _text(kind, "content-type")
    if type(charset) is not str:
        charset = _text(charset, "content-encoding")
    # By position, which costs a third.
    return Envelope(payload, kind, charset, headers, properties, outer_base64, bool(get("redelivered")))


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Undecodable("envelope", f"its {key} are {type(value).__name__}, not an object")
    return value


def _text(value: Any, key: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Undecodable("envelope", f"its {key} is {type(value).__name__}, not text")
    return value


def _json_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.pos}"
    return f"a value in its JSON cannot be read ({type(error).__name__})"


def _foreign_reason(obj: dict[str, Any]) -> str:
    if obj.get("Type") == "Notification" and "TopicArn" in obj:
        return "an SNS notification, not a Celery message (raw message delivery is off on the subscription)"
    return "JSON that is neither Celery's envelope (body and properties) nor PyQS's own format"


def seal_envelope(
    payload: bytes,
    *,
    content_type: str,
    content_encoding: str,
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    outer_base64: bool = True,
) -> str:
    """Write an SQS body that kombu reads.

    Parameters:
        payload: the serialised, perhaps compressed, body.
        properties: as kombu's producer would hand them over; ``body_encoding`` is set here, and ``delivery_tag`` is a fresh
            uuid unless one is given.
        outer_base64: False writes what ``sqs_base64_encoding: False`` does: the envelope as bare JSON.

    Raises:
        TypeError: a header or property that kombu's JSON cannot write.
        ValueError: one that holds itself.
    """
    text = typed_json.dumps(
        {
            "body": as_base64(payload),
            "content-encoding": content_encoding,
            "content-type": content_type,
            "headers": dict(headers),
            "properties": {"delivery_tag": uuid(), **properties, "body_encoding": "base64"},
        }
    )
    return as_base64(text.encode("ascii")) if outer_base64 else text


def as_base64(data: bytes) -> str:
    """Bytes as a line of text."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")
