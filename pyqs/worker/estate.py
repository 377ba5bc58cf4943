"""What an executor that has died leaves behind: the deliveries whose tasks ended with it, and the others.

Owns: the settling of that, and the questions to the host that are still open. Used by the pool thread only. Never decides
(``fate`` and the host do), never talks to SQS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from pyqs.clock import boottime
from pyqs.message import Death, Delivery
from pyqs.wire import Cancelled, Done
from pyqs.worker.custody import Custody
from pyqs.worker.facts import Facts
from pyqs.worker.fate import decide, divide, unheard, was_stopped
from pyqs.worker.host import Host
from pyqs.worker.report import Journal, Totals
from pyqs.worker.slot import Slot

log = logging.getLogger(__name__)


class Estates:
    """Settles one estate after the other.

    Parameters:
        later: has a function called in the pool thread.
    """

    def __init__(
        self,
        *,
        host: Host,
        custody: Custody,
        facts: Facts,
        totals: Totals,
        journal: Journal,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self._host = host
        self._custody = custody
        self._facts = facts
        self._totals = totals
        self._journal = journal
        self._later = later
        #: Deliveries whose fate the host is asked for. They are held meanwhile, their leases renewed.
        self.open = 0

    def settle(self, slot: Slot, how: str) -> None:
        """What it held: what ran has ended with it, the rest runs elsewhere."""
        ended, rest = divide(slot)
        for one in reversed(rest):
            self._custody.give_back(one)
        if not ended and slot.ready and not slot.stopping:
            log.error("%s %s while it held nothing; it is replaced", slot, how)
        for one in ended:
            self._settle(slot, one, how, beside=len(ended) - 1)

    def cancelled(self, slot: Slot, frame: Cancelled) -> None:
        """It has ended this one, alone. What is killed anyhow is settled with the others."""
        delivery = slot.held.get(frame.delivery_id)
        if delivery is None or not slot.runs(delivery) or slot.killed:
            return
        self._settle(slot, delivery, "has ended it", alone=True)
        slot.ended(delivery.id)
        if slot.stopping:
            slot.expect_goodbye()

    def _settle(self, slot: Slot, delivery: Delivery, how: str, *, beside: int = 0, alone: bool = False) -> None:
        running = slot.running.get(delivery.id)
        lost = slot.undead or bool(running and running.acked_early) or alone or not was_stopped(slot, delivery)
        self._totals.add("lost" if lost else "released")
        last_life = self._facts.is_last_life(delivery)
        fate = decide(slot, delivery, how, beside=beside, last_life=last_life, alone=alone)
        if isinstance(fate, Death):
            self._ask(delivery, fate, boottime() - running.at if running else 0.0)
        else:
            self._custody.settle(delivery, fate)

    def _ask(self, delivery: Delivery, death: Death, seconds: float) -> None:
        self.open += 1
        self._host.ask(delivery, death, lambda said: self._take_answer(delivery, death, said, seconds))

    def _take_answer(self, delivery: Delivery, death: Death, said: Done | None, seconds: float) -> None:
        """In the host's thread."""
        self._later(lambda: self._answered(delivery, death, said, seconds))

    def _answered(self, delivery: Delivery, death: Death, said: Done | None, seconds: float) -> None:
        self.open -= 1
        if said is None:
            self._custody.settle(delivery, unheard(delivery, death))
        else:
            self._journal.done(delivery, replace(said, seconds=seconds), ran=True)
            self._custody.settle(delivery, said.verdict, said.follow_ups)
