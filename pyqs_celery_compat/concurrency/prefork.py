"""What in Celery makes a pool of processes; here the names on which instrumentation hangs what a process does first and last.

Owns: ``process_initializer`` and ``process_destructor``, called in each executor of a worker with the alias, and ``TaskPool``.
Runs in executors. Never makes a process.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat.concurrency.base import BasePool

__all__ = ["TaskPool", "process_destructor", "process_initializer"]


class TaskPool(BasePool):
    """Celery's default pool: it cannot be made."""

    uses_semaphore = True
    write_stats = None


def process_initializer(app: Any, hostname: str) -> None:
    """An executor begins, and has done what Celery's processes do here; libraries put themselves around it."""


def process_destructor(pid: int, exitcode: int) -> None:
    """An executor ends, and has told of it; libraries put themselves around it."""
