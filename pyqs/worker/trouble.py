"""What is said about something that fails and works again: one line for each change, and few where it changes all the time.

Owns: the lines about one kind of call on one queue. For any thread; knows neither the call nor its error's meaning. Never
decides anything: whoever fails goes on as if nobody had said a word.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pyqs.clock import boottime

#: Seconds without a failure after which something that kept failing now and then counts as working.
CALM = 60.0


class Trouble:
    """One thing that can fail.

    Parameters:
        log: where it is said.
        fails, works: the two lines, "queue jobs: receiving fails ..." and "queue jobs: receiving again".
    """

    def __init__(self, log: logging.Logger, fails: str, works: str, *, clock: Callable[[], float] = boottime) -> None:
        self._log = log
        self._fails = fails
        self._works = works
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._kinds: set[type[Exception]] = set()
        self._last_failure = self._last_recovery = float("-inf")
        self._wavers = False

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._since is not None

    def failed(self, exc: Exception) -> None:
        """It failed once more, for this reason."""
        with self._lock:
            now = self._last_failure = self._clock()
            began = self._since is None
            if self._since is None:
                self._since = now
                self._kinds.clear()
            news = type(exc) not in self._kinds and not self._wavers
            self._kinds.add(type(exc))
            wavers = news and began and now - self._last_recovery < CALM
            self._wavers = self._wavers or wavers
        if wavers:
            self._log.warning(
                "%s (it does so again and again: no more is said until it has worked for a minute): %s", self._fails, exc
            )
        elif news:
            self._log.warning("%s: %s", self._fails, exc)

    def worked(self) -> None:
        """It worked."""
        if self._since is None and not self._wavers:
            return  # as nearly always, without the lock
        with self._lock:
            now = self._clock()
            since, self._since = self._since, None
            if since is not None and not self._wavers:
                self._last_recovery = now
            elif self._wavers and now - self._last_failure >= CALM:
                self._wavers = False
                since = self._last_failure
            else:
                return
        if since is not None:
            self._log.info("%s after %.0f s", self._works, now - since)
