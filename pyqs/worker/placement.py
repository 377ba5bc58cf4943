"""Which executor gets a delivery: one that waits, the one with most free lanes, or, while tasks are short, the least loaded one
that soon waits.

Owns: that choice (design decision 4). Pure apart from a mark on the slots; used by the pool thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyqs.message import Delivery
from pyqs.worker.credit import SOON
from pyqs.worker.slot import Slot

#: Bytes; a longer body goes to an executor that waits for it, so that no pipe fills up.
LARGE = 32 * 1024
#: Most deliveries in one executor, however short they are: what it runs through between two rounds of the pool thread, which
#: under load waits some 10 ms for the interpreter lock in each.
DEEPEST = 256


def choose(slots: Iterable[Slot], delivery: Delivery, cost: float | None) -> Slot | None:
    """The executor for this delivery, None when it has to wait.

    Parameters:
        cost: seconds that a task of its queue takes, None while nothing was measured.
    """
    body = delivery.message.body
    deep = cost is not None and cost < SOON and len(body) < (LARGE if body.isascii() else LARGE // 6)
    best, least = None, SOON
    roomy: Slot | None = None
    for slot in slots:
        if slot.idle and not slot.hangs_on(delivery):
            if not slot.held:
                return slot
            if roomy is None or len(slot.held) < len(roomy.held):
                roomy = slot
        if not deep or not slot.takes_more or slot.since_started() > SOON:
            continue
        load = slot.load + (cost or SOON)
        if load > SOON or len(slot.held) >= DEEPEST:
            slot.filling = False
        elif slot.load <= SOON / 2 and len(slot.held) <= DEEPEST // 2:
            slot.filling = True  # in handfuls: one call for many
        if slot.filling and load <= least:
            best, least = slot, load
    return roomy or best
