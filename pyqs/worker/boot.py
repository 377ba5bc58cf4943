"""Starting executors and giving up on starting them.

Owns: how many are on their way, and when failures to start mean that the worker cannot go on: no crash loop. Used by the
pool thread only. Never talks to an executor.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from pyqs.errors import BootFailed
from pyqs.wire import NotReady
from pyqs.worker.service import Pulse
from pyqs.worker.slot import Slot
from pyqs.worker.spawner import Spawner

log = logging.getLogger(__name__)

#: Executors that die before they are ready, in a row, before the worker gives up.
MOST_FAILURES = 3
#: Seconds for which there may be no executor at all, once there was one: a forkserver may have to import the app again.
NO_EXECUTOR = 300.0
#: Why an executor that reported NotReady ends.
NOT_LOADED = "it could not load the tasks"


class Boot:
    """Requests executors and judges those that do not get ready.

    Parameters:
        arrived: told a new slot, from any thread.
        failed: told (slot number, why), from any thread.
        on_failed: told once what makes it pointless to go on.
    """

    def __init__(
        self,
        spawner: Spawner,
        concurrency: int,
        *,
        arrived: Callable[[Slot], None],
        failed: Callable[[int, BaseException], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._spawner = spawner
        self._concurrency = concurrency
        self._arrived = arrived
        self._failed = failed
        self._on_failed = on_failed
        self._failures = 0
        self._retries = 0
        self._hopeless = False
        #: Places beside the others, for executors that leave.
        self._aside = itertools.count(concurrency)
        self.expected = 0
        #: Beats while any executor lives; silent before the first one, however long an import takes.
        self.pulse = Pulse("executors", NO_EXECUTOR, lacking="none alive")

    def look(self, *, alive: bool) -> None:
        """Now and then: whether any executor lives."""
        if alive:
            self.pulse.beat()

    def request(self, number: int) -> None:
        """Have an executor made for this slot; nothing once the worker has given up."""
        if not self._hopeless:
            self.expected += 1
            self._spawner.request(number, self._arrived, self._failed)

    def replace(self, slot: Slot) -> None:
        """Have an executor made for the place of one that leaves, which gets a number of its own meanwhile."""
        number, slot.number = slot.number, next(self._aside)
        self.request(number)

    def came(self) -> None:
        """One of those requested is there, or will never be."""
        self.expected -= 1

    def succeeded(self) -> None:
        """One is ready."""
        self._failures = 0

    def cancel(self) -> None:
        """Those that are on their way are not wanted any more."""
        if self.expected:
            self._spawner.cancel()

    def not_ready(self, slot: Slot, frame: NotReady) -> None:
        """An executor reports that it cannot run tasks; it ends by itself."""
        slot.killed = slot.killed or NOT_LOADED
        if not frame.retry_without_preload:
            self._give_up(BootFailed(f"the tasks could not be loaded: {frame.reason}", frame.details))
        elif self._spawner.without_preload(frame.forkserver_pid):
            log.warning("%s; every executor imports for itself now", frame.reason)
        else:
            # Siblings from the same forkserver say the same, once each; more than that would be a loop.
            self._retries += 1
            if self._retries > self._concurrency:
                self._give_up(BootFailed(f"the tasks could not be loaded: {frame.reason}"))

    def died(self, number: int, reason: str) -> None:
        """One ended before it was ready, or could not be started: try again, but not for ever."""
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self._give_up(BootFailed(f"{reason} ({self._failures} in a row)"))
        else:
            log.error("%s; trying again", reason)
            self.request(number)

    def _give_up(self, exc: BootFailed) -> None:
        if not self._hopeless:
            self._hopeless = True
            self._on_failed(exc)
