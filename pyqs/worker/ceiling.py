"""What becomes of a delivery that is held for nearly twelve hours, after which SQS lets nobody keep a message hidden.

Owns: the policy ``--on-ceiling`` and what is said about it. Called by the pool thread, which alone knows what runs where.
Never looks at a clock: ``Leases`` tells when the ceiling is near and when it is reached.
"""

from __future__ import annotations

import logging

from pyqs.message import Delivery
from pyqs.worker.acker import Acker
from pyqs.worker.slot import Slot

log = logging.getLogger(__name__)

_PLANS = {
    "keep": "it goes on running, and its message will be handed out again",
    "delete": "its message will be deleted while it runs on",
    "kill": "it will be killed, and its message released",
}
_WAITS = "it runs nowhere here and will be handed out again"


class Ceiling:
    """Carries out one of the policies.

    Parameters:
        policy: "keep" lets it run on while the message is handed out again; "delete" deletes the message now, which makes
            the rest of the run at-most-once; "kill" ends the run and releases the message, so that no two overlap.
    """

    def __init__(self, policy: str, acker: Acker) -> None:
        self._policy = policy
        self._acker = acker

    def near(self, delivery: Delivery, slot: Slot | None) -> None:
        """Half an hour is left; ``slot`` is the executor that runs it."""
        plan = _WAITS if slot is None else _PLANS[self._policy_for(delivery)]
        task = _what_runs(delivery, slot)
        log.warning("%s: %s is held for 11 h 30 min, SQS's limit is twelve hours; then %s", delivery, task, plan)

    def reached(self, delivery: Delivery, slot: Slot | None) -> None:
        """Act, while the last lease still holds."""
        task = _what_runs(delivery, slot)
        if slot is None or not slot.runs(delivery):
            log.error("%s: held for twelve hours, SQS's limit; it will be handed out again", delivery)
            return
        match self._policy_for(delivery):
            case "delete":
                log.error(
                    "%s: %s has run for twelve hours: its message is deleted now; if it fails, it is lost", delivery, task
                )
                slot.running[delivery.id].acked_early = True
                self._acker.ack_early(delivery)
            case "kill":
                log.error("%s: %s has run for twelve hours: it is killed, and its message released", delivery, task)
                slot.kill("SQS lets nobody hold a message for longer than twelve hours", dismissed=True)
            case _:
                log.error(
                    "%s: %s has run for twelve hours, SQS's limit: it goes on, and its message will be handed out again, here "
                    "or elsewhere, while it does",
                    delivery,
                    task,
                )

    def _policy_for(self, delivery: Delivery) -> str:
        """A deleted message of a FIFO group would let the next one start beside it."""
        return "keep" if delivery.is_fifo and self._policy == "delete" else self._policy


def _what_runs(delivery: Delivery, slot: Slot | None) -> str:
    running = slot.running.get(delivery.id) if slot is not None else None
    return "a message that is not running" if running is None else f"task {running}"
