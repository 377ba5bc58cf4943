"""Deliveries that wait in the worker for an executor, fair between queues, in order within a FIFO group.

Owns: the waiting deliveries per queue and the groups that may not start another. Used by the pool thread only. Never
talks to SQS or to an executor.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from pyqs.message import Delivery


def group_of(delivery: Delivery) -> tuple[str, str] | None:
    """The FIFO group whose order must be kept, None on a standard queue (where a group id only means fairness)."""
    return (delivery.queue, delivery.group_id or "") if delivery.is_fifo else None


class Buffer:
    """What waits. ``next`` proposes, ``take`` removes, ``gone`` says that an executor no longer holds it."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Delivery]] = {}
        self._in_executors: Counter[str] = Counter()
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
            self._queues.setdefault(one.queue, deque()).append(one)

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Ones that were out already: they come first, in the order given."""
        for one in reversed(list(deliveries)):
            self._queues.setdefault(one.queue, deque()).appendleft(one)

    def candidates(self) -> Iterator[Delivery]:
        """The next delivery of each queue, the queue that has least in the executors first."""
        if len(self._queues) > 1:
            order = sorted(self._queues, key=lambda queue: (self._in_executors[queue], self._turns.get(queue, 0)))
        else:
            order = list(self._queues)
        for queue in order:
            for one in self._queues[queue]:
                if group_of(one) not in self._busy:
                    yield one
                    break

    def take(self, delivery: Delivery) -> None:
        """It goes to an executor."""
        self.remove(delivery)
        self._in_executors[delivery.queue] += 1
        self._turn += 1
        self._turns[delivery.queue] = self._turn
        group = group_of(delivery)
        if group is not None:
            self._busy.add(group)

    def gone(self, delivery: Delivery) -> None:
        """No executor holds it any more. Its FIFO group stays busy until ``free``."""
        self._in_executors[delivery.queue] -= 1
        if not self._in_executors[delivery.queue]:
            del self._in_executors[delivery.queue]

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
