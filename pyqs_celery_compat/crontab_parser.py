"""The five fields of a crontab, from what was written to the numbers that are meant.

Owns: ``crontab_parser``, ``ParseException``, ``cronfield``. Pure. Never knows which field it reads, only the field's range:
names of days and of months are numbers everywhere, as in Celery.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pyqs_celery_compat.utils.time import weekday, yearmonth

_RANGE = re.compile(r"(\w+?)-(\w+)(?:(/)(\w+)?)?")
_STAR = re.compile(r"\*(/)(\w+)?")


class ParseException(ValueError):
    """What was written is no crontab."""


def cronfield(s: Any) -> Any:
    """A field as it was given; None is ``*``."""
    return "*" if s is None else s


class crontab_parser:  # noqa: N801 - Celery's public name
    """Reads one field: ``*``, ``*/n``, ``a``, ``a-b``, ``a-b/n``, and these with commas between them.

    ``b-a`` goes round the end of the range: in a field of hours ``22-2`` is 22, 23, 0, 1 and 2. A step counts from the start of
    its range. Of what follows a range or a step nothing is read, as Celery reads it.

    Parameters:
        max_: how many numbers the field has.
        min_: the first of them.
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """The numbers that a field means.

        Raises:
            ParseException: it is no such field, or has a number out of range.
        """
        return {number for part in spec.split(",") for number in self._parse_part(part)}

    def _parse_part(self, part: str) -> list[int]:
        if not part:
            raise ParseException("empty part")
        if found := _RANGE.match(part):
            first, last, slash, step = found.groups()
            return self._range_steps((first, last, step)) if slash else self._expand_range((first, last))
        if found := _STAR.match(part):
            return self._star_steps((found[2],))
        return self._expand_star() if part == "*" else [self._expand_number(part)]

    def _expand_star(self, *_: Any) -> list[int]:
        return list(range(self.min_, self.min_ + self.max_))

    def _star_steps(self, toks: Sequence[Any]) -> list[int]:
        return self._every(toks, self._expand_star())

    def _expand_range(self, toks: Sequence[Any]) -> list[int]:
        first, last = self._expand_number(toks[0]), self._expand_number(toks[-1])
        if first <= last:
            return list(range(first, last + 1))
        return [*range(first, self.min_ + self.max_), *range(self.min_, last + 1)]

    def _range_steps(self, toks: Sequence[Any]) -> list[int]:
        return self._every(toks[2:], self._expand_range(toks[:2]))

    def _every(self, toks: Sequence[Any], numbers: list[int]) -> list[int]:
        if not toks or not toks[0]:
            raise ParseException("no number after the '/'")
        try:
            step = int(toks[0])
        except ValueError:
            step = 0
        if step < 1:
            raise ParseException(f"a step is a number from 1 on, not {toks[0]!r}")
        return numbers[::step]

    def _expand_number(self, s: int | str) -> int:
        try:
            number = int(s)
        except ValueError:
            number = _number_of_name(str(s))
        last = self.min_ + self.max_ - 1
        if not self.min_ <= number <= last:
            raise ParseException(f"{number} is not in {self.min_}-{last}")
        return number


def _number_of_name(name: str) -> int:
    for numbered in (yearmonth, weekday):
        try:
            return numbered(name)
        except KeyError:
            pass
    raise ParseException(f"{name!r} is neither a number nor the name of a day or a month")


def expand(cronspec: int | str | Iterable[int], max_: int, min_: int = 0) -> set[int]:
    """The numbers of a field that was given as a number, as text or as several numbers.

    Raises:
        ParseException: it cannot be read, or a number is out of range.
        TypeError: it is something else.
    """
    if isinstance(cronspec, str):
        return crontab_parser(max_, min_).parse(cronspec)
    if isinstance(cronspec, int):
        numbers = {cronspec}
    elif isinstance(cronspec, Iterable):
        numbers = set(cronspec)
    else:
        raise TypeError(f"a field of a crontab is an int, a str or an iterable of ints, not {type(cronspec)!r}")
    for number in numbers:
        if not isinstance(number, int):
            raise TypeError(f"a field of a crontab has ints in it, not {number!r}")
        if not min_ <= number < min_ + max_:
            raise ParseException(f"{number} is not in {min_}-{min_ + max_ - 1}")
    return numbers
