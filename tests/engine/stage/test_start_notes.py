"""Starts that are noted in shared memory: what the worker knows of a task of which it has heard nothing yet."""

from __future__ import annotations

from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.message import Delete, Hide
from pyqs.wire import Run
from pyqs.worker import slot as slot_module


@pytest.fixture
def never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are short: nobody looks before they have ended."""
    monkeypatch.setattr(slot_module, "LOOK_AFTER", 3600.0)


@pytest.fixture
def jobs(sqs: Any, send: Any) -> None:
    """Three messages."""
    sqs.create_queue("jobs")
    for _ in range(3):
        send("jobs")


def test_of_a_short_task_only_the_end_is_heard(never_looks: None, jobs: None, start: Any, stage: Any, until: Any) -> None:
    running = start()
    actor = stage.next()
    for number in range(1, 4):
        run = actor.expect(Run)
        actor.started(run, ack_early=True)
        actor.done(run, seconds=0.001)
        until(lambda number=number: running.worker.totals.done["succeeded"] == number)
        assert running.worker.totals.started == number
    assert not running.worker._acker.failing()


def test_what_ended_before_it_began_is_no_start(jobs: None, start: Any, stage: Any, until: Any) -> None:
    running = start()
    actor = stage.next()
    actor.done(actor.expect(Run), Hide(600), "unknown")
    until(lambda: running.worker.totals.done["unknown"] == 1)
    assert running.worker.totals.started == 0


def test_a_task_that_lasts_is_known_to_run(jobs: None, start: Any, stage: Any, until: Any) -> None:
    running = start()
    actor = stage.next()
    began = boottime() - 7
    actor.started(actor.expect(Run), at=began)
    until(lambda: running.worker.totals.started == 1)
    (slot,) = running.worker._pool.slots
    assert 7 <= slot.since_started() < 60, "counted from when it has begun, not from when it was looked for"


def test_the_hard_limit_runs_from_the_start(jobs: None, start: Any, stage: Any, until: Any, caplog: Any) -> None:
    start()
    actor = stage.next()
    actor.started(actor.expect(Run), at=boottime() - 100, time_limit=99.5)
    until(actor.gone.is_set)
    assert "tasks.a[call] passed its time limit of 99.5 s" in caplog.text


def test_a_note_names_what_an_executor_died_of(
    never_looks: None, jobs: None, start: Any, stage: Any, counts: Any, until: Any, caplog: Any
) -> None:
    running = start()
    actor = stage.next()
    actor.started(actor.expect(Run))
    actor.die()
    assert stage.next().expect(Run)
    until(lambda: running.worker.totals.lost == 1)
    assert "died while it held tasks.a[call]" in caplog.text
    assert running.worker.totals.started == 1


def test_an_early_acked_task_that_died_at_once_is_lost(
    never_looks: None, jobs: None, start: Any, stage: Any, counts: Any, until: Any, caplog: Any
) -> None:
    start()
    actor = stage.next()
    actor.started(actor.expect(Run), ack_early=True)
    actor.die()
    replacement = stage.next()
    until(lambda: "tasks.a[call] is lost" in caplog.text)
    for _ in range(2):
        run = replacement.expect(Run)
        replacement.started(run)
        replacement.done(run, seconds=0.001)
    until(lambda: counts("jobs") == (0, 0, 0))


def test_the_note_of_a_task_that_has_ended_blames_nobody(
    never_looks: None, jobs: None, start: Any, stage: Any, until: Any, caplog: Any
) -> None:
    """It stands there until the next task starts; the executor dies before that, while it decodes."""
    running = start()
    actor = stage.next()
    first = actor.expect(Run)
    actor.started(first)
    actor.done(first, seconds=0.001)
    second = actor.expect(Run)
    actor.die()
    stage.next()
    until(lambda: running.worker.totals.lost == 1)
    assert f"delivery {second.delivery.id}" in caplog.text
    assert "died while it held a task that is not known to have started" in caplog.text
    assert running.worker.totals.started == 1


def test_at_the_deadline_a_task_that_was_acked_at_its_start_is_spared(
    never_looks: None, jobs: None, start: Any, stage: Any, until: Any
) -> None:
    running = start(shutdown_timeout=0.3)
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run, ack_early=True)
    running.worker.drain()
    assert not actor.gone.wait(1.0), "its message is deleted: killed, it would be lost"
    actor.done(run, Delete(), seconds=1.0)
    running.exit_code()
    assert running.worker.totals.lost == 0


def test_a_start_that_fits_no_note_is_told(never_looks: None, jobs: None, start: Any, stage: Any, until: Any) -> None:
    stage.notes = False
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    until(lambda: running.worker.totals.started == 1)
    actor.done(run, seconds=0.001)
    until(lambda: running.worker.totals.done["succeeded"] == 1)
    assert running.worker.totals.started == 1
