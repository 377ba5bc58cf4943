"""Texts: shortened, wrapped, formatted.

Owns: what ``celery.utils.text`` has. Pure.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pprint import pformat
from re import Pattern
from typing import Any

__all__ = [
    "abbr",
    "abbrtask",
    "dedent",
    "dedent_initial",
    "ensure_newlines",
    "ensure_sep",
    "fill_paragraphs",
    "indent",
    "join",
    "pluralize",
    "pretty",
    "simple_format",
    "str_to_list",
    "truncate",
]

RE_FORMAT = re.compile(r"%([%\w])")


def str_to_list(s: Any) -> Any:
    """``a,b`` as a list; what is no text comes back as it is."""
    return s.split(",") if isinstance(s, str) else s


def dedent_initial(s: str, n: int = 4) -> str:
    """Without the indentation of the first line, if it has one of ``n`` spaces."""
    return s[n:] if s.startswith(" " * n) else s


def dedent(s: str, sep: str = "\n") -> str:
    """Every line without four spaces of indentation."""
    return sep.join(dedent_initial(line) for line in s.splitlines())


def fill_paragraphs(s: str, width: int, sep: str = "\n") -> str:
    """Each line wrapped at this width."""
    return sep.join(textwrap.fill(line, width) for line in s.split(sep))


def join(l: Iterable[str | None], sep: str = "\n") -> str:  # noqa: E741 - Celery's name
    """The lines that are not empty."""
    return sep.join(line for line in l if line)


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """With at least ``n`` separators at the end."""
    return s + sep * (n - s.count(sep))


ensure_newlines = partial(ensure_sep, "\n")


def abbr(S: str, max: int, ellipsis: str | bool = "...") -> str:  # noqa: N803 - Celery's name
    """At most ``max`` characters, the ellipsis among them."""
    if S is None:
        return "???"
    if len(S) > max:
        return S[: max - len(str(ellipsis))] + str(ellipsis) if ellipsis else S[:max]
    return S


def abbrtask(S: str, max: int) -> str:  # noqa: N803 - Celery's name
    """A task's name in about ``max`` characters: its last part is kept whole."""
    if S is None:
        return "???"
    if len(S) > max:
        module, _, cls = S.rpartition(".")
        return abbr(module, max - len(cls) - 3, False) + "[.]" + cls
    return S


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Every line behind this many spaces."""
    return sep.join(" " * indent + line for line in t.split("\n"))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """The first ``maxlen`` characters, cut at a word where there is one, and the suffix if any are missing."""
    if not maxlen or len(s) < maxlen:
        return s
    return s[:maxlen].rsplit(" ", 1)[0] + suffix


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """The word with its suffix, unless there is one of them."""
    return text if n == 1 else text + suffix


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kw: Any) -> str:
    """An object laid out over lines, a dict without its first brace."""
    if isinstance(value, dict):
        return f"{sep} {pformat(value, 4, nl_width)[1:]}"
    if isinstance(value, tuple):
        return f"{sep} {' ' * 4}{pformat(value, width=nl_width, **kw)}"
    return pformat(value, width=width, **kw)


def match_case(s: str, other: str) -> str:
    """In capitals if the other is, else in small letters."""
    return s.upper() if other.isupper() else s.lower()


def simple_format(
    s: str, keys: Mapping[str, str | Callable[[], str]], pattern: Pattern[str] = RE_FORMAT, expand: str = r"\1"
) -> str:
    """Replace ``%x`` by the value of ``x``, or by what it answers when called; ``%%`` is a percent sign.

    Raises:
        ValueError: a key that is not there.
    """
    if not s:
        return s

    def value(match: re.Match[str]) -> str:
        key = match.expand(expand)
        if key == "%":
            return key
        if key not in keys:
            raise ValueError(f"Unknown format %{key} in string {s!r}: a percent sign itself is written %%")
        found = keys[key]
        return found() if callable(found) else found

    return pattern.sub(value, s)


def remove_repeating(substr: str, s: str) -> str:
    """Without the second and later occurrences of a part."""
    index = s.find(substr)
    if index < 0:
        return s
    end = index + len(substr)
    return s[:end] + s[end:].replace(substr, "")


def remove_repeating_from_task(task_name: str, s: str) -> str:
    """Without the second and later occurrences of a task's module."""
    module = task_name.rpartition(".")[0]
    if not module:
        return s
    first = s.find(f"{module}.")
    end = first + len(module) + 1
    # A module of which this one's name is the end is another one.
    return s if first < 0 else s[:end] + re.sub(rf"(?<![\w.-]){re.escape(module)}\.", "", s[end:])


class WhateverIO(io.StringIO):
    """Text in memory that takes bytes, too."""

    def __init__(self, v: str | bytes | None = None, *a: Any, **kw: Any) -> None:
        super().__init__(v.decode() if isinstance(v, bytes) else v, *a, **kw)

    def write(self, data: Any) -> int:
        """Add text, or bytes in UTF-8."""
        return super().write(data.decode() if isinstance(data, bytes) else data)
