"""A delivery on its way out: what is still to be done for it, and the calls that do it.

Owns: ``Settlement``, the lanes by which calls are batched, and two small hands of the acker: the threads that carry batches
out and ``Outbox``, which sends. Used by the acker only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pyqs.config import ConnectionConfig
from pyqs.errors import MessageError, PyQSError, SendFailed, SqsError
from pyqs.message import Delivery, OutgoingMessage, SentMessage, Verdict
from pyqs.producer import Producer
from pyqs.sqs import Sqs
from pyqs.worker.batches import Batches
from pyqs.worker.service import OnCrash, Service

#: Told in a sender's thread what became of a delivery in the end.
Settled = Callable[[Verdict], None]


@dataclass(frozen=True, slots=True)
class Lane:
    """One kind of call on one queue; ``create``: whether a send may create it."""

    kind: Literal["judge", "send", "delete", "hide"]
    queue: str
    create: bool = False

    def __str__(self) -> str:
        return self.queue.rstrip("/").rpartition("/")[2]


@dataclass(eq=False, slots=True)
class Settlement:
    """One delivery on its way out.

    ``instead`` is set when a copy of its message must be sent first: seconds for which it is hidden if that is refused;
    ``early``: its delete was asked for when it started; ``hide_before``: its lease was ours and has been ended, to be hidden
    before it would have run out (boot-time clock).
    """

    delivery: Delivery
    verdict: Verdict
    settled: Settled | None = None
    unsent: int = 0
    instead: float | None = None
    early: bool = False
    hide_before: float = 0.0


Entry = tuple[Settlement, OutgoingMessage | None]


class Outbox:
    """Sends messages to queues by name or URL, creating those that it may."""

    def __init__(self, sqs: Sqs) -> None:
        self._producers = {
            create: Producer(ConnectionConfig(), create_queues=create, connector=lambda _: sqs) for create in (True, False)
        }

    def send(self, lane: Lane, messages: Sequence[OutgoingMessage]) -> list[SentMessage | PyQSError]:
        """Send them in one call where that is possible; for each the answer, or why there is none."""
        try:
            return list(self._producers[lane.create].send_many(lane.queue, messages))
        except SendFailed as exc:
            return [answer for answer in exc.results if isinstance(answer, (SentMessage, SqsError))]
        except MessageError as exc:
            if len(messages) == 1:
                return [exc]
            return [answer for message in messages for answer in self.send(lane, [message])]
        except PyQSError as exc:
            return [exc] * len(messages)


class Sender(Service):
    """One thread that carries out batches."""

    def __init__(
        self, number: int, batches: Batches[Lane, Entry], work: Callable[[Lane, list[Entry]], None], on_crash: OnCrash
    ) -> None:
        super().__init__(f"acker-{number}", on_crash)
        self._batches = batches
        self._work = work

    def run(self) -> None:
        """Work until there is nothing more."""
        while (taken := self._batches.take()) is not None:
            self._work(*taken)
