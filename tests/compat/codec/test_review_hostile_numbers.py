"""Numbers and copies that a message can ask for, and that would cost a worker its memory or its time."""

from __future__ import annotations

import struct
import time

import pytest

from pyqs.errors import Undecodable
from pyqs_celery_compat import outgoing
from pyqs_celery_compat.decoding import decode
from pyqs_celery_compat.pickle_atoms import MalformedPickle
from pyqs_celery_compat.pickles import loads_safe
from pyqs_celery_compat.serialization import Accept


def long_number(size: int, step: int) -> bytes:
    return b"\x8b" + struct.pack("<i", size) + bytes((i * step) % 251 + 1 for i in range(size - 1)) + b"\x01"


BYTES = b"\x80\x04B" + struct.pack("<I", 300_000) + b"x" * 300_000 + b"q\x00"
DICT = b"\x80\x04}(" + b"".join(b"M" + struct.pack("<H", n) + b"N" for n in range(20_000)) + b"uq\x00"
COLLIDING = [(k * (2**61 - 1)).to_bytes(11, "little") for k in range(1, 20_000)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BYTES + b"cbuiltins\nbytearray\nq\x01" + b"h\x01h\x00\x85R" * 5000 + b".", id="copies of bytes"),
        pytest.param(DICT + b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 5000 + b".", id="copies of a dict"),
        pytest.param(DICT + b"cbuiltins\ndict\nq\x01" + b"h\x01h\x00\x85\x81" * 5000 + b".", id="copies by NEWOBJ"),
        pytest.param(
            b"\x80\x04cfractions\nFraction\n" + long_number(100_000, 37) + long_number(100_000, 41) + b"\x86R.", id="gcd"
        ),
        pytest.param(b"\x80\x04cdecimal\nDecimal\n" + long_number(200_000, 37) + b"\x85R.", id="decimal"),
        pytest.param(b"\x80\x04}(" + b"".join(b"\x8a\x0b" + raw + b"N" for raw in COLLIDING) + b"u.", id="keys of one hash"),
        pytest.param(
            b"\x80\x02cbuiltins\nset\n](" + b"".join(b"\x8a\x0b" + raw for raw in COLLIDING) + b"e\x85R.",
            id="members of one hash",
        ),
    ],
)
def test_a_small_pickle_cannot_ask_for_much_memory_or_time(data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(MalformedPickle):
        loads_safe(data)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("limit", [10**400, float("inf"), 1e300])
@pytest.mark.parametrize("which", ["time_limit", "soft_time_limit"])
def test_a_time_limit_that_nobody_can_count_to_is_undecodable(limit: float, which: str) -> None:
    message = outgoing.as_task_v2("an-id", "a.task", (), {}, **{which: limit})
    body = outgoing.seal_task(message, routing_key="q")
    with pytest.raises(Undecodable, match="timelimit"):
        decode(body, accept=Accept.default())
