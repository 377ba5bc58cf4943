"""Receives messages of one queue and offers them to the pool as deliveries.

Owns: the long polls of one queue: one always, more while receives answer at once and executors are hungry. Each poll is a
thread. Never decodes a body, never ends on a network error: it classifies, says so once, waits and asks again.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyqs.backoff import NetworkBackoff
from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.errors import QueueNotFound, SqsError
from pyqs.message import Delivery, ReceivedMessage
from pyqs.sqs import Sqs
from pyqs.worker.credit import Credit
from pyqs.worker.service import Crashed, Service

log = logging.getLogger(__name__)

#: Seconds between two looks at a full worker; a change of credit wakes the fetcher at once.
_LOOK = 1.0
#: Seconds of a poll in burst mode: a long poll, which asks all of SQS's servers, but not for long.
_BURST_WAIT = 1

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Intake:
    """What every fetcher of a worker shares."""

    sqs: Sqs
    config: WorkerConfig
    credit: Credit
    offer: Callable[[Sequence[Delivery]], None]
    release: Callable[[Sequence[Delivery]], None]
    missing: Callable[[str], None]
    visibility: Callable[[str], int | None]
    one_by_one: Callable[[str], bool]
    activity: Callable[[], int]
    crashed: Crashed


class QueueFetchers:
    """All polls of one queue.

    Parameters:
        queue: the SQS queue's name.
        url: its URL.
    """

    def __init__(self, queue: str, url: str, intake: Intake) -> None:
        self.queue = queue
        self.url = url
        self.intake = intake
        self.stopping = False
        #: Empty receives in a row of the first fetcher since this worker last did anything; see ``quiet``.
        self.empty = 0
        self.answered_at = boottime()
        self._lock = threading.Lock()
        self._fetchers: list[Fetcher] = [Fetcher(self, first=True)]

    def start(self) -> None:
        """Start the first poll."""
        self._fetchers[0].start()

    def stop(self) -> None:
        """No receive begins after this; open ones bring what they bring, and it is released."""
        with self._lock:
            self.stopping = True
            for fetcher in self._fetchers:
                fetcher.stop()

    def join(self, timeout: float) -> bool:
        """Wait for all polls to end; True if they have."""
        deadline = boottime() + timeout
        return all(fetcher.join(max(0.0, deadline - boottime())) for fetcher in list(self._fetchers))

    @property
    def quiet(self) -> bool:
        """True once two receives in a row brought nothing and nothing happened here meanwhile."""
        return self.empty >= 2

    def grow(self) -> None:
        """One more poll, if the cap allows it."""
        with self._lock:
            self._fetchers = [f for f in self._fetchers if f.alive or not f.stopping.is_set()]
            if self.stopping or len(self._fetchers) >= self.intake.config.fetchers_per_queue:
                return
            extra = Fetcher(self, first=False)
            self._fetchers.append(extra)
            extra.start()


class Fetcher(Service):
    """One poll after another. An extra one leaves at its first empty answer."""

    def __init__(self, group: QueueFetchers, *, first: bool) -> None:
        super().__init__(f"fetcher-{group.queue}" if first else f"fetcher-{group.queue}-extra", group.intake.crashed)
        self._group = group
        self._intake = group.intake
        self._first = first
        self._backoff = NetworkBackoff()

    def run(self) -> None:
        """Wait for credit, receive, offer; until stopped."""
        while not self.stopping.is_set():
            most = 1 if self._intake.one_by_one(self._group.queue) else self._intake.config.batch_size
            room = self._intake.credit.wait(self._group.queue, most, _LOOK)
            if self.stopping.is_set():
                return
            if room == 0:
                if not self._first:
                    break
                continue
            found = self._receive(room)
            if not found and not self._first:
                break
        self.stopping.set()

    def _receive(self, room: int) -> int:
        group, intake = self._group, self._intake
        before = intake.activity()
        visibility = intake.visibility(group.queue)
        asked_at = boottime()
        try:
            messages = intake.sqs.receive(
                group.url,
                max_messages=room,
                wait=min(intake.config.wait, _BURST_WAIT) if intake.config.burst else intake.config.wait,
                visibility=visibility,
                attempt_id=str(uuid.uuid4()) if group.queue.endswith(".fifo") else None,
            )
        except SqsError as exc:
            self._failed(exc)
            return 0
        if self._backoff.succeeded():
            log.info("queue %s: receiving again", group.queue)
        group.answered_at = boottime()
        if not messages:
            if self._first:
                group.empty = group.empty + 1 if intake.activity() == before else 0
            return 0
        group.empty = 0
        self._take(messages, asked_at, visibility)
        if intake.credit.is_hungry(group.queue) and not intake.one_by_one(group.queue):
            group.grow()
        return len(messages)

    def _take(self, messages: Sequence[ReceivedMessage], asked_at: float, visibility: int | None) -> None:
        group, intake = self._group, self._intake
        lease = visibility if visibility is not None else 30
        now = time.time()
        deliveries = [Delivery(next(_numbers), group.queue, group.url, m, asked_at, now, lease) for m in messages]
        if group.stopping:
            intake.release(deliveries)
        else:
            intake.offer(deliveries)

    def _failed(self, error: SqsError) -> None:
        group = self._group
        if group.stopping:
            return
        pause = self._backoff.failed()
        if isinstance(error, QueueNotFound):
            self._intake.missing(group.queue)
        elif self._backoff.failures == 1:
            log.warning("queue %s: receiving fails, and is tried again until it works: %s", group.queue, error)
        else:
            log.debug("queue %s: still failing: %s", group.queue, error)
        self.stopping.wait(pause)
