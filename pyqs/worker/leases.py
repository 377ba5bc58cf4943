"""Our hold on deliveries: until when, what is due for renewal, what was lost.

Owns: the table of leases. Fetchers add, the heartbeat renews, the pool asks whether something may still start, the acker
ends. For any thread. Never talks to SQS.

A lease is dated on the boot-time clock from the moment the receive was begun: SQS may have handed the message out at any
moment after that, and the process may have been stopped in between. So a lease is never thought to be longer than it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyqs.backoff import clamp_visibility
from pyqs.clock import boottime
from pyqs.config import MAX_BATCH
from pyqs.errors import AccessDenied, LeaseLost, SqsError
from pyqs.message import Delivery
from pyqs.worker.report import Totals

log = logging.getLogger(__name__)

#: Seconds until a renewal that failed is tried again: this part of the lease.
_RETRY_PART = 1 / 12
#: What is due within this part of a lease is renewed in the same batch.
_AHEAD_PART = 1 / 10
#: The shortest renewal worth sending, seconds: SQS's twelve hours are over.
_SHORTEST = 10
#: Seconds that an end waits for a renewal under way, so that the renewal does not overwrite what comes after it.
_RENEWAL_PATIENCE = 35.0


@dataclass(eq=False, slots=True)
class Lease:
    """One delivery's lease. Times are boot-time seconds; the table's lock guards it."""

    delivery: Delivery
    deadline: float
    renew_at: float
    renewing: bool = False
    lost: bool = False


class Leases:
    """Every lease of this worker.

    Parameters:
        seconds: of VisibilityTimeout asked for on each receive and renewal.
        on_lost: told, outside the lock, of each delivery whose lease is gone.
    """

    def __init__(
        self,
        seconds: int,
        totals: Totals,
        *,
        on_lost: Callable[[Delivery], None] = lambda _: None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.seconds = seconds
        self.on_lost = on_lost
        self._totals = totals
        self._clock = clock
        self._changed = threading.Condition()
        self._leases: dict[int, Lease] = {}
        self._refused: dict[str, int] = {}
        self._failing: set[str] = set()

    def __len__(self) -> int:
        with self._changed:
            return len(self._leases)

    # -- receiving and starting -----------------------------------------------------------------------------------

    def visibility(self, queue: str) -> int | None:
        """What a receive asks for: seconds, or None for the queue's own where we may not change it later."""
        return None if queue in self._refused else self.seconds

    def length(self, queue: str) -> int:
        """Seconds that a lease on this queue lasts."""
        return self._refused.get(queue, self.seconds)

    def hold(self, deliveries: Sequence[Delivery]) -> None:
        """These were received just now."""
        with self._changed:
            for one in deliveries:
                renew_at = float("inf") if one.queue in self._refused else one.received_at + one.visibility / 2
                self._leases[one.id] = Lease(one, one.received_at + one.visibility, renew_at)

    def start_before(self, delivery: Delivery) -> float | None:
        """The boot-time second before which it must have started; None when it is too late."""
        margin = min(5.0, self.length(delivery.queue) / 10)
        with self._changed:
            lease = self._leases.get(delivery.id)
            if lease is None or lease.lost or lease.deadline - margin <= self._clock():
                return None
            return lease.deadline - margin

    # -- ending ---------------------------------------------------------------------------------------------------

    def holds(self, delivery: Delivery) -> bool:
        """Whether the message is still ours."""
        with self._changed:
            lease = self._leases.get(delivery.id)
            return lease is not None and not lease.lost and lease.deadline > self._clock()

    def deadline(self, delivery: Delivery) -> float:
        """The boot-time second at which its lease runs out as things stand; 0 when there is none."""
        with self._changed:
            lease = self._leases.get(delivery.id)
            return 0.0 if lease is None else lease.deadline

    def end(self, deliveries: Sequence[Delivery], *, settle: bool = False) -> list[bool]:
        """No more renewals; for each whether it was still held. ``settle`` waits for renewals that are under way."""
        with self._changed:
            found = [self._leases.pop(one.id, None) for one in deliveries]
            if settle:
                self._changed.wait_for(
                    lambda: not any(lease.renewing for lease in found if lease is not None), _RENEWAL_PATIENCE
                )
            now = self._clock()
            return [lease is not None and not lease.lost and lease.deadline > now for lease in found]

    # -- the heartbeat --------------------------------------------------------------------------------------------

    def take_due(self) -> list[Lease]:
        """Up to ten leases of one queue that should be renewed now. Leases that ran out are lost."""
        with self._changed:
            now = self._clock()
            expired = [lease for lease in self._leases.values() if not lease.lost and lease.deadline <= now]
            for lease in expired:
                lease.lost = True
            due = None
            batch: list[Lease] = []
            for lease in sorted(self._leases.values(), key=lambda one: one.renew_at):
                if lease.lost or lease.renewing:
                    continue
                if due is None:
                    if lease.renew_at > now:
                        break
                    due = lease
                url = due.delivery.queue_url
                if lease.delivery.queue_url == url and lease.renew_at <= now + self.seconds * _AHEAD_PART:
                    lease.renewing = True
                    batch.append(lease)
                    if len(batch) == MAX_BATCH:
                        break
        for lease in expired:
            self._tell_lost(lease, "it ran out before it could be renewed")
        return batch

    def length_of_renewal(self, lease: Lease) -> int:
        """Seconds to ask for, within SQS's twelve hours since the receive; 0 when they are over."""
        held = self._clock() - lease.delivery.received_at
        seconds = clamp_visibility(self.seconds, held=held)
        return seconds if seconds >= _SHORTEST else 0

    def renewed(self, batch: Sequence[tuple[Lease, int]], answers: Sequence[SqsError | None], sent_at: float) -> bool:
        """Take in the answers to renewals begun at ``sent_at``; True when the queue refuses them for good (IAM)."""
        lost: list[Lease] = []
        refused = False
        with self._changed:
            for (lease, seconds), answer in zip(batch, answers, strict=True):
                lease.renewing = False
                if answer is None:
                    lease.deadline = sent_at + seconds
                    lease.renew_at = sent_at + seconds / 2
                elif isinstance(answer, LeaseLost):
                    if not lease.lost and self._leases.get(lease.delivery.id) is lease:
                        lease.lost = True
                        lost.append(lease)
                elif isinstance(answer, AccessDenied):
                    lease.renew_at = float("inf")
                    refused = True
                else:
                    lease.renew_at = self._clock() + self.seconds * _RETRY_PART
            self._changed.notify_all()
        self._tell_state(batch[0][0].delivery.queue, answers)
        for lease in lost:
            self._tell_lost(lease, "SQS says it is not ours any more")
        return refused

    def give_up(self, leases: Sequence[Lease]) -> None:
        """These have reached SQS's twelve hours: they run out by themselves."""
        with self._changed:
            for lease in leases:
                lease.renewing = False
                lease.renew_at = float("inf")
            self._changed.notify_all()
        for lease in leases:
            log.error("%s: held for twelve hours, SQS's limit; it will be handed out again", lease.delivery)

    def refuse(self, queue: str, own_seconds: int) -> None:
        """ChangeMessageVisibility is not allowed on this queue, whose own timeout is ``own_seconds``."""
        with self._changed:
            if queue in self._refused:
                return
            self._refused[queue] = own_seconds
        log.warning(
            "queue %s: leases cannot be renewed, sqs:ChangeMessageVisibility is not allowed; they last as long as the queue's "
            "own timeout (%d s), and a task that takes longer will be handed out again",
            queue,
            own_seconds,
        )

    def is_refused(self, queue: str) -> bool:
        """Whether this queue's leases cannot be changed."""
        return queue in self._refused

    def _tell_state(self, queue: str, answers: Sequence[SqsError | None]) -> None:
        broken = [one for one in answers if one is not None and not isinstance(one, (LeaseLost, AccessDenied))]
        if broken and queue not in self._failing:
            self._failing.add(queue)
            log.warning("queue %s: renewing leases fails and is tried again: %s", queue, broken[0])
        elif not broken and queue in self._failing:
            self._failing.discard(queue)
            log.info("queue %s: leases are renewed again", queue)

    def _tell_lost(self, lease: Lease, why: str) -> None:
        self._totals.add("lost_leases")
        age = self._clock() - lease.delivery.received_at
        log.warning("%s: its lease is lost %.0f s after the receive: %s", lease.delivery, age, why)
        self.on_lost(lease.delivery)
