"""The worker's heartbeat to its host, where an app's handlers of Celery's ``heartbeat_sent`` are.

Owns: when the host hears that the worker is alive. Runs in the worker's main thread, each time it looks around. Never says so
while a thread of the worker hangs, so a probe that goes by what a handler does is right.
"""

from __future__ import annotations

from collections.abc import Callable

from pyqs.clock import boottime
from pyqs.worker.liveness import Liveness
from pyqs.worker.service import Pulse

#: Seconds between two, as in Celery.
EVERY = 2.0


class Beats:
    """Beats while every pulse does.

    Parameters:
        beat: tells the host.
        pulses: of the worker's threads.
    """

    def __init__(self, beat: Callable[[], None], *pulses: Pulse | None, clock: Callable[[], float] = boottime) -> None:
        self._beat = beat
        self._clock = clock
        self._liveness = Liveness(clock)
        self._liveness.watch(*pulses)
        self._due = float("-inf")

    def look(self) -> None:
        """Tell the host if it is time to, and true."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + EVERY
        if self._liveness.failure() is None:
            self._beat()
