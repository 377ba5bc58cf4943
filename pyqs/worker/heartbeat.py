"""Renews leases at half time, so that a long task keeps its message.

Owns: the renewals of one worker, in batches of ten, on a thread of its own. Renews what is buffered and what runs alike,
until a verdict is being carried out. Never renews a lease that has run out or was refused: that delivery is not ours.
"""

from __future__ import annotations

import logging
from collections import defaultdict

from pyqs.clock import boottime
from pyqs.config import MAX_BATCH
from pyqs.errors import AccessDenied, LeaseLost, QueueNotFound, SqsError
from pyqs.sqs import Sqs
from pyqs.worker.leases import Lease, Leases
from pyqs.worker.service import Crashed, Service

log = logging.getLogger(__name__)

#: Seconds between two looks at the leases: far below the shortest half lease.
_LOOK = 0.5


class Heartbeat(Service):
    """The thread that renews. ``denied`` holds the queues on which ChangeMessageVisibility is not allowed."""

    def __init__(self, sqs: Sqs, leases: Leases, crashed: Crashed) -> None:
        super().__init__("heartbeat", crashed)
        self._sqs = sqs
        self._leases = leases
        self.denied: set[str] = set()
        self._failing: set[str] = set()

    def run(self) -> None:
        """Look, renew, wait; until stopped."""
        while not self.stopping.wait(_LOOK):
            self.beat()

    def beat(self) -> None:
        """Renew what is due now, and report what has run out."""
        by_queue: dict[str, list[Lease]] = defaultdict(list)
        for lease in self._leases.due():
            by_queue[lease.delivery.queue_url].append(lease)
        for url, leases in by_queue.items():
            for start in range(0, len(leases), MAX_BATCH):
                batch = leases[start : start + MAX_BATCH]
                try:
                    self._renew(url, batch)
                finally:
                    for lease in batch:
                        self._leases.renewal_ended(lease.delivery.id)
        for lease in self._leases.expired():
            if lease.delivery.queue not in self.denied:
                log.warning("%s: the lease of %d s ran out; the message may run again elsewhere", lease.delivery, lease.seconds)

    def _renew(self, url: str, batch: list[Lease]) -> None:
        queue = batch[0].delivery.queue
        if queue in self.denied:
            return
        asked_at = boottime()
        try:
            answers = self._sqs.change_visibility_batch(url, [(x.delivery.message.receipt_handle, x.seconds) for x in batch])
        except SqsError as exc:
            answers = [exc] * len(batch)
        for lease, error in zip(batch, answers, strict=True):
            if error is None:
                self._leases.renewed(lease.delivery.id, asked_at)
                self._failing.discard(queue)
            else:
                self._refused(lease, error)

    def _refused(self, lease: Lease, error: SqsError) -> None:
        queue = lease.delivery.queue
        if isinstance(error, LeaseLost | QueueNotFound):
            age = self._leases.lose(lease.delivery.id)
            if age is not None:
                log.warning("%s: the lease is lost after %.0f s (%s)", lease.delivery, age, error.code)
        elif isinstance(error, AccessDenied):
            self.denied.add(queue)
            log.warning(
                "queue %s: leases cannot be renewed (%s); from now on the queue's own visibility timeout holds, "
                "and a longer task runs twice. Allow sqs:ChangeMessageVisibility",
                queue,
                error,
            )
        elif queue not in self._failing:
            # Tried again at the next look; the lease holds until its end.
            self._failing.add(queue)
            log.warning("queue %s: a renewal failed and is tried again: %s", queue, error)
