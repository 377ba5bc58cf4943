"""JSON bent value by value: types swapped, huge numbers, deep nesting, keys twice, typed values that are none."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hostile.names import CELERY, NATIVE, NOT_TASKS

#: Fields of the protocol: where a wrong value is most likely to be believed.
KEYS = (
    "task", "id", "args", "kwargs", "eta", "expires", "retries", "timelimit", "group", "group_index", "root_id", "parent_id",
    "callbacks", "errbacks", "chain", "chord", "taskset", "utc", "compression", "content-type", "content-encoding", "headers",
    "properties", "body", "body_encoding", "delivery_info", "delivery_tag", "routing_key", "exchange", "priority", "shadow",
    "argsrepr", "kwargsrepr", "origin", "lang", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps",
    "reply_to", "correlation_id", "redelivered", "__type__", "__value__", "__class__", "__dict__", "__proto__", "ticket",
    "method",
    "hostname", "is_eager", "called_directly", "self", "request", "name", "properties", "timeouts", "loglevel", "logfile",
)  # fmt: skip
KINDS = (
    "application/json", "application/x-yaml", "application/x-msgpack", "application/x-python-serialize", "text/plain",
    "application/text", "application/data", "", "application/x-nope", "pickle", "json", "application/json; charset=utf-16",
    "\ud800",
    "x" * 5000, "../../x", "application/x-python-serialize ", "Application/JSON",
)  # fmt: skip
ENCODINGS = (
    "utf-8",
    "binary",
    "base64",
    "utf-16",
    "idna",
    "rot13",
    "zlib",
    "hex",
    "unicode_escape",
    "",
    "nope",
    "\x00",
    "mbcs",
)
PACKINGS = (
    "application/x-gzip", "application/x-bz2", "application/x-lzma", "application/zstd", "application/x-brotli", "gzip",
    "zlib",
    "bzip2", "lzma", "zstd", "brotli", "nope", "", "\x00",
)  # fmt: skip
TYPED = (
    ("datetime", "2026-01-01T00:00:00"), ("datetime", "2026-13-41"), ("datetime", 5), ("date", "0000-00-00"),
    ("time", "25:99"),
    ("decimal", "1e999999999"), ("decimal", "sNaN"), ("decimal", [1]), ("decimal", "x" * 50), ("uuid", {"hex": "x"}),
    ("uuid", {}),
    ("uuid", "x"), ("uuid", {"hex": "0" * 32}), ("bytes", "\ud800"), ("bytes", 5), ("base64", "%%%"), ("base64", "\u20ac"),
    ("base64", "AAAA"), ("Q", "x"), ("object", {}), ("os.system", "touch pwned"), ([], 1), ({}, 1), (None, None), (5, 5),
    ("__class__", "x"), ("datetime", "9999-12-31T23:59:59-14:00"), ("datetime", "0001-01-01T00:00:00+14:00"),
    ("datetime", {"__type__": "datetime", "__value__": "2026-01-01"}),
)  # fmt: skip
TIMES = (
    "2020-01-01T00:00:00", "2020-01-01T00:00:00Z", "2999-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999",
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-W01-1", "20260101", "1e9", "now", "-1",
    "2026-02-30T00:00:00",
    "٢٠٢٦-01-01T00:00:00", "2026-01-01T00:00:00" + "0" * 5000, "", "Z", "2026-01-01T00:00:00+99:99", "2038-01-19T03:14:08",
)  # fmt: skip


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value, the odd ones more often."""
    match chance.randrange(18):
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.choice((0, 1, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 10**4299, chance.getrandbits(64)))
        case 3:
            return chance.choice((0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), chance.random()))
        case 4:
            return chance.choice(
                ("", "x", "\x00", "\ud800", "\udfff\ud800", "é", "\u202e", "x" * 3000, "None", "base64", "__type__")
            )
        case 5:
            return chance.choice(NOT_TASKS)
        case 6:
            return chance.choice((*CELERY, *NATIVE))
        case 7:
            kind, held = chance.choice(TYPED)
            return {"__type__": kind, "__value__": held}
        case 8:
            return chance.choice(TIMES)
        case 9:
            return deep(chance.choice((5, 100, 900, 1100, 5000)), chance)
        case 10:
            return chance.choice((*KINDS, *ENCODINGS, *PACKINGS))
        case 11:
            return {
                "task": chance.choice((*CELERY, *NOT_TASKS)),
                "args": [1],
                "kwargs": {},
                "options": {},
                "subtask_type": None,
            }
        case 12:
            return [chance.choice((0, 1e300, -5, None, "5", True, float("nan"))) for _ in range(chance.choice((2, 2, 2, 1, 3)))]
        case 13 | 14 if depth < 3:
            return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case 15 | 16 if depth < 3:
            return {chance.choice((*KEYS, "", "é")): value(chance, depth + 1) for _ in range(chance.randrange(4))}
        case _:
            return chance.choice((1, "x", [], {}, [[]], [{}], [None], {"": None}))


class Deep:
    """Lists or objects in each other; only text, because no Python code here could walk it."""

    def __init__(self, text: str) -> None:
        self.text = text


def deep(levels: int, chance: random.Random) -> Any:
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}"), ('[{"__type__":', "}]")))
    return Deep(opening * levels + "1" + closing * chance.choice((levels, levels, levels, 0)))


def bent(document: Any, chance: random.Random) -> Any:
    """A copy with one to three places changed."""
    made = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(made))
        if not places:
            return value(chance)
        holder, key = chance.choice(places)
        match chance.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[chance.choice(KEYS)] = value(chance)
            case 2 if isinstance(holder, dict):
                other = chance.choice(list(holder))
                holder[key], holder[other] = holder[other], holder[key]
            case 3 if isinstance(holder, dict):
                holder[chance.choice((key.upper(), key + "\x00", "__type__", "")) if isinstance(key, str) else key] = holder[
                    key
                ]
            case 4 if isinstance(holder[key], (str, list)):
                holder[key] = holder[key] * chance.choice((0, 2, 50))
            case _:
                holder[key] = value(chance)
    return made


def _places(document: Any) -> Any:
    todo = [document]
    while todo:
        holder = todo.pop()
        if isinstance(holder, (dict, list)):
            for key, item in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
                yield holder, key
                todo.append(item)


def written(document: Any, chance: random.Random) -> str:
    """As JSON text, with what no JSON writer would write."""
    pieces: dict[str, str] = {}

    def stand_in(thing: Any) -> str:
        mark = f"@@{len(pieces)}@@"
        pieces[f'"{mark}"'] = thing.text
        return mark

    text = json.dumps(document, default=stand_in, ensure_ascii=chance.random() < 0.7)
    for mark, piece in pieces.items():
        text = text.replace(mark, piece)
    match chance.randrange(12):
        case 0:
            key = chance.choice(KEYS)
            return text.replace("{", f'{{"{key}": {json.dumps(value(chance), default=lambda deep: None)}, ', 1)
        case 1:
            return text[:-1] + f', "{chance.choice(KEYS)}": {json.dumps(value(chance), default=lambda deep: None)}' + text[-1:]
        case 2:
            return chance.choice((" ", "\n\t", "\ufeff", "\x00", "//x\n", "\u00a0")) + text
        case 3:
            return text + chance.choice((" ", "}", "]", "\x00", text, ",", "\ufeff"))
        case _:
            return text
