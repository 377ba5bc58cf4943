"""Follow-ups whose send is refused: what may pass is waited for, what cannot is given up, and nobody else waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyqs.errors import AccessDenied, CredentialsError, SqsError
from pyqs.message import Delete, Delivery, FollowUp, Hide, OutgoingMessage, Resend
from pyqs.worker import outbox
from pyqs.worker.outbox import EARLY_PATIENCE, LATE_PATIENCE, Outbox
from pyqs.worker.settlement import Lane, Settlement

PASSING = {
    "no permission": AccessDenied("not authorized", code="AccessDenied"),
    "wrong credentials": CredentialsError("no such key", code="InvalidClientTokenId", retryable=False),
    "no credentials": CredentialsError("none found", code="NoCredentialsError", retryable=False),
    "a proxy's 302": SqsError("moved", code="302"),
    "a proxy's 404": SqsError("not found", code="404"),
    "a proxy's 407": SqsError("who are you", code=""),
}


class Refuses:
    """Stands in for the calls that send: refuses until it is told otherwise."""

    def __init__(self, bench: Any, error: SqsError) -> None:
        self.error: SqsError | None = error
        self.refused = threading.Semaphore(0)
        self._plain = {"send": bench.sqs.send, "send_batch": bench.sqs.send_batch}

    def call(self, name: str) -> Callable[..., Any]:
        def call(url: str, *args: Any) -> Any:
            if self.error is None:
                return self._plain[name](url, *args)
            self.refused.release()
            raise self.error

        return call

    def wait(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.refused.acquire(timeout=20)


@pytest.fixture
def refuses(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[SqsError], Refuses]:
    def refuses(error: SqsError) -> Refuses:
        made = Refuses(bench, error)
        for name in ("send", "send_batch"):
            monkeypatch.setattr(bench.sqs, name, made.call(name))
        return made

    return refuses


@pytest.fixture
def one(bench: Any) -> Delivery:
    bench.store.create_queue("jobs")
    bench.store.create_queue("next")
    (one,) = bench.deliver("jobs", "1")
    return one  # type: ignore[no-any-return]


FOLLOW_UP = FollowUp("next", OutgoingMessage("retry"))


@pytest.mark.parametrize("error", PASSING.values(), ids=list(PASSING))
@pytest.mark.parametrize("early", [True, False], ids=["early", "late"])
def test_a_refusal_that_passes_costs_nothing(bench: Any, refuses: Any, one: Delivery, error: SqsError, early: bool) -> None:
    if early:
        bench.acker.ack_early(one)
        bench.settled()
    refusing = refuses(error)
    bench.acker.settle(one, Delete(), [FOLLOW_UP])
    refusing.wait(2)
    assert bench.acker.pending == 1
    assert bench.acker.failing() == {"send": 1}
    refusing.error = None
    bench.settled()
    assert bench.counts("next") == (1, 0, 0)
    assert bench.counts("jobs") == (0, 0, 0), "neither run again nor left behind"


@pytest.mark.parametrize("code", ["ParamValidation", "InvalidMessageContents"])
def test_what_cannot_pass_is_given_up_at_once(bench: Any, refuses: Any, one: Delivery, code: str) -> None:
    refuses(SqsError("no call takes this", code=code))
    bench.acker.settle(one, Delete(), [FOLLOW_UP])
    bench.settled()
    assert bench.counts("jobs") == (0, 1, 0)


def test_a_missing_permission_is_waited_for_once(
    bench: Any, refuses: Any, one: Delivery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "LATE_PATIENCE", 0.5)
    refusing = refuses(PASSING["no permission"])
    bench.acker.settle(one, Delete(), [FOLLOW_UP])
    bench.settled()
    refusing.wait(2)
    assert bench.counts("jobs") == (0, 1, 0), "it is run again"
    assert caplog.text.count("is refused; the message is run again") == 1
    while refusing.refused.acquire(blocking=False):
        pass
    others = bench.deliver("jobs", "2", "3")
    for other in others:
        bench.acker.settle(other, Delete(), [FOLLOW_UP])
    bench.settled()
    assert bench.counts("jobs") == (0, 3, 0)
    refusing.wait(1)
    assert sum(refusing.refused.acquire(blocking=False) for _ in range(9)) <= 1, "one call for each"


def test_the_others_do_not_wait_behind_those_of_tasks_acked_early(
    bench: Any, refuses: Any, one: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LATE_PATIENCE", 0.0)
    refusing = refuses(PASSING["no permission"])
    early = bench.deliver("jobs", *map(str, range(2, 12)))
    for each in early:
        bench.acker.ack_early(each)
    bench.settled()
    for each in early:
        bench.acker.settle(each, Delete(), [FOLLOW_UP])
    refusing.wait(3)
    settled = threading.Event()
    bench.acker.settle(one, Delete(), [FOLLOW_UP], lambda _: settled.set())
    assert settled.wait(10)
    refusing.error = None
    bench.settled(30)
    assert bench.counts("next") == (10, 0, 0)


def test_a_worker_that_ends_does_not_wait_and_says_what_is_lost(
    bench: Any, refuses: Any, one: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    bench.acker.ack_early(one)
    bench.settled()
    refusing = refuses(PASSING["no permission"])
    bench.acker.settle(one, Delete(), [FOLLOW_UP])
    refusing.wait()
    bench.acker.close()
    bench.settled()
    assert "a follow-up is lost, its message was acked early" in caplog.text


def test_a_hop_that_is_refused_is_hidden_at_once(bench: Any, refuses: Any, one: Delivery) -> None:
    refusing = refuses(PASSING["no permission"])
    bench.acker.settle(one, Resend(300))
    bench.settled()
    assert bench.counts("jobs") == (0, 1, 0)
    refusing.wait()
    assert not refusing.refused.acquire(blocking=False)


def test_a_hop_waits_for_credentials(bench: Any, refuses: Any, one: Delivery) -> None:
    refusing = refuses(PASSING["wrong credentials"])
    bench.acker.settle(one, Resend(300))
    refusing.wait(2)
    refusing.error = None
    bench.settled()
    assert bench.counts("jobs") == (0, 0, 1)


def test_the_workers_own_queues_need_no_look_up(bench: Any, one: Delivery) -> None:
    bench.facts.learn({"next": bench.sqs.queue_url("next")})
    bench.store.faults.add("access-denied:action=GetQueueUrl")
    bench.acker.settle(one, Delete(), [FOLLOW_UP, FollowUp("jobs", OutgoingMessage("again"), create=True)])
    bench.settled()
    assert bench.counts("next") == bench.counts("jobs") == (1, 0, 0)


def test_an_own_queue_that_is_gone_is_made_again_if_that_is_allowed(bench: Any, one: Delivery) -> None:
    bench.facts.learn({"gone": "http://sqs.us-east-1.localhost/000000000000/gone"})
    bench.acker.settle(one, Delete(), [FollowUp("gone", OutgoingMessage("x"), create=True)])
    bench.settled()
    assert bench.counts("gone") == (1, 0, 0)


def test_a_hide_that_is_accepted_ends_a_refusal_of_renewals(bench: Any, one: Delivery) -> None:
    bench.leases.refuse("jobs", None)
    bench.acker.settle(one, Hide(60))
    bench.settled()
    assert not bench.leases.is_refused("jobs")


class Denies:
    """An SQS that allows no send."""

    denies = True

    def queue_url(self, name: str) -> str:
        return f"http://sqs/1/{name}"

    def send_batch(self, url: str, messages: Any) -> Any:
        if self.denies:
            raise AccessDenied("no")
        from pyqs.message import SentMessage

        return [SentMessage("id")] * len(messages)


def test_how_long_a_lane_is_waited_for(clock: Any, make_delivery: Any) -> None:
    sqs, lane, other = Denies(), Lane("send", "next"), Lane("send", "other")
    box = Outbox(sqs, clock=clock)  # type: ignore[arg-type]
    early, late = Settlement(make_delivery(), Hide(0), early=True), Settlement(make_delivery(), Hide(0))
    message = OutgoingMessage("x")

    def passes(at: Lane = lane) -> tuple[bool, bool]:
        (answer,) = box.send(at, [message])
        assert isinstance(answer, SqsError)
        return box.passes(at, answer, early, closing=False), box.passes(at, answer, late, closing=False)

    assert passes() == (True, True)
    clock.now += LATE_PATIENCE - 1
    assert passes() == (True, True)
    clock.now += 1
    assert passes() == (True, False)
    assert passes(other) == (True, True), "each lane has its own"
    clock.now += EARLY_PATIENCE - LATE_PATIENCE - 1
    assert passes() == (True, False)
    clock.now += 1
    assert passes() == (False, False)
    sqs.denies = False
    box.send(lane, [message])
    sqs.denies = True
    assert passes() == (True, True), "a success ends it"
    clock.now += 3600
    assert passes() == (True, True), "so does a time without a refusal"
