"""Recorded messages, and the typed markers in which their expected values are written."""

from __future__ import annotations

import base64
import gzip
import json
import math
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

SPECIMENS = Path(__file__).parent.parent / "specimens"


def read_specimens() -> dict[str, dict[str, Any]]:
    """Every recorded message by its id (ids of repeated sends end in #n)."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(SPECIMENS.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                assert record["id"] not in found
                found[record["id"]] = record
    return found


def mark(value: Any) -> Any:
    """A value in the specimens' typed markers (see README beside the recordings)."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return {"__float__": str(value)} if math.isnan(value) or math.isinf(value) else value
    if isinstance(value, (bytes, bytearray)):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"__datetime__": value.isoformat()}
    if isinstance(value, date):
        return {"__date__": value.isoformat()}
    if isinstance(value, time):
        return {"__time__": value.isoformat()}
    if isinstance(value, timedelta):
        return {"__timedelta__": value.total_seconds()}
    if isinstance(value, uuid.UUID):
        return {"__uuid__": str(value)}
    if isinstance(value, Decimal):
        return {"__decimal__": str(value)}
    if isinstance(value, list):
        return [mark(item) for item in value]
    if isinstance(value, tuple):
        return {"__tuple__": [mark(item) for item in value]}
    if isinstance(value, frozenset):
        return {"__frozenset__": sorted((mark(item) for item in value), key=json.dumps)}
    if isinstance(value, set):
        return {"__set__": sorted((mark(item) for item in value), key=json.dumps)}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: mark(item) for key, item in value.items()}
        return {"__dict__": [[mark(key), mark(item)] for key, item in value.items()]}
    kind = type(value)
    return {"__object__": [f"{kind.__module__}.{kind.__qualname__}", repr(value)]}


@pytest.fixture(scope="session")
def specimens() -> dict[str, dict[str, Any]]:
    return read_specimens()


@pytest.fixture(scope="session")
def marked() -> Callable[[Any], Any]:
    return mark


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``specimen_id`` runs a test once per recorded message."""
    if "specimen_id" in metafunc.fixturenames:
        metafunc.parametrize("specimen_id", sorted(read_specimens()))


def envelope_body(payload: bytes, content_type: str, *, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """An SQS body as kombu writes it, with any part replaced."""
    envelope: dict[str, Any] = {
        "body": base64.b64encode(payload).decode(),
        "content-type": content_type,
        "content-encoding": "binary",
        "headers": {"task": "spec.add", "id": "id-1", "lang": "py"} if headers is None else headers,
        "properties": {"body_encoding": "base64", "correlation_id": "id-1", "delivery_info": {}},
        **changes,
    }
    return base64.b64encode(json.dumps(envelope).encode()).decode()


@pytest.fixture(scope="session")
def in_envelope() -> Callable[..., str]:
    return envelope_body


@pytest.fixture(scope="session")
def pickled_call() -> Callable[[bytes], str]:
    """The body of a protocol 2 call whose only argument is what these opcodes push."""

    def body(opcodes: bytes) -> str:
        return envelope_body(b"\x80\x02((" + opcodes + b"t}}t.", "application/x-python-serialize")

    return body
