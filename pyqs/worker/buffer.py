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
        #: Those that may not start yet, by id, with the moment from which they may (boot-time clock).
        self._kept: dict[int, tuple[float, Delivery]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values())) + len(self._kept)

    def __iter__(self) -> Iterator[Delivery]:
        """What waits for an executor."""
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

    def keep(self, delivery: Delivery, until: float) -> None:
        """It has been out, and may not start before then (boot-time clock); its FIFO group waits with it."""
        self._kept[delivery.id] = (until, delivery)

    @property
    def kept_in_all(self) -> int:
        """How many may not start yet."""
        return len(self._kept)

    def kept(self, queue: str) -> int:
        """How many of a queue may not start yet."""
        return sum(one.queue == queue for _, one in self._kept.values())

    def take_due(self, now: float) -> list[Delivery]:
        """Those that may start by now; they wait as the others do, in front."""
        due = [one for until, one in self._kept.values() if until <= now]
        for one in due:
            self._unkeep(one)
            self.put_back((one,))
        return due

    def _unkeep(self, delivery: Delivery) -> bool:
        found = self._kept.pop(delivery.id, None) is not None
        if found:
            self.free(delivery)
        return found

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
        if self._unkeep(delivery):
            return True
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
        self.take_due(float("inf"))
        everything = list(self)
        self._queues.clear()
        return everything
