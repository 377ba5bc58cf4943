"""Renews leases at half time, in batches of ten, for everything that runs or waits here.

Owns: the calls that renew. Runs in threads of its own (two, so that one queue that stalls does not hold up the others).
The last services to stop. Never renews what the acker is about to hide.
"""

from __future__ import annotations

from collections.abc import Callable

from pyqs.clock import boottime
from pyqs.errors import SqsError
from pyqs.sqs import Sqs
from pyqs.worker.facts import Facts
from pyqs.worker.leases import Lease, Leases
from pyqs.worker.service import OnCrash, Service

#: Seconds that one round may take while nothing answers: calls are tried three times, a role is assumed again with the SDK's
#: own patience (five tries of a minute), maybe after another thread has tried the same. A restart would mend none of that.
TOLERANCE = 900.0


class Heartbeat(Service):
    """One renewing thread."""

    def __init__(
        self,
        number: int,
        sqs: Sqs,
        leases: Leases,
        facts: Facts,
        on_crash: OnCrash,
        *,
        clock: Callable[[], float] = boottime,
    ) -> None:
        super().__init__(f"heartbeat-{number}", on_crash, tolerance=TOLERANCE)
        self._sqs = sqs
        self._leases = leases
        self._facts = facts
        self._clock = clock
        self._tick = min(1.0, leases.seconds / 20)

    def run(self) -> None:
        """Look, renew, sleep a moment."""
        while not self.stopping.is_set():
            self.beat()
            batch = self._leases.take_due()
            if batch:
                self.renew(batch)
            else:
                self.stopping.wait(self._tick)

    def renew(self, batch: list[Lease]) -> None:
        """Renew leases of one queue."""
        lengths = [(lease, self._leases.length_of_renewal(lease)) for lease in batch]
        over = [lease for lease, seconds in lengths if not seconds]
        if over:
            self._leases.give_up(over)
        todo = [(lease, seconds) for lease, seconds in lengths if seconds]
        if not todo:
            return
        queue, url = batch[0].delivery.queue, batch[0].delivery.queue_url
        sent_at = self._clock()
        answers: list[SqsError | None]
        try:
            answers = self._sqs.change_visibility_batch(
                url, [(lease.delivery.message.receipt_handle, seconds) for lease, seconds in todo]
            )
        except SqsError as exc:
            answers = [exc] * len(todo)
        if self._leases.renewed(todo, answers, sent_at) and not self._leases.is_refused(queue):
            facts = self._facts.known(queue)
            self._leases.refuse(queue, None if facts is None else facts.visibility_timeout)
