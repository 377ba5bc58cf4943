"""A store with a clock that tests move, and short ways to use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyqs.local.service_error import ServiceError
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage, ReceivedMessage, SentMessage


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    """One store, its clock, and a queue "q" to which the short methods go unless told otherwise."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        store.create_queue("q")

    def send(self, body: str = "body", queue: str = "q", **options: Any) -> SentMessage:
        return self.store.send(queue, OutgoingMessage(body, **options))

    def receive(self, queue: str = "q", count: int = 10, **options: Any) -> list[ReceivedMessage]:
        options.setdefault("wait", 0)
        return self.store.receive(queue, max_messages=count, **options)

    def bodies(self, queue: str = "q", **options: Any) -> list[str]:
        return [message.body for message in self.receive(queue, **options)]

    def delete(self, *messages: ReceivedMessage, queue: str = "q") -> list[ServiceError | None]:
        return self.store.delete_batch(queue, [message.receipt_handle for message in messages])

    def hide(self, message: ReceivedMessage, seconds: int, queue: str = "q") -> ServiceError | None:
        return self.store.change_visibility_batch(queue, [(message.receipt_handle, seconds)])[0]

    def counts(self, queue: str = "q") -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        found = self.store.queue_attributes(queue)
        return (
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
            int(found["ApproximateNumberOfMessagesDelayed"]),
        )

    def fifo(self, name: str = "f.fifo", **attributes: str) -> str:
        self.store.create_queue(name, {"FifoQueue": "true", "ContentBasedDeduplication": "true", **attributes})
        return name

    def dead_letter(self, source: str, target: str, receives: int) -> None:
        arn = self.store.queue_attributes(target)["QueueArn"]
        policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{receives}"}}'
        self.store.set_queue_attributes(source, {"RedrivePolicy": policy})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    store = Store(clock=clock)
    yield Bench(store, clock)
    store.close()


@pytest.fixture
def store(bench: Bench) -> Store:
    return bench.store
