"""A number becomes a body: the same one for the same seed, on every machine and in any order."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

from hostile import bombs, pickled, specimens, structure
from hostile.names import CELERY, NATIVE, NOT_TASKS

JSON, PICKLE = structure.KINDS[0], structure.KINDS[3]

#: An argument, which must not be told.
SECRET = "S3CR3T"


def warm() -> list[str]:
    """Honest bodies of kinds that were not recorded: every compression, text in every encoding of a pickle."""
    chance, found = random.Random(0), []
    for packing, pack in bombs.PACKERS.items():
        found.append(_with_payload(pack(b"[[], {}, {}]"), JSON, chance, compression=packing))
    # A link that carries what JSON does not have is written with kombu's encoder.
    moment = {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"}
    link = {"task": CELERY[0], "args": [moment], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
    found.append(_with_payload(json.dumps([[], {}, {"callbacks": [link]}]).encode(), JSON, chance))
    # What a link that is a group answers is loaded when one is published.
    several = {**link, "task": "celery.group", "kwargs": {"tasks": [link, link]}, "args": [], "subtask_type": "group"}
    found.append(_with_payload(json.dumps([[], {}, {"callbacks": [several]}]).encode(), JSON, chance))
    for encoding in ("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"):
        coded = b"c_codecs\nencode\nX\1\0\0\0xX" + len(encoding).to_bytes(4, "little") + encoding.encode() + b"\x86R"
        found.append(_with_payload(b"\x80\2((V\\u20ac\nS'x'\n" + coded + b"l}}t.", PICKLE, chance))
    for zone in (
        b"cpytz\n_UTC\n)R",
        b"cpytz\n_p\n(VEurope/Paris\ntR",
        b"czoneinfo\nZoneInfo._unpickle\n(VEurope/Paris\nI01\ntR",
    ):
        found.append(_with_payload(b"\x80\2((" + zone + b"l}}t.", PICKLE, chance))
    return found


def gadget() -> str:
    """A pickle that leaves a file behind if anything runs it."""
    return _with_payload(b"\x80\2((cposix\nsystem\nX\x0b\0\0\0touch pwned\x85Rl}}t.", PICKLE, random.Random(0))


def body(seed: int, number: int) -> tuple[str, str]:
    """Which kind of body it is, and its text."""
    chance = random.Random(seed << 32 | number)
    name, make = chance.choices(_KINDS, _WEIGHTS)[0]
    return name, make(chance)


def _envelope(chance: random.Random) -> tuple[dict[str, Any], bytes]:
    while True:
        one = chance.choice(specimens.usual())
        if one.envelope is not None:
            return one.envelope, one.payload


def _with_payload(payload: bytes, kind: str, chance: random.Random, **headers: Any) -> str:
    """A payload in an envelope that names a task."""
    head = {"task": chance.choice(CELERY), "id": "id-1", "lang": "py", **headers}
    properties = {"correlation_id": "id-1", "delivery_info": {"routing_key": "q"}, "delivery_tag": "t"}
    envelope = {"content-type": kind, "content-encoding": "binary", "headers": head, "properties": properties}
    return specimens.sealed(envelope, payload, outer=chance.random() < 0.8)


def _text(raw: bytes) -> str:
    """As SQS would hand it out, or, where it could not, with surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def _bent_text(chance: random.Random) -> str:
    return _text(pickled.bytes_bent(chance.choice(specimens.usual()).body.encode(), chance))


def _bent_envelope(chance: random.Random) -> str:
    envelope, _ = _envelope(chance)
    raw = pickled.bytes_bent(json.dumps(envelope).encode(), chance)
    return base64.b64encode(raw).decode() if chance.random() < 0.7 else _text(raw)


def _bent_payload(chance: random.Random) -> str:
    envelope, payload = _envelope(chance)
    payload = pickled.bytes_bent(payload, chance)
    packing = envelope["headers"].get("compression")
    if packing in bombs.PACKERS and chance.random() < 0.8:
        payload = bombs.PACKERS[packing](payload)
    return specimens.sealed(envelope, payload)


def _spliced(chance: random.Random) -> str:
    one, other = (chance.choice(specimens.usual()) for _ in range(2))
    if one.envelope is None or other.envelope is None or chance.random() < 0.3:
        at = chance.randrange(len(one.body) + 1)
        return one.body[:at] + other.body[chance.randrange(len(other.body)) :]
    match chance.randrange(4):
        case 0:
            made = {**one.envelope, "body": other.envelope["body"]}
        case 1:
            made = {**one.envelope, "headers": other.envelope["headers"]}
        case 2:
            made = {**one.envelope, "properties": other.envelope["properties"]}
        case _:
            return specimens.sealed(one.envelope, one.payload[: chance.randrange(len(one.payload) + 1)] + other.payload)
    return specimens.sealed(made)


def _bent_structure(chance: random.Random) -> str:
    envelope, _ = _envelope(chance)
    part = chance.choice(("", "headers", "properties"))
    if part:
        envelope = {**envelope, part: structure.bent(envelope[part], chance)}
    else:
        envelope = structure.bent(envelope, chance)
    text = structure.written(envelope, chance)
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode() if chance.random() < 0.6 else text


def _bent_content(chance: random.Random) -> str:
    one = chance.choice(specimens.with_content(JSON))
    assert one.envelope is not None
    try:
        content = json.loads(one.payload)
    except ValueError:
        return _bent_payload(chance)
    raw = structure.written(structure.bent(content, chance), chance).encode("utf-8", "surrogatepass")
    headers = {key: value for key, value in one.envelope["headers"].items() if key != "compression"}
    if chance.random() < 0.3:
        headers = structure.bent(headers, chance)
        text = structure.written({**one.envelope, "headers": headers, "body": base64.b64encode(raw).decode()}, chance)
        return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return specimens.sealed({**one.envelope, "headers": headers}, raw)


def _swapped_kind(chance: random.Random) -> str:
    envelope, payload = _envelope(chance)
    headers = envelope["headers"]
    match chance.randrange(4):
        case 0:
            envelope = {**envelope, "content-type": chance.choice(structure.KINDS)}
        case 1:
            envelope = {**envelope, "content-encoding": chance.choice(structure.ENCODINGS)}
        case 2:
            envelope = {**envelope, "headers": {**headers, "compression": chance.choice(structure.PACKINGS)}}
        case _:
            encoding = chance.choice((*structure.ENCODINGS, None, 5, []))
            envelope = {**envelope, "properties": {**envelope["properties"], "body_encoding": encoding}}
            return specimens.sealed(envelope)
    return specimens.sealed(envelope, payload if chance.random() < 0.5 else None)


def _layers(chance: random.Random) -> str:
    one = chance.choice(specimens.usual())
    if one.envelope is None or chance.random() < 0.4:
        found = one.body
        for _ in range(chance.choice((1, 2, 5))):
            found = base64.b64encode(found.encode()).decode()
        return found
    inner = one.payload
    for _ in range(chance.choice((0, 2, 3))):
        inner = base64.b64encode(inner)
    return specimens.sealed({**one.envelope, "body": inner.decode("latin-1")}, outer=chance.random() < 0.5)


def _pickle(chance: random.Random) -> str:
    data = pickled.named(chance) if chance.random() < 0.2 else pickled.bent(chance)
    if chance.random() < 0.15:
        packing = chance.choice(list(bombs.PACKERS))
        return _with_payload(bombs.PACKERS[packing](data), PICKLE, chance, compression=packing)
    return _with_payload(data, PICKLE, chance)


def _yaml(chance: random.Random) -> str:
    return _with_payload(bombs.yaml(chance), structure.KINDS[1], chance)


def _messagepack(chance: random.Random) -> str:
    return _with_payload(bombs.messagepack(chance), structure.KINDS[2], chance)


def _bomb(chance: random.Random) -> str:
    kind, packing, data = bombs.compressed(chance)
    return _with_payload(data, kind, chance, compression=packing)


def _native(chance: random.Random) -> str:
    call = {"task": chance.choice(NATIVE), "args": [1, "x", {"a": [None]}], "kwargs": {"b": 2.5}}
    match chance.randrange(4):
        case 0:  # what PyQS 0.x wrote
            data = pickled.bent(chance)
            return json.dumps({**call, "args": base64.b64encode(data).decode(), "kwargs": chance.choice(({}, "gAJ9cQAu"))})
        case 1:
            return _text(pickled.bytes_bent(json.dumps(call).encode(), chance))
        case _:
            return structure.written(structure.bent(call, chance), chance)


def _noise(chance: random.Random) -> str:
    size = chance.choice((0, 1, 5, 50, 500, 5000))
    match chance.randrange(5):
        case 0:
            return "".join(chr(chance.randrange(0x110000)) for _ in range(min(size, 500)))
        case 1:
            return _text(chance.randbytes(size))
        case 2:
            return base64.b64encode(chance.randbytes(size)).decode()
        case 3:
            return structure.written(structure.value(chance), chance)
        case _:
            return base64.b64encode(
                structure.written(structure.value(chance), chance).encode("utf-8", "surrogatepass")
            ).decode()


def _named(chance: random.Random) -> str:
    name = chance.choice(NOT_TASKS)
    if chance.random() < 0.3:
        name += chance.choice((".x", ".run", "\x00", "", " ", ".__init__"))
    if chance.random() < 0.4:
        return json.dumps({"task": name, "args": [SECRET], "kwargs": {}})
    if chance.random() < 0.3:  # protocol 1
        payload = json.dumps({"task": name, "id": "i", "args": [SECRET], "kwargs": {}}).encode()
        properties = {"delivery_info": {}, "delivery_tag": "t"}
        return specimens.sealed(
            {"content-type": JSON, "content-encoding": "utf-8", "headers": {}, "properties": properties}, payload
        )
    return _with_payload(b"[[SECRET], {}, {}]", JSON, chance, task=name)


_KINDS_OF_BODY: dict[str, tuple[float, Callable[[random.Random], str]]] = {
    "text": (6, _bent_text),
    "envelope": (10, _bent_envelope),
    "payload": (14, _bent_payload),
    "splice": (6, _spliced),
    "structure": (14, _bent_structure),
    "content": (10, _bent_content),
    "kind": (5, _swapped_kind),
    "layers": (3, _layers),
    "pickle": (20, _pickle),
    "yaml": (4, _yaml),
    "msgpack": (4, _messagepack),
    "bomb": (0.15, _bomb),
    "native": (6, _native),
    "noise": (4, _noise),
    "name": (8, _named),
}
_KINDS = [(name, make) for name, (_, make) in _KINDS_OF_BODY.items()]
_WEIGHTS = [weight for weight, _ in _KINDS_OF_BODY.values()]
