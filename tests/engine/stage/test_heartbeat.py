"""The heartbeat's calls: what it asks for, what it makes of the answers, and where it must not go."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pyqs.config import MAX_VISIBILITY
from pyqs.errors import AccessDenied, SqsError, Unreachable
from pyqs.message import Delivery
from pyqs.worker.facts import QueueFacts
from pyqs.worker.heartbeat import Heartbeat
from pyqs.worker.leases import Leases
from pyqs.worker.refusals import A_WHILE, Refusals
from pyqs.worker.report import Totals

Deliver = Callable[..., Delivery]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Sqs:
    """Answers renewals as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[tuple[str, int]]]] = []
        self.answer: SqsError | None = None

    def change_visibility_batch(self, url: str, changes: list[tuple[str, int]]) -> list[SqsError | None]:
        self.calls.append((url, changes))
        if isinstance(self.answer, Unreachable):
            raise self.answer
        return [self.answer] * len(changes)


class Facts:
    """What is known of the queue's own timeout."""

    def __init__(self) -> None:
        self.timeout: int | None = 300

    def known(self, queue: str) -> QueueFacts | None:
        return None if self.timeout is None else QueueFacts(visibility_timeout=self.timeout)


class Scene:
    def __init__(self) -> None:
        self.clock = Clock()
        self.totals = Totals()
        self.lost: list[Delivery] = []
        self.leases = Leases(120, self.totals, on_lost=self.lost.append, clock=self.clock)
        self.sqs = Sqs()
        self.facts = Facts()
        self.heartbeat = Heartbeat(
            0, self.sqs, self.leases, self.facts, lambda name, exc: None, clock=self.clock,  # type: ignore[arg-type]
        )  # fmt: skip

    def beat(self) -> int:
        """Renew what is due; how many leases."""
        batch = self.leases.take_due()
        if batch:
            self.heartbeat.renew(batch)
        return len(batch)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_renews_from_the_moment_the_call_was_sent(scene: Scene, deliver: Deliver) -> None:
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    scene.clock.now = 1060
    assert scene.beat() == 1
    assert scene.sqs.calls == [(one.queue_url, [(one.message.receipt_handle, 120)])]
    assert scene.leases.start_before(one) == 1060 + 120 - 5
    assert scene.beat() == 0


def test_what_is_due_soon_goes_in_the_same_batch(scene: Scene, deliver: Deliver) -> None:
    scene.leases.hold([deliver("a", at=1000.0), deliver("a", at=1011.0), deliver("a", at=1013.0), deliver("b", at=1000.0)])
    scene.clock.now = 1060
    assert sorted(scene.beat() for _ in range(3)) == [0, 1, 2]


def test_a_queue_whose_renewals_stall_takes_up_one_thread(scene: Scene, deliver: Deliver) -> None:
    slow = [deliver("a", at=1000.0) for _ in range(25)]
    scene.leases.hold(slow)
    scene.leases.hold([deliver("b", at=1001.0)])
    scene.clock.now = 1062

    def taken() -> set[str]:
        return {lease.delivery.queue for lease in scene.leases.take_due()}

    assert taken() == {"a"}
    assert taken() == {"b"}, "although more of a has been due for longer"
    assert taken() == set()
    scene.leases.end(slow[:10])
    assert taken() == set(), "the call goes on, whatever has become of what it is for"


def test_a_queue_alone_may_have_several_renewals_at_a_time(scene: Scene, deliver: Deliver) -> None:
    scene.leases.hold([deliver("a", at=1000.0) for _ in range(25)])
    scene.clock.now = 1060
    assert [len(scene.leases.take_due()) for _ in range(4)] == [10, 10, 5, 0]


def test_what_could_not_be_renewed_in_time_is_lost(scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    scene.sqs.answer = Unreachable("no network")
    scene.clock.now = 1060
    assert scene.beat() == 1
    assert scene.beat() == 0, "not again at once"
    scene.clock.now = 1075
    assert scene.beat() == 1
    assert caplog.text.count("no network") == 1
    scene.clock.now = 1121
    assert scene.beat() == 0
    assert scene.lost == [one]
    assert "121 s after the receive" in caplog.text
    assert scene.totals.lost_leases == 1


def test_a_process_that_was_stopped_for_longer_than_the_lease_believes_nothing(scene: Scene, deliver: Deliver) -> None:
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    scene.clock.now = 1300
    assert scene.leases.start_before(one) is None
    assert scene.leases.end([one], settle=True) == [False]


def refused(scene: Scene) -> None:
    """Two whole batches are refused, the second soon after the first, while deletes are accepted."""
    scene.sqs.answer = AccessDenied("no")
    scene.clock.now += 60
    assert scene.beat()
    scene.clock.now += 10
    scene.leases.accepted("jobs", scene.clock.now - 5)
    assert scene.beat()


def test_refusals_in_a_row_count_when_other_calls_are_accepted(
    scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    scene.leases.hold([deliver(at=1000.0), deliver(at=1000.0)])
    refused(scene)
    assert caplog.text.count("cannot be renewed") == 1
    assert scene.leases.visibility("jobs") == 300
    later = deliver(at=1070.0, visibility=scene.leases.visibility("jobs"))
    scene.leases.hold([later])
    assert scene.leases.start_before(later) == 1070 + 300 - 5


@pytest.mark.parametrize("own", [None, 30])
def test_a_lease_that_cannot_be_renewed_is_no_shorter_for_that(scene: Scene, deliver: Deliver, own: int | None) -> None:
    """Unknown, nothing is assumed: what a receive asks for is what it gets."""
    scene.facts.timeout = own
    scene.leases.hold([deliver(at=1000.0)])
    refused(scene)
    assert scene.leases.is_refused("jobs")
    assert scene.leases.visibility("jobs") == scene.leases.length("jobs", None) == 120


def test_while_everything_is_refused_nothing_is_known_of_renewals(
    scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    """A 403 on everything for half a minute: a long task keeps its lease."""
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    scene.sqs.answer = AccessDenied("no")
    scene.clock.now = 1059
    scene.leases.accepted("jobs", 1059)
    for scene.clock.now in range(1060, 1090):
        scene.beat()
    assert len(scene.sqs.calls) == 3
    scene.leases.accepted("jobs", 1030)  # a receive that was begun before
    scene.sqs.answer = None
    for scene.clock.now in range(1090, 1400):
        scene.beat()
        assert scene.leases.holds(one)
    assert "cannot be renewed" not in caplog.text


def test_refusals_that_go_on_count_by_themselves(scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    scene.leases.hold([deliver(at=1000.0, visibility=3600)])
    scene.sqs.answer = AccessDenied("no")
    scene.clock.now = 2800
    while not scene.leases.is_refused("jobs"):
        scene.clock.now += 1
        scene.beat()
        assert scene.clock.now < 2800 + A_WHILE + 15
    assert scene.clock.now >= 2800 + A_WHILE
    assert caplog.text.count("cannot be renewed") == 1


def test_a_refusal_that_was_short_is_noticed_before_the_lease_ends(scene: Scene, deliver: Deliver) -> None:
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    refused(scene)
    scene.sqs.answer = None
    for _ in range(400):
        scene.clock.now += 1
        scene.beat()
        assert scene.leases.holds(one)
    assert not scene.leases.is_refused("jobs")


def test_any_change_that_is_accepted_ends_a_refusal(scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    refused(scene)
    scene.leases.accepted("jobs", scene.clock.now, change=True)
    assert scene.leases.visibility("jobs") == 120
    assert caplog.text.count("leases may be renewed again") == 1
    scene.sqs.answer = None
    scene.clock.now += 30
    assert scene.beat() == 1


def test_one_refusal_is_no_policy(scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    for _ in range(5):
        scene.sqs.answer = AccessDenied("no")
        scene.clock.now += 60
        assert scene.beat() == 1
        scene.sqs.answer = None
        scene.clock.now += 10
        assert scene.beat() == 1
    assert scene.leases.visibility("jobs") == 120
    assert "cannot be renewed" not in caplog.text
    assert not scene.lost


def test_only_whole_batches_in_a_row_count() -> None:
    refusals, no = Refusals(), AccessDenied("no")

    def answered(queue: str, *answers: SqsError | None) -> bool:
        refused = refusals.answered(queue, answers, 1000.0)
        refusals.others_work("jobs", 1001.0)
        return refused

    assert not answered("jobs", no, no)
    assert not answered("jobs", no, None)
    assert not answered("jobs", no)
    assert not answered("other", no)
    assert not answered("other", no), "nothing else was accepted on it"
    assert not answered("jobs", Unreachable("no network")), "it says nothing either way"
    assert answered("jobs", no)
    assert not refusals.answered("other", [no], 2000.0), "that was another time"


def test_a_queue_that_refused_is_asked_again_less_and_less_often_and_renewed_again(
    scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scene.leases.hold([deliver(at=1000.0)])
    refused(scene)
    began = scene.clock.now
    scene.leases.hold([deliver(at=began, visibility=7200), deliver(at=began, visibility=7200)])
    asked = []
    while scene.clock.now < began + 3000:
        scene.clock.now += 1
        if scene.beat():
            asked.append(scene.clock.now - began)
            left = 7200 - asked[-1]
            assert [seconds for _, seconds in scene.sqs.calls[-1][1]][-2:] == [left] * 2, "asking must not shorten what we have"
    assert asked == [10, 30, 70, 150, 310, 630, 1230, 1830, 2430]
    scene.sqs.answer = None
    scene.clock.now += 600
    assert scene.beat() == 2
    assert scene.leases.visibility("jobs") == 120
    assert caplog.text.count("cannot be renewed") == 1
    assert caplog.text.count("leases may be renewed again") == 1


def test_an_end_of_the_refusal_brings_back_every_renewal(scene: Scene, deliver: Deliver) -> None:
    scene.leases.hold([deliver(at=1000.0)])
    refused(scene)
    many = [deliver(at=1070.0, visibility=1000) for _ in range(25)]
    scene.leases.hold(many)
    scene.sqs.answer = None
    scene.clock.now += 600
    assert scene.beat() == 10
    assert scene.beat() == 0
    for _ in range(300):
        scene.clock.now += 20
        while scene.beat():
            pass
    assert all(scene.leases.holds(one) for one in many)


def test_an_end_waits_for_a_renewal_under_way(scene: Scene, deliver: Deliver) -> None:
    one = deliver(at=1000.0)
    scene.leases.hold([one])
    scene.clock.now = 1060
    batch = scene.leases.take_due()
    ended = threading.Event()

    def end() -> None:
        assert scene.leases.end([one], settle=True) == [True]
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    assert not ended.wait(0.1), "the renewal would overwrite the hide that comes next"
    scene.heartbeat.renew(batch)
    assert ended.wait(5)
    assert len(scene.leases) == 0


def test_twelve_hours_are_the_end(scene: Scene, deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    one = deliver(at=1000.0)
    told: list[tuple[Delivery, bool]] = []

    def on_ceiling(delivery: Delivery, reached: bool) -> None:
        held = scene.clock.now - 1000
        assert held >= (MAX_VISIBILITY - 125 if reached else MAX_VISIBILITY - 1800)
        assert scene.leases.holds(delivery), "there must be time to act"
        told.append((delivery, reached))

    scene.leases.on_ceiling = on_ceiling
    scene.leases.hold([one])
    asked = []
    while scene.clock.now < 1000 + MAX_VISIBILITY - 62:
        scene.clock.now += 60 if scene.clock.now < 1000 + MAX_VISIBILITY - 300 else 2
        if scene.beat() and scene.sqs.calls:
            asked.append(scene.sqs.calls[-1][1][0][1])
            assert scene.clock.now - 1000 + asked[-1] <= MAX_VISIBILITY, "SQS would refuse it"
    assert asked[0] == 120
    assert 0 not in asked, "that would release a running task's message"
    assert told == [(one, False), (one, True)]
    assert "twelve hours" not in caplog.text, "the one who is told says it"
