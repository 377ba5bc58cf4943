"""Two tasks of one name: who has it now, said once to whoever wrote the second one.

Owns: ``first_stays`` and ``last_replaces``. Runs at import of the user's modules and where an app is finalized. Never decides
who gets the name: that is ``declaring``'s part.
"""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from pyqs_celery_compat.exceptions import DuplicateTaskNameWarning

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def first_stays(told: set[str], name: str, first: Any, second: Callable[..., Any]) -> None:
    """A function is no task, because another one has its name.

    Parameters:
        told: names of which it was said before; each is said once.
        first: the task that has the name. One that was made of a class, or of the same function, is none of our business.
    """
    known = getattr(first, "_decorated_fun", None)
    if known is not None and known is not second and not name.startswith("celery."):  # apps may share a registry
        _warn(told, name, f"two functions: {_place(known)} has it, and {_place(second)}, which came later, is no task")


def last_replaces(told: set[str], name: str, first: Any, second: Any) -> None:
    """A task of a class was registered in place of another."""
    if type(first) is not type(second):
        before, now = (_place(getattr(task, "_decorated_fun", None) or type(task)) for task in (first, second))
        _warn(told, name, f"two tasks: {before} was replaced by {now}, which calls of this name reach now")


def _warn(told: set[str], name: str, what: str) -> None:
    if name in told:
        return
    told.add(name)
    text = f"task name {name!r} is used by {what}; give one of them another name, by name= or by renaming it"
    warnings.warn(DuplicateTaskNameWarning(text), stacklevel=_levels_to_the_user())


def _levels_to_the_user() -> int:
    """As ``stacklevel`` of a warning in ``_warn``: the innermost caller that is not in this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(_HERE):
        frame, level = frame.f_back, level + 1
    return level


def _place(thing: Any) -> str:
    """A function or class by its name and where it is."""
    code = getattr(inspect.unwrap(thing), "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{thing.__module__}.{getattr(thing, '__qualname__', thing)}{where}"
