"""Texts of objects that are never too long and never raise.

Owns: ``saferepr`` and ``reprstream``; the writer is ``argument_repr``. Pure.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from pyqs_celery_compat.argument_repr import MAX_LEVELS, argument_repr

__all__ = ["reprstream", "saferepr"]


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = MAX_LEVELS, seen: set[Any] | None = None) -> str:
    """An object's text.

    Parameters:
        maxlen: characters after which the rest is "..."; None for all of it.
        maxlevels: levels of containers that are shown.
        seen: accepted and not used: the levels bound what holds itself.
    """
    return argument_repr(o, sys.maxsize if maxlen is None else maxlen, maxlevels)


def reprstream(
    stack: Iterable[Any], seen: set[Any] | None = None, maxlevels: int = MAX_LEVELS, level: int = 0
) -> Iterable[str]:
    """The texts of these objects, one after the other."""
    return (saferepr(item, maxlevels=maxlevels - level) for item in stack)
