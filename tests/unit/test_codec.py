"""The native body: PyQS's to the byte, and nothing but calls or typed errors out of anything."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyqs.codec import call_from_payload, decode_call, encode_call
from pyqs.errors import NotSerializable, Undecodable
from pyqs.message import Call, DescribedCall

SPECIMENS = Path(__file__).parents[1] / "compat" / "specimens" / "pyqs1.0.1-py311.jsonl.gz"

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def specimens() -> list[dict]:
    with gzip.open(SPECIMENS, "rt", encoding="utf-8") as lines:
        return [json.loads(line, object_hook=typed) for line in lines]


def typed(value: dict) -> object:
    """The recordings' marker for the floats that JSON has no word for."""
    return float(value["__float__"]) if list(value) == ["__float__"] else value


@pytest.mark.parametrize("specimen", specimens(), ids=lambda s: s["id"])
def test_reads_what_pyqs_wrote_and_writes_the_same_bytes(specimen) -> None:
    expect = specimen["expect"]
    call = decode_call(specimen["body"], "some-id")
    # As text, since a NaN equals nothing.
    found, wanted = [call.task, call.args, call.kwargs], [expect["task"], expect["args"], expect["kwargs"]]
    assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    assert call.id == "some-id"
    assert (call.eta, call.expires, call.retries) == (None, None, 0)
    assert encode_call(call.task, call.args, call.kwargs) == specimen["body"]


@given(task=st.text(min_size=1), args=st.lists(plain, max_size=4), kwargs=st.dictionaries(st.text(), plain, max_size=4))
def test_round_trip(task, args, kwargs) -> None:
    body = encode_call(task, args, kwargs)
    assert decode_call(body) == Call(task=task, args=tuple(args), kwargs=kwargs)


@given(st.text())
@example("\x00\x08\ufffe\ud800\x7f\u2028\U0001f600")
def test_whatever_a_string_holds_the_body_is_printable_ascii(text) -> None:
    body = encode_call("t", [text], {text: text})
    assert all(" " <= char <= "~" for char in body)


def test_nan_and_infinity_arrive_as_pyqs_sends_them() -> None:
    call = decode_call(encode_call("t", [math.nan, math.inf, -math.inf]))
    assert math.isnan(call.args[0])
    assert call.args[1:] == (math.inf, -math.inf)


def test_tuples_arrive_as_lists_and_keys_as_strings() -> None:
    assert decode_call(encode_call("t", [(1, (2,))], {"d": {1: "x", None: "y"}})) == Call(
        task="t", args=([1, [2]],), kwargs={"d": {"1": "x", "null": "y"}}
    )


class Point:
    pass


def itself() -> list:
    loop: list = []
    loop.append(loop)
    return loop


def deep() -> list:
    value: list = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ([1, datetime.datetime(2026, 1, 1)], {}, ["positional argument 2", "datetime.datetime"]),
        ([], {"price": decimal.Decimal(1)}, ["keyword argument 'price'", "decimal.Decimal"]),
        ([], {"raw": b"x"}, ["keyword argument 'raw'", "bytes"]),
        ([{"users": [1, {"who": Point()}]}], {}, ["positional argument 1", "['users'][1]['who']", "Point"]),
        ([{1, 2}], {}, ["positional argument 1", "set"]),
        ([{(1, 2): 3}], {}, ["positional argument 1", "key of type tuple"]),
        ([itself()], {}, ["positional argument 1", "contains itself"]),
        ([deep()], {}, ["positional argument 1", "nested too deeply"]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, list) and value and isinstance(value[0], str) else "",
)
def test_what_cannot_be_written_is_named_with_its_place_type_and_way_out(args, kwargs, words) -> None:
    with pytest.raises(NotSerializable) as caught:
        encode_call("shop.pay", args, kwargs)
    for word in ["shop.pay", "pass an id", *words]:
        assert word in str(caught.value)


def test_the_error_never_shows_the_value() -> None:
    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(NotSerializable) as caught:
        encode_call("t", [["hunter2", Secret()]])
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("body", "layer"),
    [
        ("hello", "content"),
        ("", "content"),
        ("{", "content"),
        ("[" * 200_000, "content"),
        ("{}", "protocol"),
        ("[]", "protocol"),
        ("null", "protocol"),
        ("3", "protocol"),
        ('"task"', "protocol"),
        ('{"task": null}', "protocol"),
        ('{"task": ""}', "protocol"),
        ('{"task": 3, "args": []}', "protocol"),
        ('{"task": "t", "args": {}}', "protocol"),
        ('{"task": "t", "args": "ab"}', "protocol"),
        ('{"task": "t", "kwargs": []}', "protocol"),
        ('{"Records": [{"eventSource": "aws:s3"}]}', "protocol"),
        ('{"body": "W10=", "content-type": "application/json"}', "protocol"),
    ],
)
def test_a_body_that_is_no_call_says_which_layer(body, layer) -> None:
    with pytest.raises(Undecodable) as caught:
        decode_call(body)
    assert caught.value.layer == layer


def test_a_number_of_too_many_digits_is_undecodable_where_python_refuses_it() -> None:
    body = '{"task": "t", "args": [' + "9" * 5000 + "]}"
    limited = getattr(sys, "get_int_max_str_digits", lambda: 0)() != 0
    assert outcome(decode_call, body) == ("content" if limited else "call")


def test_the_reason_never_shows_the_body() -> None:
    with pytest.raises(Undecodable) as caught:
        decode_call("hunter2")
    assert "hunter2" not in str(caught.value)


def test_extra_keys_and_missing_arguments_are_fine() -> None:
    assert decode_call('{"task": "t"}') == Call(task="t")
    assert decode_call('{"task": "t", "args": null, "kwargs": null, "v": 3, "lang": "go"}') == Call(task="t")


def outcome(function: Callable[[Any], Call], value: object) -> str:
    """ "call", or the layer that failed."""
    try:
        assert isinstance(function(value), Call)
    except Undecodable as exc:
        return exc.layer
    return "call"


@given(st.text() | plain.map(json.dumps))
def test_anything_is_a_call_or_undecodable(body) -> None:
    assert outcome(decode_call, body) in {"call", "content", "protocol"}


@given(plain)
def test_any_json_value_is_a_call_or_undecodable(payload) -> None:
    assert outcome(call_from_payload, payload) in {"call", "protocol"}


def test_what_a_message_says_of_itself_is_its_own_and_pyqs_does_not_mind() -> None:
    body = encode_call("a.b", (1,), {}, {"id": "i-1", "eta": 1.5, "more": [1]})
    assert body.startswith('{"task": "a.b", "args": [1], "kwargs": {}, ')
    call = decode_call(body, "m-1")
    assert isinstance(call, DescribedCall)
    assert (call.task, call.args, call.id, call.eta, call.about["more"]) == ("a.b", (1,), "i-1", 1.5, [1])
    assert decode_call('{"task": "a.b", "pyqs": {}}', "m-1").id == "m-1"


@pytest.mark.parametrize("about", ["5", "[]", '{"id": 5}', '{"id": ""}', '{"eta": "x"}', '{"eta": true}', '{"eta": Infinity}'])
def test_what_it_says_of_itself_is_read_or_left(about: str) -> None:
    with pytest.raises(Undecodable, match="'pyqs'"):
        decode_call(f'{{"task": "a.b", "pyqs": {about}}}')
