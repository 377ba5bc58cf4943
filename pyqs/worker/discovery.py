"""Keeps looking which queues the patterns mean: new ones are found, deleted ones dropped.

Owns: the refresh (jittered), what was said about missing names, and the creation of missing literal queues when asked for.
Runs in a thread of its own. Never receives.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from pyqs.backoff import NetworkBackoff
from pyqs.config import WorkerConfig
from pyqs.errors import ConfigError, PyQSError, QueueNotFound
from pyqs.queues.discovery import DeadLetters, Found, discover
from pyqs.queues.names import FIFO
from pyqs.queues.patterns import Pattern, compile_patterns
from pyqs.sqs import Sqs
from pyqs.worker.fetchers import Fetchers
from pyqs.worker.gone import Gone
from pyqs.worker.service import OnCrash, Service
from pyqs.worker.trouble import Trouble

log = logging.getLogger(__name__)

#: Part of the refresh by which it is shortened at random, so that many workers do not list at once.
JITTER = 0.2
#: Seconds after a queue was found to be gone until it is looked for again, at least.
SOON = 2.0
#: Seconds between looks, at most, while a queue that was named is not there, or one has gone a short time ago.
MISSED = 20.0


class Discovery(Service):
    """Finds queues and tells the fetchers.

    Parameters:
        on_found: told after each successful look.
        on_failed: told what makes it pointless to go on.
    """

    def __init__(
        self,
        config: WorkerConfig,
        sqs: Sqs,
        fetchers: Fetchers,
        *,
        on_found: Callable[[Found], None],
        on_failed: Callable[[Exception], None],
        on_crash: OnCrash,
    ) -> None:
        super().__init__("discovery", on_crash)
        self._config = config
        self._sqs = sqs
        self._fetchers = fetchers
        self._on_found = on_found
        self._on_failed = on_failed
        self._patterns: list[Pattern] = list(compile_patterns(config.queues))
        self._exclude: list[Pattern] = list(compile_patterns(config.exclude, excluding=True))
        self._dead_letters = DeadLetters()
        self._backoff = NetworkBackoff()
        self._hurry = threading.Event()
        self._missing: set[str] = set()
        self._absent: set[str] = set()
        self._skipped: set[str] = set()
        self._overruled: set[str] = set()
        fails = "looking for queues fails and is tried again until it works"
        self._trouble = Trouble(log, fails, "looking for queues works again")
        self._first = True
        self._gone = Gone()
        #: For what fetchers' threads change, too: the names that were said to be absent, and the unproven ones.
        self._lock = threading.Lock()
        #: Queues given by URL or ARN that have not answered yet: nothing asks whether they exist before the first receive.
        self._unproven = {pattern.name() for pattern in self._patterns if pattern.is_address}

    def run(self) -> None:
        """Look, wait, look again."""
        while not self.stopping.is_set():
            pause = self._look()
            if pause is None:
                return
            self._hurry.wait(pause)
            if self._hurry.is_set():
                self._hurry.clear()
                self.stopping.wait(SOON)

    def stop(self) -> None:
        super().stop()
        self._hurry.set()

    def gone(self, queue: str, exc: QueueNotFound) -> None:
        """A fetcher was told that its queue does not exist."""
        existed = self._fetchers.drop(queue)
        if existed is None:
            return
        self._gone.notice(queue, anew=existed)
        with self._lock:
            unproven, said = queue in self._unproven, queue in self._absent
            self._absent.add(queue)
            if existed:
                self._unproven.discard(queue)
        if existed:
            log.warning("queue %s: no longer consumed, it is gone (%s)", queue, exc.code)
        elif unproven and (self._config.strict or self._config.burst):
            self._on_failed(ConfigError(f"queue {queue!r}, given by its address, does not exist ({exc.code})"))
        elif not said:
            log.warning("queue %s: not consumed, it does not exist (%s); it is looked for again", queue, exc.code)
        if not self._config.burst:
            self._hurry.set()

    def _look(self) -> float | None:
        """One look; seconds until the next, None when there is to be none."""
        strict = self._first and (self._config.strict or self._config.burst)
        try:
            found = self._find()
            if strict:
                self._check(found)
        except PyQSError as exc:
            if strict or isinstance(exc, ConfigError):
                self._on_failed(exc)
                return None
            self._trouble.failed(exc)
            return self._backoff.failed()
        self._backoff.succeeded()
        self._trouble.worked()
        self._say(found)
        for name in self._back(found):
            log.info("queue %s: consuming again", name)
        waiting = self._gone.waiting()
        queues = {name: url for name, url in found.queues.items() if name not in waiting}
        added, dropped = self._fetchers.sync(queues, found.options())
        if not self._first:
            for name in added:
                if name not in self._absent:  # whether that one is there will be seen
                    log.info("queue %s: consuming", name)
        for name in dropped:
            log.info("queue %s: no longer consumed", name)
        self._first = False
        self._on_found(found)
        if self._config.burst:
            return None  # what matched at the start is what is drained
        refresh = min(self._config.refresh, MISSED) if found.missing or self._gone else self._config.refresh
        return self._gone.pause(refresh * (1 - JITTER * random.random()))

    def _back(self, found: Found) -> list[str]:
        """Those that were gone and have answered again."""
        if not self._gone:
            return []
        answered = {state.name for state in self._fetchers.states if state.answered_at is not None}
        over = self._gone.settle(answered, found.queues)
        with self._lock:
            self._absent -= over
        return sorted(over & answered)

    def _find(self) -> Found:
        predefined = dict(self._config.predefined_queues) if self._config.predefined_queues else None

        def look() -> Found:
            return discover(
                self._sqs,
                self._patterns,
                exclude=self._exclude,
                prefix_bound=self._config.queue_prefix,
                predefined=predefined,
                dead_letters=self._dead_letters,
                # ListQueues is for wildcards, but for the last words of a worker that does not start for a wrong name.
                suggest=self._first and (self._config.strict or self._config.burst) and not self._config.create_queues,
            )

        found = look()
        absent = [p.name(self._config.queue_prefix) for p in self._patterns if p.text in found.missing and not p.is_address]
        creatable = [name for name in absent if not self._gone.uncreatable(name)]
        if not creatable or not self._config.create_queues or predefined is not None:
            return found
        for name in creatable:
            attributes = dict(self._config.create_attributes) | ({"FifoQueue": "true"} if name.endswith(FIFO) else {})
            self._sqs.create_queue(name, attributes, dict(self._config.create_tags) or None)
            log.warning("queue %s: created; it has no dead-letter queue", name)
        return look()

    def _check(self, found: Found) -> None:
        """With --strict and --burst everything must be there at the start."""
        if found.missing:
            raise ConfigError("; ".join(_missing(text, near) for text, near in found.missing.items()))
        if not found.queues:
            raise ConfigError(f"no queue matches {', '.join(repr(one.text) for one in self._patterns)}")

    def _say(self, found: Found) -> None:
        """What is missing or left alone, once each."""
        for text, near in found.missing.items():
            if text not in self._missing:
                log.warning("%s; it is looked for again", _missing(text, near))
        self._missing = set(found.missing)
        for name, why in found.skipped.items():
            if name not in self._skipped:
                log.info("queue %s: not consumed: %s", name, why)
        self._skipped = set(found.skipped)
        for name, why in found.overruled().items():
            if name not in self._overruled:
                log.warning("queue %s: %s", name, why)
        self._overruled = set(found.overruled())
        if not found.queues and self._first:
            log.warning("no queue to consume yet; new ones are looked for")


def _missing(text: str, near: tuple[str, ...]) -> str:
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"queue {text!r} does not exist{hint}"
