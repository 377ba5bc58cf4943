"""What an executor that has died leaves behind: the delivery that is to blame for its end, and the others.

Owns: the settling of that, and the questions to the host that are still open. Used by the pool thread only. Never decides
(``fate`` and the host do), never talks to SQS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from pyqs.message import Death, Delivery
from pyqs.wire import Done
from pyqs.worker.custody import Custody
from pyqs.worker.facts import Facts
from pyqs.worker.fate import decide, divide, unheard
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
        """What it held: one is blamed for its end, the rest run elsewhere."""
        culprit, rest = divide(slot)
        for one in reversed(rest):
            self._custody.give_back(one)
        if culprit is None:
            if slot.ready and not slot.stopping:
                log.error("%s %s while it held nothing; it is replaced", slot, how)
            return
        self._totals.add("released" if slot.dismissed and not (slot.acked_early or slot.undead) else "lost")
        fate = decide(slot, culprit, how, last_life=self._facts.is_last_life(culprit))
        if isinstance(fate, Death):
            self._ask(culprit, fate, slot.since_started())
        else:
            self._custody.settle(culprit, fate)

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
