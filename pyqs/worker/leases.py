"""Our hold on deliveries: until when, what is due for renewal, what was lost.

Owns: the table of leases. Fetchers add, the heartbeat renews, the pool asks whether something may still start, the acker
ends. For any thread. Never talks to SQS.

A lease is dated on the boot-time clock from the moment the receive was begun: SQS may have handed the message out at any
moment after that, and the process may have been stopped in between. So a lease is never thought to be longer than it is.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyqs.backoff import clamp_visibility
from pyqs.clock import boottime
from pyqs.config import MAX_BATCH, MAX_VISIBILITY
from pyqs.errors import AccessDenied, LeaseLost, SqsError
from pyqs.message import Delivery
from pyqs.worker.refusals import ASK_SELDOM, Refusals
from pyqs.worker.report import Totals
from pyqs.worker.trouble import Trouble

log = logging.getLogger(__name__)

#: Seconds until a renewal that failed is tried again: this part of the lease.
_RETRY_PART = 1 / 12
#: What is due within this part of a lease is renewed in the same batch.
_AHEAD_PART = 1 / 10
#: The shortest renewal worth sending, seconds: SQS's twelve hours are over.
_SHORTEST = 10
_AGAIN = "queue %s: leases may be renewed again"
#: Seconds that an end waits for a renewal under way, so that the renewal does not overwrite what comes after it.
_RENEWAL_PATIENCE = 35.0
#: Seconds since the receive at which SQS's twelve hours are near: the first time it is said, the second it is acted on,
#: while there is a minute left for that before the last renewal that SQS takes runs out.
CEILING_NEAR = MAX_VISIBILITY - 1800.0
CEILING = MAX_VISIBILITY - 120.0


@dataclass(eq=False, slots=True)
class Lease:
    """One delivery's lease. Times are boot-time seconds; the table's lock guards it."""

    delivery: Delivery
    deadline: float
    renew_at: float
    renewing: bool = False
    lost: bool = False
    #: Boot-time second from which it is to be told that the ceiling is near, then that it is there.
    ceiling_at: float = 0.0

    def __post_init__(self) -> None:
        self.ceiling_at = self.delivery.received_at + CEILING_NEAR


class Leases:
    """Every lease of this worker.

    Parameters:
        seconds: of VisibilityTimeout asked for on each receive and renewal.
        on_lost: told, outside the lock, of each delivery whose lease is gone.
        on_ceiling: told, outside the lock, of each delivery that is held for nearly twelve hours: once at half an hour
            before, with False, once shortly before, with True.
    """

    def __init__(
        self,
        seconds: int,
        totals: Totals,
        *,
        on_lost: Callable[[Delivery], None] = lambda _: None,
        on_ceiling: Callable[[Delivery, bool], None] = lambda *_: None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.seconds = seconds
        self.on_lost = on_lost
        self.on_ceiling = on_ceiling
        self._totals = totals
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._leases: dict[int, Lease] = {}
        #: Of which a renewal is under way; some may have ended meanwhile.
        self._renewing: set[Lease] = set()
        self._refusals = Refusals()
        #: Of the queues on which a renewal has ever failed.
        self._troubles: dict[str, Trouble] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._leases)

    # -- receiving and starting -----------------------------------------------------------------------------------

    def visibility(self, queue: str) -> int:
        """What a receive asks for, seconds. Always said, so that it is known: that takes no permission of its own."""
        return self._refusals.seconds(queue, self.seconds)

    def length(self, queue: str, asked: int | None) -> int:
        """Seconds that a lease lasts for which a receive has ``asked`` so."""
        return self.visibility(queue) if asked is None else asked

    def hold(self, deliveries: Sequence[Delivery]) -> None:
        """These were received just now."""
        with self._lock:
            for one in deliveries:
                renew_at = float("inf") if one.queue in self._refusals else one.received_at + one.visibility / 2
                self._leases[one.id] = Lease(one, one.received_at + one.visibility, renew_at)

    def start_before(self, delivery: Delivery) -> float | None:
        """The boot-time second before which it must have started; None when it is too late."""
        margin = min(5.0, delivery.visibility / 10)
        with self._lock:
            lease = self._leases.get(delivery.id)
            if lease is None or lease.lost or lease.deadline - margin <= self._clock():
                return None
            return lease.deadline - margin

    # -- ending ---------------------------------------------------------------------------------------------------

    def holds(self, delivery: Delivery) -> bool:
        """Whether the message is still ours."""
        with self._lock:
            lease = self._leases.get(delivery.id)
            return lease is not None and not lease.lost and lease.deadline > self._clock()

    def deadline(self, delivery: Delivery) -> float:
        """The boot-time second at which its lease runs out as things stand; 0 when there is none."""
        with self._lock:
            lease = self._leases.get(delivery.id)
            return 0.0 if lease is None else lease.deadline

    def end(self, deliveries: Sequence[Delivery], *, settle: bool = False) -> list[bool]:
        """No more renewals; for each whether it was still held. ``settle`` waits for renewals that are under way."""
        with self._lock:
            found = [self._leases.pop(one.id, None) for one in deliveries]
            if settle:
                self._changed.wait_for(
                    lambda: not any(lease.renewing for lease in found if lease is not None), _RENEWAL_PATIENCE
                )
            now = self._clock()
            return [lease is not None and not lease.lost and lease.deadline > now for lease in found]

    # -- the heartbeat --------------------------------------------------------------------------------------------

    def take_due(self) -> list[Lease]:
        """Up to ten leases of one queue that should be renewed now. Leases that ran out are lost.

        A second renewal of the same queue is begun only while leases of no other queue are held: calls that do not return
        must not take up every thread.
        """
        with self._lock:
            now = self._clock()
            expired = [lease for lease in self._leases.values() if not lease.lost and lease.deadline <= now]
            for lease in expired:
                lease.lost = True
            old = self._take_old(now)
            self._ask_again(now)
            due = None
            batch: list[Lease] = []
            held = {lease.delivery.queue_url for lease in self._leases.values() if not lease.lost}
            under_way = {lease.delivery.queue_url for lease in self._renewing} if len(held) > 1 else set()
            for lease in sorted(self._leases.values(), key=lambda one: one.renew_at):
                if lease.lost or lease.renewing or lease.delivery.queue_url in under_way:
                    continue
                if due is None:
                    if lease.renew_at > now:
                        break
                    due = lease
                url = due.delivery.queue_url
                if lease.delivery.queue_url == url and lease.renew_at <= now + self.seconds * _AHEAD_PART:
                    lease.renewing = True
                    self._renewing.add(lease)
                    batch.append(lease)
                    if len(batch) == MAX_BATCH:
                        break
        for lease in expired:
            self._tell_lost(lease, "it ran out before it could be renewed")
        for delivery, reached in old:
            self.on_ceiling(delivery, reached)
        return batch

    def _take_old(self, now: float) -> list[tuple[Delivery, bool]]:
        """Those of which the ceiling must be told now, and whether it is reached."""
        old = []
        for lease in self._leases.values():
            if lease.ceiling_at <= now and not lease.lost:
                reached = now >= lease.delivery.received_at + CEILING
                lease.ceiling_at = float("inf") if reached else lease.delivery.received_at + CEILING
                old.append((lease.delivery, reached))
        return old

    def _ask_again(self, now: float) -> None:
        """Let one batch of a queue that refused a while ago be due."""
        for queue in self._refusals.due(now):
            held = [one for one in self._leases.values() if one.delivery.queue == queue and not one.lost and not one.renewing]
            if held:
                self._refusals.asked(queue, now)
            for lease in sorted(held, key=lambda one: one.deadline)[:MAX_BATCH]:
                lease.renew_at = now

    def length_of_renewal(self, lease: Lease) -> int:
        """Seconds to ask for, never less than it has, within SQS's twelve hours since the receive; 0 when they are over."""
        now = self._clock()
        wanted = max(self.seconds, math.ceil(lease.deadline - now)) if self.is_refused(lease.delivery.queue) else self.seconds
        seconds = clamp_visibility(wanted, held=now - lease.delivery.received_at)
        return seconds if seconds >= _SHORTEST else 0

    def renewed(self, batch: Sequence[tuple[Lease, int]], answers: Sequence[SqsError | None], sent_at: float) -> bool:
        """Take in the answers to renewals begun at ``sent_at``; True when the queue keeps refusing them (IAM)."""
        lost: list[Lease] = []
        queue = batch[0][0].delivery.queue
        with self._lock:
            refused = self._refusals.answered(queue, answers, self._clock())
            again = any(answer is None for answer in answers) and self._allowed(queue)
            for (lease, seconds), answer in zip(batch, answers, strict=True):
                lease.renewing = False
                self._renewing.discard(lease)
                if answer is None:
                    lease.deadline = sent_at + seconds
                    lease.renew_at = sent_at + seconds / 2
                elif isinstance(answer, LeaseLost):
                    if not lease.lost and self._leases.get(lease.delivery.id) is lease:
                        lease.lost = True
                        lost.append(lease)
                elif isinstance(answer, AccessDenied) and (refused or queue in self._refusals):
                    lease.renew_at = float("inf")
                else:
                    lease.renew_at = self._clock() + self.seconds * _RETRY_PART
            self._changed.notify_all()
        if again:
            log.info(_AGAIN, queue)
        self._tell_state(queue, answers)
        for lease in lost:
            self._tell_lost(lease, "SQS says it is not ours any more")
        return refused

    def accepted(self, queue: str, begun_at: float, *, change: bool = False) -> None:
        """SQS has accepted a call on this queue that was begun then; ``change``: of a message's visibility."""
        with self._lock:
            again = change and self._allowed(queue)
            if not change:
                self._refusals.others_work(queue, begun_at)
        if again:
            log.info(_AGAIN, queue)

    def _allowed(self, queue: str) -> bool:
        """A change was accepted. What is held of a queue that refused, which is answered with True, is renewed from now on,
        each at half of what it has left."""
        if not self._refusals.end(queue):
            return False
        now = self._clock()
        for lease in self._leases.values():
            if lease.delivery.queue == queue and lease.renew_at == float("inf"):
                lease.renew_at = now + max(0.0, lease.deadline - now) / 2
        return True

    def give_up(self, leases: Sequence[Lease]) -> None:
        """These have reached SQS's twelve hours, which was told: they run out by themselves."""
        with self._lock:
            for lease in leases:
                lease.renewing = False
                self._renewing.discard(lease)
                lease.renew_at = float("inf")
            self._changed.notify_all()

    def refuse(self, queue: str, own_seconds: int | None) -> None:
        """ChangeMessageVisibility is not allowed on this queue, whose own timeout is ``own_seconds``, None if unknown."""
        seconds = max(self.seconds, own_seconds or 0)
        with self._lock:
            if not self._refusals.add(queue, seconds, self._clock()):
                return
            for lease in self._leases.values():
                if lease.delivery.queue == queue:
                    lease.renew_at = float("inf")
        log.warning(
            "queue %s: leases cannot be renewed, sqs:ChangeMessageVisibility is not allowed; what is received from now on is "
            "ours for %d s, and a task that takes longer will be handed out again; it is tried again, at last every %.0f min",
            queue,
            seconds,
            ASK_SELDOM / 60,
        )

    def is_refused(self, queue: str) -> bool:
        """Whether this queue's leases cannot be changed."""
        return queue in self._refusals

    @property
    def failing(self) -> int:
        """On how many queues renewals fail now."""
        return sum(one.lasts for one in list(self._troubles.values()))

    def _tell_state(self, queue: str, answers: Sequence[SqsError | None]) -> None:
        broken = [one for one in answers if one is not None and not isinstance(one, (LeaseLost, AccessDenied))]
        if broken:
            fails, works = (
                f"queue {queue}: renewing leases fails and is tried again",
                f"queue {queue}: leases are renewed again",
            )
            self._troubles.setdefault(queue, Trouble(log, fails, works, clock=self._clock)).failed(broken[0])
        elif queue in self._troubles:
            self._troubles[queue].worked()

    def _tell_lost(self, lease: Lease, why: str) -> None:
        self._totals.add("lost_leases")
        age = self._clock() - lease.delivery.received_at
        log.warning("%s: its lease is lost %.0f s after the receive: %s", lease.delivery, age, why)
        self.on_lost(lease.delivery)
