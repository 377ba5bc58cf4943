"""A worker in the test's process: an app on a store of results, and its queue in memory.

Owns: ``World``, which runs what is on the queue, one message after the other, as a worker's processes would together. Runs in
the test's thread; the clock of its queue goes on when all that is there has run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store as Queues
from pyqs.message import Delete, Delivery, ReceivedMessage
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery
from pyqs_celery_compat.runtime import CeleryRuntime


class World:
    """An app on a store, and a worker that runs what is on its queue, in this process."""

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        self.now = time.time()
        self.sqs = InProcessSqs(Queues(clock=lambda: self.now))
        self.app = Celery("chords", broker="sqs://", backend=url, result_chord_join_timeout=10, **settings)
        self.app.publisher.connector = lambda connection: self.sqs
        self.ran: Counter[str] = Counter()
        self.bodies: list[Any] = []
        self._declare()
        self.runtime = CeleryRuntime(RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime"))
        self.runtime.boot()
        self.runtime.after_fork()

    def _declare(self) -> None:
        task: Callable[..., Any] = self.app.task

        @task(name="part", shared=False, acks_late=True)
        def part(number: int) -> int:
            self.ran["part"] += 1
            return number

        @task(name="fails", shared=False, acks_late=True)
        def fails() -> None:
            raise ValueError("no")

        @task(name="body", shared=False, acks_late=True)
        def body(values: Any) -> Any:
            self.bodies.append(values)
            return sum(values)

        @task(name="heard", shared=False)
        def heard(task_id: str) -> None:
            self.ran["errback"] += 1

        self.part, self.fails, self.body, self.heard = part, fails, body, heard

    def take(self) -> list[Delivery]:
        """All that is visible."""
        found: list[ReceivedMessage] = []
        while more := self.sqs.receive(self.sqs.queue_url("celery"), wait=0):
            found += more
        url = self.sqs.queue_url("celery")
        return [Delivery(n, "celery", url, message, boottime(), self.now, 120) for n, message in enumerate(found, 1)]

    def run(self, delivery: Delivery) -> Outcome:
        prepared = self.runtime.prepare(delivery)
        return prepared if isinstance(prepared, Outcome) else prepared.run()

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """What the worker's parent does with an outcome."""
        for follow_up in outcome.follow_ups:
            queue = follow_up.queue
            self.sqs.send(queue if "://" in queue else self.sqs.queue_url(queue), follow_up.message)
        if isinstance(outcome.verdict, Delete):
            self.sqs.delete_batch(delivery.queue_url, [delivery.message.receipt_handle])

    def drain(self, copies: int = 1) -> None:
        """Run all that there is, and what that brings about; each message so many times."""
        for _ in range(40):
            deliveries = self.take()
            for delivery in deliveries:
                for _ in range(copies):
                    outcome = self.run(delivery)
                self.settle(delivery, outcome)
            self.now += 2
            if not deliveries and not self.left():
                return

    def left(self) -> int:
        found = self.sqs.queue_attributes(self.sqs.queue_url("celery"))
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
        return sum(int(found[name]) for name in names)
