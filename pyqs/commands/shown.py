"""Values as a person reads them: text that may come from anybody, moments, lengths of time, sizes.

Owns: those forms, and the console that prints them. Never lets a character through that a terminal would obey.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Columns where the output is no terminal.
WIDTH = 160


def console() -> Console:
    """Standard output for tables and text; nothing in them is markup, whoever wrote it."""
    from rich.console import Console

    screen = Console(highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = WIDTH
    return screen


def printable(text: str, limit: int | None = None) -> str:
    """The text on one line, with escapes for what is no printable character, cut to ``limit`` characters.

    What stands in a message was written by somebody else, and a terminal obeys escape sequences.
    """
    cut = text if limit is None or len(text) <= limit else text[:limit]
    plain = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)
    return plain if cut is text else f"{plain}... ({len(text)} characters)"


def span(seconds: float | None) -> str:
    """A length of time: ``0.4 s``, ``12 s``, ``3 min``, ``5.2 h``, ``4 days``; "-" for none."""
    if seconds is None:
        return "-"
    for unit, size in (("days", 2 * 86400), ("h", 2 * 3600), ("min", 120)):
        if seconds >= size:
            return f"{seconds / {'days': 86400, 'h': 3600, 'min': 60}[unit]:.3g} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def number(value: int | None) -> str:
    """A count, "-" for one that is not known."""
    return "-" if value is None else str(value)


def several(count: int, noun: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def size(count: int | None) -> str:
    """Bytes: ``512 B``, ``1.5 MiB``; "-" for none."""
    if count is None:
        return "-"
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 100 else f"{value:.1f} {units[0]}"


def age(sent_ms: str | None, now: float | None = None) -> float | None:
    """Seconds since SQS's SentTimestamp (milliseconds as text); None for one that is none."""
    if sent_ms is None or not sent_ms.isdecimal():
        return None
    return max(0.0, (time.time() if now is None else now) - int(sent_ms) / 1000)
