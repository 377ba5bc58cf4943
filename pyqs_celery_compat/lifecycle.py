"""What else is to happen when a process of the worker begins and ends: the moments, and who wants to be called at each.

Owns: ``booted``, ``forked``, ``hosted`` and ``closing``, which modules of this package fill when they are imported, and
``runtime.py`` runs. For the package's own use: users have signals, which are sent beside it. Runs in the main thread of the
forkserver, an executor, or the host. Never runs in a process that only publishes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

log = logging.getLogger(__name__)

Hook = TypeVar("Hook", bound="Callable[[Celery], Any]")


class Moment:
    """One of them: functions of the app, called in the order in which they were added.

    Parameters:
        name: for the log.
        fatal: an exception leaves ``run`` and the rest is not called; else it is logged, and the rest is.
    """

    def __init__(self, name: str, *, fatal: bool = False) -> None:
        self.name = name
        self._fatal = fatal
        self._hooks: list[Callable[[Celery], Any]] = []

    def add(self, hook: Hook) -> Hook:
        """Have it called from now on, after those that are there; one of them keeps its place. A decorator, too."""
        if hook not in self._hooks:
            self._hooks.append(hook)
        return hook

    def discard(self, hook: Callable[[Celery], Any]) -> None:
        """Do not call it any more."""
        if hook in self._hooks:
            self._hooks.remove(hook)

    def run(self, app: Celery) -> None:
        """Call them all. Raises what one of them raises only where that is fatal."""
        for hook in tuple(self._hooks):
            try:
                hook(app)
            except Exception:
                if self._fatal:
                    raise
                log.exception("%r failed when the process was %s", hook, self.name)


#: The app and its task modules are imported, the app is finalized; in the forkserver, or in each process where that cannot be
#: forked. What it raises is why the worker does not start.
booted = Moment("booted", fatal=True)
#: A new executor, before ``on_after_fork`` and ``worker_process_init`` are sent.
forked = Moment("forked")
#: The host has the app, and has sent no signal yet.
hosted = Moment("hosted")
#: An executor leaves in order, after ``worker_process_shutdown``.
closing = Moment("closing")
