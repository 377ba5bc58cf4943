"""The order in which a worker stops (design decision 14).

Owns: the deadlines and which step comes next. Driven by the main thread, step by step, so that a second signal is heard in
between. Never waits by itself until the last step.

1. stop the beat that the host may have; stop receiving; what the open polls still bring is released;
2. release the buffer, recall what executors have not started; what is on its last life is run instead (design decision 5);
3. let tasks run on until the deadline; then kill and release the rest, what was acked early excepted;
4. flush outboxes and deletes; the host, which may have been needed until here, says goodbye;
5. stop the heartbeat.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.sqs import Sqs
from pyqs.worker.discovery import Discovery
from pyqs.worker.fetcher import longest_wait
from pyqs.worker.fetchers import Fetchers
from pyqs.worker.leases import Leases
from pyqs.worker.pool import Pool

log = logging.getLogger(__name__)

#: Seconds beyond its wait that an open poll has to answer, and that a dropped one has to end.
POLL_GRACE = 1.0
#: The last part of the time before the deadline, and its most in seconds, that is kept for deletes and releases.
FLUSH_PART = 0.1
FLUSH_MOST = 2.0


@dataclass(slots=True)
class Parts:
    """What has to be stopped."""

    config: WorkerConfig
    sqs: Sqs
    discovery: Discovery
    fetchers: Fetchers
    pool: Pool
    leases: Leases


class Shutdown:
    """One worker's way out. ``begin`` once, ``interrupt`` and ``hurry`` at any time, ``step`` until it answers True.

    Parameters:
        on_begin: called first of all.
    """

    def __init__(
        self, parts: Parts, *, on_begin: Callable[[], object] = lambda: None, clock: Callable[[], float] = boottime
    ) -> None:
        self._parts = parts
        self._on_begin = on_begin
        self._clock = clock
        self.begun = False
        self.hurried = False
        self.deadline: float | None = None
        self._polls_end = 0.0
        self._polls_dropped = False
        self._kill_at: float | None = None
        self._nothing_comes = False

    def begin(self, why: str) -> None:
        """The first SIGTERM, or a reason of the worker's own: steps 1 and 2."""
        if self.begun:
            return
        self.begun = True
        parts = self._parts
        now = self._clock()
        timeout = parts.config.shutdown_timeout
        if timeout is not None:
            self.deadline = now + timeout
            self._kill_at = self.deadline - min(FLUSH_MOST, timeout * FLUSH_PART)
        self._polls_end = now + longest_wait(parts.config) + POLL_GRACE
        limit = "no deadline" if timeout is None else f"deadline in {timeout:g} s"
        log.info("stopping (%s): no more receives; running tasks go on (%s), the rest is released", why, limit)
        self._on_begin()
        parts.discovery.stop()
        parts.fetchers.stop()
        parts.pool.drain()

    def interrupt(self, why: str) -> None:
        """Ctrl-C: as ``begin``, but open polls are dropped at once."""
        self.begin(why)
        if not self._polls_dropped:
            self._drop_polls()

    def hurry(self, why: str) -> None:
        """The second signal: nothing is waited for."""
        self.begin(why)
        if not self.hurried:
            self.hurried = True
            log.warning("%s: what still runs is killed", why)
            self._drop_polls()
            self._parts.pool.kill(acked_early=True, reason=why)

    def step(self) -> bool:
        """Look at the clocks; True when only the flush is left."""
        now = self._clock()
        parts = self._parts
        if self._kill_at is not None and now >= self._kill_at and parts.pool.alive:
            self._kill_at = None
            parts.pool.kill(acked_early=False, reason="the shutdown deadline has passed")
        over = now >= self._polls_end
        if over and not self._polls_dropped:
            self._drop_polls()
            over = False
        if not self._nothing_comes and (over or not parts.fetchers.polling()):
            self._nothing_comes = True
            parts.pool.close()
        return self._nothing_comes and not parts.pool.alive

    def _drop_polls(self) -> None:
        polls = self._parts.fetchers.polling()
        self._polls_dropped = True
        self._polls_end = self._clock() + POLL_GRACE  # for those that have their answer already
        if polls:
            log.info(
                "%d open polls are dropped; a message that SQS was just handing to one stays hidden for up to %d s",
                polls,
                self._parts.leases.seconds,
            )
            self._parts.sqs.abort()
