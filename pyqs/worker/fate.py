"""What becomes of the deliveries that were running in an executor that died.

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


def divide(slot: Slot) -> tuple[list[Delivery], list[Delivery]]:
    """What a dead executor held: the deliveries that ended with it, and the others, in order, which run elsewhere.

    The tasks that ran have ended with it; if none did, what was being decoded. Nothing has when we have killed it for
    what had ended by then, though it may have begun the next one, or when it was leaving and started nothing more. From one
    that a kill does not end, what it has begun is never taken back.
    """
    unsent = slot.take_back()
    ended: set[int] = set()
    if slot.running:
        killed = not slot.undead and slot.killed not in ("", HANGS)
        ended.update(slot.running.keys() & slot.killed_with if killed else slot.running)
    elif slot.held and not slot.leaving and (not slot.killed or slot.killed == HANGS):
        ended.update(list(slot.held)[: slot.lanes])
    held = slot.held.items()
    return [one for number, one in held if number in ended], [one for number, one in held if number not in ended] + unsent


def was_stopped(slot: Slot, delivery: Delivery) -> bool:
    """Whether we have ended it for the sake of something else: the worker stops, or a task that ran beside it was killed."""
    return slot.dismissed or slot.killed_for not in (None, delivery.id)


def decide(
    slot: Slot, delivery: Delivery, how: str, *, beside: int = 0, last_life: bool = False, alone: bool = False
) -> Verdict | Death:
    """The verdict, or what the host is to be told first, said in one line.

    Parameters:
        slot: the dead executor, or, ``alone``, one that has ended this task and lives.
        delivery: what ran in it, or would have been the next to run.
        how: how it ended.
        beside: how many others ended with it. Nobody knows which of them it was, so for none it is held to be a failure.
        last_life: released, it would go to the dead-letter queue; what we have stopped ourselves begins a new life instead.
    """
    running = slot.running.get(delivery.id)
    task = str(running) if running else "a task that is not known to have started"
    reason = running.kill_reason if running and alone else slot.killed
    told = f"its executor {how}" if alone else how
    why = f"{slot} {how}" + (f" ({reason})" if reason else "")
    for_it = alone or (running is not None and slot.killed_for == delivery.id)
    limit = running.frame.time_limit if running and for_it and not running.called_off else None
    if running and for_it and running.called_off and not slot.undead:
        log.warning("%s: %s was called off and %s", delivery, task, why)
        return Death(told, None, running.acked_early, running.called_off)
    if running and running.acked_early:
        log.error("%s: %s is lost, it was acked when it started (acks_late is off) and %s", delivery, task, why)
        return Death(told, limit, acked_early=True) if running.frame.tells else Leave()
    if slot.undead:
        log.error("%s: %s may still run; its message comes back when its lease ends: %s", delivery, task, why)
        return Leave()
    if was_stopped(slot, delivery):
        log.warning("%s: %s was stopped and its message is released: %s", delivery, task, why)
        return Resend(0) if last_life else Hide(0)
    if beside and not for_it:
        verdict = again(delivery)
        log.error("%s: %s while it held %s and %d more; it is run again in %d s", delivery, why, task, beside, verdict.seconds)
        return verdict
    if running and running.frame.tells:
        log.error("%s: %s while it ran %s; its settings say what becomes of it", delivery, why, task)
        return Death(told, limit)
    settled = running.frame.if_killed if running else None
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
