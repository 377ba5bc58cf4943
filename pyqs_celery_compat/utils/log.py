"""Loggers as Celery hands them to task modules, and the format that knows the running task.

Owns: ``get_logger``, ``get_task_logger``, ``TaskFormatter``. Runs in every process; configures no handler.
"""

from __future__ import annotations

import logging

from pyqs_celery_compat._state import get_current_task

base_logger = logging.getLogger("celery")
task_logger = logging.getLogger("celery.task")
worker_logger = logging.getLogger("celery.worker")

_RESERVED = {"celery", "celery.task"}


def get_logger(name: str) -> logging.Logger:
    """The logger of this name, below ``celery`` if it had no parent of its own."""
    found = logging.getLogger(name)
    if found.parent is logging.root and found is not base_logger:
        found.parent = base_logger
    return found


def get_task_logger(name: str) -> logging.Logger:
    """The logger of a task module: below ``celery.task``.

    Raises:
        RuntimeError: the name is one of Celery's own.
    """
    if name in _RESERVED:
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    found = get_logger(name)
    parent: logging.Logger | None = found
    while parent is not None and parent is not task_logger:
        parent = parent.parent
    if parent is None:
        found.parent = task_logger
    return found


class TaskFormatter(logging.Formatter):
    """A formatter whose records know ``%(task_id)s`` and ``%(task_name)s``; ``???`` outside of a task."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        task = get_current_task()
        if task is not None and task.request is not None:
            record.__dict__.update(task_id=task.request.id, task_name=task.name)
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)
