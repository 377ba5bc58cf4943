"""Celery's pools by name: here there is one kind, executors, and this says so.

Owns: ``get_implementation``, ``get_available_pool_names`` and ``maybe_patch_concurrency``. Runs wherever a library asks. Never
patches the interpreter.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured

__all__ = ["get_available_pool_names", "get_implementation", "maybe_patch_concurrency"]

#: Celery's names of what executors are.
_EXECUTORS = ("prefork", "processes", "solo")
_GREEN = ("eventlet", "gevent")


def get_available_pool_names() -> tuple[str, ...]:
    """The values of ``worker_pool`` and ``-P`` that a worker accepts."""
    return _EXECUTORS


def get_implementation(cls: Any) -> Any:
    """The pool class of this name; a class comes back as it is.

    Raises:
        ImproperlyConfigured: a name of a pool that is not there.
    """
    if not isinstance(cls, str):
        return cls
    if cls not in _EXECUTORS:
        raise ImproperlyConfigured(f"no pool {cls!r}: tasks run in executors, processes of their own ({', '.join(_EXECUTORS)})")
    from pyqs_celery_compat.concurrency.prefork import TaskPool

    return TaskPool


def maybe_patch_concurrency(
    argv: Sequence[str] | None = None,
    short_opts: Sequence[str] = ("-P",),
    long_opts: Sequence[str] = ("--pool",),
    patches: Any = None,
) -> None:
    """Refuse the pools for which Celery patches the interpreter; nothing for the others.

    Parameters:
        argv: the command line; None is this process's.
        short_opts, long_opts: the options that name the pool. patches: accepted and not used.

    Raises:
        ImproperlyConfigured: the command line asks for eventlet or gevent.
    """
    words = list(sys.argv if argv is None else argv)
    for place, word in enumerate(words):
        option, joined, value = word.partition("=")
        if joined and option in long_opts:
            pool = value
        elif word in (*short_opts, *long_opts):
            pool = words[place + 1] if place + 1 < len(words) else ""
        else:
            pool = next((word[len(short) :] for short in short_opts if word.startswith(short) and word != short), "")
        if pool in _GREEN:
            raise ImproperlyConfigured(f"no pool {pool!r}: tasks run in executors, which are processes; leave it out")
