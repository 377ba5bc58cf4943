"""Text in colour for terminals, as Celery's users build it.

Owns: ``colored``. Pure. Never asks whether there is a terminal: ``app.log.colored`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["colored"]

_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
#: What each does, as an SGR sequence (ECMA-48): bold foregrounds, bold backgrounds, and what is no colour.
_CODES = {name: f"\033[1;3{number}m" for number, name in enumerate(_NAMES)}
_CODES |= {f"i{name}": f"\033[1;4{number}m" for number, name in enumerate(_NAMES) if number}
_CODES |= {"bold": "\033[1m", "underline": "\033[4m", "blink": "\033[5m", "reverse": "\033[7m", "bright": "\033[8m"}
_RESET = "\033[0m"
_CODES["reset"] = _RESET


class colored:  # noqa: N801 - Celery's name
    """Parts of a text, some of them in colour: ``c.red("stop ", c.bold("now"))``.

    Has a method for each of black, red, green, yellow, blue, magenta, cyan, white, these with an i in front for backgrounds
    (but black), and bold, underline, blink, reverse, bright and reset.

    Parameters:
        parts: texts, and others of these. enabled: False leaves all colours out. op: what the text begins with.
    """

    def __init__(self, *parts: Any, enabled: bool = True, op: str = "", **kwargs: Any) -> None:
        self.s = parts
        self.enabled = enabled
        self.op = op

    def __getattr__(self, name: str) -> Callable[..., colored]:
        if name not in _CODES:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        return lambda *parts: self.node(parts, _CODES[name])

    @property
    def names(self) -> dict[str, Callable[..., colored]]:
        """The methods of the foreground colours."""
        return {name: getattr(self, name) for name in _NAMES}

    def node(self, s: tuple[Any, ...], op: str) -> colored:
        """These parts, begun with a sequence."""
        return type(self)(*s, enabled=self.enabled, op=op)

    def embed(self) -> str:
        """The text without the end of its colour."""
        return self.op + "".join(map(str, self.s))

    def no_color(self) -> str:
        """The text alone."""
        return "".join(part.no_color() if isinstance(part, colored) else str(part) for part in self.s)

    def __str__(self) -> str:
        return f"{self.embed()}{_RESET}" if self.enabled else self.no_color()

    def __repr__(self) -> str:
        return repr(self.no_color())

    def __add__(self, other: object) -> str:
        return str(self) + str(other)
