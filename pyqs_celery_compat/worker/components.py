"""The parts of Celery's worker by name, so that a project's step can say that it comes after one of them.

Owns: these steps. ``Timer`` is the one with something behind it: ``worker.timer``, in the host. The others are in pyqs's own
parent process, which is there before any step is, and need no start.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat.bootsteps import StartStopStep, Step

__all__ = ["Beat", "Consumer", "Hub", "Pool", "StateDB", "Timer"]


class Timer(StartStopStep):
    """``worker.timer``: calls functions later, in a thread of the host."""

    def create(self, parent: Any) -> Any:
        """The worker's timer, whose thread starts with its first entry."""
        from pyqs_celery_compat.utils.timer2 import Timer as Thread

        parent.timer = Thread()
        return None

    def stop(self, parent: Any) -> None:
        """End the thread."""
        parent.timer.stop()

    terminate = stop


class Hub(Step):
    """An event loop, of which there is none; it comes after ``Timer``."""

    requires = (Timer,)


class Pool(Step):
    """The executors."""

    requires = (Hub,)


class StateDB(Step):
    """Revoked ids in a file; there is none."""


class Beat(Step):
    """The beat of ``pyqs worker -B``, a thread of the host, which needs no start by a step."""


class Consumer(Step):
    """The receiving side."""

    last = True
