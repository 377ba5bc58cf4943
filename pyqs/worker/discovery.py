"""Finds the queues and keeps one set of fetchers for each.

Owns: which queues are consumed, from the first look (on the main thread, where a bad name ends the worker) to the jittered
looks of its own thread. Never drops a queue because a look failed: only SQS saying that it is gone does that.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from pyqs.config import WorkerConfig
from pyqs.errors import ConfigError, PyQSError, SqsError
from pyqs.queues import DeadLetters, Found, canonical_name, compile_patterns, discover, is_arn, is_url
from pyqs.sqs import Sqs
from pyqs.worker.fetcher import QueueFetchers
from pyqs.worker.service import Crashed, Service

log = logging.getLogger(__name__)


class Discovery(Service):
    """Queues by name, each with its fetchers.

    Parameters:
        make: makes the fetchers of one queue (name, URL), not started.
    """

    def __init__(self, sqs: Sqs, config: WorkerConfig, make: Callable[[str, str], QueueFetchers], crashed: Crashed) -> None:
        super().__init__("discovery", crashed)
        self._sqs = sqs
        self._config = config
        self._make = make
        self._patterns = compile_patterns(config.queues)
        self._exclude = compile_patterns(config.exclude) if config.exclude else ()
        self._dead_letters = DeadLetters()
        self._look_now = threading.Event()
        self._lock = threading.Lock()
        self._missing: set[str] = set()
        self._failing = False
        self.fetchers: dict[str, QueueFetchers] = {}

    def first_look(self) -> None:
        """Find the queues; with ``strict`` or ``burst`` a literal name that does not exist ends the worker.

        Raises:
            ConfigError: a missing queue under strict or burst, or an address of another region.
            SqsError: credentials or permissions that can never work, or nobody answered.
        """
        if self._config.create_queues:
            self._create_missing()
        found = self._discover(suggest=True)
        if found.missing and (self._config.strict or self._config.burst):
            raise ConfigError("; ".join(_missing_line(name, near) for name, near in found.missing.items()))
        self._report_missing(found)
        for name, why in found.skipped.items():
            log.info("queue %s: not consumed: %s", name, why)
        self._follow(found)

    def run(self) -> None:
        """Look again every so often, and at once when a queue is gone; until stopped."""
        while not self.stopping.is_set():
            # Jittered, so that a fleet does not ask in the same second.
            self._look_now.wait(self._config.refresh * random.uniform(0.8, 1.2))
            self._look_now.clear()
            if self.stopping.is_set():
                return
            self._look()

    def stop(self) -> None:
        """Stop looking; fetchers are stopped by ``stop_fetchers``."""
        super().stop()
        self._look_now.set()

    def stop_fetchers(self) -> None:
        """No receive begins after this."""
        with self._lock:
            groups = list(self.fetchers.values())
        for group in groups:
            group.stop()

    def join_fetchers(self, timeout: float) -> bool:
        """Wait for the open polls; True if all have ended."""
        with self._lock:
            groups = list(self.fetchers.values())
        return all(group.join(timeout) for group in groups)

    def gone(self, queue: str) -> None:
        """A fetcher was told that its queue does not exist."""
        with self._lock:
            group = self.fetchers.pop(queue, None)
        if group is not None:
            group.stop()
            log.warning("queue %s: it does not exist any more, so it is no longer consumed", queue)

    def quiet(self) -> bool:
        """True once every queue has answered two receives in a row with nothing, with nothing happening meanwhile."""
        with self._lock:
            return all(group.quiet for group in self.fetchers.values())

    def _look(self) -> None:
        try:
            found = self._discover(suggest=False)
        except PyQSError as exc:
            if not self._failing:
                log.warning("looking for queues fails, and is tried again; those that are known go on: %s", exc)
            self._failing = True
            return
        if self._failing:
            self._failing = False
            log.info("looking for queues works again")
        self._report_missing(found)
        self._follow(found)

    def _discover(self, *, suggest: bool) -> Found:
        predefined = dict(self._config.predefined_queues) or None
        return discover(
            self._sqs,
            self._patterns,
            exclude=self._exclude,
            prefix_bound=self._config.queue_prefix,
            predefined=predefined,
            dead_letters=self._dead_letters,
            suggest=suggest,
        )

    def _follow(self, found: Found) -> None:
        """Start what is new. What a look does not show any more is left to SQS's word: listings lag."""
        for name, url in found.queues.items():
            with self._lock:
                if name in self.fetchers or self.stopping.is_set():
                    continue
                group = self.fetchers[name] = self._make(name, url)
            log.info("queue %s: consuming", name)
            group.start()

    def _report_missing(self, found: Found) -> None:
        for name, near in found.missing.items():
            if name not in self._missing:
                log.warning("%s; it is looked for again", _missing_line(name, near))
        self._missing = set(found.missing)

    def _create_missing(self) -> None:
        for pattern in self._patterns:
            text = pattern.text
            if pattern.is_glob or is_url(text) or is_arn(text):
                continue
            name = canonical_name(text, self._config.queue_prefix)
            try:
                self._sqs.queue_url(name)
            except SqsError:
                attributes = dict(self._config.create_attributes)
                if name.endswith(".fifo"):
                    attributes["FifoQueue"] = "true"
                self._sqs.create_queue(name, attributes)
                log.warning("queue %s: created; it has no dead-letter queue", name)


def _missing_line(name: str, near: tuple[str, ...]) -> str:
    hint = f"; there is {', '.join(near)}" if near else ""
    return f"queue {name!r} does not exist{hint}"
