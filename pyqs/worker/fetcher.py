"""The start of the line: long-polls one queue and turns what it brings into deliveries for the pool.

Owns: one thread's loop of receives, and what a queue's fetchers know together (does it answer, what was said about it).
Its only ways out are being stopped and the queue being gone: whatever else goes wrong is classified, said once per change
of state, waited out with jitter, and tried again. Never looks into a message.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pyqs.backoff import NETWORK_BASE, NetworkBackoff
from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.errors import QueueFull, QueueNotFound, SqsError, Unreachable
from pyqs.message import Delivery, ReceivedMessage
from pyqs.queues.names import FIFO
from pyqs.sqs import Sqs
from pyqs.worker.acker import Acker
from pyqs.worker.credit import Credit, Grant
from pyqs.worker.facts import Facts
from pyqs.worker.in_flight import InFlight
from pyqs.worker.leases import Leases
from pyqs.worker.report import Totals
from pyqs.worker.service import OnCrash, Service
from pyqs.worker.trouble import Trouble

log = logging.getLogger(__name__)

#: A poll takes at most this part of a lease, which is dated from the poll's beginning.
_WAIT_PART = 4
#: Seconds kept between the longest poll and the shutdown deadline.
_BEFORE_DEADLINE = 2
#: Seconds after which an extra fetcher without credit leaves.
_EXTRA_PATIENCE = 2.0
#: Receives by which an extra fetcher is judged: it leaves when it has waited for credit for longer than for their answers.
_JUDGED_BY = 16
#: A receive that takes longer than this has waited for messages to arrive: the queue was empty.
_AT_ONCE = 0.5
#: Seconds that the first receive from a FIFO queue waits for what is known of its messages' lives.
_FACTS_PATIENCE = 2.0

#: Long polls in a row with nothing after which a queue counts as idle, for ``--idle-cadence``.
_IDLE_AFTER = 2
#: An answer with nothing that took less than this part of its wait has not waited for messages: an emulator without long polls,
#: a proxy, a queue at its limit. So many in a row are said.
_EARLY_PART = 0.25
_EARLY_SAID = 4
#: Seconds between receives that are answered so, from the second in a row on: by half of the first to all of the second.
_EARLY_BASE = 2.0
_EARLY_CAP = 5.0
#: The same in a burst, which ends with answers that bring nothing.
_EARLY_CAP_BURST = 1.0


class Line(Protocol):
    """Where deliveries go on."""

    def offer(self, deliveries: list[Delivery]) -> None:
        """Take them over."""
        ...


@dataclass(slots=True)
class Tools:
    """What every fetcher of a worker works with."""

    config: WorkerConfig
    sqs: Sqs
    credit: Credit
    leases: Leases
    facts: Facts
    in_flight: InFlight
    acker: Acker
    totals: Totals
    line: Line
    on_crash: OnCrash
    #: Told (queue, error) when the queue does not exist any more.
    on_gone: Callable[[str, QueueNotFound], None]
    #: Told (queue, begun_at, count) of each answer; begun_at on the boot-time clock.
    on_answer: Callable[[str, float, int], None]
    #: Told (queue, error) of each failed receive.
    on_failure: Callable[[str, SqsError], None]
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@dataclass(slots=True)
class QueueState:
    """What the fetchers of one queue know together."""

    name: str
    url: str
    #: Boot-time second of the last answer.
    answered_at: float | None = None
    failing_since: float | None = None
    #: It was said that its receives are answered with nothing, at once.
    hollow: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    trouble: Trouble = field(init=False)

    def __post_init__(self) -> None:
        fails = f"queue {self.name}: receiving fails and is tried again until it works"
        self.trouble = Trouble(log, fails, f"queue {self.name}: receiving again")


def longest_wait(config: WorkerConfig) -> int:
    """Seconds of a long poll: as configured, within a part of the lease and before the shutdown deadline."""
    wait = min(config.wait, max(1, config.lease // _WAIT_PART))
    if config.burst:
        wait = min(wait, 1)
    if config.shutdown_timeout is not None:
        wait = min(wait, max(1, int(config.shutdown_timeout) - _BEFORE_DEADLINE))
    return wait


class Fetcher(Service):
    """One long-polling thread.

    Parameters:
        extra: one beside the queue's first; it leaves when the queue is empty or nobody is hungry.
        grow: asks for one more fetcher.
    """

    def __init__(self, state: QueueState, number: int, tools: Tools, *, extra: bool, grow: Callable[[], None]) -> None:
        super().__init__(f"fetch-{state.name}-{number}", tools.on_crash)
        self.state = state
        self.abandoned = False
        #: Boot-time second at which the open poll was begun, None between polls.
        self.polling_since: float | None = None
        self._grant: Grant | None = None
        self._tools = tools
        self._extra = extra
        self._grow = grow
        self._wait = longest_wait(tools.config)
        self._backoff = NetworkBackoff()
        self._early = NetworkBackoff(base=_EARLY_BASE, cap=_EARLY_CAP_BURST if tools.config.burst else _EARLY_CAP)
        self._cadence = None if extra or tools.config.burst else tools.config.idle_cadence
        self._empty = 0
        self._attempt: str | None = None
        self._first = True
        #: Of an extra fetcher: seconds waited for credit, and for the answer, of each of its last receives.
        self._waits: list[tuple[float, float]] = []

    def run(self) -> None:
        """Receive until stopped, or the queue is gone."""
        tools = self._tools
        if self.state.name.endswith(FIFO):  # a copy could not save what is hidden there on its last life
            tools.facts.wait(self.state.name, _FACTS_PATIENCE)
        while not self.stopping.is_set():
            patience = _EXTRA_PATIENCE if self._extra else 3600.0
            singly = tools.facts.comes_singly(self.state.name)
            most = 1 if singly else tools.config.batch_size
            asked = boottime()
            grant = tools.credit.acquire(self.state.name, most=most, timeout=patience, stopping=self.stopping)
            if grant is None:
                if self._extra:
                    return
                continue
            if self.stopping.is_set():  # the grant was on its way when it was told to stop
                tools.credit.received(grant, 0, answered=False)
                return
            wait = self._next_wait()
            begun = boottime()
            try:
                count = self._receive(grant, wait)
            except QueueNotFound as exc:
                if not self.stopping.is_set():
                    tools.on_gone(self.state.name, exc)
                return
            except SqsError as exc:
                if not self.stopping.is_set():
                    self._failed(exc, boottime() - begun)
                continue
            if self._extra and (not count or self._is_one_too_many(begun - asked, boottime() - begun)):
                return
            self._pace(count, wait, boottime() - begun)

    def stop(self) -> None:
        """Ask it to end; the open poll is left to answer."""
        super().stop()

    def abandon(self) -> None:
        """Its poll does not end: it is waited for no longer, and what it still brings is released."""
        self.abandoned = True
        self.stop()
        if self._grant is not None:
            self._tools.credit.abandoned(self._grant)

    def _next_wait(self) -> int:
        """Seconds for which the next poll waits for a message.

        The first one does not: whether a queue answers at all is known at once, and of hundreds of new queues, which count as
        full until they have answered, all are soon polled. A burst would take such an answer for the end. While some of the
        queue waits here, an open poll stands in the way of its release: it would get it back.
        """
        first, self._first = self._first, False
        if first and self.state.answered_at is None and not self._tools.config.burst:
            return 0
        if self._extra or self.state.answered_at is None or self._tools.credit.crowded(self.state.name):
            return min(self._wait, 1)
        return self._wait

    def _is_one_too_many(self, waited: float, spent: float) -> bool:
        """Whether an extra fetcher has mostly waited for credit: fewer would bring as much, at less cost."""
        self._waits.append((waited, spent))
        if len(self._waits) < _JUDGED_BY:
            return False
        waiting, receiving = map(sum, zip(*self._waits, strict=True))
        self._waits.clear()
        return waiting > receiving

    def _receive(self, grant: Grant, wait: int) -> int:
        """One receive of up to ``wait`` seconds and what becomes of its answer; how many messages came."""
        tools = self._tools
        begun = boottime()
        messages: list[ReceivedMessage] = []
        count, answered = 0, False
        self._grant, self.polling_since = grant, begun
        visibility = tools.leases.visibility(self.state.name)
        if self.state.name.endswith(".fifo") and self._attempt is None:
            self._attempt = str(uuid.uuid4())
        try:
            messages = tools.sqs.receive(
                self.state.url,
                max_messages=grant.count,
                wait=wait,
                visibility=visibility,
                attempt_id=self._attempt,
            )
            self._attempt = None
            count, answered = len(messages), True
        except Unreachable:
            raise  # the attempt id stays: SQS repeats its answer to it (API reference, ReceiveRequestAttemptId)
        except SqsError:
            self._attempt = None
            raise
        finally:
            self.polling_since = None
            deliveries = [self._delivery(message, begun, visibility) for message in messages]
            tools.leases.hold(deliveries)
            # Held before the claim is given back, offered after: nobody sees the worker empty in between.
            tools.credit.received(grant, count, answered=answered)
        self._answered(begun, deliveries)
        return count

    def _answered(self, begun: float, deliveries: list[Delivery]) -> None:
        tools = self._tools
        self._backoff.succeeded()
        self.state.failing_since = None
        self.state.trouble.worked()
        self.state.answered_at = boottime()
        tools.totals.count_received(self.state.name, len(deliveries))
        if self.abandoned:
            for one in deliveries:
                tools.acker.release(one)
                tools.credit.ended(one.queue)
        elif deliveries:
            tools.line.offer(deliveries)  # which releases what comes while the worker stops
            if not self.stopping.is_set() and boottime() - begun < _AT_ONCE and tools.credit.hungry(self.state.name):
                self._grow()
        tools.on_answer(self.state.name, begun, len(deliveries))
        if not self._extra and not self.stopping.is_set():
            tools.in_flight.answered(self.state.name, self.state.url, len(deliveries))

    def _pace(self, count: int, wait: int, spent: float) -> None:
        """Ask less often where nothing comes and the poll has not waited for it either, and of an idle queue if told so."""
        self._empty = 0 if count else self._empty + (wait > 0)
        if self._cadence is not None and self._empty >= _IDLE_AFTER:
            self.stopping.wait(self._cadence - spent)
            return
        if count or spent >= wait * _EARLY_PART or self.stopping.is_set():
            self._early.succeeded()
            return
        pause = self._early.failed()
        if self._early.failures == _EARLY_SAID and not self.state.hollow:
            self.state.hollow = True
            log.warning(
                "queue %s: receives that should wait up to %d s for a message are answered at once with nothing, again and "
                "again; it is asked every few seconds only. Does this endpoint know long polls?",
                self.state.name,
                wait,
            )
        if self._early.failures > 1:
            self.stopping.wait(pause - spent)

    def _failed(self, exc: SqsError, spent: float) -> None:
        """Wait until the next try. What this one has ``spent`` on waiting for an answer (seconds) counts: an SQS that does not
        answer would otherwise be noticed to be back only after that time and the pause."""
        with self.state.lock:
            self.state.failing_since = self.state.failing_since or boottime()
        self.state.trouble.failed(exc)
        if isinstance(exc, QueueFull):
            self._tools.in_flight.refused(self.state.name)
        self._tools.on_failure(self.state.name, exc)
        pause = self._backoff.failed()
        self.stopping.wait(max(pause - spent, min(pause, NETWORK_BASE)))

    def _delivery(self, message: ReceivedMessage, begun: float, asked: int | None) -> Delivery:
        name = self.state.name
        length = self._tools.leases.length(name, asked)
        return Delivery(next(self._tools.ids), name, self.state.url, message, begun, time.time(), length)
