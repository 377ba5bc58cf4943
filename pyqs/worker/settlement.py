"""A delivery on its way out: what is still to be done for it, and the threads that do it.

Owns: ``Settlement``, the lanes by which calls are batched, and the threads that carry batches out. Used by the acker and its
outbox only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pyqs.message import Delivery, OutgoingMessage, Verdict
from pyqs.worker.batches import Batches
from pyqs.worker.service import OnCrash, Service

#: Told in a sender's thread what became of a delivery in the end.
Settled = Callable[[Verdict], None]


class Lane(NamedTuple):
    """One kind of call on one queue.

    ``create``: whether a send may create it; ``early``: it is for tasks that were acked early, whose sends are tried for longer
    and must not hold up the others.
    """

    kind: Literal["judge", "send", "delete", "hide"]
    queue: str
    create: bool = False
    early: bool = False

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
            try:
                self._work(*taken)
            finally:
                self._batches.done(taken[0])


class Senders:
    """Those threads: a few at first, more when what comes finds all of them busy; calls of one queue may not return for long.

    Parameters:
        most: threads.
    """

    FIRST = 4

    def __init__(
        self, most: int, batches: Batches[Lane, Entry], work: Callable[[Lane, list[Entry]], None], on_crash: OnCrash
    ) -> None:
        self._unstarted = [Sender(number, batches, work, on_crash) for number in reversed(range(most))]
        self._started: list[Sender] = []
        self._open = False

    def start(self) -> None:
        """Start the first ones."""
        self._open = True
        for _ in range(self.FIRST):
            self.add()

    def add(self) -> None:
        """One more, if there may be one. Not from two threads at a time."""
        if self._open and self._unstarted:
            sender = self._unstarted.pop()
            sender.start()
            self._started.append(sender)

    @property
    def alive(self) -> bool:
        """Whether any of them runs."""
        return any(sender.alive for sender in self._started)
