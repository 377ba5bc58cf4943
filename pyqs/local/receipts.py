"""Receipt handles: opaque text that names one receipt of one message.

Owns: making and reading them. Pure. A handle carries a keyed digest, so that garbage, or another store's handle, is
told from one that is merely old. Never a secret: it keeps accidents out, not attackers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import NamedTuple

from pyqs.local.service_error import ServiceError

_LAYOUT = struct.Struct(">QQQ")
_DIGEST_BYTES = 16
_MARK = "AQEB"


class Receipt(NamedTuple):
    """What a handle says: the queue's row, the message's row, and the number of the receipt."""

    queue: int
    seq: int
    number: int


def make(key: bytes, receipt: Receipt) -> str:
    """The handle of a receipt."""
    packed = _LAYOUT.pack(*receipt)
    return _MARK + base64.b64encode(packed + _digest(key, packed)).decode()


def read(key: bytes, handle: str) -> Receipt:
    """What a handle stands for. Raises ReceiptHandleIsInvalid."""
    if handle.startswith(_MARK) and handle.isascii():
        try:
            raw = base64.b64decode(handle[len(_MARK) :], validate=True)
        except binascii.Error:
            raw = b""
        packed = raw[: _LAYOUT.size]
        if len(raw) == _LAYOUT.size + _DIGEST_BYTES and raw[_LAYOUT.size :] == _digest(key, packed):
            return Receipt(*_LAYOUT.unpack(packed))
    raise invalid(handle)


def invalid(handle: str) -> ServiceError:
    """ReceiptHandleIsInvalid in SQS's wording."""
    return ServiceError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle[:1024]}" is not a valid receipt handle.')


def _digest(key: bytes, packed: bytes) -> bytes:
    return hashlib.blake2b(packed, key=key, digest_size=_DIGEST_BYTES).digest()
