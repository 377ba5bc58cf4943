"""What hostile bodies found: each is left on its queue with one short reason, whatever the sender made of it."""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import Any

import pytest
import yaml

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.message import Delivery, Hide, ReceivedMessage
from pyqs.native import NativeRuntime
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery, publisher, serialization
from pyqs_celery_compat.runtime import CeleryRuntime

JSON, YAML, MSGPACK = "application/json", "application/x-yaml", "application/x-msgpack"


@pytest.fixture(autouse=True)
def _no_worker_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_worker", None)


@pytest.fixture
def runtime(app: Celery, sqs: InProcessSqs) -> CeleryRuntime:
    @app.task(name="add")
    def add(*args: Any) -> None: ...

    made = CeleryRuntime(RuntimeConfig(accept=("json", "yaml", "msgpack", "pickle-safe"), max_payload=4 << 20))
    made.boot()
    made.after_fork()
    return made


def delivery(body: str) -> Delivery:
    return Delivery(1, "celery", "http://sqs/celery", ReceivedMessage("m1", "h1", body, {}), boottime(), time.time(), 120)


def sealed(payload: bytes, kind: str = JSON, **headers: Any) -> str:
    envelope = {
        "body": base64.b64encode(payload).decode(),
        "content-type": kind,
        "content-encoding": "utf-8",
        "headers": {"task": "add", "id": "i", **headers},
        "properties": {"body_encoding": "base64", "delivery_info": {}},
    }
    return base64.b64encode(json.dumps(envelope).encode()).decode()


def left(runtime: CeleryRuntime | NativeRuntime, body: str) -> Outcome:
    outcome = runtime.prepare(delivery(body))
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.verdict, Hide)
    assert outcome.verdict.seconds > 0
    return outcome


@pytest.mark.parametrize("place", ["callbacks", "errbacks", "chain"])
@pytest.mark.parametrize(
    ("part", "value"), [("options", []), ("options", "x"), ("kwargs", [1]), ("args", {}), ("args", "x"), ("kwargs", 5)]
)
@pytest.mark.parametrize("kind", [None, "group", "chain"])
def test_a_link_that_nobody_can_publish_is_found_before_the_task_runs(
    runtime: CeleryRuntime, place: str, part: str, value: Any, kind: str | None
) -> None:
    sig = {"task": "add", "args": [], "kwargs": {}, "options": {}, "subtask_type": kind, part: value}
    outcome = left(runtime, sealed(json.dumps([[], {}, {place: [sig]}]).encode()))
    assert outcome.status == "unsupported"
    assert f"has {part} of type {type(value).__name__}" in outcome.reason


def test_links_that_share_their_parts_cost_nothing(runtime: CeleryRuntime) -> None:
    sig: dict[str, Any] = {"task": "add", "args": [], "kwargs": {}, "options": {}}
    for _ in range(45):
        sig = {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [sig, sig]}}
    body = sealed(yaml.safe_dump([[], {}, {"callbacks": [sig]}]).encode(), YAML)
    began = time.monotonic()
    assert "hold more than" in left(runtime, body).reason
    assert time.monotonic() - began < 5


def test_an_error_that_nobody_thought_of_leaves_the_message(
    runtime: CeleryRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise MemoryError

    for break_it in (
        lambda patched: patched.setattr("pyqs_celery_compat.continuations.unsupported", broken),
        lambda patched: patched.setattr("pyqs_celery_compat.runtime.decode_envelope", broken),
        lambda patched: patched.setitem(serialization._READERS, JSON, broken),
    ):
        with monkeypatch.context() as patched:
            break_it(patched)
            outcome = left(runtime, sealed(b"[[], {}, {}]"))
        assert outcome.status == "unsupported", "a status that --on-undecodable may delete"
        assert "MemoryError" in outcome.reason
    assert not caplog.records


def test_what_is_told_of_a_message_is_short(runtime: CeleryRuntime) -> None:
    name = "x" * 100_000
    native = NativeRuntime(RuntimeConfig())
    for outcome in (
        left(runtime, sealed(b"[[], {}, {}]", task=name, id=name)),
        left(runtime, sealed(b"[[], {}, {}]", kind=name)),
        left(native, json.dumps({"task": name})),
    ):
        assert len(outcome.reason) + len(outcome.task) + len(outcome.call_id) < 2000
        assert "100000 characters" in outcome.task + outcome.reason or "characters)" in outcome.reason


MIB = 1 << 20
PACKED = {
    "zeros": (JSON, bytes(5 * MIB)),
    "numbers": (JSON, b"[[0" + b",0" * MIB + b"],{},{}]"),
    "lists": (JSON, b"[[[]" + b",[]" * MIB + b"],{},{}]"),
    "msgpack strings": (MSGPACK, b"\x93\xdd\x00\x10\x00\x00" + b"\xa2ab" * MIB + b"\x80\x80"),
    "msgpack strings in parts": (MSGPACK, b"\x95" + (b"\xdd\x00\x04\x00\x00" + b"\xa2ab" * (MIB // 4)) * 5),
    "msgpack extensions": (MSGPACK, b"\x93\xdd\x00\x06\x00\x00" + b"\xd4\x05x" * (6 << 16) + b"\x80\x80"),
}


@pytest.mark.parametrize("case", PACKED)
def test_a_small_message_that_grows_is_left_and_the_limit_is_named(runtime: CeleryRuntime, case: str) -> None:
    kind, payload = PACKED[case]
    body = sealed(zlib.compress(payload), kind, compression="application/x-gzip")
    assert len(body) < 100_000
    outcome = left(runtime, body)
    assert outcome.status == "undecodable"
    assert "--max-payload" in outcome.reason


@pytest.mark.parametrize("where", [["celery"], {"name": "celery"}, 7, True])
def test_a_link_to_what_is_no_queue_is_found_before_its_task_runs(runtime: CeleryRuntime, where: Any) -> None:
    link = {"task": "add", "args": [], "kwargs": {}, "options": {"queue": where}, "subtask_type": None, "immutable": False}
    payload = json.dumps([[], {}, {"callbacks": [link], "errbacks": None, "chain": None, "chord": None}]).encode()
    outcome = left(runtime, sealed(payload))
    assert outcome.status == "unsupported"
    assert "names its queue by a" in outcome.reason
