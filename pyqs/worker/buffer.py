"""Deliveries that wait in the worker for an executor, fair between queues, in order within a FIFO group.

Owns: the waiting deliveries per queue and the groups that may not start another; ``Shares`` says whose turn it is. Used by the
pool thread only. Never talks to SQS or to an executor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from pyqs.message import Delivery
from pyqs.worker.shares import Shares


def group_of(delivery: Delivery) -> tuple[str, str] | None:
    """The FIFO group whose order must be kept, None on a standard queue (where a group id only means fairness)."""
    return (delivery.queue, delivery.group_id or "") if delivery.is_fifo else None


class Buffer:
    """What waits. ``candidates`` proposes, ``take`` removes, ``gone`` says that an executor no longer holds it."""

    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = Shares() if shares is None else shares
        self._queues: dict[str, deque[Delivery]] = {}
        self._turns: dict[str, int] = {}
        self._turn = 0
        #: Groups of which one delivery runs, or whose last verdict is not carried out yet.
        self._busy: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[Delivery]:
        for waiting in self._queues.values():
            yield from waiting

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """New ones, behind the others of their queue."""
        for one in deliveries:
            self._waiting(one.queue).append(one)

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Ones that were out already: they come first, in the order given."""
        for one in reversed(list(deliveries)):
            self._waiting(one.queue).appendleft(one)

    def _waiting(self, queue: str) -> deque[Delivery]:
        waiting = self._queues.get(queue)
        if waiting is None:
            waiting = self._queues[queue] = deque()
            if not self._shares.out(queue):
                self._shares.join(queue)
        return waiting

    def candidates(self) -> Iterator[Delivery]:
        """The next delivery of each queue that may start another, the queue first that has had least of its share."""
        if len(self._queues) > 1:
            order = sorted(self._queues, key=lambda queue: (self._shares.clock(queue), self._turns.get(queue, 0)))
        else:
            order = list(self._queues)
        for queue in order:
            if not self._shares.may_start(queue):
                continue
            for one in self._queues[queue]:
                if group_of(one) not in self._busy:
                    yield one
                    break

    def take(self, delivery: Delivery, seconds: float | None = None) -> None:
        """It goes to an executor, where it is thought to take so long."""
        self.remove(delivery)
        self._shares.begin(delivery, seconds)
        self._turn += 1
        self._turns[delivery.queue] = self._turn
        group = group_of(delivery)
        if group is not None:
            self._busy.add(group)

    def gone(self, delivery: Delivery, seconds: float | None = None) -> None:
        """No executor holds it any more, after so many seconds. Its FIFO group stays busy until ``free``."""
        self._shares.end(delivery, seconds)

    def blocked(self, queue: str) -> int:
        """How many of a FIFO queue wait for an earlier one of their group."""
        waiting = self._queues.get(queue, ())
        groups = {group_of(one) for one in waiting}
        return len(waiting) - len(groups - self._busy)

    def free(self, delivery: Delivery) -> None:
        """The next of its group may start."""
        group = group_of(delivery)
        if group is not None:
            self._busy.discard(group)

    def is_waiting_for_group(self, delivery: Delivery) -> bool:
        """Whether only an earlier one of its FIFO group holds it up."""
        return group_of(delivery) in self._busy

    def remove(self, delivery: Delivery) -> bool:
        """Take it out; False when it does not wait here."""
        waiting = self._queues.get(delivery.queue)
        if not waiting:
            return False
        if waiting[0] is delivery:
            waiting.popleft()
        else:
            try:
                waiting.remove(delivery)
            except ValueError:
                return False
        if not waiting:
            del self._queues[delivery.queue]
        return True

    def remove_group(self, delivery: Delivery) -> list[Delivery]:
        """Take out, in order, what waits of its FIFO group."""
        group = group_of(delivery)
        rest = [one for one in self._queues.get(delivery.queue, ()) if group_of(one) == group] if group else []
        for one in rest:
            self.remove(one)
        return rest

    def clear(self) -> list[Delivery]:
        """Take out everything, in order."""
        everything = list(self)
        self._queues.clear()
        return everything
