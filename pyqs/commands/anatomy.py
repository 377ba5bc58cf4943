"""One message, taken apart for people and for JSON: what SQS says of it, and what it says itself.

Owns: ``Anatomy`` and its lines. Runs in ``pyqs peek`` and ``pyqs dlq``. Celery's messages are read by the compat package,
named by its path in ``cli``; native ones by ``codec``. Nothing a message names is looked up, imported or run, and no receipt
handle is shown.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyqs import cli
from pyqs.codec import decode_call
from pyqs.commands.shown import age, printable, size, span
from pyqs.errors import MessageError
from pyqs.message import ORIGIN, REASON, MessageAttribute, ReceivedMessage

#: Instructions of a pickle that people are shown.
_INSTRUCTIONS = 40


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What is known of one message; ``said`` is what its body says, see ``pyqs_celery_compat.reading``."""

    message: ReceivedMessage
    said: dict[str, Any]

    @property
    def task(self) -> str:
        """The task's name, "" where it cannot be told."""
        task = self.said.get("task")
        return task if isinstance(task, str) else ""

    @property
    def receives(self) -> int:
        """How often it was handed out, this time included."""
        count = self.message.attributes.get("ApproximateReceiveCount", "1")
        return int(count) if count.isdecimal() else 1

    @property
    def age(self) -> float | None:
        """Seconds since it was sent."""
        return age(self.message.attributes.get("SentTimestamp"))

    @property
    def reason(self) -> str:
        """Why a worker has copied it to the dead-letter queue where it is, "" if none has."""
        return _text(self.message.message_attributes.get(REASON))

    @property
    def origin(self) -> str:
        """The name of the queue it was on, as a worker's copy or SQS says it; "" where neither does."""
        arn = self.message.attributes.get("DeadLetterQueueSourceArn", "")
        return _text(self.message.message_attributes.get(ORIGIN)) or arn.rpartition(":")[2]

    def document(self, *, body: bool = False) -> dict[str, Any]:
        """As JSON has it."""
        message, attributes = self.message, self.message.attributes
        sent = attributes.get("SentTimestamp", "")
        found: dict[str, Any] = {
            "message_id": message.message_id,
            "receives": self.receives,
            "sent": int(sent) / 1000 if sent.isdecimal() else None,
            "age": None if self.age is None else round(self.age, 3),
            "bytes": len(message.body.encode("utf-8", "surrogatepass")),
            "group": attributes.get("MessageGroupId"),
            "deduplication_id": attributes.get("MessageDeduplicationId"),
            "sequence_number": attributes.get("SequenceNumber"),
            "dead_letter_source": attributes.get("DeadLetterQueueSourceArn"),
            "attributes": {name: _value(one) for name, one in message.message_attributes.items()},
            **self.said,
        }
        if body:
            found["body"] = message.body
        return found

    def lines(self, *, receives: str = "", limit: int = 400) -> list[str]:
        """As a person reads it.

        Parameters:
            receives: what follows "receive 3", such as " of 5".
            limit: characters of a body that says nothing.
        """
        message, attributes = self.message, self.message.attributes
        sent = "" if self.age is None else f", sent {span(self.age)} ago"
        length = size(len(message.body.encode("utf-8", "surrogatepass")))
        lines = [f"{message.message_id}  receive {self.receives}{receives}{sent}, {length}"]
        if group := attributes.get("MessageGroupId"):
            lines.append(f"  {'group':13}{printable(group)}")
        if self.reason or self.origin:
            lines.append(
                f"  {'dead letter':13}{printable(f'from {self.origin}' + (f': {self.reason}' if self.reason else ''))}"
            )
        lines += _said_lines(self.said)
        if self.said.get("format") == "other" or ("problem" in self.said and "args" not in self.said):
            lines.append(f"  {'body':13}{printable(message.body, limit)}")
        for name, one in message.message_attributes.items():
            if name not in (REASON, ORIGIN):
                lines.append(f"  {'attribute':13}{printable(name)} = {printable(_value(one), limit)}")
        return lines


def anatomy(message: ReceivedMessage, queue: str, *, limit: int = 400) -> Anatomy:
    """The message, read as far as that can be done without loading anything. Never raises for what a message holds."""
    module, _, name = cli.COMPAT_READER.partition(":")
    read: Callable[[str, str, int], dict[str, Any]] = getattr(importlib.import_module(module), name)
    said = read(message.body, queue, limit)
    if said.get("format") == "native":
        try:
            call = decode_call(message.body, message.message_id)
        except MessageError as exc:
            return Anatomy(message, {**said, "problem": str(exc)})
        texts = {"args": json.dumps(list(call.args)), "kwargs": json.dumps(dict(call.kwargs))}
        cut = {name: text if len(text) <= limit else f"{text[:limit]}..." for name, text in texts.items()}
        said = {**said, "task": call.task, "id": call.id, **cut}
    return Anatomy(message, said)


def _said_lines(said: dict[str, Any]) -> list[str]:
    kinds = {"celery": "Celery", "native": "native", "other": "no task message"}
    kind = kinds.get(said["format"], said["format"])
    protocol = f", protocol {said['protocol']}" if said.get("protocol") else ""
    content = f", {said['content_type']}" if said.get("content_type") else ""
    packed = f", {said['compression']}" if said.get("compression") else ""
    lines = [f"  {'format':13}{printable(kind + protocol + content + packed)}"]
    names = [
        "task",
        "id",
        "args",
        "kwargs",
        "eta",
        "expires",
        "retries",
        "group",
        "chain",
        "chord",
        "callbacks",
        "errbacks",
        "origin",
    ]
    if "args" not in said:
        names[2:4] = ["argsrepr", "kwargsrepr"]  # the producer's own words
    for name in names:
        value = said.get(name)
        if value is not None and not (name == "retries" and not value):
            lines.append(f"  {name:13}{printable(', '.join(value) if isinstance(value, list) else str(value))}")
    if pickle := said.get("pickle"):
        loads = ", ".join(pickle["names"]) or "nothing"
        lines.append(f"  {'pickle':13}not loaded; loading it would import: {printable(loads, 400)}")
        lines += [f"    {printable(line)}" for line in pickle["instructions"][:_INSTRUCTIONS]]
        hidden = len(pickle["instructions"][_INSTRUCTIONS:]) + pickle["left_out"]
        if hidden or pickle["ending"]:
            lines.append(f"    ... {hidden} more" + (f"; {pickle['ending']}" if pickle["ending"] else ""))
    if problem := said.get("problem"):
        lines.append(f"  {'problem':13}{printable(problem)}")
    return lines


def sent_at(message: ReceivedMessage) -> str:
    """When it was sent, local time; "-" where that is not known."""
    sent = message.attributes.get("SentTimestamp", "")
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(sent) / 1000)) if sent.isdecimal() else "-"


def _text(attribute: MessageAttribute | None) -> str:
    return (attribute.string_value or "") if attribute is not None else ""


def _value(attribute: MessageAttribute) -> str:
    if attribute.binary_value is not None:
        return f"({len(attribute.binary_value)} bytes)"
    return attribute.string_value or ""
