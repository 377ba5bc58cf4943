"""Why arguments do not fit a function, in the words in which Python says it when the function is called.

Owns: those words. Pure; asked only when they do not fit.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Any


def reason(parameters: Sequence[Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """What Python would say behind the function's name and ``()``; None if they fit."""
    positional = [p for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    only_named = [p for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
    kinds = {p.kind for p in parameters}
    by_position = {p.name for p in positional[: len(args)]}
    by_name = {p.name for p in positional if p.kind is not Parameter.POSITIONAL_ONLY} | {p.name for p in only_named}
    hidden = [p.name for p in positional if p.kind is Parameter.POSITIONAL_ONLY and p.name in kwargs]
    for name in kwargs:
        if name in by_name:
            if name in by_position:
                return f"got multiple values for argument {name!r}"
        elif Parameter.VAR_KEYWORD in kinds:
            continue
        elif hidden:
            return f"got some positional-only arguments passed as keyword arguments: {', '.join(hidden)!r}"
        else:
            return f"got an unexpected keyword argument {name!r}"
    if len(args) > len(positional) and Parameter.VAR_POSITIONAL not in kinds:
        return _too_many(positional, len(args), sum(p.name in kwargs for p in only_named))
    open_ones = [p for p in positional[len(args) :] if p.kind is Parameter.POSITIONAL_ONLY or p.name not in kwargs]
    return _missing(open_ones, "positional") or _missing([p for p in only_named if p.name not in kwargs], "keyword-only")


def _too_many(positional: Sequence[Parameter], given: int, named: int) -> str:
    most, least = len(positional), sum(p.default is p.empty for p in positional)
    takes = f"from {least} to {most}" if least < most else str(most)
    were = f"{given} positional argument{'s' * (given != 1)} (and {named} keyword-only argument{'s' * (named != 1)})"
    said = f"{were} were" if named else f"{given} {'was' if given == 1 else 'were'}"
    return f"takes {takes} positional argument{'s' * (most != 1 or least < most)} but {said} given"


def _missing(parameters: Sequence[inspect.Parameter], kind: str) -> str | None:
    names = [repr(p.name) for p in parameters if p.default is p.empty]
    if not names:
        return None
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}{',' * (len(names) > 2)} and {names[-1]}"
    return f"missing {len(names)} required {kind} argument{'s' * (len(names) != 1)}: {listed}"
