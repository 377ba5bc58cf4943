"""What ``pyqs peek`` says of a message: of every recorded one, and of every hostile one, without loading anything."""

from __future__ import annotations

import base64
import json
import pickle
import sys
import zlib
from typing import Any

import pytest

from gadgets import bombs, gadgets
from pyqs.commands.anatomy import Anatomy
from pyqs.message import ReceivedMessage
from pyqs_celery_compat import pickles, reading
from pyqs_celery_compat.reading import read_message

from .conftest import read_specimens

PICKLE = "application/x-python-serialize"


def envelope(payload: bytes, content_type: str, **headers: Any) -> str:
    text = json.dumps(
        {
            "body": base64.b64encode(payload).decode(),
            "content-type": content_type,
            "content-encoding": "binary",
            "headers": headers,
            "properties": {"body_encoding": "base64", "delivery_info": {}, "delivery_tag": "t"},
        }
    )
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(("name", "record"), read_specimens().items(), ids=lambda value: value if type(value) is str else "")
def test_every_recorded_message_is_read(name: str, record: dict[str, Any]) -> None:
    said = read_message(record["body"])
    json.dumps(said)
    if said["format"] == "native" or "expect" not in record or not record["expect"].get("task"):
        return
    wanted = record["expect"]["task"]
    if "pickle" in said:
        assert said.get("task", wanted) == wanted  # protocol 1 has it in the pickle alone
        assert any(wanted in line for line in said["pickle"]["instructions"]) or said.get("task") == wanted
    elif "problem" not in said:
        assert said["task"] == wanted
        assert said["args"].startswith("(")


@pytest.mark.parametrize(
    ("name", "payload"), [*gadgets("a file"), *bombs()], ids=lambda value: value if type(value) is str else ""
)
def test_hostile_pickles_are_taken_apart_and_nothing_is_imported(name: str, payload: bytes) -> None:
    before = set(sys.modules)
    said = read_message(envelope(payload, PICKLE))
    assert set(sys.modules) == before
    assert "args" not in said
    assert said["pickle"]["instructions"] or said["pickle"]["ending"]
    assert len(json.dumps(said)) < 200_000


def test_no_way_leads_to_an_unpickler(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: Any, **__: Any) -> Any:
        raise AssertionError("a pickle was loaded")

    for name in ("loads", "load"):
        monkeypatch.setattr(pickle, name, loads)
    monkeypatch.setattr(pickles, "loads_safe", loads)
    monkeypatch.setattr(pickles, "loads_full", loads)
    payload = pickle.dumps([[1], {}, {}])
    said = read_message(envelope(payload, PICKLE, task="t", id="i", lang="py", argsrepr="(1,)"))
    assert (said["task"], said["argsrepr"], said["pickle"]["names"]) == ("t", "(1,)", [])
    squeezed = read_message(envelope(zlib.compress(payload), PICKLE, task="t", id="i", compression="application/x-gzip"))
    assert squeezed["pickle"]["instructions"] == said["pickle"]["instructions"]


def test_a_large_pickle_is_cut_and_a_large_number_is_not_written_out() -> None:
    said = read_message(envelope(pickle.dumps(["x" * 100] * 5 + list(range(50_000))), PICKLE))["pickle"]
    assert len(said["instructions"]) == reading.PICKLE_LINES
    assert (said["left_out"] > 0, said["ending"]) == (True, "cut here")
    said = read_message(envelope(pickle.dumps(1 << 5000), PICKLE))["pickle"]
    assert any("an integer of 5001 bits" in line for line in said["instructions"])


def test_what_is_no_task_says_so_and_long_arguments_are_cut() -> None:
    assert read_message('{"Type": "Notification", "TopicArn": "arn:x"}')["problem"].startswith("undecodable envelope: an SNS")
    assert read_message("")["format"] == "other"
    assert read_message('{"task": "t", "args": []}') == {"format": "native"}
    said = read_message(envelope(json.dumps([["x" * 5000], {}, {}]).encode(), "application/json", task="t", id="i"), limit=50)
    assert len(said["args"]) < 80
    said = read_message(envelope(b"[" * 100_000, "application/json", task="t", id="i"))
    assert (said["task"], "problem" in said) == ("t", True)


ODD: list[Any] = [None, 5, 10**400, 1.5, True, "", "\x1b[2J", [], ["x", 5, None], {}, {"a": [1]}, [[[[]]]] * 3, "x" * 5000]
_DEEP: Any = []
for _ in range(400):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    "name", ["task", "id", "eta", "expires", "retries", "group", "compression", "argsrepr", "origin", "chain"]
)
@pytest.mark.parametrize("odd", [*ODD, _DEEP], ids=lambda value: repr(value)[:20])
def test_a_header_may_hold_anything(name: str, odd: Any) -> None:
    for kind, payload in (("application/json", b"[[], {}, {}]"), (PICKLE, b"N."), ("text/plain", b"x"), (odd, b"")):
        said = read_message(envelope(payload, kind, **{"task": "t", "id": "i", name: odd}))
        message = ReceivedMessage("m", "h", "body", {"SentTimestamp": "x", "ApproximateReceiveCount": "y"}, {})
        one = Anatomy(message, said)
        json.dumps(one.document())
        assert "\x1b" not in "\n".join(one.lines())
        assert isinstance(one.task, str)


def test_links_chains_and_chords_are_named_in_their_order() -> None:
    embed = {"callbacks": [{"task": "ok"}], "errbacks": None, "chain": [{"task": "third"}, {"task": "second"}], "chord": None}
    said = read_message(envelope(json.dumps([[], {}, embed]).encode(), "application/json", task="first", id="i"))
    assert (said["callbacks"], said["chain"]) == (["ok"], ["second", "third"])
