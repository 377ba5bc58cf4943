"""Starting executors: when one is asked for, which are given up, and when the worker cannot go on. No hot loop.

Owns: how many are on their way, the pauses before the next try, and how long one may take until it is ready. Used by the pool
thread only. Never talks to an executor.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable

from pyqs.backoff import NetworkBackoff, exponential
from pyqs.clock import boottime
from pyqs.errors import BootFailed
from pyqs.wire import NotReady
from pyqs.worker.liveness import PAUSE
from pyqs.worker.service import Pulse
from pyqs.worker.slot import LOADS, Slot
from pyqs.worker.spawner import Spawner
from pyqs.worker.trouble import Trouble

log = logging.getLogger(__name__)

#: Executors that die before they are ready, in a row, before the worker gives up; also tries to start the first one.
MOST_FAILURES = 3
#: Seconds after which it is said that an executor is still loading, and after which one is killed if another was ever ready.
LOADS_LONG = 60.0
LOAD_LIMIT = 300.0
#: Seconds for which no executor may be ready, once one was: longer than it takes to replace one that hangs while it loads.
NO_EXECUTOR = LOAD_LIMIT + 120.0
#: An executor that has lived for so many seconds, or has started a task, is replaced at once. The first pause of a place
#: where they die sooner, doubled each time, and the longest.
LONG_ENOUGH = 30.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
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
        arrived: Callable[[Slot], object],
        failed: Callable[[int, Exception], object],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._spawner = spawner
        self._concurrency = concurrency
        self._arrived = arrived
        self._failed = failed
        self._on_failed = on_failed
        self._failures = 0
        self._retries = 0
        #: Nothing more is requested: the worker has given up, or stops.
        self._over = False
        #: An executor was ready: the tasks can be loaded.
        self._proven = False
        #: Starts that fail, all places together: until when none is tried, and what is said of it.
        self._backoff = NetworkBackoff()
        self._try_at = float("-inf")
        self._trouble = Trouble(log, "executors cannot be started, which is tried again", "executors are started again")
        #: How many in a row have died in a place soon after they were ready, having started nothing.
        self._short_lives: dict[int, int] = {}
        #: Place -> the boot-time second at which an executor is requested for it.
        self._later: dict[int, float] = {}
        self._looked_at = boottime()
        self._awake_since = float("-inf")
        #: Places beside the others, for executors that leave.
        self._aside = itertools.count(concurrency)
        self.expected = 0
        #: Beats while any executor is ready; silent before the first one, however long an import takes.
        self.pulse = Pulse("executors", NO_EXECUTOR, lacking="none ready")

    def look(self, slots: Iterable[Slot], now: float) -> None:
        """Every second or so: request those whose time has come, and see which do not get ready."""
        if now - self._looked_at > PAUSE:  # nobody could load anything while this machine slept
            self._awake_since = now
        self._looked_at = now
        for number in [number for number, at in self._later.items() if at <= now]:
            del self._later[number]
            self.request(number)
        for slot in slots:
            if slot.ready:
                self.pulse.beat()
            elif not slot.killed and slot.kill_at is None:
                self._look_at_loading(slot, now)

    def _look_at_loading(self, slot: Slot, now: float) -> None:
        seconds = now - max(slot.made_at, self._awake_since)
        if seconds >= LOADS_LONG and not slot.loads_long:
            slot.loads_long = True
            log.warning("%s is still loading after %.0f s", slot, seconds)
        if seconds >= LOAD_LIMIT and self._proven:
            slot.give_up(now, LOADS)

    def request(self, number: int) -> None:
        """Have an executor made for this place; nothing once the worker has given up, or stops."""
        if not self._over:
            now = boottime()
            if now < self._try_at:
                self._later[number] = self._try_at
            else:
                self.expected += 1
                self._spawner.request(number, self._arrived, self._failed)

    def replace(self, slot: Slot) -> None:
        """Have an executor made for the place of one that leaves, which gets a number of its own meanwhile."""
        number, slot.number = slot.number, next(self._aside)
        self.request(number)

    def came(self) -> None:
        """One of those requested is there."""
        self.expected -= 1
        self._backoff.succeeded()
        self._try_at = float("-inf")
        self._trouble.worked()

    def not_made(self, number: int, exc: Exception) -> None:
        """One of those requested will never be: no process, memory or descriptor is left, or the forkserver has died.

        That passes, so once executors were ready it is tried for ever. Those that were requested together fail together.
        """
        self.expected -= 1
        now = boottime()
        if now >= self._try_at and not self._over:
            self._try_at = now + self._backoff.failed()
            reason = f"an executor could not be started: {type(exc).__name__}: {exc}"
            if self._proven:
                self._trouble.failed(exc)
            elif self._backoff.failures >= MOST_FAILURES:
                self._give_up(BootFailed(f"{reason} ({self._backoff.failures} in a row)"))
            else:
                log.error("%s; trying again", reason)
        self.request(number)

    def succeeded(self) -> None:
        """One is ready."""
        self._failures = 0
        self._proven = True

    def ended(self, slot: Slot, how: str) -> None:
        """One has died: another takes its place. Where they die again and again before they are of use, the next one waits."""
        if not slot.ready and slot.killed != NOT_LOADED:
            self._died(slot.number, f"{slot} {how} before it was ready")
        elif not slot.ready or slot.held or slot.served or boottime() - slot.made_at > LONG_ENOUGH:
            self._short_lives.pop(slot.number, None)
            self.request(slot.number)
        else:
            lives = self._short_lives[slot.number] = self._short_lives.get(slot.number, 0) + 1
            pause = exponential(lives, base=FIRST_PAUSE, cap=LONGEST_PAUSE, jitter="none")
            self._later[slot.number] = boottime() + pause

    def cancel(self) -> None:
        """No more are wanted, those that are on their way included."""
        self._over = True
        self._later.clear()
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

    def _died(self, number: int, reason: str) -> None:
        """One ended before it was ready: try again, but not for ever."""
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self._give_up(BootFailed(f"{reason} ({self._failures} in a row)"))
        else:
            log.error("%s; trying again", reason)
            self.request(number)

    def _give_up(self, exc: BootFailed) -> None:
        if not self._over:
            self._over = True
            self._on_failed(exc)
