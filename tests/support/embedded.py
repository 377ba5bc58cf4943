"""The embedded SQS as tests see it: a clock that can be moved, short names for sending, counting and receiving.

Owns: ``Sqs``, ``EndablePolls`` (its store), ``Counts`` and ``Clock``. Runs in the test's process, which holds the store. Never
starts a server.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from processes import PATIENCE, wait_until
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage, ReceivedMessage
from pyqs_celery_compat.outgoing import as_task_v2, seal_task


@dataclass
class Clock:
    """The store's wall clock, which a test can move."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class EndablePolls(Store):
    """A store whose open polls a test can end, as SQS may: a worker that is told to stop waits for them, up to 20 s."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ended = 0

    def receive(self, *args: Any, gone: Callable[[], bool] | None = None, **options: Any) -> list[ReceivedMessage]:
        """Ends empty, too, when ``end_polls`` is called while it waits."""
        ended = self._ended
        return super().receive(*args, gone=lambda: self._ended != ended or (gone is not None and gone()), **options)

    def end_polls(self) -> None:
        """Answer what waits for messages now."""
        self._ended += 1
        self.wake()


@dataclass(frozen=True)
class Counts:
    """What a queue holds."""

    visible: int
    hidden: int
    delayed: int

    @property
    def total(self) -> int:
        return self.visible + self.hidden + self.delayed


@dataclass
class Sqs:
    """The store and its server, with short names for what a test does."""

    store: EndablePolls
    server: LocalServer
    clock: Clock

    def create(self, *names: str, **attributes: str) -> None:
        for name in names:
            fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
            self.store.create_queue(name, fifo | attributes)

    def native(self, queue: str, task: str, *args: Any, group: str | None = None, delay: int | None = None) -> str:
        """Send a native message; its id."""
        return self.send(queue, json.dumps({"task": f"tasks.{task}", "args": args, "kwargs": {}}), group=group, delay=delay)

    def celery(self, queue: str, task: str, *args: Any, **options: Any) -> str:
        """Send what Celery would have written; its body. ``eta_in`` is seconds from now."""
        eta_in = options.pop("eta_in", None)
        if eta_in is not None:
            options["eta"] = datetime.now(timezone.utc) + timedelta(seconds=eta_in)
        body = seal_task(as_task_v2(f"id-of-{task}", task, args, {}, **options), routing_key=queue)
        self.send(queue, body)
        return body

    def send(self, queue: str, body: str, *, group: str | None = None, delay: int | None = None) -> str:
        dedup = os.urandom(8).hex() if queue.endswith(".fifo") else None
        return self.store.send(queue, OutgoingMessage(body, delay, group_id=group, dedup_id=dedup)).message_id

    def many(self, queue: str, numbers: range) -> None:
        """Send ``noop`` with each number, in batches."""
        bodies = [json.dumps({"task": "tasks.noop", "args": [n], "kwargs": {}}) for n in numbers]
        for start in range(0, len(bodies), 10):
            self.store.send_batch(queue, [OutgoingMessage(body) for body in bodies[start : start + 10]])

    def counts(self, queue: str) -> Counts:
        found = self.store.queue_attributes(queue)
        return Counts(
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
            int(found["ApproximateNumberOfMessagesDelayed"]),
        )

    def wait_counts(
        self, queue: str, *, visible: int = 0, hidden: int = 0, delayed: int = 0, timeout: float = PATIENCE
    ) -> None:
        """Wait until the queue holds exactly this."""
        wanted = Counts(visible, hidden, delayed)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.counts(queue) == wanted, timeout)
        assert self.counts(queue) == wanted

    def advance(self, seconds: float) -> None:
        """Move the store's clock: what is hidden or delayed for less comes back now."""
        self.clock.ahead += seconds
        self.store.wake()

    def advance_until(self, happened: Callable[[], Any], *, step: float = 20.0, timeout: float = PATIENCE) -> None:
        """Move the clock again and again: a hide may arrive after the first move, and counts from then."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.advance(step)
            with contextlib.suppress(TimeoutError):
                wait_until(happened, 0.5)
                return
        raise TimeoutError(f"not within {timeout} s")

    def receive(self, queue: str) -> list[Any]:
        """Receive what is visible, as somebody else would."""
        return self.store.receive(queue, max_messages=10, wait=0, visibility=30)
