"""The worker as a program.

Owns: ``Worker``, which says on use what there is instead. Never starts anything.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat.bin import NO_COMMAND

__all__ = ["Worker"]


class Worker:
    """Celery's worker: here it is a program of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(NO_COMMAND)
