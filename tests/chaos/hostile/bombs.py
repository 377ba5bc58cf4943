"""Little that asks for much: compression bombs, and documents that grow as they are read."""

from __future__ import annotations

import bz2
import functools
import json
import lzma
import random
import struct
import zlib
from collections.abc import Callable

import brotli
import msgpack
import zstandard

MIB = 1 << 20
JSON, YAML, MSGPACK = "application/json", "application/x-yaml", "application/x-msgpack"
PICKLE = "application/x-python-serialize"

#: What is compressed: kind of content, and how many MiB of it.
CONTENTS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "zeros": (JSON, lambda size: bytes(size)),
    "one string": (JSON, lambda size: b'[["' + b"x" * size + b'"],{},{}]'),
    "one character": (JSON, lambda size: '[["é'.encode() + b"x" * size + b'"],{},{}]'),
    "numbers": (JSON, lambda size: b"[[0.5" + b",0.5" * (size // 4) + b"],{},{}]"),
    "small strings": (JSON, lambda size: b'[["12"' + b',"12"' * (size // 5) + b"],{},{}]"),
    "different numbers": (JSON, lambda size: json.dumps([list(range(1000, 1000 + size // 7)), {}, {}]).encode()),
    "different keys": (JSON, lambda size: json.dumps([[dict.fromkeys(map(str, range(size // 14)), 0)], {}, {}]).encode()),
    "lists": (JSON, lambda size: b"[[[]" + b",[]" * (size // 3) + b"],{},{}]"),
    "objects": (JSON, lambda size: b"[[{}" + b",{}" * (size // 3) + b"],{},{}]"),
    "small objects": (JSON, lambda size: b'[[{"a":0}' + b',{"a":0}' * (size // 8) + b"],{},{}]"),
    "depth": (JSON, lambda size: b"[" * size),
    "msgpack numbers": (
        MSGPACK,
        lambda size: b"\x93\xdd" + struct.pack(">I", size // 9) + b"\xcb?\xe0\0\0\0\0\0\0" * (size // 9) + b"\x80\x80",
    ),
    "msgpack strings": (
        MSGPACK,
        lambda size: b"\x93\xdd" + struct.pack(">I", size // 3) + b"\xa2ab" * (size // 3) + b"\x80\x80",
    ),
    "msgpack binaries": (
        MSGPACK,
        lambda size: b"\x93\xdd" + struct.pack(">I", size // 4) + b"\xc4\x02ab" * (size // 4) + b"\x80\x80",
    ),
    "msgpack arrays": (MSGPACK, lambda size: b"\x93\xdd" + struct.pack(">I", size) + b"\x90" * size + b"\x80\x80"),
    "msgpack extensions": (
        MSGPACK,
        lambda size: b"\x93\xdd" + struct.pack(">I", size // 3) + b"\xd4\x05x" * (size // 3) + b"\x80\x80",
    ),
    "msgpack times": (
        MSGPACK,
        lambda size: b"\x93\xdd" + struct.pack(">I", size // 6) + b"\xd6\xff\0\0\0\1" * (size // 6) + b"\x80\x80",
    ),
    "yaml numbers": (YAML, lambda size: b"- [" + b"0," * (size // 2) + b"]\n- {}\n- {}\n"),
    "yaml lines": (YAML, lambda size: b"- - 0\n" + b"  - a\n" * (size // 6) + b"- {}\n- {}\n"),
    "yaml text": (YAML, lambda size: b"- [" + b"x" * size + b"]\n- {}\n- {}\n"),
    "yaml comments": (YAML, lambda size: b"#\n" * (size // 2) + b"- []\n- {}\n- {}\n"),
    "pickled numbers": (PICKLE, lambda size: b"\x80\x04((" + b"G?\xe0\0\0\0\0\0\0" * (size // 9) + b"l}}t."),
    "pickled small numbers": (PICKLE, lambda size: b"\x80\x04((" + b"M\xe8\x03" * (size // 3) + b"l}}t."),
    "pickled strings": (PICKLE, lambda size: b"\x80\x04((" + b"\x8c\x02ab" * (size // 4) + b"l}}t."),
    "pickled nones": (PICKLE, lambda size: b"\x80\x04((" + b"N" * size + b"l}}t."),
    "pickled lists": (PICKLE, lambda size: b"\x80\x04((" + b"]" * size + b"l}}t."),
    "pickled sets": (PICKLE, lambda size: b"\x80\x04((" + b"\x8f" * size + b"l}}t."),
    "pickled times": (PICKLE, lambda size: b"\x80\x04((cdatetime\ntimedelta\nq\x00" + b"h\x00)R" * (size // 4) + b"l}}t."),
    "pickled copies": (PICKLE, lambda size: b"\x80\x04((cdecimal\nDecimal\nq\x00" + b"h\x00)R" * (size // 4) + b"l}}t."),
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": functools.partial(zlib.compress, level=6),
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lambda data: lzma.compress(data, preset=0),
    "application/zstd": zstandard.ZstdCompressor(level=3).compress,
    "application/x-brotli": functools.partial(brotli.compress, quality=1),
}


@functools.lru_cache(maxsize=256)
def bomb(content: str, packing: str, mebibytes: int) -> tuple[str, bytes]:
    """Content type and compressed payload."""
    kind, make = CONTENTS[content]
    return kind, PACKERS[packing](make(mebibytes * MIB))


def compressed(chance: random.Random) -> tuple[str, str, bytes]:
    """Content type, compression and payload of one bomb."""
    packing = chance.choice(list(PACKERS))
    kind, data = bomb(chance.choice(list(CONTENTS)), packing, chance.choice((1, 4, 20)))
    return kind, packing, data


_YAML_TAGS = (
    "!!python/object/apply:os.system ['touch pwned']", "!!python/object/new:subprocess.Popen [['touch','pwned']]",
    "!!python/name:os.system", "!!python/module:antigravity", "!!python/tuple [1]", "!!python/object:hostile.tasks.X {}",
    "!!python/object/apply:builtins.eval ['1']", "!!map [1]", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]",
    "!!binary '%%%'",
    "!!binary AAAA", "!!timestamp 2026-99-99", "!!timestamp x", "!!int x", "!!float x", "!!int 1:2:3:4", "!!null x",
    "!custom x",
    "!<tag:yaml.org,2002:python/object/apply:os.system> [id]", "&a [*a]", "*missing", "&a {k: *a}", "{? [a] : b}",
    "{? {a: b} : c}",
    "<<: {a: b}", "{<<: [{a: b}]}", "!!int 0x" + "f" * 5000, "1" * 5000, "1" + ":1" * 300, ".inf", "!!bool maybe", "0o777",
    "2026-01-01",
    "{a: 1, a: 2}", "!!value =", "!!merge <<", "[&a x, &a y, *a]", "'\\ud800'", '"\\ud800"', "%TAG ! tag:x,2026:",
    "--- a\n--- b", "...",
)  # fmt: skip


def yaml(chance: random.Random) -> bytes:
    """A YAML document with a tag, an anchor or a form that safe readers stumble over."""
    if chance.random() < 0.1:
        doubled = "".join(f"- &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, chance.choice((10, 200))))
        return f"- &a0 [x]\n{doubled}".encode()
    if chance.random() < 0.1:
        return _shared_links(chance.choice((3, 40)), chance)
    parts = [chance.choice(_YAML_TAGS) for _ in range(chance.choice((1, 1, 2)))]
    return f"- [{', '.join(parts)}]\n- {chance.choice(('{}', *_YAML_TAGS))}\n- {{}}\n".encode("utf-8", "surrogatepass")


def _shared_links(levels: int, chance: random.Random) -> bytes:
    """Links that are few to read and 2**levels to publish."""
    text = "- [&b0 {task: spec.tasks.add, args: [], kwargs: {}, options: {}}"
    for level in range(1, levels):
        shared = f"*b{level - 1}, *b{level - 1}"
        group = f"{{task: celery.group, subtask_type: group, kwargs: {{tasks: [{shared}]}}}}"
        text += f", &b{level} " + chance.choice((group, f"{{task: spec.tasks.add, args: [{shared}]}}"))
    return f"{text}]\n- {{}}\n- {{{chance.choice(('callbacks', 'errbacks', 'chain'))}: [*b{levels - 1}]}}\n".encode()


def messagepack(chance: random.Random) -> bytes:
    """A msgpack document with extension types, times that are none, sizes that lie, or keys of any kind."""
    odd = chance.choice((
        msgpack.ExtType(chance.randrange(128), chance.randbytes(chance.choice((0, 1, 4, 8, 12, 100)))), b"\xff\xfe", 2**64 - 1,
        -(2**63), float("nan"), {1: 2}, {b"task": b"x"}, {b"\xff": 1}, {None: 1}, {1.5: 1}, [[[[]]]], "touch pwned",
    ))  # fmt: skip
    data = bytes(msgpack.packb([[odd], chance.choice(({}, {b"a": 1}, {1: 2}, odd)), {}], use_bin_type=True))
    match chance.randrange(6):
        case 0:
            return b"\x93" + chance.choice((b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9")) + b"\xff\xff\xff\xff" + data
        case 1:
            return b"\x91" * chance.choice((500, 5000, 100_000)) + b"\x80"
        case 2:
            return (
                b"\x93\x91"
                + chance.choice((b"\xd7\xff", b"\xc7\x0c\xff", b"\xd6\xff", b"\xc7\x05\xff"))
                + chance.randbytes(12)
                + b"\x80\x80"
            )
        case 3:
            return b"\x81" * chance.choice((500, 5000)) + b"\x80"
        case _:
            return data
