"""Keeps the order within a FIFO message group.

Owns: which group runs, and which deliveries wait behind it, for one worker. Belongs to the pool thread, except for
``one_by_one``, which fetchers ask. SQS hands out no more of a group while one of it is in flight, but one receive can bring
several of a group: they must run one after the other, and not at all after a failing head.
"""

from __future__ import annotations

from collections import OrderedDict

from pyqs.clock import boottime
from pyqs.message import Delivery

_Group = tuple[str, str]


class FifoGate:
    """Says whether a delivery may start; deliveries of standard queues always may."""

    def __init__(self) -> None:
        self._running: dict[_Group, int] = {}
        self._waiting: dict[_Group, OrderedDict[int, Delivery]] = {}
        self._hidden_until: dict[str, dict[_Group, float]] = {}

    def may_start(self, delivery: Delivery) -> bool:
        """True if it is the head of its group here; also takes note that it waits."""
        group = _group(delivery)
        if group is None:
            return True
        waiting = self._waiting.setdefault(group, OrderedDict())
        waiting.setdefault(delivery.id, delivery)
        if group in self._running:
            return False
        return delivery.id == min(waiting)

    def started(self, delivery: Delivery) -> None:
        """It is given to an executor."""
        group = _group(delivery)
        if group is not None:
            self._waiting.get(group, OrderedDict()).pop(delivery.id, None)
            self._running[group] = delivery.id

    def ended(self, delivery: Delivery, hidden: float | None) -> list[Delivery]:
        """It has ended; if it was hidden, answers what waited behind it, which must be hidden as long.

        Parameters:
            hidden: seconds it was hidden for, None if it is deleted or handed back.
        """
        group = _group(delivery)
        if group is None:
            return []
        if self._running.get(group) == delivery.id:
            del self._running[group]
        if hidden is None:
            self._hidden_until.get(delivery.queue, {}).pop(group, None)
            if not self._waiting.get(group):
                self._waiting.pop(group, None)
            return []
        # Until the head is gone the queue is received one message at a time, so that only the head pays lives.
        self._hidden_until.setdefault(delivery.queue, {})[group] = boottime() + hidden
        return list(self._waiting.pop(group, {}).values())

    def one_by_one(self, queue: str) -> bool:
        """True while a head of one of the queue's groups has failed and not yet ended well."""
        return bool(self._hidden_until.get(queue))


def _group(delivery: Delivery) -> _Group | None:
    if not delivery.is_fifo:
        return None
    return delivery.queue, delivery.group_id or ""
