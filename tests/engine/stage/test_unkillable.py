"""An executor that a SIGKILL does not end (the kernel holds it): nobody waits for it, and what it runs starts nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from pyqs.wire import Run
from pyqs.worker import slot as slot_module


@pytest.fixture(autouse=True)
def unkillable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_module, "UNKILLABLE", 0.2)
    monkeypatch.setattr(slot_module.Slot, "_sigkill", lambda self: None)


def test_the_worker_ends_without_it_and_leaves_what_it_runs(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    actor.started(actor.expect(Run))
    until(lambda: running.worker.totals.started == 1)
    running.worker.stop()
    assert running.exit_code() == 1
    assert counts("jobs") == (0, 1, 0), "hidden until its lease ends: it may go on one day"
    assert caplog.text.count("does not end although it was killed (told to stop at once): it is not waited for") == 1
    assert "tasks.a[call] may still run" in caplog.text


def test_one_that_was_passed_its_limit_is_replaced(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    actor.started(actor.expect(Run), time_limit=0.1)
    new = stage.next()
    until(lambda: running.worker.held == 0)
    assert counts("jobs") == (0, 1, 0)
    assert "tasks.a[call] may still run" in caplog.text
    send("jobs")
    new.expect(Run)


def test_what_it_had_begun_when_the_kill_came_is_left_too(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    first = actor.expect(Run)
    actor.started(first)
    actor.done(first, seconds=0.001)  # from now on several at once
    send("jobs")
    send("jobs")
    second, third = actor.expect(Run), actor.expect(Run)
    actor.started(second)
    until(lambda: running.worker.totals.started == 2)
    running.worker._pool.slots[0].kill("its task has passed its limit")
    actor.done(second)
    actor.started(third)
    until(lambda: running.worker.held == 0)
    assert counts("jobs") == (0, 1, 0)
    assert stage.next().frames.empty(), "the third runs in one executor only"
