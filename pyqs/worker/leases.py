"""Our holds on deliveries, and when they end.

Owns: ``Leases``: one ``Lease`` for each delivery in this worker, dated on the boot-time clock. Called from fetchers,
the pool, the ackers and the heartbeat; one lock. Never calls SQS. A lease counts from the moment the receive could
first have answered, so ours ends no later than SQS's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from pyqs.clock import boottime
from pyqs.message import Delivery

#: Seconds before a lease's end from which on a delivery is not started any more: time for the first renewal to arrive.
START_MARGIN = 5.0


@dataclass(slots=True)
class Lease:
    """One hold. ``renew_at`` and ``deadline`` are on the boot-time clock; ``lost`` once SQS says it is not ours."""

    delivery: Delivery
    seconds: int
    deadline: float
    renew_at: float
    lost: bool = False
    renewing: bool = False


class Leases:
    """Every lease of this worker, by delivery id.

    Parameters:
        clock: the boot-time clock; tests give their own.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[int, Lease] = {}
        self.lost_count = 0

    def hold(self, delivery: Delivery) -> Lease:
        """Begin a lease with the receive's own VisibilityTimeout."""
        lease = Lease(delivery, delivery.visibility, 0.0, 0.0)
        _date(lease, delivery.received_at)
        with self._lock:
            self._leases[delivery.id] = lease
        return lease

    def start_before(self, delivery_id: int) -> float | None:
        """The moment until which the delivery may be started, or None if it is no longer held."""
        with self._lock:
            lease = self._leases.get(delivery_id)
            if lease is None or lease.lost or self._clock() >= lease.deadline:
                return None
            return lease.deadline - min(START_MARGIN, lease.seconds / 4)

    def is_held(self, delivery_id: int) -> bool:
        """True while SQS should still keep the message from others on our behalf."""
        with self._lock:
            lease = self._leases.get(delivery_id)
            return lease is not None and not lease.lost and self._clock() < lease.deadline

    def due(self) -> list[Lease]:
        """Leases at or past half time and not past their end; each is marked as being renewed until ``renewal_ended``."""
        now = self._clock()
        with self._lock:
            found = [lease for lease in self._leases.values() if not lease.lost and lease.renew_at <= now < lease.deadline]
            for lease in found:
                lease.renewing = True
            return found

    def renewal_ended(self, delivery_id: int) -> None:
        """The renewal of this lease was answered, with whatever."""
        with self._lock:
            lease = self._leases.get(delivery_id)
            if lease is not None:
                lease.renewing = False

    def expired(self) -> list[Lease]:
        """Leases that have run out since the last call; each is marked lost and answered once."""
        now = self._clock()
        with self._lock:
            ended = [lease for lease in self._leases.values() if not lease.lost and now >= lease.deadline]
            for lease in ended:
                lease.lost = True
            self.lost_count += len(ended)
            return ended

    def renewed(self, delivery_id: int, asked_at: float) -> None:
        """SQS has accepted a renewal that was asked for at ``asked_at``."""
        with self._lock:
            lease = self._leases.get(delivery_id)
            if lease is not None:
                _date(lease, asked_at)

    def lose(self, delivery_id: int) -> float | None:
        """SQS says the handle is not ours any more; answers the lease's age in seconds, or None if it was known or gone."""
        with self._lock:
            lease = self._leases.get(delivery_id)
            if lease is None or lease.lost:
                return None
            lease.lost = True
            self.lost_count += 1
            return self._clock() - lease.delivery.received_at

    def settle(self, delivery_id: int) -> bool:
        """End the lease: its verdict is about to be carried out.

        Returns False while a renewal is under way, which could overwrite a hide that overtakes it: ask again shortly.
        """
        with self._lock:
            lease = self._leases.get(delivery_id)
            if lease is not None and lease.renewing:
                return False
            self._leases.pop(delivery_id, None)
            return True

    def next_renewal(self) -> float | None:
        """The earliest moment at which something is due, or None."""
        with self._lock:
            return min((lease.renew_at for lease in self._leases.values() if not lease.lost), default=None)

    def __len__(self) -> int:
        return len(self._leases)


def _date(lease: Lease, start: float) -> None:
    lease.deadline = start + lease.seconds
    lease.renew_at = start + lease.seconds / 2
