"""A repr of bounded size and depth, for the argument texts that Celery puts into message headers and logs.

Owns: ``saferepr``. Pure. Takes time in proportion to the limit, not to the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BRACKETS: tuple[tuple[type, str, str], ...] = (
    (list, "[", "]"), (tuple, "(", ")"), (set, "{", "}"), (frozenset, "frozenset({", "})"),
)  # fmt: skip


class _FullError(Exception):
    """The limit has been reached."""


def saferepr(value: Any, limit: int = 1024, levels: int = 3) -> str:
    """``repr`` that never raises, is cut at ``limit`` characters and shows ``...`` below ``levels``."""
    pieces: list[str] = []
    room = limit

    def put(text: str) -> None:
        nonlocal room
        pieces.append(text[:room])
        room -= len(text)
        if room < 0:
            raise _FullError

    def write(item: Any, depth: int) -> None:
        if isinstance(item, Mapping):
            if depth >= levels:
                put("{...}")
                return
            put("{")
            for index, (key, inner) in enumerate(item.items()):
                put(", " if index else "")
                write(key, depth + 1)
                put(": ")
                write(inner, depth + 1)
            put("}")
            return
        for kind, opening, closing in _BRACKETS:
            if type(item) is kind:
                if depth >= levels:
                    put(f"{opening}...{closing}")
                    return
                put(opening)
                for index, inner in enumerate(item):
                    put(", " if index else "")
                    write(inner, depth + 1)
                put("," if kind is tuple and len(item) == 1 else "")
                put(closing)
                return
        put(_repr(item[: limit + 1] if isinstance(item, (str, bytes)) else item))

    try:
        write(value, 0)
    except _FullError:
        return "".join(pieces)[: max(0, limit - 3)] + "..."
    except Exception as exc:  # a mapping that fails while it is read
        return f"<{type(value).__name__}: repr failed with {type(exc).__name__}>"
    return "".join(pieces)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as exc:
        return f"<{type(value).__name__}: repr failed with {type(exc).__name__}>"
