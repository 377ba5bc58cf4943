"""What one invocation has to answer for: the deliveries that wait, the one that runs, what is done, and what comes back.

Owns: ``Books``. Written by the main thread, and by the clockwork's when the time is up; who writes holds ``lock``. Never talks
to SQS.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyqs.aws_lambda.event import Misshapen
from pyqs.message import Delete, Delivery, Hide, Verdict
from pyqs.runtime import Prepared


@dataclass(frozen=True, slots=True)
class Running:
    """A task that has begun."""

    delivery: Delivery
    prepared: Prepared
    began: float


class Books:
    """The deliveries of one event."""

    def __init__(self, records: Iterable[Delivery | Misshapen]) -> None:
        self.lock = threading.RLock()
        self._waiting: deque[Delivery] = deque()
        #: Done, and not deleted by us.
        self._done: list[Delivery] = []
        self._failed: dict[str, None] = {}
        #: Seconds for which the head of a FIFO group was hidden that holds up the rest of it; None for the queue's own.
        self._held_up: dict[tuple[str, str | None], float | None] = {}
        self.running: Running | None = None
        #: Tasks that have begun.
        self.started = 0
        #: No further one may begin.
        self.closing = False
        #: Lambda has its answer.
        self.over = False
        for one in records:
            if isinstance(one, Misshapen):
                self._failed[one.message_id] = None
            else:
                self._waiting.append(one)

    def next(self) -> Delivery | None:
        """The next one to look at."""
        with self.lock:
            return self._waiting.popleft() if self._waiting else None

    def begin(self, one: Running) -> bool:
        """Its task starts, unless the time has come to an end since that was looked at."""
        with self.lock:
            if self.closing:
                return False
            self.running = one
            self.started += 1
            return True

    def holds_up(self, delivery: Delivery) -> bool:
        """Whether an earlier one of its FIFO group comes back, so that it has to wait for that one."""
        return delivery.is_fifo and (delivery.queue, delivery.group_id) in self._held_up

    def behind(self, delivery: Delivery) -> float | None:
        """Seconds for which the one that holds it up is hidden; None for the queue's own time."""
        return self._held_up[delivery.queue, delivery.group_id]

    def ended(self, delivery: Delivery, verdict: Verdict) -> None:
        """It was settled so."""
        with self.lock:
            if isinstance(verdict, Delete):
                self._done.append(delivery)
                return
            self._failed[delivery.message.message_id] = None
            if delivery.is_fifo:
                seconds = verdict.seconds if isinstance(verdict, Hide) else None
                self._held_up.setdefault((delivery.queue, delivery.group_id), seconds)

    def take_done(self) -> list[Delivery]:
        """What is done, to be deleted now."""
        done, self._done = self._done, []
        return done

    def take_waiting(self) -> list[Delivery]:
        """What has not started, to be given back now."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def answer(self) -> dict[str, Any]:
        """What Lambda is told (Lambda developer guide, "Returning partial failures")."""
        with self.lock:
            return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in self._failed]}
