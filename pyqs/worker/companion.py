"""What looks at a worker beside the probes, in a thread of its own: figures that are written, protection that is asked for.

Owns: ``Companion``, the life of such a thread: it begins when the worker is composed, ends after the worker has, and never is
a reason for the worker to stop. It looks at everything and changes nothing of the worker.
"""

from __future__ import annotations

import logging
from typing import Any

from pyqs.worker.service import Service
from pyqs.worker.watched import Watched

log = logging.getLogger(__name__)

#: Seconds that one has for its last words at the worker's end.
LAST_WORDS = 7.0


class Companion(Service):
    """Looks every ``tick`` seconds, and once more at the end.

    Parameters:
        name: of the thread.
        tick: seconds between two looks.
    """

    def __init__(self, name: str, tick: float) -> None:
        super().__init__(name, self._crashed)
        self._tick = tick
        self._watched: Watched | None = None
        self._broken = False

    def look(self, watched: Watched) -> None:
        """Do what there is to do now."""
        raise NotImplementedError

    def last_look(self, watched: Watched) -> None:
        """The worker has ended: do what is left to do."""

    def attach(self, watched: Watched) -> None:
        """The worker is composed: look at it from now on."""
        self._watched = watched
        self.start()

    def end(self) -> None:
        """The process is about to end."""
        self.stop()
        if not self.join(LAST_WORDS):
            log.warning("%s is left behind: it does not end", self.name)

    def run(self) -> None:
        """Look again and again."""
        assert self._watched is not None
        while not self.stopping.wait(self._tick):
            self._guarded(self.look)
        self._guarded(self.last_look)

    def _guarded(self, what: Any) -> None:
        """A fault of ours here is said once, and the worker goes on."""
        try:
            what(self._watched)
        except Exception:
            if not self._broken:
                self._broken = True
                log.exception("%s failed; the worker goes on, this is said once", self.name)

    def _crashed(self, name: str, exc: BaseException) -> None:
        """What ``_guarded`` lets through ends this thread alone; it is logged already."""
