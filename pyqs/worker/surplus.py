"""What waits in this worker for too long, while another worker could run it.

Owns: the rule by which a waiting delivery is released (design decision 5). A release costs its message one of its lives, as the
next receive counts, so: only what by all that is known cannot start here soon, only while the message has lives to spare, and
no message twice in a while. Of a FIFO group only what is held alone: SQS hands it out again before what comes after it. Used
by the pool thread at its looks. Never releases anything itself.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from pyqs.clock import boottime
from pyqs.message import Delivery
from pyqs.worker.buffer import group_of
from pyqs.worker.credit import SOON, Credit
from pyqs.worker.facts import Facts
from pyqs.worker.slot import Slot

#: Seconds of running after which a task counts as long, whatever its queue's average says.
LONG = 0.5
#: Seconds within which a delivery should start; what can, stays.
START_WITHIN = 2.0
#: Seconds that it has waited at least: two looks.
PATIENCE = 0.9
#: Seconds for which a message that was released is not released again here.
AGAIN = 300.0
#: Seconds until an executor that is being made can run something.
_BOOTS = 1.0


class Surplus:
    """Finds what to release.

    Parameters:
        lease: seconds after which a delivery that waits is released even where nothing speaks against its starting soon.
    """

    def __init__(self, credit: Credit, facts: Facts, lease: float) -> None:
        self._credit = credit
        self._facts = facts
        self._lease = lease
        #: Delivery id -> the look that first saw it wait.
        self._seen: dict[int, float] = {}
        #: Message id -> when it was released.
        self._released: dict[str, float] = {}

    def find(self, now: float, waiting: Sequence[Delivery], slots: Sequence[Slot]) -> list[Delivery]:
        """Those of ``waiting``, all that waits for an executor and for nothing else, which should be released now."""
        self._released = {message: at for message, at in self._released.items() if now - at < AGAIN}
        self._seen = {one.id: self._seen.get(one.id, now) for one in waiting}
        if not waiting:
            return []
        starts = self._starts(now, waiting, slots)
        groups = Counter(map(group_of, waiting))  # of a group that runs nothing waits here but for that
        found = [one for one in waiting if self._is_surplus(one, now, starts[one.id], alone=groups[group_of(one)] == 1)]
        self._released.update((one.message.message_id, now) for one in found)
        return found

    def _is_surplus(self, one: Delivery, now: float, start: float, *, alone: bool) -> bool:
        if one.message.message_id in self._released or self._facts.is_last_life(one):
            return False
        if now - one.received_at > self._lease:
            return True
        return (
            start > START_WITHIN
            and now - self._seen[one.id] >= PATIENCE
            and (alone or not one.is_fifo)  # what is behind it in its group would have to follow
            and self._has_lives_to_spare(one)
            and not self._credit.polls(one.queue)  # our own open poll would be the first to get it back
        )

    def _has_lives_to_spare(self, one: Delivery) -> bool:
        """Of a message's lives half are for its task, to fail and to crash. Where nobody knows how many, one is too many."""
        known = self._facts.known(one.queue)
        if known is None or known.max_receive_count is None:
            return one.receive_count == 1
        return 2 * one.receive_count < known.max_receive_count

    # -- when what could start ------------------------------------------------------------------------------------

    def _starts(self, now: float, waiting: Sequence[Delivery], slots: Sequence[Slot]) -> dict[int, float]:
        """In how many seconds each of them is likely to start, queues taking turns."""
        free = {slot: self._until_free(slot) for slot in slots}
        executors = sorted(chain.from_iterable(free.values()))
        if not executors:
            return {one.id: 0.0 for one in waiting}  # they are all being made
        limited: dict[str, list[float]] = {}
        starts = {}
        for one in take_turns(waiting):
            cost = self._credit.duration(one.queue) or SOON
            most = self._credit.shares.options(one.queue).max
            start = executors[0]
            if most is not None:
                places = limited.setdefault(one.queue, self._places(one.queue, most, free))
                start = max(start, places[0])
                heapq.heapreplace(places, start + cost)
            starts[one.id] = start
            heapq.heapreplace(executors, start + cost)
        return starts

    def _places(self, queue: str, most: int, free: dict[Slot, list[float]]) -> list[float]:
        """When each of the ``most`` deliveries of this queue that may run is done."""
        taken = []
        for slot, ends in free.items():  # its first lanes are those of what it holds, in its order
            places = enumerate(slot.held.values())
            taken += [ends[min(place, len(ends) - 1)] for place, one in places if one.queue == queue]
        return sorted([*taken, *[0.0] * (most - len(taken))])

    def _until_free(self, slot: Slot) -> list[float]:
        """Seconds until each of this executor's lanes has done what it holds, by what is known."""
        if slot.silent:
            return [float("inf")] * slot.lanes
        if not slot.ready:
            return [_BOOTS] * slot.lanes
        if slot.lanes == 1:
            return [self._left(slot, next(iter(slot.running), 0), slot.load)]
        ends = [self._left(slot, one.id, self._credit.duration(one.queue) or SOON) for one in slot.held.values()]
        return ends + [0.0] * (slot.lanes - len(ends))

    def _left(self, slot: Slot, number: int, short: float) -> float:
        """Of what runs there by this number; ``short`` seconds while it has not run for long."""
        running = slot.running.get(number)
        ran = boottime() - running.at if running else 0.0
        if ran < LONG:
            return short
        usual = self._credit.duration(slot.held[number].queue) or 0.0
        # What has run for longer than usual may take any time: rather twice as long again than not.
        return usual - ran if usual > ran else 2 * ran


def take_turns(waiting: Iterable[Delivery]) -> Iterable[Delivery]:
    """The first of each queue, the second of each, and so on."""
    queues: dict[str, list[Delivery]] = defaultdict(list)
    for one in waiting:
        queues[one.queue].append(one)
    return (one for one in chain.from_iterable(zip_longest(*queues.values())) if one is not None)
