"""Whatever a body holds, only calls and typed errors come out, and nothing is imported."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyqs.errors import MessageError
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.protocol import CeleryCall
from pyqs_celery_compat.serialization import JSON, MSGPACK, PICKLE, YAML, Accept

SETTINGS = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: may be loaded late: what time zones are read from
ZONES = ("pytz.", "tzdata", "importlib.", "encodings.")


def outcome(body: str) -> CeleryCall | MessageError:
    before = set(sys.modules)
    found: CeleryCall | MessageError
    try:
        found = decode(body, accept=Accept.default(), queue="q")
    except MessageError as error:
        found = error
    assert {name for name in set(sys.modules) - before if not name.startswith(ZONES)} == set()
    return found


@pytest.fixture(scope="module", autouse=True)
def bodies() -> list[str]:
    """A few hundred recorded bodies; whatever library any recorded message needs is loaded."""
    found: list[str] = []
    for path in sorted((Path(__file__).parent.parent / "specimens").glob("*.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found.extend(record["body"] for record in map(json.loads, lines) if len(record["body"]) < 4000)
    for body in [*found, sealed(b"\x80\x02cpytz\n_UTC\n)R.", PICKLE, {"task": "t"})]:
        with contextlib.suppress(MessageError):
            decode(body, accept=Accept.default())
    return random.Random(1).sample(found, 300)


def check(body: str) -> None:
    found = outcome(body)
    assert isinstance(found, (CeleryCall, MessageError))
    if isinstance(found, CeleryCall):
        assert isinstance(found.task, str)
        assert isinstance(found.id, str)
        assert isinstance(found.args, tuple)
        assert all(isinstance(key, str) for key in found.kwargs)


@SETTINGS
@given(body=st.text())
def test_any_text(body: str) -> None:
    check(body)


@SETTINGS
@given(data=st.binary())
def test_any_bytes_in_base64(data: bytes) -> None:
    check(base64.b64encode(data).decode())


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["base64", "t", JSON, PICKLE, "gzip"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from(["task", "id", "args", "kwargs", "eta", "__type__", "__value__", "callbacks", "chord"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@SETTINGS
@given(
    payload=JSON_VALUES,
    headers=st.dictionaries(
        st.sampled_from(["task", "id", "eta", "expires", "retries", "timelimit", "compression", "group"]), JSON_VALUES
    ),
    properties=JSON_VALUES,
)
def test_any_json_in_an_envelope(payload: Any, headers: Any, properties: Any) -> None:
    envelope = {
        "body": base64.b64encode(json.dumps(payload).encode()).decode(),
        "content-type": JSON,
        "content-encoding": "utf-8",
    }
    good = {"body_encoding": "base64", "delivery_info": {}}
    for props in (good, properties):
        check(json.dumps({**envelope, "headers": {"task": "t", "id": "i", **headers}, "properties": props}))
        check(json.dumps({**envelope, "headers": headers, "properties": props}))


@SETTINGS
@given(kind=st.sampled_from([JSON, PICKLE, YAML, MSGPACK]), payload=st.binary(max_size=200))
def test_any_payload_of_any_type(kind: str, payload: bytes) -> None:
    check(sealed(payload, kind, {"task": "t", "id": "i"}))


def sealed(payload: bytes, kind: str, headers: dict[str, Any]) -> str:
    return json.dumps({
        "body": base64.b64encode(payload).decode(), "content-type": kind, "content-encoding": "binary", "headers": headers,
        "properties": {"body_encoding": "base64"},
    })  # fmt: skip


def mutated(data: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """Bytes with some replaced, removed or inserted."""
    found = bytearray(data)
    for where, how, what in changes:
        at = where % (len(found) + 1)
        if how == 0 and at < len(found):
            found[at] = what
        elif how == 1:
            del found[at : at + what % 16]
        else:
            found[at:at] = bytes([what])
    return bytes(found)


CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=6)


@SETTINGS
@given(number=st.integers(0, 299), changes=CHANGES)
def test_mutated_bodies(number: int, changes: list[tuple[int, int, int]], bodies: list[str]) -> None:
    check(mutated(bodies[number].encode(), changes).decode("utf-8", "surrogateescape"))


@SETTINGS
@given(number=st.integers(0, 299), changes=CHANGES)
def test_mutated_envelopes(number: int, changes: list[tuple[int, int, int]], bodies: list[str]) -> None:
    body = bodies[number]
    text = body.encode() if body.startswith("{") else base64.b64decode(body)
    check(base64.b64encode(mutated(text, changes)).decode())


@settings(SETTINGS, max_examples=1500)
@given(number=st.integers(0, 299), changes=CHANGES)
def test_mutated_payloads(number: int, changes: list[tuple[int, int, int]], bodies: list[str]) -> None:
    body = bodies[number]
    envelope = json.loads(body if body.startswith("{") else base64.b64decode(body))
    if "properties" not in envelope:
        return
    envelope["body"] = base64.b64encode(mutated(base64.b64decode(envelope["body"]), changes)).decode()
    check(json.dumps(envelope))
