"""What we write is what Celery 5.7 writes, and what kombu and our own reader read."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import kombu.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyqs.errors import BadMessageOption, ConfigError, NotSerializable
from pyqs_celery_compat.argument_repr import argument_repr
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.envelope import Envelope, open_envelope
from pyqs_celery_compat.outgoing import TaskMessage, as_task_v1, as_task_v2, seal_task
from pyqs_celery_compat.protocol import CeleryCall
from pyqs_celery_compat.serialization import Accept

SERIALIZERS = {
    "application/json": "json",
    "application/x-python-serialize": "pickle",
    "application/x-yaml": "yaml",
    "application/x-msgpack": "msgpack",
}
NOW = datetime(2031, 5, 17, 13, 14, 15, tzinfo=timezone.utc)
#: protocol headers that a rewritten specimen makes from fields, not from custom headers
FIELDS = (
    *("task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id", "parent_id"),
    *("ignore_result", "replaced_task_nesting", "stamped_headers", "stamps"),
)


def rewritten(call: CeleryCall, outer_base64: bool) -> str:
    """The same call, written by us."""
    serializer = SERIALIZERS[call.content_type]
    properties = dict(call.properties)
    place = properties.pop("delivery_info")
    for ours in ("body_encoding", "correlation_id"):
        properties.pop(ours)
    steering = {"priority": properties.pop("priority"), "delivery_mode": properties.pop("delivery_mode")}
    headers = dict(call.headers)
    if serializer != "pickle" and headers.get("compression"):
        headers.pop("compression")
    fields: dict[str, Any] = {
        **properties,
        **{name: getattr(call, name) for name in ("group_index", "retries", "callbacks", "errbacks", "chord")},
        **{name: getattr(call, name) for name in ("time_limit", "soft_time_limit")},
        "eta": call.eta_wire,
        "expires": call.expires_wire,
        "group_id": call.group,
    }
    args: Any = call.args
    if call.protocol == 1:
        make: Callable[..., TaskMessage] = as_task_v1
        fields["utc"] = call.utc
    else:
        make = as_task_v2
        stamps = headers.pop("stamps")
        stamped = headers.pop("stamped_headers")
        for name in FIELDS:
            headers.pop(name, None)
        fields |= {"chain": call.chain, "root_id": call.root_id, "parent_id": call.parent_id, "shadow": call.shadow}
        fields |= {"ignore_result": call.ignore_result, "replaced_task_nesting": call.replaced_task_nesting}
        fields |= {"stamped_headers": stamped, **stamps}
    message = make(call.id, call.task, args, dict(call.kwargs), headers=headers, **fields)
    return seal_task(
        message, **place, **steering, serializer=serializer, compression=call.compression, outer_base64=outer_base64
    )


def test_every_message_of_celery_5_7_is_written_the_same(specimens: dict[str, Any], marked: Callable[[Any], Any]) -> None:
    compared = 0
    for name, record in specimens.items():
        expect = record["expect"]
        if not name.startswith("celery5.7") or expect["kind"] != "task" or name.endswith("own_class"):
            continue
        call = decode(record["body"], accept=Accept.default())
        body = rewritten(call, expect["sqs_base64"])
        theirs, ours = open_envelope(record["body"]), open_envelope(body)
        assert isinstance(theirs, Envelope)
        assert isinstance(ours, Envelope)
        assert ours.headers == theirs.headers, name
        assert ours.properties == theirs.properties, name
        assert (ours.content_type, ours.content_encoding) == (theirs.content_type, theirs.content_encoding)
        assert ours.outer_base64 is theirs.outer_base64
        if call.content_type != "application/x-python-serialize" and not call.compression:
            assert ours.payload == theirs.payload, name
        again = decode(body, accept=Accept.default())
        for field in ("args", "kwargs", "callbacks", "errbacks", "chain", "chord"):
            assert marked(getattr(again, field)) == marked(getattr(call, field)), (name, field)
        compared += 1
    assert compared == 443


def test_the_fields_of_protocol_2() -> None:
    message = as_task_v2(
        "id-1", "spec.add", (1, 2), {"k": "v"}, countdown=10, expires=60, now=NOW, group_id="g", time_limit=9, app_id="a",
        stamped_headers=["st"], st=["1"], headers={"x-trace": "t", "lang": "other"}, argsrepr="(secret)",
    )  # fmt: skip
    assert message.body == ((1, 2), {"k": "v"}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    headers = message.headers
    assert headers["eta"] == "2031-05-17T13:14:25+00:00"
    assert headers["expires"] == "2031-05-17T13:15:15+00:00"
    assert headers["root_id"] == headers["id"] == "id-1"
    assert headers["timelimit"] == [9, None]
    assert (headers["stamped_headers"], headers["stamps"]) == (["st"], {"st": ["1"]})
    assert (headers["x-trace"], headers["lang"]) == ("t", "other")
    assert headers["kwargsrepr"] == "{'k': 'v'}"
    assert headers["origin"].startswith("gen")
    assert message.properties == {
        "correlation_id": "id-1", "reply_to": "", "app_id": "a", "argsrepr": "(secret)", "expiration": "60000",
    }  # fmt: skip


def test_the_fields_of_protocol_1() -> None:
    message = as_task_v1(
        "id-1", "spec.add", [1], None, eta=NOW.replace(tzinfo=None), group_id="g", root_id="r", chain=[{"task": "t"}],
        shadow="s", stamped_headers=["st"], st=1, utc=False, now=NOW,
    )  # fmt: skip
    assert message.headers == {}
    assert message.properties == {"correlation_id": "id-1", "reply_to": ""}
    assert " ".join(message.body) == (
        "task id args kwargs group group_index retries eta expires utc callbacks errbacks timelimit taskset chord"
    )
    assert message.body["eta"] == "2031-05-17T13:14:15"
    assert (message.body["taskset"], message.body["utc"]) == ("g", False)


def test_a_countdown_over_a_change_of_the_clock_counts_real_seconds() -> None:
    before = datetime(2031, 3, 30, 1, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    message = as_task_v2("i", "t", countdown=3600, now=before)
    assert message.headers["eta"] == "2031-03-30T03:30:00+02:00"


def test_an_expiry_in_the_past_is_an_expiration_of_zero() -> None:
    assert as_task_v2("i", "t", expires=NOW - timedelta(days=1), now=NOW).properties["expiration"] == "0"
    assert as_task_v2("i", "t", expires="2031-05-17T13:14:16Z", now=NOW).properties["expiration"] == "1000"


@pytest.mark.parametrize(
    "options", [{"countdown": float("nan")}, {"countdown": 1e30}, {"expires": float("inf")}, {"expires": "x"}]
)
def test_times_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadMessageOption):
        as_task_v2("i", "t", now=NOW, **options)


@pytest.mark.parametrize(("args", "kwargs"), [("text", None), (5, None), (None, [1]), ({"a": 1}, None)])
def test_arguments_of_the_wrong_kind_are_refused(args: Any, kwargs: Any) -> None:
    for make in (as_task_v1, as_task_v2):
        with pytest.raises(TypeError):
            make("i", "t", args, kwargs)


@pytest.mark.parametrize(
    ("serializer", "value"),
    [("json", object()), ("yaml", object()), ("msgpack", object()), ("pickle", lambda: None), ("json", {1j: 1})],
)
def test_what_a_format_has_no_place_for_is_not_serializable(serializer: str, value: Any) -> None:
    with pytest.raises(NotSerializable, match=serializer):
        seal_task(as_task_v2("i", "t", (value,)), routing_key="q", serializer=serializer)


def test_a_header_that_json_has_no_place_for_is_not_serializable() -> None:
    with pytest.raises(NotSerializable, match="header"):
        seal_task(as_task_v2("i", "t", headers={"x": object()}), routing_key="q")


def test_unknown_serializers_and_compressions_are_configuration_errors() -> None:
    with pytest.raises(ConfigError, match="jsonn"):
        seal_task(as_task_v2("i", "t"), routing_key="q", serializer="jsonn")
    with pytest.raises(ConfigError, match="gzipp"):
        seal_task(as_task_v2("i", "t"), routing_key="q", compression="gzipp")


def test_an_unknown_serializer_is_kombus_error_too() -> None:
    """As seen under Celery 5.7: ``apply_async(serializer="nope")``."""
    with pytest.raises(kombu.exceptions.SerializerNotInstalled, match="'nope'; known: json") as told:
        seal_task(as_task_v2("i", "t"), routing_key="q", serializer="nope")
    assert type(pickle.loads(pickle.dumps(told.value))) is kombu.exceptions.SerializerNotInstalled  # noqa: S301


@pytest.mark.parametrize("outer_base64", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "lzma", "brotli"])
@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_kombu_reads_what_we_write(serializer: str, compression: str | None, outer_base64: bool) -> None:
    from kombu.message import Message
    from kombu.utils.json import loads

    signature = type("Signature", (dict,), {"__module__": "pyqs_celery_compat.signature"})(task="spec.mul", args=(2,))
    message = as_task_v2("id-1", "spec.add", (1, "é"), {"k": [None, signature]}, callbacks=[signature], chain=[signature])
    body = seal_task(message, routing_key="q", serializer=serializer, compression=compression, outer_base64=outer_base64)
    envelope = loads(base64.b64decode(body).decode() if outer_base64 else body)
    read = Message(
        body=base64.b64decode(envelope["body"]),
        content_type=envelope["content-type"],
        content_encoding=envelope["content-encoding"],
        headers=envelope["headers"],
        properties=envelope["properties"],
        accept=set(SERIALIZERS),
    )
    args, kwargs, embed = read.decode()
    assert list(args) == [1, "é"]
    for found in (kwargs["k"][1], embed["callbacks"][0], embed["chain"][0]):
        assert type(found) is dict
        assert (found["task"], list(found["args"])) == ("spec.mul", [2])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    args=st.lists(JSON_VALUES, max_size=3),
    kwargs=st.dictionaries(st.text(), JSON_VALUES, max_size=3),
    protocol=st.sampled_from([1, 2]),
    serializer=st.sampled_from(["json", "pickle"]),
    compression=st.sampled_from([None, "gzip", "lzma", "zstd"]),
    outer_base64=st.booleans(),
    retries=st.integers(0, 10),
    limits=st.tuples(st.none() | st.integers(1, 99), st.none() | st.integers(1, 99)),
)
def test_what_we_write_we_read(
    args: list[Any], kwargs: dict[str, Any], protocol: int, serializer: str, compression: str | None, outer_base64: bool,
    retries: int, limits: tuple[int | None, int | None],
) -> None:  # fmt: skip
    make: Callable[..., TaskMessage] = as_task_v2 if protocol == 2 else as_task_v1
    message = make(
        "id-1", "spec.add", args, kwargs, retries=retries, time_limit=limits[0], soft_time_limit=limits[1], eta=NOW,
        expires=NOW, errbacks=[{"task": "oops"}], headers={"x": [1]},
    )  # fmt: skip
    body = seal_task(message, routing_key="q", serializer=serializer, compression=compression, outer_base64=outer_base64)
    call = decode(body, accept=Accept.default(), queue="q")
    assert (call.task, call.id, call.protocol, call.retries, call.timelimit) == ("spec.add", "id-1", protocol, retries, limits)
    assert (list(call.args), call.kwargs) == (args, kwargs)
    assert (call.eta, call.expires) == (NOW.timestamp(), NOW.timestamp())
    assert call.errbacks == [{"task": "oops"}]
    assert call.headers["x"] == [1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1,), "(1,)"),
        ((), "()"),
        ([1, "it's", b"ab", b"\xff\x00", None, 1.5], "[1, 'it\\'s', b'ab', b'ff00', None, 1.5]"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{'a': {'b': {'c': {...}}}}"),
        ([[[[1]]]], "[[[[...]]]]"),
        ((set(), {1}, frozenset({1})), "(set(), {1}, frozenset({1}))"),
    ],
)
def test_short_texts_of_arguments(value: Any, text: str) -> None:
    assert argument_repr(value) == text


def test_short_texts_are_short_and_never_fail() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError

    endless: list[Any] = []
    endless.append(endless)
    for value in (["x" * 10_000] * 10, list(range(10**5)), dict.fromkeys(range(1000), "y" * 50), endless, Bad(), [10**5000]):
        assert len(argument_repr(value)) < 1200
    assert argument_repr([Bad()]) == "[<unrepresentable Bad: RuntimeError>]"


def test_an_sqs_body_is_plain_ascii() -> None:
    body = seal_task(as_task_v2("i", "t", ("é☃\x00\ud800",)), routing_key="ü", outer_base64=False)
    assert body.isascii()
    assert all(character >= " " for character in body)
    assert json.loads(body)["properties"]["delivery_info"] == {"exchange": "", "routing_key": "ü"}
