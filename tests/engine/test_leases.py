"""Leases on an injected clock: dated from the receive's beginning, renewed at half time, lost once."""

from __future__ import annotations

from typing import Any

import pytest

from pyqs.errors import AccessDenied, LeaseLost, Unreachable
from pyqs.worker.leases import Leases
from pyqs.worker.report import Totals


@pytest.fixture
def lost() -> list[Any]:
    return []


@pytest.fixture
def leases(clock: Any, lost: list[Any]) -> Leases:
    return Leases(60, Totals(), on_lost=lost.append, clock=clock)


def test_due_at_half_time_and_renewed_from_the_moment_of_asking(leases: Leases, clock: Any, make_delivery: Any) -> None:
    one = make_delivery()
    leases.hold([one])
    clock.now = 1029
    assert leases.take_due() == []
    clock.now = 1030
    batch = leases.take_due()
    assert [lease.delivery for lease in batch] == [one]
    assert leases.take_due() == [], "not twice at the same time"
    clock.now = 1033
    leases.renewed([(batch[0], 60)], [None], sent_at=1030)
    clock.now = 1089
    assert leases.holds(one)
    clock.now = 1090
    assert not leases.holds(one)


def test_nothing_starts_shortly_before_the_end(leases: Leases, clock: Any, make_delivery: Any) -> None:
    one = make_delivery()
    leases.hold([one])
    before = leases.start_before(one)
    assert before is not None
    assert 1050 <= before < 1060
    clock.now = before
    assert leases.start_before(one) is None


def test_an_expired_lease_is_told_once(leases: Leases, clock: Any, lost: list[Any], make_delivery: Any) -> None:
    one = make_delivery()
    leases.hold([one])
    clock.now = 1061
    assert leases.take_due() == []
    assert leases.take_due() == []
    assert lost == [one]


def test_a_refused_renewal_is_a_lost_lease_and_a_failed_one_is_tried_again(
    leases: Leases, clock: Any, lost: list[Any], make_delivery: Any
) -> None:
    ours, theirs = make_delivery(), make_delivery()
    leases.hold([ours, theirs])
    clock.now = 1030
    batch = leases.take_due()
    answers = [Unreachable("no answer") if lease.delivery is ours else LeaseLost("expired") for lease in batch]
    assert not leases.renewed([(lease, 60) for lease in batch], answers, sent_at=1030)
    assert lost == [theirs]
    assert not leases.holds(theirs)
    assert leases.holds(ours)
    clock.now = 1040
    assert [lease.delivery for lease in leases.take_due()] == [ours]


def test_without_permission_the_queues_own_timeout_holds(leases: Leases, clock: Any, make_delivery: Any) -> None:
    leases.hold([make_delivery()])
    clock.now = 1030
    batch = leases.take_due()
    assert not leases.renewed([(batch[0], 60)], [AccessDenied("no")], sent_at=1030)
    leases.accepted("jobs", 1031.0)
    clock.now = 1036
    batch = leases.take_due()
    assert leases.renewed([(batch[0], 60)], [AccessDenied("no")], sent_at=1036)
    leases.refuse("jobs", 300)
    assert leases.visibility("jobs") == leases.length("jobs", None) == 300
    assert leases.length("jobs", 60) == 60, "this receive was begun before the refusal"
    assert leases.visibility("other") == 60


def test_batches_are_of_one_queue_and_at_most_ten(leases: Leases, clock: Any, make_delivery: Any) -> None:
    leases.hold([make_delivery("a") for _ in range(15)] + [make_delivery("b") for _ in range(3)])
    clock.now = 1030
    sizes = []
    while batch := leases.take_due():
        assert len({lease.delivery.queue for lease in batch}) == 1
        leases.renewed([(lease, 60) for lease in batch], [None] * len(batch), sent_at=1030)
        sizes.append(len(batch))
    assert sorted(sizes) == [3, 5, 10]


def test_an_ended_lease_is_not_renewed(leases: Leases, clock: Any, make_delivery: Any) -> None:
    one = make_delivery()
    leases.hold([one])
    assert leases.end([one]) == [True]
    assert leases.end([one]) == [False]
    clock.now = 1045
    assert leases.take_due() == []
