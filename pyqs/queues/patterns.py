"""``-Q`` and ``-X`` items: literal names, globs, URLs, ARNs, with options behind them.

Owns: ``Pattern`` and the reading of its text; what may stand behind it is read in ``queue_options``. Pure; runs where the
command line is read and in the parent's discovery. Makes no call to SQS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pyqs.errors import ConfigError
from pyqs.queues.names import CANONICAL, FIFO, QueueAddress, canonical_name, check_name, is_arn, is_url, parse_arn, parse_url
from pyqs.queues.queue_options import PLAIN, QueueOptions, take_options

_GLOB_CHARACTER = re.compile(r"[*?\[\]]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One item of ``-Q`` or ``-X``: a literal name, a glob, a URL or an ARN.

    A glob knows ``*``, ``?``, ``[abc]``, ``[a-z]`` and ``[!a]``, matches whole names, and is tried against a queue's
    name as written and as mapped: ``email.*`` matches ``email.send`` and ``email-send``.

    Parameters:
        text: without options.
        options: what was written behind it; each queue that it finds has its own.
    """

    text: str
    options: QueueOptions = PLAIN

    def __str__(self) -> str:
        """As it is given: ``email.*:weight=3``."""
        return f"{self.text}{self.options}"

    @property
    def is_glob(self) -> bool:
        """Whether it can match more than one name."""
        return not self.is_address and _GLOB_CHARACTER.search(self.text) is not None

    @property
    def is_address(self) -> bool:
        """Whether it is a URL or an ARN, which needs no discovery."""
        return is_url(self.text) or is_arn(self.text)

    def address(self) -> QueueAddress:
        """The URL or ARN taken apart; ConfigError if it is neither."""
        return parse_url(self.text) if is_url(self.text) else parse_arn(self.text)

    def name(self, prefix: str = "") -> str:
        """The one SQS name that a literal, a URL or an ARN means."""
        return self.address().name if self.is_address else canonical_name(self.text, prefix)

    def matches(self, name: str, prefix: str = "") -> bool:
        """Whether this pattern means the SQS queue ``name``.

        ``prefix`` bounds it: a glob matches only names that start with the (mapped) prefix, by what follows it or as a
        whole.
        """
        if not self.is_glob:
            return name == self.name(prefix) or (not prefix and name == self.text)
        raw, mapped = _compiled(self.text)
        for bound in {prefix, canonical_name(prefix)}:
            if name.startswith(bound):
                forms = {name, name[len(bound) :]}
                if any(regex.fullmatch(form) for regex in (raw, mapped) for form in forms):
                    return True
        return False

    def listing_prefixes(self, prefix: str = "") -> list[str]:
        """The shortest set of QueueNamePrefix values under which every match of this glob is listed."""
        head = _GLOB_CHARACTER.split(self.text, maxsplit=1)[0]
        found: set[str] = set()
        for bound, start in ((prefix, head), (canonical_name(prefix), head.translate(CANONICAL))):
            found.add(bound + start)
            if start.startswith(bound):
                found.add(start)
            elif bound.startswith(start):
                found.add(bound)
        return sorted(one for one in found if not any(one != other and one.startswith(other) for other in found))


def compile_patterns(texts: Iterable[str], *, excluding: bool = False) -> tuple[Pattern, ...]:
    """``-Q`` values to patterns: comma lists split, spaces around items stripped, doubles dropped, order kept.

    Parameters:
        excluding: these are ``-X`` values, which have no options.

    Raises:
        ConfigError: an item is malformed, or is given twice with different options; says which and how.
    """
    found: dict[str, Pattern] = {}
    for text in texts:
        for item in _split(text):
            pattern = _checked(item, text)
            if excluding and pattern.options != PLAIN:
                raise ConfigError(f"queue pattern {item!r}: what is excluded has no options; leave {pattern.options} out")
            first = found.setdefault(pattern.text, pattern)
            if first.options != pattern.options:
                raise ConfigError(
                    f"queue pattern {pattern.text!r} is given twice with different options: {first} and {pattern}"
                )
    return tuple(found.values())


def _split(text: str) -> list[str]:
    """At commas outside brackets: '[a,b]*' is one glob."""
    items, depth, current = [], 0, ""
    for char in text:
        depth += {"[": 1, "]": -1}.get(char, 0)
        if char == "," and depth <= 0:
            items.append(current)
            current = ""
        else:
            current += char
    return [item.strip() for item in [*items, current]]


def _checked(item: str, given: str) -> Pattern:
    if not item:
        raise ConfigError(f"queue pattern {given!r} has an empty item" if given.strip() else "a queue pattern is empty")
    text, options = take_options(item)
    pattern = Pattern(text, options)
    if not text:
        raise ConfigError(f"queue pattern {item!r} has options and no queue in front of them")
    if pattern.is_address:
        pattern.address()
        return pattern
    if any(char.isspace() for char in text):
        raise ConfigError(f"queue pattern {item!r} has a space in it; separate names by commas or give -Q again")
    if pattern.is_glob:
        problem = _glob_problem(text)
        if problem:
            raise ConfigError(f"queue pattern {item!r} is malformed: {problem}")
    else:
        check_name(canonical_name(text))
    return pattern


def _glob_problem(text: str) -> str | None:
    position = 0
    while position < len(text):
        if text[position] == "]":
            return f"']' at character {position + 1} closes no '['"
        if text[position] == "[":
            end = _class_end(text, position)
            if end < 0:
                return f"'[' at character {position + 1} is never closed"
            if "[" in text[position + 1 : end]:
                return f"'[' inside the class that opens at character {position + 1}"
            try:
                re.compile(_class_regex(text[position + 1 : end], mapped=False))
            except re.error:
                return f"the range in {text[position : end + 1]!r} runs backwards"
            position = end
        position += 1
    return None


def _class_end(text: str, start: int) -> int:
    """Index of the ']' that closes the class opening at ``start``, or -1; a ']' right after '[' or '[!' is a member."""
    first = start + 2 if text[start + 1 : start + 2] == "!" else start + 1
    return text.find("]", first + 1)


@lru_cache(maxsize=512)
def _compiled(glob: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return re.compile(_regex(glob, mapped=False)), re.compile(_regex(glob, mapped=True))


def _regex(glob: str, *, mapped: bool) -> str:
    """The glob as a regular expression, its literal characters mapped as kombu maps names if asked."""
    ending = FIFO if glob.endswith(FIFO) else ""
    text = glob[: len(glob) - len(ending)]
    parts, position = [], 0
    while position < len(text):
        char = text[position]
        if char == "*":
            parts.append(".*")
        elif char == "?":
            parts.append(".")
        elif char == "[":
            end = _class_end(text, position)
            parts.append(_class_regex(text[position + 1 : end], mapped=mapped))
            position = end
        else:
            parts.append(re.escape(char.translate(CANONICAL) if mapped else char))
        position += 1
    return "(?s:" + "".join(parts) + re.escape(ending) + ")"


def _class_regex(inner: str, *, mapped: bool) -> str:
    """``[...]`` of a glob; when mapped, each single member is mapped and ranges of letters and digits stay."""
    negated = inner.startswith("!")
    members, position, items = inner[negated:], 0, []
    while position < len(members):
        if members[position + 1 : position + 2] == "-" and position + 2 < len(members):
            low, high = members[position], members[position + 2]
            items.append(f"{re.escape(low)}-{re.escape(high)}")
            position += 3
        else:
            char = members[position]
            items.append(re.escape(char.translate(CANONICAL) if mapped else char))
            position += 1
    return f"[{'^' if negated else ''}{''.join(items)}]"
