"""Each layer of a message, alone: what it reads, and the typed error it gives for what it cannot read."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from pyqs.errors import ConfigError, Refused, Undecodable
from pyqs_celery_compat import compression, typed_json
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.envelope import Envelope, Native, is_native, open_envelope, seal_envelope
from pyqs_celery_compat.serialization import JSON, MSGPACK, PICKLE, YAML, Accept, loads

DEFAULT = Accept.default()


def refusal(body: str, accept: Accept = DEFAULT) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        decode(body, accept=accept)
    return caught.value


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


# -- envelope ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "layer", "reason"),
    [
        ("", "envelope", "not JSON"),
        ("hello, world", "base64", "neither a JSON object nor base64"),
        ("[1, 2]", "base64", "neither"),
        ("{", "envelope", "not JSON"),
        ("{}", "envelope", "neither Celery's envelope"),
        ('{"a": 1}', "envelope", "neither Celery's envelope"),
        (b64("hello"), "envelope", "not JSON"),
        (b64(b"\xff\xfe"), "envelope", "UTF-8"),
        (b64("[]"), "envelope", "JSON object"),
        (b64('{"task": "t", "args": [], "kwargs": {}}'), "envelope", "neither"),
        ('{"Type": "Notification", "TopicArn": "arn:x", "Message": "m"}', "envelope", "SNS"),
        ('{"body": "", "properties": []}', "envelope", "properties are list"),
        ('{"body": "", "properties": {}, "headers": 1}', "envelope", "headers are int"),
        ('{"body": 1, "properties": {}}', "envelope", "body is int"),
        ('{"body": "", "properties": {}, "content-type": 1}', "envelope", "content-type is int"),
        ('{"body": "", "properties": {"body_encoding": "rot13"}}', "base64", "body_encoding"),
        ('{"body": "a", "properties": {"body_encoding": "base64"}}', "base64", "cannot be read"),
        ('{"body": "\\ud800", "properties": {}}', "base64", "cannot be read"),
        ('{"body": "", "properties": {}, "headers": {"x": {"__type__": "uuid", "__value__": 1}}}', "envelope", "TypeError"),
        ("[" * 100_000, "base64", "neither"),
        ('{"a":' * 100_000, "envelope", ""),
    ],
)
def test_what_is_no_envelope(body: str, layer: str, reason: str) -> None:
    error = refusal(body)
    assert error.layer == layer
    assert reason in error.reason


@pytest.mark.parametrize(
    "wrap", [lambda text: text, b64, lambda text: f"  \n{text}", lambda text: f"{b64(text)[:76]}\n{b64(text)[76:]}\n"]
)
def test_both_forms_of_the_outer_layer_are_read(wrap: Callable[[str], str]) -> None:
    properties, headers = {"body_encoding": "base64"}, {"task": "t", "id": "i"}
    text = json.dumps({"body": b64("[[1], {}, {}]"), "properties": properties, "headers": headers, "content-type": JSON})
    assert decode(wrap(text), accept=DEFAULT).args == (1,)


def test_a_body_without_inner_base64_is_text() -> None:
    opened = open_envelope('{"body": "[[1], {}, {}]", "properties": {}}')
    assert isinstance(opened, Envelope)
    assert opened.payload == b"[[1], {}, {}]"


def test_kombu_3_marks_what_it_sends_again() -> None:
    opened = open_envelope('{"body": "", "properties": {}, "redelivered": true}')
    assert isinstance(opened, Envelope)
    assert opened.redelivered is True


def test_native_messages_are_told_apart() -> None:
    assert is_native({"task": "a.b", "args": [], "kwargs": {}})
    assert not is_native({"headers": {"task": "a.b"}, "properties": {}, "body": ""})
    assert not is_native({"task": 1})
    assert not is_native(["task"])
    opened = open_envelope('{"task": "a.b", "args": [{"__type__": "x", "__value__": 1}], "kwargs": {}}')
    assert opened == Native({"task": "a.b", "args": [{"__type__": "x", "__value__": 1}], "kwargs": {}})
    assert "own format" in refusal('{"task": "a.b"}').reason


def test_sealing_and_opening_are_each_others_inverse() -> None:
    when = datetime(2031, 5, 17, tzinfo=timezone.utc)
    for outer in (True, False):
        body = seal_envelope(
            b"\x00\xff",
            content_type="t",
            content_encoding="binary",
            headers={"x": when},
            properties={"p": 1},
            outer_base64=outer,
        )
        opened = open_envelope(body)
        assert isinstance(opened, Envelope)
        assert (opened.payload, opened.content_type, opened.headers) == (b"\x00\xff", "t", {"x": when})
        assert (opened.properties["p"], opened.properties["body_encoding"], opened.outer_base64) == (1, "base64", outer)
        assert len(opened.properties["delivery_tag"]) == 36


def test_a_type_that_the_app_registered_with_kombu_is_read_and_written() -> None:
    from kombu.utils.json import register_type

    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    register_type(Money, "codec-test-money", lambda money: money.cents, Money)
    assert typed_json.loads(typed_json.dumps([Money(5)]))[0].cents == 5
    with pytest.raises(ValueError, match="Unsupported"):
        typed_json.loads('{"__type__": "nobody", "__value__": 1}')


# -- compression -------------------------------------------------------------------------------------------------------

RAW = b"compress me " * 1000
COMPRESSED = {
    "application/x-gzip": (
        zlib.compress(RAW),
        gzip.compress(RAW, mtime=0),
        gzip.compress(RAW[:100], mtime=0) + gzip.compress(RAW[100:], mtime=0),
    ),
    "application/x-bz2": (bz2.compress(RAW), bz2.compress(RAW[:100]) + bz2.compress(RAW[100:])),
    "application/x-lzma": (lzma.compress(RAW), lzma.compress(RAW, format=lzma.FORMAT_ALONE)),
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, forms in COMPRESSED.items() for data in forms])
def test_streams_of_every_form_are_read(name: str, data: bytes) -> None:
    assert compression.decompress(data, name, 1 << 20) == RAW


@pytest.mark.parametrize("name", sorted(compression.ALIASES))
def test_every_compression_is_its_own_inverse(name: str) -> None:
    data, header = compression.compress(RAW, name)
    assert len(data) < len(RAW) / 10
    for given in (name, header):
        assert compression.decompress(data, given, len(RAW)) == RAW
    with pytest.raises(Undecodable, match=f"more than {len(RAW) - 1} bytes"):
        compression.decompress(data, header, len(RAW) - 1)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "lzma", "zstd", "brotli"])
def test_broken_and_truncated_data_are_errors(name: str) -> None:
    data, header = compression.compress(RAW, name)
    for broken in (data[: len(data) // 2], data[:-1], b"", b"x", b"not compressed at all"):
        with pytest.raises(Undecodable) as caught:
            compression.decompress(broken, header, 1 << 20)
        assert caught.value.layer == "compression"


@pytest.mark.parametrize("name", ["gzip", "bzip2", "lzma", "zstd", "brotli"])
def test_a_bomb_stops_at_the_limit(name: str, in_envelope: Callable[..., str]) -> None:
    import tracemalloc

    data, header = compression.compress(b"\0" * (100 << 20), name)
    body = in_envelope(data, JSON, headers={"task": "t", "id": "i", "compression": header})
    tracemalloc.start()
    try:
        error = refusal(body, DEFAULT.with_max_size(4 << 20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.layer == "compression"
    assert peak < 40 << 20


def test_an_old_brotli_without_an_output_limit_stops_too(monkeypatch: pytest.MonkeyPatch) -> None:
    brotli = pytest.importorskip("brotli")

    new = brotli.Decompressor

    class Old:
        def __init__(self) -> None:
            self.inner = new()
            self.process, self.is_finished = self.inner.process, self.inner.is_finished

    monkeypatch.setattr(brotli, "Decompressor", Old)
    data = brotli.compress(RAW)
    assert compression.decompress(data, "brotli", 1 << 20) == RAW
    with pytest.raises(Undecodable, match="broken"):
        compression.decompress(data[:-2], "brotli", 1 << 20)
    with pytest.raises(Undecodable, match="more than"):
        compression.decompress(brotli.compress(b"\0" * (50 << 20)), "brotli", 1 << 20)


def test_an_unknown_compression_is_an_error(in_envelope: Callable[..., str]) -> None:
    for header in ("application/x-snappy", 5):
        error = refusal(in_envelope(b"x", JSON, headers={"task": "t", "id": "i", "compression": header}))
        assert error.layer == "compression"


# -- libraries that are not there --------------------------------------------------------------------------------------


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def hide(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return hide  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("modules", "kind", "compressed", "layer", "extra"),
    [
        (("msgpack",), MSGPACK, None, "content", "msgpack"),
        (("yaml",), YAML, None, "content", "yaml"),
        (("compression.zstd", "backports.zstd", "zstandard"), JSON, "zstd", "compression", "zstd"),
        (("brotli", "brotlicffi"), JSON, "brotli", "compression", "brotli"),
    ],
)
def test_a_missing_library_names_the_extra(
    modules: tuple[str, ...], kind: str, compressed: str | None, layer: str, extra: str, hidden: Any, in_envelope: Any
) -> None:
    hidden(*modules)
    error = refusal(in_envelope(b"x", kind, headers={"task": "t", "id": "i", "compression": compressed}))
    assert error.layer == layer
    assert f"pip install 'pyqs[{extra}]'" in error.reason


# -- content types -----------------------------------------------------------------------------------------------------


def test_names_become_acceptance() -> None:
    assert Accept.default() == Accept(frozenset({JSON, YAML, MSGPACK, PICKLE}))
    assert Accept.default().names() == ("json", "msgpack", "pickle-safe", "yaml")
    assert Accept.from_names(["json", "pickle-safe"]) == Accept(frozenset({JSON, PICKLE}))
    assert Accept.from_names(["pickle", JSON]).pickle_full
    assert Accept.from_names([PICKLE]).pickle_full
    assert Accept.from_names(["json"], ["a.*"]).pickle_allow == ("a.*",)
    with pytest.raises(ConfigError, match="'jsonn'"):
        Accept.from_names(["jsonn"])


@pytest.mark.parametrize(
    ("kind", "accept", "hint"),
    [
        (YAML, ["json"], "--accept json,yaml would read it"),
        (MSGPACK, ["json", "yaml"], "--accept json,yaml,msgpack would read it"),
        (
            PICKLE,
            ["json"],
            "--accept json,pickle-safe would read it if it holds plain data only, --accept json,pickle in any case",
        ),
        (JSON, ["pickle"], "--accept pickle,json would read it"),
        (JSON, [], "--accept json would read it"),
        ("application/x-own", ["json"], "--accept json,application/x-own would read it"),
    ],
)
def test_a_refusal_says_what_would_accept_it(kind: str, accept: list[str], hint: str, in_envelope: Any) -> None:
    with pytest.raises(Refused) as refused:
        decode(in_envelope(b"x", kind), accept=Accept.from_names(accept))
    assert refused.value.content_type == kind
    assert refused.value.hint == hint


def test_a_refused_pickle_is_not_even_decompressed(in_envelope: Any) -> None:
    body = in_envelope(b"no gzip", PICKLE, headers={"task": "t", "id": "i", "compression": "gzip"})
    with pytest.raises(Refused):
        decode(body, accept=Accept.from_names(["json"]))


def test_a_serializer_of_the_app_is_used_when_it_is_accepted(in_envelope: Any) -> None:
    from kombu.serialization import register, unregister

    register(
        "codec-test", lambda value: repr(value), lambda data: [[data.decode()], {}, {}], "application/x-codec-test", "binary"
    )
    try:
        body = in_envelope(b"abc", "application/x-codec-test")
        assert decode(body, accept=Accept.from_names(["codec-test"])).args == ("abc",)
        with pytest.raises(Refused):
            decode(body, accept=DEFAULT)
    finally:
        unregister("codec-test")
    assert "no reader" in refusal(body, Accept(frozenset({"application/x-codec-test"}))).reason


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (JSON, b"{"), (JSON, b"\xff"), (JSON, b"[" * 100_000), (JSON, b"1" * 10_000),
        (JSON, b'{"__type__": "x", "__value__": 1}'),
        (JSON, b'{"__type__": "decimal", "__value__": "x"}'), (JSON, b'{"__type__": [], "__value__": 1}'), (JSON, b""),
        (YAML, b"[" * 100_000), (YAML, b"!!python/object/apply:os.system ['true']"), (YAML, b"a: &a {<<: *a}"),
        (YAML, b"\xff\xff"),
        (YAML, b"? [a]\n: 1"), (YAML, b"a: " + b"1:" * 5000 + b"1"), (YAML, b"- " * 100_000), (YAML, b"2031-99-99"),
        (MSGPACK, b"\xc1"), (MSGPACK, b"\x91" * 100_000), (MSGPACK, b"\xdd\xff\xff\xff\xff"), (MSGPACK, b""),
        (MSGPACK, b"\xa1\xff"),
        (MSGPACK, b"\x81\x90\x01"), (PICKLE, b""), (PICKLE, b"."), (PICKLE, b"\x80\x09."), (PICKLE, b"not a pickle"),
    ],
)  # fmt: skip
def test_broken_content_is_an_error_of_that_layer(kind: str, payload: bytes, in_envelope: Any) -> None:
    started = time.monotonic()
    error = refusal(in_envelope(payload, kind))
    assert error.layer == "content"
    assert kind in error.reason
    assert time.monotonic() - started < 5


def test_an_error_never_holds_the_data(in_envelope: Any) -> None:
    for kind, payload in (
        (JSON, b'{"secret": '),
        (YAML, b"secret: [\n"),
        (MSGPACK, b"\x81\xa6secret"),
        (PICKLE, b"Vsecret\nR."),
    ):
        assert "secret" not in str(refusal(in_envelope(payload, kind)))


def test_yaml_aliases_are_shared_and_not_multiplied() -> None:
    lines = [b"a0: &a0 [x, x]"] + [b"a%d: &a%d [*a%d, *a%d]" % (n, n, n - 1, n - 1) for n in range(1, 60)]
    value = loads(b"\n".join(lines), YAML, "utf-8", None, DEFAULT)
    assert value["a59"][0] is value["a59"][1]


def test_a_lone_surrogate_in_yaml_is_read() -> None:
    assert loads(b'- "\\uD83D"\n', YAML, "utf-8", None, DEFAULT) == ["\ud83d"]


def test_msgpack_of_python_2() -> None:
    msgpack = pytest.importorskip("msgpack")
    packed = msgpack.packb({b"task": b"t", b"n": {1: b"a", b"\xff": 2}, b"kwargs": {b"k": b"v"}}, use_bin_type=True)
    value = loads(packed, MSGPACK, "binary", None, DEFAULT)
    assert value == {"task": b"t", "n": {1: b"a", b"\xff": 2}, "kwargs": {"k": b"v"}}
    both = msgpack.packb({b"k": 1, "k": 2}, use_bin_type=True)
    assert loads(both, MSGPACK, "binary", None, DEFAULT) == {b"k": 1, "k": 2}


def test_a_payload_over_the_limit_is_not_read(in_envelope: Any) -> None:
    assert "over the limit" in refusal(in_envelope(b"[" + b"1," * 100 + b"1]", JSON), DEFAULT.with_max_size(100)).reason


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (JSON, b"[" + b"[]," * 5_000_000 + b"0]"),
        (MSGPACK, b"\xdd" + (5_000_000).to_bytes(4, "big") + b"\x90" * 5_000_000),
        (MSGPACK, b"\xdd" + (5_000_000).to_bytes(4, "big") + b"\x80" * 5_000_000),
        (YAML, b"- a\n" * 600_000),
    ],
    ids=["json", "msgpack arrays", "msgpack maps", "yaml"],
)
def test_many_small_parts_are_counted(kind: str, payload: bytes, in_envelope: Any) -> None:
    body = in_envelope(zlib.compress(payload, 1), kind, headers={"task": "t", "id": "i", "compression": "gzip"})
    assert len(body) < 1 << 20
    assert "more than" in refusal(body).reason


def test_a_large_message_of_ordinary_data_is_read(in_envelope: Any) -> None:
    msgpack = pytest.importorskip("msgpack")
    value = [[{"name": f"user {n}", "tags": ["a", "b"]} for n in range(100_000)], {}, {}]
    for kind, payload in ((JSON, json.dumps(value).encode()), (MSGPACK, msgpack.packb(value))):
        body = in_envelope(zlib.compress(payload), kind, headers={"task": "t", "id": "i", "compression": "gzip"})
        assert list(decode(body, accept=DEFAULT).args) == value[0]
