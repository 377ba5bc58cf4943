"""The values of ``pyqs.message`` as JSON's primitives and back, for frames.

Owns: how a delivery, a verdict, a follow-up and a message attribute are written. Pure; used by ``pyqs.wire`` only. What comes
back is checked, because it is the word of a process in which tasks have run.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping

from pyqs.message import (
    EMPTY,
    DeadLetter,
    Delete,
    Delivery,
    Drop,
    FollowUp,
    Hide,
    Leave,
    MessageAttribute,
    OutgoingMessage,
    ReceivedMessage,
    Resend,
    Verdict,
)


def maybe_verdict_out(verdict: Verdict | None) -> list[object] | None:
    """A verdict that may be None."""
    return None if verdict is None else verdict_out(verdict)


def verdict_out(verdict: Verdict) -> list[object]:
    """A verdict as a list that starts with its kind."""
    match verdict:
        case Delete():  # most are
            return ["delete"]
        case Hide(seconds):
            return ["hide", seconds]
        case Leave():
            return ["leave"]
        case Resend(delay, left):
            return ["resend", delay, left]
        case DeadLetter(reason, otherwise):
            return ["dead-letter", reason, otherwise]
        case Drop(otherwise):
            return ["drop", otherwise]


def verdict_in(raw: list[object]) -> Verdict:
    """The verdict again. Raises ValueError for anything else."""
    if raw == ["delete"]:  # most are
        return Delete()
    match raw:
        case ["hide", int() | float() as seconds]:
            return Hide(number(seconds))
        case ["leave"]:
            return Leave()
        case ["resend", int() as delay, None | int() | float() as left]:
            return Resend(delay, None if left is None else number(left))
        case ["dead-letter", str() as reason, int() | float() as otherwise]:
            return DeadLetter(reason, number(otherwise))
        case ["drop", int() | float() as otherwise]:
            return Drop(number(otherwise))
    raise ValueError(f"unknown verdict {raw!r}")


def attributes_out(attributes: Mapping[str, MessageAttribute]) -> dict[str, list[str | None]]:
    """Message attributes, binary values in base64."""
    return {
        name: [
            a.data_type,
            a.string_value,
            None if a.binary_value is None else base64.b64encode(a.binary_value).decode(),
        ]
        for name, a in attributes.items()
    }


def attributes_in(raw: Mapping[str, list[str | None]]) -> dict[str, MessageAttribute]:
    """Message attributes again."""
    return {
        name: MessageAttribute(str(kind), text, None if data is None else base64.b64decode(data))
        for name, (kind, text, data) in raw.items()
    }


def follow_up_out(follow_up: FollowUp) -> list[object]:
    """A follow-up as a flat list."""
    m = follow_up.message
    return [
        follow_up.queue, follow_up.create, m.body, m.delay, attributes_out(m.message_attributes), m.group_id,
        m.dedup_id, m.trace_header,
    ]  # fmt: skip


def follow_up_in(
    queue: str, create: bool, body: str, delay: int | None, attributes: dict[str, list[str | None]],
    group_id: str | None, dedup_id: str | None, trace_header: str | None,
) -> FollowUp:  # fmt: skip
    """The follow-up again."""
    message = OutgoingMessage(body, delay, attributes_in(attributes), group_id, dedup_id, trace_header)
    return FollowUp(queue, message, create)


def number(value: float) -> float:
    """Seconds that can be counted with. Raises OverflowError for an integer beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a frame whose seconds are no number")
    return float(value)


def delivery_out(d: Delivery) -> list[object]:
    """All of a delivery but its body, which travels behind the frame."""
    m = d.message
    return [
        d.id, d.queue, d.queue_url, d.received_at, d.fetched_at, d.visibility, m.message_id, m.receipt_handle,
        dict(m.attributes), attributes_out(m.message_attributes) if m.message_attributes else {},
    ]  # fmt: skip


def delivery_in(
    id_: int, queue: str, url: str, received_at: float, fetched_at: float, visibility: int, message_id: str, handle: str,
    attributes: dict[str, str], message_attributes: dict[str, list[str | None]], body: str,
) -> Delivery:  # fmt: skip
    """The delivery of these parts."""
    typed = attributes_in(message_attributes) if message_attributes else EMPTY
    message = ReceivedMessage(message_id, handle, body, attributes, typed)
    return Delivery(id_, queue, url, message, received_at, fetched_at, visibility)
