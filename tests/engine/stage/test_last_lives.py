"""A message on its last life is run, or begins a new one, but never goes to the dead-letter queue because of us.

And what else must not cost a message a life, or an executor: a hang before the start, a second receipt of what still runs.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from pyqs.message import Delete, Hide, Resend
from pyqs.wire import Recall, Run, Stop
from pyqs.worker.fate import divide
from pyqs.worker.slot import Slot


@pytest.fixture
def jobs(sqs: Any) -> Any:
    """A queue whose messages have two lives."""
    sqs.create_queue("dead")
    redrive = {"deadLetterTargetArn": sqs.queue_attributes(sqs.queue_url("dead"))["QueueArn"], "maxReceiveCount": 2}
    sqs.create_queue("jobs", {"RedrivePolicy": json.dumps(redrive)})
    return sqs.queue_url("jobs")


def spend_a_life(sqs: Any, url: str, count: int = 1) -> None:
    """Somebody else has received these before."""
    received = sqs.receive(url, max_messages=count, wait=0)
    assert len(received) == count
    sqs.change_visibility_batch(url, [(one.receipt_handle, 0) for one in received])


def knows(running: Any, until: Any) -> None:
    until(lambda: running.worker._facts.known("jobs") is not None)


def test_a_drain_runs_what_is_on_its_last_life(
    start: Any, stage: Any, sqs: Any, jobs: Any, send: Any, counts: Any, until: Any
) -> None:
    running = start()
    knows(running, until)
    actor = stage.next()
    send("jobs", "busy")
    busy = actor.expect(Run)
    actor.started(busy)
    until(lambda: running.worker.totals.started == 1)
    send("jobs", "last")
    spend_a_life(sqs, jobs)
    actor.done(busy, seconds=0.001)
    last = actor.expect(Run)
    assert last.delivery.receive_count == 2
    running.worker.drain()
    actor.expect(Recall)
    actor.hand_back(last)  # not begun when it was recalled: it comes again
    again = actor.expect(Run)
    assert again.delivery.id == last.delivery.id
    actor.started(again)
    actor.done(again)
    actor.expect(Stop)
    assert running.exit_code() == 0
    assert counts("jobs") == counts("dead") == (0, 0, 0)


def test_so_does_what_the_open_poll_still_brings(
    start: Any, stage: Any, sqs: Any, jobs: Any, send: Any, counts: Any, until: Any
) -> None:
    running = start(wait=2)
    knows(running, until)
    actor = stage.next()
    until(lambda: running.worker._fetchers.polling() == 1)
    running.worker.drain()
    actor.expect(Recall)
    send("jobs", "fresh")
    fresh = actor.frames.get(timeout=10)
    assert isinstance(fresh, Stop), "a message with lives left is released, nothing is left to run"
    assert running.exit_code() == 0
    assert counts("jobs") == (1, 0, 0)
    assert counts("dead") == (0, 0, 0)


def test_what_cannot_start_before_the_deadline_begins_a_new_life(
    start: Any, stage: Any, sqs: Any, jobs: Any, send: Any, store: Any, until: Any
) -> None:
    send("jobs", "last")
    spend_a_life(sqs, jobs)
    running = start(shutdown_timeout=5.0)
    knows(running, until)
    actor = stage.next()
    run = actor.expect(Run)
    running.worker.drain()
    actor.expect(Recall)
    actor.hand_back(run)
    again = actor.expect(Run)  # offered again, and never begun
    assert running.exit_code() == 0
    (fresh,) = sqs.receive(jobs, wait=0)
    assert fresh.attributes["ApproximateReceiveCount"] == "1"
    assert fresh.message_id != again.delivery.message.message_id
    assert not sqs.receive(sqs.queue_url("dead"), wait=0)


def test_a_task_that_the_deadline_kills_on_its_last_life_begins_a_new_one(
    start: Any, stage: Any, sqs: Any, jobs: Any, send: Any, until: Any
) -> None:
    send("jobs", "last")
    spend_a_life(sqs, jobs)
    running = start(shutdown_timeout=1.0)
    knows(running, until)
    actor = stage.next()
    actor.started(actor.expect(Run))
    until(lambda: running.worker.totals.started == 1)
    running.worker.drain()
    assert running.exit_code() == 0
    (fresh,) = sqs.receive(jobs, wait=0)
    assert fresh.attributes["ApproximateReceiveCount"] == "1"


def test_the_last_life_goes_first(start: Any, stage: Any, sqs: Any, jobs: Any, send: Any, until: Any) -> None:
    stage.make_ready = False
    running = start(wait_ready=False, prefetch_bound=10)
    actor = stage.next()
    knows(running, until)
    for body in ("one", "two", "last"):
        send("jobs", body)
    received = sqs.receive(jobs, max_messages=10, wait=0)
    sqs.change_visibility_batch(jobs, [(one.receipt_handle, 0) for one in received if one.body == "last"])
    sqs.change_visibility_batch(jobs, [(one.receipt_handle, 1) for one in received if one.body != "last"])
    actor.ready()
    assert actor.expect(Run).delivery.message.body == "last"


def test_an_executor_that_begins_nothing_is_replaced_and_its_first_delivery_blamed(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr("pyqs.worker.pool.PREPARE_LIMIT", 0.5)
    monkeypatch.setattr("pyqs.worker.pool.LAST_WORD", 0.1)
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    stage.next().expect(Run)
    stage.next()  # the replacement
    until(lambda: running.worker.totals.lost == 1)
    until(lambda: counts("jobs") == (0, 1, 0))
    assert "does not get ready to run" in caplog.text
    until(lambda: running.worker.held == 0)


def test_one_that_speaks_in_time_is_left_alone(
    start: Any, stage: Any, sqs: Any, send: Any, until: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("pyqs.worker.pool.PREPARE_LIMIT", 0.1)
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    until(lambda: next(iter(running.worker._pool._slots.values())).kill_at is not None)
    actor.started(run)
    until(lambda: next(iter(running.worker._pool._slots.values())).kill_at is None)
    actor.done(run)
    until(lambda: running.worker.totals.done["succeeded"] == 1)
    assert not actor.gone.is_set()


def test_nobody_is_blamed_for_a_kill_that_came_after_its_task_had_ended(deliver: Any) -> None:
    import socket

    ours, theirs = socket.socketpair()
    slot = Slot(0, ours)
    first, second = deliver(), deliver()
    slot.give(first, 1e12, 1.0)
    slot.give(second, 1e12, 1.0)
    slot.flush()
    slot.ended(first.id)
    slot.kill("task x passed its time limit")
    assert divide(slot) == ([], [second])
    theirs.close()
    slot.close()


@pytest.mark.parametrize("dismissed", [True, False])
def test_what_began_while_the_kill_was_on_its_way_is_neither_acked_nor_blamed(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any, dismissed: bool
) -> None:
    """The executor was killed for what had ended by then, or because the worker stops."""
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    (slot,) = running.worker._pool.slots

    def kill() -> None:  # in the pool's thread, which has not heard yet
        actor.started(run, ack_early=True, tells=True)
        slot.kill("task x passed its time limit", dismissed=dismissed)

    running.worker._pool._note(kill)
    again = stage.next().expect(Run)
    assert again.delivery.id == run.delivery.id, "it runs elsewhere at once"
    assert counts("jobs") == (0, 1, 0)
    assert stage.hosts.empty()
    assert "is lost" not in caplog.text


def begun_and_received_again(start: Any, stage: Any, sqs: Any, until: Any, caplog: Any, **settings: Any) -> Any:
    """A worker, the other of its two executors, the one that runs what comes again, and that."""
    running = start(concurrency=2, **settings)
    knows(running, until)
    actors = [stage.next(), stage.next()]
    until(lambda: any(not actor.frames.empty() for actor in actors))
    actor, other = sorted(actors, key=lambda one: one.frames.empty())
    run = actor.expect(Run)
    actor.started(run)
    until(lambda: running.worker.totals.started == 1)
    handle = run.delivery.message.receipt_handle
    sqs.change_visibility_batch(sqs.queue_url("jobs"), [(handle, 0)])  # as if its lease had been lost
    until(lambda: "an earlier receipt of its message still runs here" in caplog.text)
    until(lambda: running.worker.held == 1)
    assert other.frames.empty(), "it must not run twice at the same time"
    return running, other, actor, run


@pytest.mark.parametrize("verdict", [Delete(), Hide(0), Hide(600)])
def test_a_second_receipt_of_what_still_runs_is_what_it_is_held_by(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any, verdict: Any
) -> None:
    """It is not run beside the first, nor hidden at the price of a life each time."""
    sqs.create_queue("jobs")
    send("jobs")
    running, other, actor, run = begun_and_received_again(start, stage, sqs, until, caplog)
    assert counts("jobs") == (0, 1, 0)
    (lease,) = running.worker.leases._leases.values()
    assert (lease.delivery.id, lease.delivery.receive_count) == (run.delivery.id, 2)
    assert lease.renew_at < lease.deadline, "it is renewed for as long as the task runs"
    actor.done(run, verdict)
    if verdict == Hide(0):
        until(lambda: not (actor.frames.empty() and other.frames.empty()))
        again = next(one for one in (actor, other) if not one.frames.empty()).expect(Run)
        assert (again.delivery.message.message_id, again.delivery.receive_count) == (run.delivery.message.message_id, 3)
    else:
        until(lambda: counts("jobs") == (0, int(verdict == Hide(600)), 0))
        until(lambda: not running.worker.held and not len(running.worker.leases))
        assert actor.frames.empty()
        assert other.frames.empty()


def test_it_takes_up_no_room_beside_the_first(start: Any, stage: Any, sqs: Any, send: Any, until: Any, caplog: Any) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    _, other, _, _ = begun_and_received_again(start, stage, sqs, until, caplog)
    send("jobs", "news")
    assert other.expect(Run).delivery.message.body == "news"


def test_the_receipt_that_counts_is_the_second_one(
    start: Any, stage: Any, sqs: Any, jobs: Any, send: Any, until: Any, caplog: Any
) -> None:
    send("jobs")
    running, _, _, run = begun_and_received_again(start, stage, sqs, until, caplog, shutdown_timeout=1.0)
    running.worker.drain()
    assert running.exit_code() == 0
    (fresh,) = sqs.receive(jobs, wait=0)
    assert fresh.message_id != run.delivery.message.message_id, "on its last life it is sent again"
    assert not sqs.receive(sqs.queue_url("dead"), wait=0)


def test_fifo_messages_with_few_lives_come_one_by_one(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("dead.fifo", {"FifoQueue": "true"})
    arn = sqs.queue_attributes(sqs.queue_url("dead.fifo"))["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    sqs.create_queue("jobs.fifo", {"FifoQueue": "true", "RedrivePolicy": redrive})
    for number in range(3):
        send("jobs.fifo", str(number), group_id="g", dedup_id=str(number))
    start("jobs.fifo", concurrency=4)
    actors = [stage.next() for _ in range(4)]
    until(lambda: any(not actor.frames.empty() for actor in actors))
    assert counts("jobs.fifo") == (2, 1, 0), "a batch would cost each of them a life"
    actor = next(actor for actor in actors if not actor.frames.empty())
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run, Hide(600), status="failed")
    until(lambda: counts("jobs.fifo") == (2, 1, 0))


def test_what_is_offered_after_the_end_is_released(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, deliver: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    running = start()
    pool, acker = running.worker._pool, running.worker._acker
    released: list[Any] = []
    acker.release = released.append
    running.worker.interrupt()
    assert running.exit_code() == 0
    late = deliver()
    pool.offer([late])
    assert released == [late]


def test_a_second_signal_is_heard_while_the_last_deletes_are_tried(
    start: Any, stage: Any, sqs: Any, send: Any, store: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start(shutdown_timeout=None)
    actor = stage.next()
    run = actor.expect(Run)
    store.faults.add("error=500:action=DeleteMessage*")
    actor.started(run)
    actor.done(run)
    running.worker.interrupt()
    until(lambda: not running.worker._pool.alive and not running.worker._heartbeats[0].stopping.is_set())
    began = time.monotonic()
    running.worker.stop()
    assert running.exit_code() == 1
    assert time.monotonic() - began < 15, "it has thirty seconds where nobody asks"
    assert "1 verdicts could not be carried out" in caplog.text


@pytest.fixture
def one_life(sqs: Any) -> Any:
    """A FIFO queue whose messages have one life."""
    sqs.create_queue("dead.fifo", {"FifoQueue": "true"})
    redrive = {"deadLetterTargetArn": sqs.queue_attributes(sqs.queue_url("dead.fifo"))["QueueArn"], "maxReceiveCount": 1}
    return sqs.create_queue("jobs.fifo", {"FifoQueue": "true", "RedrivePolicy": json.dumps(redrive)})


@pytest.mark.parametrize("verdict", [Resend(3, 3), Hide(3)], ids=["over its rate limit", "not due"])
def test_what_may_not_start_yet_stays_here_on_its_last_life(
    start: Any, stage: Any, sqs: Any, one_life: Any, send: Any, counts: Any, until: Any, verdict: Any
) -> None:
    """Hidden on FIFO, it would come back in the dead-letter queue without having started. Its group waits, others do not."""
    running = start("jobs.fifo")
    until(lambda: running.worker._facts.known("jobs.fifo"))
    actor = stage.next()
    send("jobs.fifo", "early", group_id="g", dedup_id="1")
    early = actor.expect(Run)
    began = time.monotonic()
    actor.done(early, verdict, status="postponed")
    for number, group in enumerate(("other", "another")):
        send("jobs.fifo", group, group_id=group, dedup_id=group)
        run = actor.expect(Run)
        assert run.delivery.message.body == group, "one that is kept takes up no room"
        actor.started(run)
        actor.done(run)
        until(lambda number=number: running.worker.totals.done["succeeded"] == number + 1)
    until(lambda: counts("jobs.fifo")[1] == running.worker.held == 1)
    again = actor.expect(Run)
    assert time.monotonic() - began >= 2.9
    assert again.delivery.id == early.delivery.id
    actor.started(again)
    actor.done(again)
    until(lambda: counts("jobs.fifo") == (0, 0, 0))
    assert counts("dead.fifo") == (0, 0, 0)


def test_what_is_kept_is_given_up_with_its_lease(
    start: Any, stage: Any, sqs: Any, one_life: Any, send: Any, until: Any
) -> None:
    running = start("jobs.fifo")
    until(lambda: running.worker._facts.known("jobs.fifo"))
    actor = stage.next()
    send("jobs.fifo", "early", group_id="g", dedup_id="1")
    early = actor.expect(Run)
    actor.done(early, Hide(600), status="postponed")
    until(lambda: len(running.worker._pool._custody) == 1 and early.delivery.id in running.worker._leases._leases)
    running.worker._leases._tell_lost(running.worker._leases._leases[early.delivery.id], "a test")
    until(lambda: running.worker.held == 0)
    send("jobs.fifo", "next", group_id="other", dedup_id="2")
    assert actor.expect(Run).delivery.message.body == "next"
