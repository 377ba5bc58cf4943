"""Every message that a real client sent decodes to what a consumer must see."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from pyqs.errors import Refused, Undecodable
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.envelope import Native, open_envelope
from pyqs_celery_compat.serialization import Accept

#: fields of ``expect`` that are attributes of the call under the same name
SAME = (
    *("protocol", "task", "id", "retries", "group", "root_id", "parent_id", "reply_to", "correlation_id", "priority"),
    *("content_type", "content_encoding", "compression"),
)

#: Celery 3.1 and 4.4 take a pickled chord apart and put it together again while they read it. That leaves traces that are
#: not on the wire: each reading nests an empty ``kwargs`` once more, and adds a ``chord_size`` of null.
REBUILT_BY_CELERY = {
    "celery3.1.26-py36/p1-pickle-chain-of-group",
    "celery4.4.7-py37/p1-pickle-chain-of-group",
    "celery4.4.7-py37/p2-pickle-chain-of-group",
}


def without_traces(value: Any) -> Any:
    """A signature without what Celery's rebuilding leaves behind."""
    if isinstance(value, list):
        return [without_traces(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_traces(item)
        for key, item in value.items()
        if not (key == "chord_size" and item is None) and not (key == "kwargs" and nested_empty(item))
    }


def nested_empty(value: Any) -> bool:
    return value == {} or (isinstance(value, dict) and value.keys() == {"kwargs"} and nested_empty(value["kwargs"]))


class Point:
    """The class that some specimens pickle as ``__main__.Point``."""

    def __repr__(self) -> str:
        return f"Point({self.x}, {self.y})"


Point.__module__, Point.__qualname__ = "__main__", "Point"


def unordered(value: Any) -> Any:
    """Typed markers without the order that sets, and dicts with odd keys, do not promise."""
    if isinstance(value, list):
        return [unordered(item) for item in value]
    if isinstance(value, dict):
        value = {key: unordered(item) for key, item in value.items()}
        for kind in ("__set__", "__frozenset__", "__dict__"):
            if kind in value:
                value[kind] = sorted(value[kind], key=repr)
    return value


def seconds(text: str | None) -> float | None:
    """``eta_utc`` and ``expires_utc`` of the specimens: UTC, or "(naive)" for local time."""
    if text is None:
        return None
    if text.endswith("(naive)"):
        return datetime.fromisoformat(text.split()[0]).timestamp()
    return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=timezone.utc).timestamp()


def test_every_specimen_decodes_to_its_expectation(
    specimen_id: str, specimens: dict[str, Any], marked: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = specimens[specimen_id]
    expect, accept = record["expect"], Accept.default()
    if expect["kind"] == "other":
        with pytest.raises(Undecodable) as refused:
            decode(record["body"], accept=accept)
        assert refused.value.layer == "protocol"
        return
    if expect["protocol"] == "pyqs":
        opened = open_envelope(record["body"])
        assert isinstance(opened, Native)
        assert {key: marked(opened.body[key]) for key in ("task", "args", "kwargs")} == {
            key: expect[key] for key in ("task", "args", "kwargs")
        }
        return
    if "__main__.Point" in (expect.get("pickle_globals") or ()):
        with pytest.raises(Refused, match=r"__main__\.Point.*--pickle-allow '__main__\.Point'"):
            decode(record["body"], accept=accept)
        monkeypatch.setattr(sys.modules["__main__"], "Point", Point, raising=False)
        accept = Accept.default(pickle_allow=["__main__.Point"])
    call = decode(record["body"], accept=accept, queue=record["queue_name"])

    assert {name: getattr(call, name) for name in SAME} == {name: expect[name] for name in SAME}
    assert [marked(value) for value in call.args] == listed(expect["args"])
    assert unordered(marked(call.kwargs)) == unordered(expect["kwargs"])
    for name in ("callbacks", "errbacks", "chain", "chord"):
        found, wanted = unordered(marked(getattr(call, name))), unordered(expect[name])
        if specimen_id in REBUILT_BY_CELERY:
            found, wanted = without_traces(found), without_traces(wanted)
        assert found == wanted, name
    assert (call.eta_wire, call.expires_wire) == (expect["eta"], expect["expires"])
    assert (call.eta, call.expires) == (seconds(expect["eta_utc"]), seconds(expect["expires_utc"]))
    assert [call.time_limit, call.soft_time_limit] == listed(expect["timelimit"] or [None, None])
    assert marked(call.headers) == {key: untyped(value) for key, value in expect["headers"].items()}
    assert marked(call.properties) == expect["properties"]
    assert call.queue == record["queue_name"]
    assert open_envelope(record["body"]).outer_base64 is expect["sqs_base64"]


def listed(value: Any) -> list[Any]:
    """A sequence in typed markers; whether it was a list or a tuple on the wire makes no difference to a call."""
    items = value["__tuple__"] if isinstance(value, dict) else value
    assert isinstance(items, list)
    return items


def untyped(value: Any) -> Any:
    """Header values of kombu >= 5.3: the specimens show the wire's typed dicts, we give what they stand for."""
    if not isinstance(value, dict) or "__dict__" not in value:
        return value
    typed = dict(value["__dict__"])
    inner = typed["__value__"]
    return {f"__{typed['__type__']}__": str(uuid.UUID(inner["hex"])) if typed["__type__"] == "uuid" else inner}


def test_the_expectations_cover_what_they_should(specimens: dict[str, Any]) -> None:
    kinds = [record["expect"] for record in specimens.values()]
    assert len(kinds) == 1549
    assert sum(expect["kind"] == "other" for expect in kinds) == 25
    assert sum(expect.get("protocol") == "pyqs" for expect in kinds) == 15
    assert sum("__main__.Point" in (expect.get("pickle_globals") or ()) for expect in kinds) == 4


def test_messages_that_kombu_cannot_read_are_read(specimens: dict[str, Any], marked: Callable[[Any], Any]) -> None:
    unreadable = sorted(key for key, record in specimens.items() if record.get("kombu57_decode_error"))
    assert unreadable == ["celery3.1.26-py36/p1-msgpack-type-intkeys"]
    call = decode(specimens[unreadable[0]]["body"], accept=Accept.default())
    assert call.args == ({1: "one", 2: "two"},)


def test_no_specimen_needs_more_than_full_pickle_gives(specimens: dict[str, Any]) -> None:
    safe, full = Accept.default(), Accept.from_names(["pickle"])
    pickled = [
        record["body"]
        for record in specimens.values()
        if record["expect"].get("pickle_globals") is not None and "__main__.Point" not in record["expect"]["pickle_globals"]
    ]
    assert len(pickled) > 500
    for body in pickled:
        ours, pythons = decode(body, accept=safe), decode(body, accept=full)
        assert repr(ours.args) == repr(pythons.args) or "{" in repr(ours.args)
        assert (ours.task, ours.chain, ours.callbacks, ours.chord) == (
            pythons.task,
            pythons.chain,
            pythons.callbacks,
            pythons.chord,
        )
