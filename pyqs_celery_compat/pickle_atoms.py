"""The bottom of the pickle reader: its cursor, and the opcodes that push one plain value.

Owns: reading numbers, text and bytes of pickle protocols 0 to 5, the count of objects made, and the cost of a hash. Runs in an
executor, on bytes of unknown origin. Never reserves memory that a number in the data asks for: sizes are checked against
what is really there.

Source of the format: the opcode table in CPython's ``pickletools``. Python 2's byte strings become latin-1 text (ASCII ones
are then simply text; the bytes of others come back with ``.encode("latin-1")``), because only so its datetimes can be read.
"""

from __future__ import annotations

import codecs
import struct
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

#: Objects that one pickle may make, and opcodes that it may have; a message that needs more is larger than SQS can hold by any
#: honest route.
OBJECT_LIMIT, STEP_LIMIT = 2_000_000, 4_000_000
#: characters of a number written as text; longer ones cost quadratic time.
_DIGITS = 4300
#: parts of a tuple or frozenset used as a key, and how deep they may lie in each other.
_KEY_PARTS, _KEY_DEPTH = 10_000, 100
#: What a key costs whose hash the writer of the data can choose.
_LARGE_NUMBER = 256

U2, U4, I4, U8, F8 = (struct.Struct(form) for form in ("<H", "<I", "<i", "<Q", ">d"))


class MalformedPickle(ValueError):
    """The bytes are no pickle, or one that breaks a limit; the text never holds data."""


class Cursor:
    """A position in the data, the stack, and the count of objects made."""

    __slots__ = ("data", "pos", "spent", "stack")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.spent = 0
        self.stack: list[Any] = []

    def take(self, size: int) -> bytes:
        """The next bytes."""
        start = self.pos
        end = start + size
        if size < 0 or end > len(self.data):
            raise MalformedPickle("truncated")
        self.pos = end
        return self.data[start:end]

    def line(self) -> bytes:
        """The next line, without its end."""
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            raise MalformedPickle("truncated")
        start, self.pos = self.pos, end + 1
        return self.data[start:end]

    def byte(self) -> int:
        """One byte as a number."""
        value = self.data[self.pos]
        self.pos += 1
        return value

    def number(self, form: struct.Struct) -> Any:
        """One fixed-size number."""
        start = self.pos
        self.pos = start + form.size
        return form.unpack_from(self.data, start)[0]

    def spend(self, objects: int) -> None:
        """Count objects against the limit."""
        self.spent += objects
        if self.spent > OBJECT_LIMIT:
            raise MalformedPickle(f"it makes more than {OBJECT_LIMIT} objects")


def copied(*parts: object) -> int:
    """What a call costs that may copy its arguments: a few bytes can ask again and again for a copy of one large value."""
    cost = 0
    for part in parts:
        if isinstance(part, (list, tuple, dict, set, frozenset, deque)):
            cost += len(part)
        elif isinstance(part, (str, bytes, bytearray)):
            cost += len(part) >> 4
        elif isinstance(part, int):
            cost += part.bit_length() >> 7
    return cost


def integer(line: bytes) -> int:
    """A decimal number written as text."""
    if len(line) > _DIGITS:
        raise MalformedPickle("a number that is too long")
    return int(line)


def hash_cost(key: object) -> int | None:
    """How many objects a key's hash looks at; None if too many, too deep, or of a kind that has no hash.

    Tuples that share tuples have hashes that cost exponential time, and very deep ones overflow the C stack.
    """
    kind = type(key)
    if kind is not tuple and kind is not frozenset:
        return None if kind in (list, dict, set, bytearray) else _number_cost(key)
    cost = 0
    todo: list[tuple[Any, int]] = [(key, 0)]
    while todo:
        item, depth = todo.pop()
        cost += 1
        kind = type(item)
        if kind is tuple or kind is frozenset:
            cost += len(item)
            if depth >= _KEY_DEPTH or cost > _KEY_PARTS:
                return None
            todo.extend((part, depth + 1) for part in item)
        elif kind in (list, dict, set, bytearray):
            return None
        else:
            cost += _number_cost(item) - 1
    return cost


def _number_cost(key: object) -> int:
    """Large numbers can be chosen so that all have one hash, and a dict of them takes quadratic time."""
    kind = type(key)
    return _LARGE_NUMBER if (kind is int and key.bit_length() > 60) or kind in (Decimal, Fraction) else 1  # type: ignore[attr-defined]


def _int(cursor: Cursor) -> None:
    line = cursor.line()
    cursor.stack.append(line == b"01" if line in (b"00", b"01") else integer(line))


def _long(cursor: Cursor) -> None:
    cursor.stack.append(integer(cursor.line().removesuffix(b"L")))


def _float(cursor: Cursor) -> None:
    line = cursor.line()
    if len(line) > _DIGITS:
        raise MalformedPickle("a number that is too long")
    cursor.stack.append(float(line))


def _string(cursor: Cursor) -> None:
    """STRING: the repr of a Python 2 byte string."""
    line = cursor.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise MalformedPickle("a string without quotes")
    decoded: bytes = codecs.escape_decode(line[1:-1])[0]
    cursor.stack.append(decoded.decode("latin-1"))


def _unicode(cursor: Cursor) -> None:
    cursor.stack.append(cursor.line().decode("raw-unicode-escape"))


def _short_text(cursor: Cursor) -> None:
    """SHORT_BINUNICODE, the most frequent opcode of all."""
    start = cursor.pos + 1
    end = start + cursor.data[cursor.pos]
    if end > len(cursor.data):
        raise MalformedPickle("truncated")
    cursor.pos = end
    cursor.stack.append(cursor.data[start:end].decode("utf-8", "surrogatepass"))


def _small_int(cursor: Cursor) -> None:
    cursor.stack.append(cursor.data[cursor.pos])
    cursor.pos += 1


def _number(form: struct.Struct) -> Callable[[Cursor], None]:
    return lambda cursor: cursor.stack.append(cursor.number(form))


def _constant(value: object) -> Callable[[Cursor], None]:
    return lambda cursor: cursor.stack.append(value)


def _sized(size: struct.Struct | None, make: Callable[[bytes], Any]) -> Callable[[Cursor], None]:
    """A value with its length in front: one byte (None) or a number of the given form."""

    def push(cursor: Cursor) -> None:
        length = cursor.byte() if size is None else cursor.number(size)
        cursor.spend(1)
        cursor.stack.append(make(cursor.take(length)))

    return push


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _latin(raw: bytes) -> str:
    return raw.decode("latin-1")


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


#: opcode -> what it does.
ATOMS: dict[bytes, Callable[[Cursor], None]] = {
    b"I": _int,
    b"L": _long,
    b"F": _float,
    b"S": _string,
    b"V": _unicode,
    b"J": _number(I4),
    b"K": _small_int,
    b"M": _number(U2),
    b"G": _number(F8),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b")": _constant(()),
    b"\x8a": _sized(None, _little),
    b"\x8b": _sized(I4, _little),
    b"T": _sized(I4, _latin),
    b"U": _sized(None, _latin),
    b"X": _sized(U4, _text),
    b"\x8c": _short_text,
    b"\x8d": _sized(U8, _text),
    b"B": _sized(U4, bytes),
    b"C": _sized(None, bytes),
    b"\x8e": _sized(U8, bytes),
    b"\x96": _sized(U8, bytearray),
}
