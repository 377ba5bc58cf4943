"""The course of a delivery in its executor: it begins, or asks whether it may; it comes back, or ends.

Owns: what follows from each of these for the counters, the log, rate limits, an early ack and the verdict. Used by the pool
thread only. Never looks after executors: that is the pool's, and ``estate``'s when one has died.
"""

from __future__ import annotations

from pyqs.config import WorkerConfig
from pyqs.message import Delete
from pyqs.wire import Done, HandedBack, MayStart, Started
from pyqs.worker.acker import Acker
from pyqs.worker.calls_off import CallsOff
from pyqs.worker.custody import Custody
from pyqs.worker.facts import Facts
from pyqs.worker.policy import applied
from pyqs.worker.rates import Rates
from pyqs.worker.report import Journal, Totals
from pyqs.worker.slot import Slot


class Course:
    """Acts on what executors say about deliveries."""

    def __init__(
        self, config: WorkerConfig, *, custody: Custody, acker: Acker, facts: Facts, totals: Totals, journal: Journal
    ) -> None:
        self._config = config
        self._custody = custody
        self._acker = acker
        self._facts = facts
        self._totals = totals
        self._journal = journal
        self._rates = Rates()
        #: Which calls must not start, or not go on.
        self.calls_off = CallsOff()

    def started(self, slot: Slot, frame: Started) -> None:
        """Its task runs, and lasts: of a short one only the end is heard."""
        delivery = slot.held.get(frame.delivery_id)
        if delivery is None:
            return
        slot.begins(frame)
        self.calls_off.look_at(slot)
        self._count_start(delivery.queue, frame.task)
        if slot.running[delivery.id].acked_early:
            self._acker.ack_early(delivery)

    def ended(self, slot: Slot, frame: Done) -> None:
        """It has ended, with a task that ran or before there was one."""
        known = slot.has_begun(frame.delivery_id)
        ran = known or frame.seconds is not None
        delivery = slot.ended(frame.delivery_id)
        if delivery is None:
            return
        if ran and not known:
            slot.serves()
            self._count_start(delivery.queue, frame.task)
        slot.slow = False
        if not isinstance(frame.verdict, Delete):
            frame = applied(self._config, frame, last_life=self._facts.is_last_life(delivery))
        self._journal.done(delivery, frame, ran=ran)
        self._custody.ended(delivery, frame, ran=ran)
        if slot.stopping:
            slot.expect_goodbye()

    def handed_back(self, slot: Slot, frame: HandedBack) -> None:
        """It does not start them."""
        for delivery in [slot.handed_back(number) for number in reversed(frame.delivery_ids)]:
            if delivery is not None:
                self._custody.give_back(delivery)
        slot.slow = bool(slot.held)
        if slot.stopping:
            slot.expect_goodbye()

    def may_start(self, slot: Slot, frame: MayStart) -> None:
        """Its task has a rate limit; the answer waits in the slot."""
        if (delivery := slot.held.get(frame.delivery_id)) is not None:
            patience, longest = self._custody.patience(delivery), self._custody.longest_pause(delivery)
            slot.answer(self._rates.ask(frame, patience, longest))

    def _count_start(self, queue: str, task: str) -> None:
        self._totals.count_started(queue)
        self._rates.started(task)
