"""Celery's pools of processes, threads or greenlets, of which there are none here.

Owns: ``BasePool``, which libraries import to look at it or to make another one, and which says on use what there is
instead. Never runs a task.
"""

from __future__ import annotations

from typing import Any

__all__ = ["BasePool"]


class BasePool:
    """Base of pools: it has their attributes, and cannot be made."""

    RUN, CLOSE, TERMINATE = 0x1, 0x2, 0x3

    signal_safe = True
    is_green = False
    uses_semaphore = False
    task_join_will_block = True
    body_can_be_buffer = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__}: pools cannot be made or replaced here; tasks run in executors, which are processes "
            "(pyqs worker -c N), and what pools are subclassed for the signals worker_process_init and task_prerun can do"
        )
