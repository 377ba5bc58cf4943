"""What the engine's unit tests share: a store in this process, deliveries received from it, a clock to move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from pyqs.clock import boottime
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import Delivery, OutgoingMessage, ReceivedMessage
from pyqs.worker.acker import Acker
from pyqs.worker.facts import Facts
from pyqs.worker.leases import Leases
from pyqs.worker.report import Totals


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class StoreClock:
    """SQS's wall clock, which a test can move."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Bench:
    """An acker that runs on a store, and what it needs."""

    store: Store
    sqs: InProcessSqs
    totals: Totals
    leases: Leases
    acker: Acker
    facts: Facts
    clock: StoreClock
    crashes: list[BaseException] = field(default_factory=list)
    _number: int = 0

    def deliver(self, queue: str, *bodies: str, group: str | None = None) -> list[Delivery]:
        """Send, receive and lease messages."""
        for body in bodies:
            dedup = body if queue.endswith(".fifo") else None
            self.store.send(queue, OutgoingMessage(body, group_id=group, dedup_id=dedup))
        url, begun = self.sqs.queue_url(queue), boottime()
        found = []
        for message in self.sqs.receive(url, max_messages=10, wait=0, visibility=60):
            self._number += 1
            found.append(Delivery(self._number, queue, url, message, begun, time.time(), 60))
        self.leases.hold(found)
        return found

    def counts(self, queue: str) -> tuple[int, int, int]:
        """Visible, hidden, delayed."""
        found = self.store.queue_attributes(queue)
        suffixes = ("", "NotVisible", "Delayed")
        return tuple(int(found[f"ApproximateNumberOfMessages{suffix}"]) for suffix in suffixes)  # type: ignore[return-value]

    def settled(self, timeout: float = 30.0) -> None:
        """Wait until every verdict is carried out."""
        deadline = time.monotonic() + timeout
        while self.acker.pending:
            assert time.monotonic() < deadline, f"{self.acker.pending} verdicts are still open"
            time.sleep(0.005)
        assert not self.crashes


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench() -> Iterator[Bench]:
    clock = StoreClock()
    store = Store(None, clock=clock)
    sqs = InProcessSqs(store)
    totals = Totals()
    leases = Leases(60, totals)
    crashes: list[BaseException] = []
    facts = Facts(sqs, lambda _, exc: crashes.append(exc))
    acker = Acker(sqs, leases, totals, facts, lambda _, exc: crashes.append(exc), senders=3)
    acker.start()
    yield Bench(store, sqs, totals, leases, acker, facts, clock, crashes)
    store.faults.clear()
    acker.close()
    acker.abandon()
    store.close()


@pytest.fixture
def make_delivery() -> Callable[..., Delivery]:
    """Deliveries of a queue that is nowhere."""
    numbers = iter(range(1, 1_000_000))

    def make(queue: str = "jobs", group: str | None = None, received_at: float = 1000.0, visibility: int = 60) -> Delivery:
        number = next(numbers)
        attributes = {"MessageGroupId": group} if group else {}
        message = ReceivedMessage(f"m{number}", f"h{number}", "{}", attributes)
        return Delivery(number, queue, f"http://sqs/1/{queue}", message, received_at, 0.0, visibility)

    return make
