"""Stands for ``billiard`` where it is not installed: what libraries import of it beside Celery, and no processes.

Owns: the version that libraries look at. Loaded by them, under billiard's name, in any process with the alias. Never starts a
process: who wants billiard's own pools installs billiard, which then stays in its place.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat._billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

__all__ = ["VERSION", "SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError"]

VERSION = (4, 3, 2, "")
__version__ = "4.3.2"


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"cannot import name {name!r} from 'billiard': it is not installed", name="billiard")
