"""Short texts of arguments, for ``argsrepr`` and ``kwargsrepr``.

Owns: ``argument_repr``. Pure; runs in the producer. Costs what it writes, not what the arguments hold: it stops at a number of
characters and of levels, so a megabyte of arguments, or a list that holds itself, is no different from a small one.
"""

from __future__ import annotations

from decimal import Decimal
from numbers import Number
from typing import Any

#: characters and levels that Celery writes (``argsrepr_maxsize``, ``task_repr_maxlevels``).
MAX_CHARACTERS, MAX_LEVELS = 1024, 3


def argument_repr(value: Any, limit: int = MAX_CHARACTERS, levels: int = MAX_LEVELS) -> str:
    """Write a value much as ``repr`` does, cut short.

    Parameters:
        limit: characters after which the rest is "..." (closing brackets may follow).
        levels: levels of containers that are shown.
    """
    text = _short_text(value)
    if text is not None and len(text) < limit and levels > 0:
        return text
    writer = _Writer(limit, levels)
    writer.write(value, 0)
    return "".join(writer.parts)


#: Values that are their own short text, whatever is around them.
_SMALL = (bool, float, type(None))
#: Values in a container, characters and bits in one of them that are worth a look first.
_FEW, _SHORT, _NARROW = 8, 128, 64


def _short_text(value: Any) -> str | None:
    """The whole text of a small tuple, list or dict of small plain values, which most calls have; None for any other."""
    kind = type(value)
    if kind not in (tuple, list, dict) or len(value) > _FEW:
        return None
    parts = [_small_text(item) for item in value]
    values = [_small_text(item) for item in value.values()] if kind is dict else ()
    if None in parts or None in values:
        return None
    if kind is dict:
        return "{" + ", ".join([f"{key}: {item}" for key, item in zip(parts, values, strict=True)]) + "}"
    inside = ", ".join(parts)  # type: ignore[arg-type]
    if kind is list:
        return f"[{inside}]"
    return f"({inside},)" if len(parts) == 1 else f"({inside})"


def _small_text(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return "'" + value.replace("'", "\\'") + "'" if len(value) < _SHORT else None
    if kind is int:
        return str(value) if value.bit_length() < _NARROW else None
    return str(value) if kind in _SMALL else None


class _Writer:
    """Collects the parts of one text."""

    __slots__ = ("left", "levels", "parts")

    def __init__(self, limit: int, levels: int) -> None:
        self.left = limit
        self.levels = levels
        self.parts: list[str] = []

    def put(self, text: str) -> None:
        """Add a part and count it."""
        self.parts.append(text)
        self.left -= len(text)

    def cut(self, text: str) -> str:
        """As much of a text as there is room for."""
        return text if len(text) < self.left else text[: max(self.left, 0)] + "..."

    def write(self, value: Any, level: int) -> None:
        """Add one value."""
        if isinstance(value, str):
            self.put("'" + self.cut(value).replace("'", "\\'") + "'")
        elif isinstance(value, bytes):
            self.put("b'" + self.cut(_bytes_text(value[: max(self.left, 0) + 1])) + "'")
        elif isinstance(value, dict):
            self.mapping(value, level)
        elif isinstance(value, tuple):
            self.sequence("(", value, ",)" if len(value) == 1 else ")", level)
        elif isinstance(value, list):
            self.sequence("[", value, "]", level)
        elif isinstance(value, (set, frozenset)):
            plain = type(value) is set
            if value:
                self.sequence("{" if plain else f"{type(value).__name__}({{", value, "}" if plain else "})", level)
            else:
                self.put(f"{type(value).__name__}()")
        else:
            self.put(self.cut(_any_text(value)))

    def sequence(self, start: str, items: Any, end: str, level: int) -> None:
        """Add a container of values."""
        self.put(start)
        if level >= self.levels:
            self.put("...")
        else:
            for index, item in enumerate(items):
                if self.left <= 0:
                    self.put(", ...")
                    break
                if index:
                    self.put(", ")
                self.write(item, level + 1)
        self.put(end)

    def mapping(self, value: dict[Any, Any], level: int) -> None:
        """Add a container of keys and values."""
        self.put("{")
        if level >= self.levels and value:
            self.put("...")
        else:
            for index, (key, item) in enumerate(value.items()):
                if self.left <= 0:
                    self.put(", ...")
                    break
                if index:
                    self.put(", ")
                self.write(key, level + 1)
                self.put(": ")
                self.write(item, level + 1)
        self.put("}")


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()


def _any_text(value: Any) -> str:
    """A number or any other object; its own ``__repr__`` may raise or recurse."""
    try:
        return str(value) if isinstance(value, Number) and not isinstance(value, Decimal) else repr(value)
    except Exception as error:
        return f"<unrepresentable {type(value).__name__}: {type(error).__name__}>"
