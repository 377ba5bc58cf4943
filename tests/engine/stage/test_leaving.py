"""Executors that have served long enough, played by the test: what they held runs elsewhere at once, and nobody is blamed."""

from __future__ import annotations

import logging
from typing import Any

from pyqs.config import RuntimeConfig
from pyqs.message import Delete
from pyqs.wire import Done, Leaving, Recall, Run, Stop


def test_what_a_leaving_executor_held_runs_in_its_replacement(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    old = stage.next()
    run = old.expect(Run)
    old.started(run)
    old.done(run, seconds=0.001)
    send("jobs")
    held = old.expect(Run)
    old.say(Leaving("it is old"))
    old.expect(Stop)
    new = stage.next()  # asked for before the old one has gone
    assert new.number == old.number
    assert not old.gone.is_set()
    old.hand_back(held)
    again = new.expect(Run)
    assert again.delivery.id == held.delivery.id, "the same receipt: no life is spent"
    old.die()
    new.started(again)
    new.done(again)
    until(lambda: counts("jobs") == (0, 0, 0))
    until(lambda: running.worker.held == 0)
    assert stage.actors.empty(), "one replacement"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "is replaced: it is old" in caplog.text


def test_one_that_dies_while_it_leaves_blames_nobody(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    old = stage.next()
    held = old.expect(Run)
    old.say(Leaving("it is old"))
    old.expect(Stop)
    old.die()
    new = stage.next()
    again = new.expect(Run)
    assert again.delivery.id == held.delivery.id
    new.started(again)
    new.done(again)
    until(lambda: counts("jobs") == (0, 0, 0))
    assert running.worker.totals.lost == 0
    assert stage.actors.empty()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_leaving_executor_is_not_replaced_while_the_worker_stops(start: Any, stage: Any, sqs: Any, send: Any) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    running.worker.interrupt()
    actor.expect(Recall)
    # In one piece: it may be told to stop as soon as it is done.
    actor.say(Done(run.delivery.id, Delete(), status="succeeded", task="tasks.a", call_id="call"), Leaving("it is old"))
    actor.die()
    assert running.exit_code() == 0
    assert stage.actors.empty()


def test_no_more_is_given_than_it_will_start(start: Any, stage: Any, sqs: Any, send: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    running = start(runtime=RuntimeConfig(max_tasks_per_child=3))
    actor = stage.next()
    send("jobs")
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run, seconds=0.001)
    for _ in range(10):
        send("jobs")
    runs = [actor.expect(Run) for _ in range(2)]
    until(lambda: running.worker.held > 2)
    actor.started(runs[0])
    actor.done(runs[0], seconds=0.001)
    actor.started(runs[1])
    actor.done(runs[1], seconds=0.001)
    actor.say(Leaving("it has run 3 tasks"))
    actor.expect(Stop)
    actor.die()
    stage.next().expect(Run)
