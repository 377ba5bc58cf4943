"""Stands for ``billiard.exceptions``: the exceptions that a task meets.

Owns: nothing itself. Loaded under billiard's name, in any process with the alias. Never has classes of its own: they are
those of ``celery.exceptions``, and multiprocessing's.
"""

from __future__ import annotations

from multiprocessing.context import AuthenticationError, BufferTooShort, ProcessError, TimeoutError

from pyqs_celery_compat.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError

__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "ProcessError",
    "SoftTimeLimitExceeded",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]
