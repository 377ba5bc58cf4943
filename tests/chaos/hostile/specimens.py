"""The recorded messages, taken apart once: body text, envelope, payload."""

from __future__ import annotations

import base64
import binascii
import functools
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyqs_celery_compat import compression

FOLDER = Path(__file__).parents[2] / "compat" / "specimens"
#: Characters; longer ones say nothing new and cost a fuzzer its time. A few of them are kept.
_USUAL, _LONG_KEPT = 8000, 3


@dataclass(frozen=True)
class Specimen:
    """One recorded message; ``envelope`` is None for PyQS's own format."""

    id: str
    body: str
    envelope: dict[str, Any] | None
    payload: bytes

    @property
    def content_type(self) -> str:
        return str(self.envelope.get("content-type")) if self.envelope else ""


def read(every: bool = False) -> list[Specimen]:
    """All recorded messages, or those of usual length and a few long ones."""
    found, long_ones = [], 0
    for path in sorted(FOLDER.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                long = len(record["body"]) > _USUAL
                long_ones += long
                if every or not long or long_ones <= _LONG_KEPT:
                    found.append(_apart(record["id"], record["body"]))
    return found


@functools.cache
def usual() -> list[Specimen]:
    return read()


@functools.cache
def with_content(kind: str) -> list[Specimen]:
    return [one for one in usual() if one.content_type == kind]


def _apart(name: str, body: str) -> Specimen:
    text = body if body.lstrip()[:1] == "{" else base64.b64decode(body)
    envelope = json.loads(text)
    if "properties" not in envelope:
        return Specimen(name, body, None, b"")
    payload = envelope["body"].encode()
    if envelope["properties"].get("body_encoding") == "base64":
        payload = binascii.a2b_base64(payload)
    packed = envelope["headers"].get("compression")
    return Specimen(name, body, envelope, compression.decompress(payload, packed, 1 << 24) if packed else payload)


def sealed(envelope: dict[str, Any], payload: bytes | None = None, *, outer: bool = True) -> str:
    """An envelope as an SQS body; with a payload, that is put in first."""
    if payload is not None:
        properties = envelope.get("properties")
        properties = {**properties, "body_encoding": "base64"} if isinstance(properties, dict) else properties
        envelope = {**envelope, "body": base64.b64encode(payload).decode(), "properties": properties}
    text = json.dumps(envelope)
    return base64.b64encode(text.encode()).decode() if outer else text
