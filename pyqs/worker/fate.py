"""What becomes of the delivery that was running in an executor that died.

Owns: that one decision. Called by the pool thread. Carries nothing out. The failure path of compat tasks (result,
link_error, signals) has its place here.
"""

from __future__ import annotations

import logging

from pyqs.backoff import retry_seconds
from pyqs.clock import boottime
from pyqs.message import Delivery, Hide, Leave, Verdict
from pyqs.worker.slot import Slot

log = logging.getLogger(__name__)


def decide(slot: Slot, delivery: Delivery, how: str) -> Verdict:
    """The verdict, said in one line.

    Parameters:
        slot: the dead executor.
        delivery: what ran in it, or would have been the next to run.
        how: how it ended.
    """
    started = slot.started if slot.running is delivery else None
    task = f"{started.task}[{started.call_id}]" if started else "a task that is not known to have started"
    why = f"{slot} {how}" + (f" ({slot.killed})" if slot.killed else "")
    if slot.acked_early:
        log.error("%s: %s is lost, it was acked when it started (acks_late is off) and %s", delivery, task, why)
        return Leave()
    if slot.dismissed:
        log.warning("%s: %s was stopped and its message is released: %s", delivery, task, why)
        return Hide(0)
    settled = None if started is None else started.if_timed_out if slot.timed_out else started.if_lost
    if settled is not None:
        log.error("%s: %s has failed for good by its ack settings: %s", delivery, task, why)
        return settled
    seconds = retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at)
    log.error("%s: %s while it held %s; it is run again in %d s", delivery, why, task, seconds)
    return Hide(seconds)
