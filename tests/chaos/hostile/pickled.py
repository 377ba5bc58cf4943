"""Pickles bent opcode by opcode, with every known gadget put somewhere into them."""

from __future__ import annotations

import functools
import itertools
import pickletools
import random
import struct

from gadgets import NAMES, bombs, gadgets, text
from hostile import specimens

_PICKLE = "application/x-python-serialize"
_FIXED = {1: range(256), 2: (0, 1, 0xFFFF), 4: (0, 1, 5, 2**31 - 1, -1), 8: (0, 1, 2**40, -1)}


@functools.cache
def _recorded() -> list[list[bytes]]:
    """Recorded pickles as lists of opcodes with their arguments, without the final STOP."""
    found = []
    for one in specimens.with_content(_PICKLE):
        starts = [position for _, _, position in pickletools.genops(one.payload) if position is not None]
        found.append([one.payload[begin:end] for begin, end in itertools.pairwise(starts)])
    return found


@functools.cache
def _gadgets() -> list[bytes]:
    return [code for _, code in (*gadgets("pwned"), *bombs()) if len(code) < 5000]


@functools.cache
def _pool() -> list[bytes]:
    """Single opcodes of recorded pickles, each once."""
    return sorted({code for one in _recorded() for code in one if len(code) < 300})


def bent(chance: random.Random) -> bytes:
    """One pickle that none of Python's versions wrote."""
    match chance.randrange(6):
        case 0:
            made = _made_up(chance)
        case 1:  # a call whose argument is a gadget
            return b"\x80\x04((" + chance.choice(_gadgets()) + b"l}}t."
        case _:
            made = list(chance.choice(_recorded()))
            for _ in range(chance.choice((1, 1, 2, 3, 8))):
                _change(made, chance)
    data = b"".join(made) + chance.choice((b".", b".", b".", b"", b"..", b"0.", b"\x85.", b"t."))
    if chance.random() < 0.1:
        data = bytes_bent(data, chance)
    return data


def _change(made: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(made) + 1)
    match chance.randrange(7):
        case 0:
            made.insert(at, chance.choice(_gadgets()))
        case 1:
            made.insert(at, _opcode(chance))
        case 2 if made:
            del made[min(at, len(made) - 1)]
        case 3 if len(made) > 1:
            other = chance.randrange(len(made))
            at = min(at, len(made) - 1)
            made[at], made[other] = made[other], made[at]
        case 4:
            made[at:] = chance.choice(_recorded())[chance.randrange(5) :]
        case 5 if made:
            made[min(at, len(made) - 1)] = chance.choice(_gadgets() if chance.random() < 0.5 else _pool())
        case _:
            made[at:at] = made[at : at + chance.randrange(6)] * chance.choice((1, 2, 50))


def _made_up(chance: random.Random) -> list[bytes]:
    made = [bytes([0x80, chance.randrange(7)])]
    for _ in range(chance.choice((3, 8, 20, 60))):
        made.append(chance.choice(_gadgets()) if chance.random() < 0.15 else _opcode(chance))
    return made


def _opcode(chance: random.Random) -> bytes:
    """Any opcode with an argument of its own kind."""
    code = chance.choice(pickletools.opcodes)
    raw = code.code.encode("latin-1")
    if code.arg is None:
        return raw
    name, size = code.arg.name, code.arg.n
    full = chance.choice(NAMES)
    module, _, last = full.rpartition(".")
    if name == "stringnl_noescape_pair":
        return raw + f"{module}\n{last}\n".encode()
    if size == pickletools.UP_TO_NEWLINE:
        return raw + chance.choice((b"0", b"1", b"-5", b"9" * 50, b"'x'", b"01", b"1.5", b"nan", full.encode(), b"")) + b"\n"
    if size < 0:
        held = chance.choice((b"", b"x", full.encode(), module.encode(), b"\xff\xfe", b"\x00" * 20, b"\xed\xa0\x80"))
        width = {"1": 1, "4": 4, "8": 8}.get(name[-1], 4 if "4" in name else 1)
        length = chance.choice((len(held),) * 6 + (len(held) + 1, 2 ** (8 * width) - 1))
        return raw + (length & (2 ** (8 * width) - 1)).to_bytes(width, "little") + held
    if name == "float8":
        return raw + struct.pack(">d", chance.choice((0.0, 1e308, float("nan"), float("inf"))))
    known = _FIXED.get(size, (0,))
    return raw + (chance.choice(known) & (2 ** (8 * size) - 1)).to_bytes(size, "little")


def bytes_bent(data: bytes, chance: random.Random) -> bytes:
    """Bits flipped, bytes taken out or put in, the end cut off, a piece twice."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 10))):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(7):
            case 0 | 1 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 2 if at < len(made):
                made[at] = chance.randrange(256)
            case 3:
                del made[at : at + chance.choice((1, 1, 4, 40))]
            case 4:
                made[at:at] = chance.randbytes(chance.choice((1, 1, 2, 8)))
            case 5 if chance.random() < 0.3:
                del made[at:]
            case _:
                made[at:at] = made[max(0, at - 20) : at]
    return bytes(made)


def named(chance: random.Random) -> bytes:
    """A global of every way to name one, called in every way there is."""
    module, _, last = chance.choice(NAMES).rpartition(".")
    found = chance.choice(
        (f"c{module}\n{last}\n".encode(), text(module) + text(last) + b"\x93", text(module + "." + last) + text("x") + b"\x93")
    )
    called = chance.choice(
        (b")R", b"X\x05\x00\x00\x00touch\x85R", b")\x81", b")}\x92", b"}b", b"N}s\x86b", b"\x85", b"K\x01a", b"")
    )
    if chance.random() < 0.2:
        return b"\x80\x04((" + f"(i{module}\n{last}\n".encode() + b"l}}t."
    return b"\x80\x04((" + found + called + b"l}}t."
