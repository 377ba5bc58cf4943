"""Stands for ``billiard.pool``: the class on whose end libraries hang what a process must do before it goes.

Owns: ``Worker``. Loaded under billiard's name, in any process with the alias; its methods are called when an executor ends.
"""

from __future__ import annotations

from typing import Any


class Worker:
    """A process of a pool, to libraries that put something around its methods."""

    ends_quietly = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("billiard is not installed, so there are no pools of it here (pip install billiard)")

    def workloop(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the tasks have run elsewhere."""

    def _do_exit(self, pid: int, exitcode: int, exc: BaseException | None = None) -> None:
        """Nothing: the executor ends by itself."""
