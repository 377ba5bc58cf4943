"""A task's message in Celery's worker, by name: what libraries import to look at it or to wrap its methods.

Owns: ``Request``. Loaded by those who ask for it only. Never made: here a message is a delivery, and what a task sees of it is
``task.request``.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["Request"]

_INSTEAD = (
    "no messages are made into Request objects here: signals tell of each step of a task (task_received, task_prerun, ...)"
)


class Request:
    """Can be imported, subclassed and wrapped; nothing of it is ever called. A task's own one is named when a worker starts."""

    acknowledged = False
    time_start: float | None = None
    worker_pid: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(_INSTEAD)

    def execute_using_pool(self, pool: Any, **kwargs: Any) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def execute(self, loglevel: Any = None, logfile: Any = None) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_accepted(self, pid: int, time_accepted: float) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_timeout(self, soft: bool, timeout: float) -> NoReturn:
        """Nobody calls it: a killed task's ``on_failure`` has a TimeLimitExceeded."""
        raise NotImplementedError(_INSTEAD)

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_retry(self, exc_info: Any) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> NoReturn:
        """Nobody calls it."""
        raise NotImplementedError(_INSTEAD)
