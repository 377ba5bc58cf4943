"""A worker whose executors are played by the test: what it sends, what it makes of what they say, and of their end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyqs.message import Hide, Leave, OutgoingMessage, Resend
from pyqs.wire import NotReady, Recall, Run, Stop


def test_a_message_from_receive_to_delete(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    sqs.create_queue("jobs")
    message_id = send("jobs", '{"task": "x"}')
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    assert run.delivery.message.message_id == message_id
    assert run.delivery.message.body == '{"task": "x"}'
    actor.started(run)
    until(lambda: running.worker.totals.started == 1)
    actor.done(run, seconds=0.5)
    until(lambda: counts("jobs") == (0, 0, 0))
    assert running.worker.totals.done == {"succeeded": 1}
    assert "delivery 1 from jobs: tasks.a[call] succeeded in 0.500 s" in caplog.text
    until(lambda: running.worker.held == 0)
    assert len(running.worker.leases) == 0


def test_a_start_line_says_how_many_tasks_are_at_most_once(start: Any, sqs: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    sqs.create_queue("jobs")
    start()
    assert "ready: 1 queues, 1 executors, 2 registered tasks, 1 of them at-most-once" in caplog.text
    assert "queue jobs: consuming" in caplog.text


def test_nothing_is_received_before_an_executor_is_ready(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    stage.make_ready = False
    running = start(wait_ready=False)
    actor = stage.next()
    until(lambda: running.worker._found is not None)
    assert counts("jobs") == (1, 0, 0)
    actor.ready()
    actor.expect(Run)


def test_only_one_each_while_durations_are_unknown(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    for _ in range(5):
        send("jobs")
    start(concurrency=2)
    first, second = stage.next(), stage.next()
    first.expect(Run)
    second.expect(Run)
    until(lambda: counts("jobs") == (3, 2, 0))
    assert first.frames.empty()


def test_what_is_handed_back_runs_in_the_other_executor(start: Any, stage: Any, sqs: Any, send: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    start(concurrency=2)
    actors = [stage.next(), stage.next()]
    until(lambda: any(not actor.frames.empty() for actor in actors))
    first = next(actor for actor in actors if not actor.frames.empty())
    other = next(actor for actor in actors if actor is not first)
    run = first.expect(Run)
    first.hand_back(run)
    again = (other if not other.frames.empty() else first).frames.get(timeout=5)
    assert again.delivery.id == run.delivery.id


def test_of_a_dead_executor_one_is_blamed_and_the_rest_runs_elsewhere(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run, seconds=0.001)  # from now on several at once
    for _ in range(6):
        send("jobs")
    held = [actor.expect(Run)]
    actor.started(held[0])
    actor.done(held[0], seconds=0.001)
    held = [actor.expect(Run) for _ in range(5)]
    actor.started(held[0])
    until(lambda: running.worker.totals.started == 3)
    actor.die()
    replacement = stage.next()
    ran = [replacement.expect(Run) for _ in range(4)]
    assert [one.delivery.id for one in ran] == [one.delivery.id for one in held[1:]]
    for one in ran:
        replacement.started(one)
        replacement.done(one, seconds=0.001)
    until(lambda: counts("jobs") == (0, 1, 0))
    assert running.worker.totals.lost == 1


def test_an_executor_that_dies_before_it_said_started_blames_the_first_it_held(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    actor.expect(Run)
    actor.die()
    stage.next()
    until(lambda: running.worker.totals.lost == 1)
    until(lambda: running.worker.held == 0)
    assert counts("jobs") == (0, 1, 0), "it may be what killed it, even while it was decoded"


def test_an_early_ack_deletes_at_the_start_and_is_named_when_lost(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    start()
    actor = stage.next()
    run = actor.expect(Run)
    assert counts("jobs") == (0, 1, 0)
    actor.started(run, ack_early=True)
    until(lambda: counts("jobs") == (0, 0, 0))
    actor.die()
    stage.next()
    assert "tasks.a[call] is lost" in caplog.text


def test_an_early_ack_on_fifo_waits_for_the_end(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any) -> None:
    sqs.create_queue("jobs.fifo", {"FifoQueue": "true"})
    send("jobs.fifo", group_id="g", dedup_id="1")
    running = start("jobs.fifo")
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run, ack_early=True)
    until(lambda: running.worker.totals.started == 1)
    assert counts("jobs.fifo") == (0, 1, 0)
    actor.done(run)
    until(lambda: counts("jobs.fifo") == (0, 0, 0))


def test_verdicts(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    start()
    actor = stage.next()
    for verdict, expected in (
        (Hide(600), (0, 1, 0)),
        (Resend(900), (0, 1, 1)),
        (Leave(), (0, 2, 1)),
        (Hide(0), (1, 2, 1)),
    ):
        send("jobs")
        actor.done(actor.expect(Run), verdict, "failed")
        until(lambda expected=expected: counts("jobs") == expected or not actor.frames.empty())
        if verdict == Hide(0):
            actor.expect(Run)  # released, and received again
        else:
            assert counts("jobs") == expected


@pytest.mark.parametrize("status", ["undecodable", "unknown", "refused", "unsupported"])
def test_what_cannot_run_is_said_once_for_each_message(
    start: Any, stage: Any, sqs: Any, send: Any, until: Any, caplog: Any, status: str
) -> None:
    sqs.create_queue("jobs")
    message_id = send("jobs")
    running = start()
    actor = stage.next()
    for number in (1, 2):
        actor.done(actor.expect(Run), Hide(0), status, reason="for a reason")
        until(lambda number=number: running.worker.totals.done[status] == number)
    assert caplog.text.count(message_id) == 1
    assert "for a reason" in caplog.text


def test_a_fifo_group_runs_one_after_the_other_and_stops_at_a_failure(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    url = sqs.create_queue("jobs.fifo", {"FifoQueue": "true"})
    running = start("jobs.fifo")
    actor = stage.next()
    until(lambda: running.worker._facts.known("jobs.fifo"))  # until then messages come one by one
    send("jobs.fifo", group_id="other", dedup_id="x")  # and the poll that was begun before then brings this one
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run, seconds=0.02)  # short: from now on several are held at once
    until(lambda: running.worker.held == 0 and counts("jobs.fifo") == (0, 0, 0))
    sqs.send_batch(url, [OutgoingMessage(str(n), group_id="g", dedup_id=str(n)) for n in range(5)])
    run = actor.expect(Run)
    assert run.delivery.message.body == "0"
    until(lambda: running.worker.held == 5)
    assert actor.frames.empty(), "two of one group at the same time"
    actor.started(run)
    actor.done(run, seconds=0.02)
    run = actor.expect(Run)
    assert run.delivery.message.body == "1"
    actor.started(run)
    actor.done(run, Hide(600), "failed")
    until(lambda: running.worker.held == 0)
    until(lambda: counts("jobs.fifo") == (0, 4, 0) and len(running.worker.leases) == 0)
    assert actor.frames.empty(), "nothing behind the failing head starts"


def test_draining_recalls_releases_and_lets_what_runs_end(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    until(lambda: running.worker.totals.started == 1)
    send("jobs")
    running.worker.drain()
    actor.expect(Recall)
    actor.expect(Stop)
    actor.done(run)
    assert running.exit_code() == 0
    assert "1 succeeded" in caplog.text
    assert counts("jobs") == (1, 0, 0), "what comes into the open poll is released"


def test_failures_to_boot_end_it_with_2_and_the_traceback(start: Any, stage: Any, sqs: Any, caplog: Any) -> None:
    sqs.create_queue("jobs")
    stage.make_ready = False
    running = start(wait_ready=False)
    actor = stage.next()
    actor.say(NotReady("ImportError: no such thing", "Traceback: line 1 of app.py"))
    actor.die()
    assert running.exit_code() == 2
    assert "line 1 of app.py" in caplog.text
    assert stage.actors.empty(), "a crash loop"


def test_three_deaths_before_ready_end_it_with_2(start: Any, stage: Any, sqs: Any, caplog: Any) -> None:
    sqs.create_queue("jobs")
    stage.make_ready = False
    running = start(wait_ready=False)
    for _ in range(3):
        stage.next().die()
    assert running.exit_code() == 2
    assert "3 in a row" in caplog.text
    assert stage.actors.empty()


def test_an_import_that_leaves_threads_is_done_without_preload(start: Any, stage: Any, sqs: Any, caplog: Any) -> None:
    sqs.create_queue("jobs")
    stage.make_ready = False
    running = start(wait_ready=False, concurrency=2)
    for actor in (stage.next(), stage.next()):
        actor.say(NotReady("importing the app left threads running (metrics)", "", 4711, retry_without_preload=True))
        actor.die()
    for actor in (stage.next(), stage.next()):
        actor.ready()
    assert running.worker.wait_ready(10)
    assert stage.without == [4711, 4711]
    assert caplog.text.count("left threads running") == 1


def test_a_service_that_crashes_ends_it_with_1(
    start: Any, stage: Any, sqs: Any, send: Any, monkeypatch: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    running = start()
    monkeypatch.setattr(running.worker._leases, "take_due", lambda: 1 / 0)
    assert running.exit_code() == 1
    assert "heartbeat" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_crash_of_the_pool_ends_it_with_1_kills_the_executors_and_gives_everything_back(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, monkeypatch: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    until(lambda: running.worker.totals.started == 1)
    monkeypatch.setattr(running.worker._pool, "_dispatch", lambda: 1 / 0)
    send("jobs")
    assert running.exit_code() == 1
    assert actor.gone.wait(5)
    assert counts("jobs") == (2, 0, 0), "what ran, and what came after the crash"


def test_what_has_ended_when_the_pool_crashes_is_not_run_again(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, monkeypatch: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    until(lambda: running.worker.totals.started == 1)
    pool = running.worker._pool

    def crash() -> None:
        actor.done(run)
        raise ZeroDivisionError

    pool._note(crash)
    assert running.exit_code() == 1
    assert counts("jobs") == (0, 0, 0)


@pytest.mark.parametrize("settings", [{"strict": True}, {"burst": True}])
def test_a_missing_queue_ends_it_with_2_where_that_was_asked_for(start: Any, sqs: Any, caplog: Any, settings: Any) -> None:
    sqs.create_queue("jobs-1")
    running = start("jobs-2", wait_ready=False, **settings)
    assert running.exit_code() == 2
    assert "queue 'jobs-2' does not exist; did you mean jobs-1?" in caplog.text


def test_a_lost_lease_is_not_started(start: Any, stage: Any, sqs: Any, send: Any, store: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    for body in "abc":
        send("jobs", body)
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run, seconds=0.02)  # several may be held now
    run = actor.expect(Run)
    actor.started(run)
    behind = actor.expect(Run)
    actor.hand_back(behind)  # so it waits in the buffer until the first one has ended
    until(lambda: behind.delivery not in running.worker._pool._slots[actor.number].held.values())
    lease = running.worker._leases._leases[behind.delivery.id]
    running.worker._leases._tell_lost(lease, "a test")
    until(lambda: running.worker.held == 1)
    actor.done(run)
    until(lambda: running.worker.held == 0)
    assert actor.frames.empty()


def test_extra_fetchers_come_while_it_is_worth_it_and_leave(start: Any, stage: Any, sqs: Any, send: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    stage.auto = True
    running = start(concurrency=2, fetchers_per_queue=4)
    for number in range(0, 600, 10):
        for one in range(10):
            send("jobs", str(number + one))
    until(lambda: running.worker.totals.done["succeeded"] == 600)
    until(lambda: running.worker._fetchers.polling() == 1)


@pytest.mark.parametrize("queue", ["jobs", "jobs:max=1"])
def test_polls_that_do_not_end_are_replaced_and_three_of_them_are_the_end(
    start: Any, sqs: Any, store: Any, until: Any, monkeypatch: Any, caplog: Any, queue: str
) -> None:
    """What such a poll has asked for does not count any more, or its replacement could not ask."""
    sqs.create_queue("jobs")
    monkeypatch.setattr("pyqs.worker.fetchers.SILENCE", -0.5)
    store.faults.add("stall:action=ReceiveMessage")
    running = start(queue)
    assert running.exit_code(25) == 1
    assert caplog.text.count("does not end") == 3
