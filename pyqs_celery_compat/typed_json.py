"""Kombu's JSON: plain JSON plus ``{"__type__": ..., "__value__": ...}`` for a few Python types.

Owns: the two directions of that format. Runs wherever a message is written or read (producer, executor). Reading imports
nothing; writing asks kombu only when it meets a value that JSON does not have. Never prints a value.

Source of the format: kombu >= 5.3 ``kombu.utils.json`` as recorded in the specimens (datetime, date, time and Decimal as text,
UUID as ``{"hex": ...}``, bytes as type "bytes" when they are UTF-8, else as type "base64").
"""

from __future__ import annotations

import base64
import json
import sys
import uuid
from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from json.scanner import make_scanner
from typing import Any


def _uuid(value: Any) -> uuid.UUID:
    return uuid.UUID(hex=value["hex"])


#: marker -> reader of its value. A custom type that the app registered with kombu is found in kombu's own table.
_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": _uuid,
    "bytes": lambda text: text.encode("utf-8"),
    "base64": lambda text: base64.b64decode(text.encode("ascii"), validate=True),
}


def _revive(value: dict[str, Any]) -> Any:
    """Turn one typed value back; any other dict comes back as it is."""
    if len(value) != 2 or "__type__" not in value or "__value__" not in value:
        return value
    marker = value["__type__"]
    reader = _READERS.get(marker) if isinstance(marker, str) else None
    if reader is not None:
        return reader(value["__value__"])
    kombu_json = sys.modules.get("kombu.utils.json")
    if kombu_json is None:
        raise ValueError("unknown typed value")
    return kombu_json.object_hook(value)


_decoder = json.JSONDecoder(object_hook=_revive)
_plain_decoder = json.JSONDecoder()
#: What the decoder calls between its two searches for blanks around the document, which writers leave out.
_scan_plain = make_scanner(_plain_decoder)  # type: ignore[arg-type]


def loads(text: str) -> Any:
    """Read kombu's JSON.

    Parameters:
        text: the document, already decoded from UTF-8.

    Raises:
        ValueError: not JSON, or a typed value that cannot be read; its text may hold part of the document.
        RecursionError: nested too deeply.
    """
    # Without the call for each object, where no object can be meant: the key, or an escape that may be its underscore.
    if "__type__" in text or ("\\" in text and "\\u005" in text):
        return _decoder.decode(text)
    try:
        value, end = _scan_plain(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else _plain_decoder.decode(text)


def _to_json(value: Any) -> Any:
    """Ask kombu for what JSON does not have, so that its registered types and ``__json__`` count here too."""
    from kombu.utils.json import JSONEncoder

    encoder: Any = JSONEncoder()
    return encoder.default(value)


# A structure that holds itself is nested too deeply, which is found without a note of each container on the way.
_encoder = json.JSONEncoder(default=_to_json, check_circular=False)


def dumps(value: Any) -> str:
    """Write kombu's JSON (ASCII only, as kombu does).

    Raises:
        TypeError: a value that neither JSON nor kombu can write.
        RecursionError: a structure that is nested too deeply, or holds itself.
    """
    return _encoder.encode(value)
