"""The acker against a store: follow-ups first, batches, tried until accepted, nothing copied or lost twice."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import pytest

from pyqs.errors import Throttled
from pyqs.message import DeadLetter, Delete, Drop, FollowUp, Hide, Leave, MessageAttribute, OutgoingMessage, Resend


def test_deletes_and_hides(bench: Any) -> None:
    bench.store.create_queue("jobs")
    gone, back, hidden, left = bench.deliver("jobs", "1", "2", "3", "4")
    bench.acker.settle(gone, Delete())
    bench.acker.settle(back, Hide(0))
    bench.acker.settle(hidden, Hide(600))
    bench.acker.settle(left, Leave())
    bench.settled()
    assert bench.counts("jobs") == (1, 2, 0)
    assert len(bench.leases) == 0


def test_ten_deletes_make_one_call(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.create_queue("jobs")
    sizes: list[int] = []
    plain = bench.sqs.delete_batch
    monkeypatch.setattr(bench.sqs, "delete_batch", lambda url, handles: sizes.append(len(handles)) or plain(url, handles))
    for one in bench.deliver("jobs", *"0123456789"):
        bench.acker.settle(one, Delete())
    bench.settled()
    assert sum(sizes) == 10
    assert len(sizes) <= 2
    assert bench.counts("jobs") == (0, 0, 0)


@pytest.mark.parametrize("fault", ["error=500:times=2", "throttle:times=2", "drop=after:times=2"])
def test_a_delete_is_tried_until_it_is_accepted(bench: Any, fault: str) -> None:
    bench.store.create_queue("jobs")
    (one,) = bench.deliver("jobs", "1")
    bench.store.faults.add(f"{fault}:action=DeleteMessageBatch")
    bench.acker.settle(one, Delete())
    bench.settled()
    assert bench.counts("jobs") == (0, 0, 0)


def test_follow_ups_come_before_the_delete(bench: Any) -> None:
    bench.store.create_queue("jobs")
    bench.store.create_queue("next")
    (one,) = bench.deliver("jobs", "1")
    bench.store.faults.add("error=500:action=SendMessage*:times=2")
    order: list[tuple[int, int]] = []
    bench.acker.settle(
        one, Delete(), [FollowUp("next", OutgoingMessage(json.dumps(n))) for n in range(3)],
        lambda _: order.append((bench.counts("next")[0], sum(bench.counts("jobs")))),
    )  # fmt: skip
    bench.settled()
    assert order == [(3, 0)]


def test_a_refused_follow_up_hides_the_message_instead_of_deleting_it(bench: Any) -> None:
    bench.store.create_queue("jobs")
    (one,) = bench.deliver("jobs", "1")
    bench.acker.settle(one, Delete(), [FollowUp("missing", OutgoingMessage("x"), create=False)])
    bench.settled()
    assert bench.counts("jobs") == (0, 1, 0)
    assert not bench.store.has_queue("missing")


def test_a_hop_sends_the_same_message_again_and_deletes_this_one(bench: Any) -> None:
    bench.store.create_queue("jobs")
    attributes = {"color": MessageAttribute("String", "blue"), "raw": MessageAttribute("Binary", None, b"\x00\xff")}
    bench.store.send("jobs", OutgoingMessage("body", message_attributes=attributes, group_id="tenant"))
    (one,) = bench.deliver("jobs")
    bench.acker.settle(one, Resend(0))
    bench.settled()
    assert bench.acker.only_delete(one.message.message_id)
    (copy,) = bench.deliver("jobs")
    assert copy.message.message_id != one.message.message_id
    assert (copy.message.body, copy.message.message_attributes, copy.group_id) == ("body", attributes, "tenant")
    bench.acker.settle(copy, Resend(300))
    bench.settled()
    assert bench.counts("jobs") == (0, 0, 1)


def test_where_sends_are_refused_a_hop_becomes_a_hide(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench.store.create_queue("jobs")
    bench.store.faults.add("access-denied:action=SendMessage*")
    for one in bench.deliver("jobs", "1", "2", "3"):
        bench.acker.settle(one, Resend(300))
    bench.settled()
    assert bench.counts("jobs") == (0, 3, 0)
    assert len([line for line in caplog.messages if "hidden instead of sent" in line]) == 1


def test_an_early_ack_deletes_at_once_and_its_verdict_later_does_nothing(bench: Any) -> None:
    bench.store.create_queue("jobs")
    bench.store.create_queue("next")
    (one,) = bench.deliver("jobs", "1")
    bench.acker.ack_early(one)
    bench.settled()
    assert bench.counts("jobs") == (0, 0, 0)
    bench.store.faults.add("error=500:action=SendMessage*:times=3")
    bench.acker.settle(one, Hide(30), [FollowUp("next", OutgoingMessage("x"))])
    bench.settled()
    assert bench.counts("next") == (1, 0, 0), "its follow-ups are sent however often that takes"


def test_a_lost_lease_is_counted_and_ends_the_delete(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench.store.create_queue("jobs")
    bench.store.faults.add("expired-handle:action=DeleteMessage")
    (one,) = bench.deliver("jobs", "1")
    bench.acker.settle(one, Delete())
    bench.settled()
    assert "lease was lost" in caplog.text
    assert one.message.receipt_handle not in caplog.text


def test_what_was_done_is_only_deleted_when_it_comes_back(bench: Any) -> None:
    bench.store.create_queue("jobs")
    (one,) = bench.deliver("jobs", "1")
    assert not bench.acker.only_delete(one.message.message_id)
    bench.acker.settle(one, Delete())
    bench.settled()
    assert bench.acker.only_delete(one.message.message_id)


def test_the_wait_that_no_copy_can_do_is_one_hide(bench: Any) -> None:
    bench.store.create_queue("jobs")
    bench.store.faults.add("access-denied:action=SendMessage*")
    (one,) = bench.deliver("jobs", "1")
    bench.acker.settle(one, Resend(900, left=5000.0))
    bench.settled()
    bench.clock.ahead = 4900.0
    assert bench.counts("jobs") == (0, 1, 0), "a step of 900 s would cost it one receive each"
    bench.clock.ahead = 5010.0
    assert bench.counts("jobs") == (1, 0, 0)


REDRIVE = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3}'


def test_a_dead_letter_is_copied_with_its_reason_then_deleted(bench: Any) -> None:
    bench.store.create_queue("dead")
    bench.store.create_queue("jobs", {"RedrivePolicy": REDRIVE})
    (one,) = bench.deliver("jobs", "body")
    bench.acker.settle(one, DeadLetter("unknown task 'x'", otherwise=60))
    bench.settled()
    assert bench.counts("jobs") == (0, 0, 0)
    (dead,) = bench.sqs.receive(bench.sqs.queue_url("dead"), wait=0)
    assert dead.body == "body"
    assert dead.message_attributes["pyqs.reason"] == MessageAttribute("String", "unknown task 'x'")
    assert dead.message_attributes["pyqs.queue"].string_value == "jobs"
    assert bench.acker.only_delete(one.message.message_id)


def test_a_dead_letter_of_a_fifo_queue_keeps_its_group_and_is_deduplicated(bench: Any) -> None:
    bench.store.create_queue("dead.fifo", {"FifoQueue": "true"})
    bench.store.create_queue("jobs.fifo", {"FifoQueue": "true", "RedrivePolicy": REDRIVE.replace(':dead"', ':dead.fifo"')})
    (one,) = bench.deliver("jobs.fifo", "body", group="g")
    bench.acker.settle(one, DeadLetter("", otherwise=60))
    bench.settled()
    (dead,) = bench.sqs.receive(bench.sqs.queue_url("dead.fifo"), wait=0)
    assert dead.attributes["MessageGroupId"] == "g"
    assert dead.attributes["MessageDeduplicationId"] == one.message.message_id
    assert bench.counts("jobs.fifo") == (0, 0, 0)


@pytest.mark.parametrize("fault", [None, "access-denied:action=GetQueueAttributes", "access-denied:action=SendMessage*"])
def test_without_a_dead_letter_queue_it_is_hidden_and_said_once(
    bench: Any, caplog: pytest.LogCaptureFixture, fault: str | None
) -> None:
    bench.store.create_queue("dead")
    bench.store.create_queue("jobs", {"RedrivePolicy": REDRIVE} if fault else {})
    (one,) = bench.deliver("jobs", "body")
    if fault:
        bench.store.faults.add(fault)
    bench.acker.settle(one, DeadLetter("why", otherwise=600))
    bench.settled()
    assert bench.counts("jobs") == (0, 1, 0)
    assert bench.counts("dead") == (0, 0, 0)
    assert len([line for line in caplog.messages if "stays on its queue" in line or "hidden instead" in line]) == 1


@pytest.mark.parametrize(
    ("attributes", "fault", "left"),
    [({}, None, 0), ({"RedrivePolicy": REDRIVE}, None, 1), ({}, "access-denied:action=GetQueueAttributes", 1)],
)
def test_a_dropped_message_is_deleted_only_where_no_redrive_policy_is(
    bench: Any, attributes: dict[str, str], fault: str | None, left: int
) -> None:
    bench.store.create_queue("dead")
    bench.store.create_queue("jobs", attributes)
    (one,) = bench.deliver("jobs", "body")
    if fault:
        bench.store.faults.add(fault)
    bench.acker.settle(one, Drop(otherwise=600))
    bench.settled()
    assert bench.counts("jobs") == (0, left, 0)


def test_a_release_on_the_last_life_begins_a_new_one(bench: Any) -> None:
    """Released as it is, SQS would move it to the dead-letter queue although it never ran."""
    bench.store.create_queue("dead")
    bench.store.create_queue("jobs", {"RedrivePolicy": REDRIVE.replace("3", "1")})
    (one,) = bench.deliver("jobs", "body")
    bench.facts.of("jobs", one.queue_url)
    bench.acker.release(one)
    bench.settled()
    (again,) = bench.deliver("jobs")
    assert again.receive_count == 1
    assert again.message.message_id != one.message.message_id
    assert bench.counts("dead") == (0, 0, 0)


def test_entries_that_fail_do_not_stop_those_that_work(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the entries of all batches: it was 340 of 1,000 deletes in half a minute."""
    bench.store.create_queue("jobs")
    dice, plain = random.Random(1), bench.sqs.delete_batch

    def delete_batch(url: str, handles: list[str]) -> Any:
        fails = [dice.random() < 0.2 for _ in handles]
        answers = iter(plain(url, [handle for handle, fail in zip(handles, fails, strict=True) if not fail]))
        return [Throttled("slow down") if fail else next(answers) for fail in fails]

    monkeypatch.setattr(bench.sqs, "delete_batch", delete_batch)
    for _ in range(60):
        for one in bench.deliver("jobs", *"0123456789"):
            bench.acker.settle(one, Delete())
    bench.settled(40)
    assert bench.counts("jobs") == (0, 0, 0)


def test_a_queue_whose_deletes_do_not_return_holds_up_no_other(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for queue in ("slow", "jobs"):
        bench.store.create_queue(queue)
    entered, cured = threading.Semaphore(0), threading.Event()
    plain = bench.sqs.delete_batch

    def delete_batch(url: str, handles: list[str]) -> Any:
        if url.endswith("/slow"):
            entered.release()
            assert cured.wait(60)
        return plain(url, handles)

    monkeypatch.setattr(bench.sqs, "delete_batch", delete_batch)
    for _ in range(5):
        for one in bench.deliver("slow", *"0123456789"):
            bench.acker.settle(one, Delete())
    assert entered.acquire(timeout=20)
    assert entered.acquire(timeout=20)
    deleted = threading.Event()
    for one in bench.deliver("jobs", "1"):
        bench.acker.settle(one, Delete(), settled=lambda _: deleted.set())
    fine = deleted.wait(20)
    cured.set()
    assert fine
    bench.settled()
    assert bench.counts("slow") == (0, 0, 0)


def test_verdicts_are_counted_by_queue(bench: Any) -> None:
    for queue in ("stuck", "jobs"):
        bench.store.create_queue(queue)
    bench.store.faults.add("error=500:action=DeleteMessage*:queue=stuck")
    (stuck,), (fine,) = bench.deliver("stuck", "1"), bench.deliver("jobs", "2")
    bench.acker.settle(stuck, Delete())
    bench.acker.settle(fine, Delete())
    deadline = time.monotonic() + 10
    while bench.acker.pending_on("jobs"):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert bench.acker.pending_on("stuck") == bench.acker.pending == 1
