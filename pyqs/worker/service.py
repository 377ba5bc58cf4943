"""Named threads that cannot die in silence.

Owns: ``Service``, the one start/stop contract of everything that runs in the worker beside its main thread, and
``Signal``, an event that tests await. A service whose thread raises tells the supervisor, which drains the worker and
exits non-zero. Never restarts a thread by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Told the service's name and what it raised; set by the worker.
Crashed = Callable[[str, BaseException], None]


class Service:
    """A thread with a name. Subclasses write ``run``, which returns soon after ``stopping`` is set.

    ``start`` and ``stop`` may each be called more than once; ``stop`` before ``start`` means it never runs.
    """

    def __init__(self, name: str, crashed: Crashed) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._crashed = crashed
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it was started or stopped before."""
        if self._thread is None and not self.stopping.is_set():
            self._thread = threading.Thread(target=self._guard, name=f"pyqs-{self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        self.stopping.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its end; True if it has ended (or never started)."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def run(self) -> None:
        """The thread's work."""
        raise NotImplementedError

    def _guard(self) -> None:
        try:
            self.run()
        except BaseException as exc:
            log.exception("service %s crashed", self.name)
            self._crashed(self.name, exc)
