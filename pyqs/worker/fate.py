"""What becomes of the delivery that was running in an executor that died.

Owns: that one decision. Called by the pool thread. Carries nothing out. Where somebody is to be told of the failure, and
where the app's settings decide, the answer is a question for the host.
"""

from __future__ import annotations

import logging

from pyqs.backoff import retry_seconds
from pyqs.clock import boottime
from pyqs.message import Death, Delivery, Hide, Leave, Resend, Verdict
from pyqs.worker.slot import HANGS, Slot

log = logging.getLogger(__name__)


def divide(slot: Slot) -> tuple[Delivery | None, list[Delivery]]:
    """What a dead executor held: the delivery to blame for its end, and the others, in order, which run elsewhere.

    The task that ran is to blame; if none did, the delivery that was being decoded. Nobody is when we have killed it for
    what had ended by then, though it may have begun the next one, or when it was leaving and started nothing more. From one
    that a kill does not end, what it has begun is never taken back.
    """
    unsent = slot.take_back()
    held = list(slot.held.values())
    culprit = slot.running
    if culprit is not None and not slot.undead and slot.killed not in ("", HANGS) and slot.killed_with != culprit.id:
        culprit = None
    elif culprit is None and held and not slot.leaving and (not slot.killed or slot.killed == HANGS):
        culprit = held[0]
    if culprit is not None:
        held.remove(culprit)
    return culprit, held + unsent


def decide(slot: Slot, delivery: Delivery, how: str, *, last_life: bool = False) -> Verdict | Death:
    """The verdict, or what the host is to be told first, said in one line.

    Parameters:
        slot: the dead executor.
        delivery: what ran in it, or would have been the next to run.
        how: how it ended.
        last_life: released, it would go to the dead-letter queue; what we have stopped ourselves begins a new life instead.
    """
    started = slot.started if slot.running is delivery else None
    task = f"{started.task}[{started.call_id}]" if started else "a task that is not known to have started"
    why = f"{slot} {how}" + (f" ({slot.killed})" if slot.killed else "")
    limit = started.time_limit if started and slot.timed_out else None
    if slot.was_called_off and not slot.undead:
        log.warning("%s: %s was called off and %s", delivery, task, why)
        return Death(how, None, slot.acked_early, slot.called_off)
    if slot.acked_early:
        log.error("%s: %s is lost, it was acked when it started (acks_late is off) and %s", delivery, task, why)
        return Death(how, limit, acked_early=True) if started and started.tells else Leave()
    if slot.undead:
        log.error("%s: %s may still run; its message comes back when its lease ends: %s", delivery, task, why)
        return Leave()
    if slot.dismissed:
        log.warning("%s: %s was stopped and its message is released: %s", delivery, task, why)
        return Resend(0) if last_life else Hide(0)
    if started and started.tells:
        log.error("%s: %s while it ran %s; its settings say what becomes of it", delivery, why, task)
        return Death(how, limit)
    settled = started.if_killed if started else None
    if settled is not None and not isinstance(settled, Hide):
        log.error("%s: %s has failed for good by its settings: %s", delivery, task, why)
        return settled
    verdict = settled or again(delivery)
    log.error("%s: %s while it held %s; it is run again in %d s", delivery, why, task, verdict.seconds)
    return verdict


def unheard(delivery: Delivery, death: Death) -> Verdict:
    """The verdict if no host could be told."""
    if death.acked_early:
        log.error("%s: nobody could be told of its failure", delivery)
        return Leave()
    verdict = again(delivery)
    log.error("%s: nobody could be told of its failure; it is run again in %d s", delivery, verdict.seconds)
    return verdict


def again(delivery: Delivery) -> Hide:
    """It comes back, later each time."""
    return Hide(retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at))
