"""Executors that do not get ready, cannot be started, or die as soon as they are there: replaced, and never in a hot loop."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.wire import Leaving, Run, Stop
from pyqs.worker import boot
from pyqs.worker.health import Health

NO_MORE = OSError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.fixture(autouse=True)
def jobs(sqs: Any, caplog: pytest.LogCaptureFixture) -> None:
    sqs.create_queue("jobs")
    caplog.set_level(logging.INFO)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "LOADS_LONG", 0.2)
    monkeypatch.setattr(boot, "LOAD_LIMIT", 0.5)


def rounds(running: Any, until: Any, count: int = 2) -> None:
    """Wait until the pool has looked at its executors so many times more."""
    for _ in range(count):
        before = running.worker._pool._boot._looked_at
        until(lambda before=before: running.worker._pool._boot._looked_at > before)


@pytest.mark.usefixtures("impatient")
def test_one_that_hangs_before_it_is_ready_is_replaced_once_another_was_ready(
    start: Any, stage: Any, send: Any, until: Any, caplog: Any
) -> None:
    running = start()
    old = stage.next()
    stage.make_ready = False
    old.say(Leaving("it is old"))
    old.expect(Stop)
    hangs = stage.next()
    old.die()
    assert hangs.gone.wait(10)
    new = stage.next()
    new.ready()
    send("jobs")
    run = new.expect(Run)
    new.started(run)
    new.done(run)
    until(lambda: running.worker.totals.done == {"succeeded": 1})
    assert caplog.text.count("executor 0 (pid None) is still loading after") == 1
    assert caplog.text.count("is killed: it does not get ready") == 1
    assert "died before it was ready; trying again" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_the_first_ones_may_load_for_as_long_as_they_like(start: Any, stage: Any, until: Any, caplog: Any) -> None:
    stage.make_ready = False
    running = start(wait_ready=False)
    actor = stage.next()
    until(lambda: "is still loading after" in caplog.text)
    rounds(running, until, 3)
    assert not actor.gone.is_set()
    actor.ready()
    assert running.worker.wait_ready(10)
    assert caplog.text.count("is still loading after") == 1


def test_only_a_ready_executor_is_a_sign_of_life(start: Any, stage: Any, until: Any, monkeypatch: Any) -> None:
    health = Health()
    running = start(health=health)
    monkeypatch.setattr(running.worker._pool._boot.pulse, "tolerance", 0.5)
    stage.make_ready = False
    actor = stage.next()
    rounds(running, until)
    actor.die()
    hangs = stage.next()
    until(lambda: (health.liveness.failure() or "").startswith("executors: none ready for"))
    hangs.ready()
    until(lambda: health.liveness.failure() is None)


def test_a_worker_that_had_executors_tries_for_ever_to_start_more(start: Any, stage: Any, until: Any, caplog: Any) -> None:
    running = start(concurrency=2)
    first, second = stage.next(), stage.next()
    stage.refusal = NO_MORE
    began = boottime()
    first.die()
    second.die()
    until(lambda: stage.refused >= 8, 60)
    assert boottime() - began > 0.5 + 1 + 2, "with growing pauses"
    assert running.thread.is_alive()
    stage.refusal = None
    actors = [stage.actors.get(timeout=40) for _ in range(2)]
    assert sorted(actor.number for actor in actors) == [0, 1]
    until(lambda: sum(slot.ready for slot in running.worker._pool.slots) == 2)
    assert caplog.text.count("executors cannot be started") == 1
    assert caplog.text.count("executors are started again") == 1


@pytest.mark.parametrize("refusal", [NO_MORE, EOFError("unexpected EOF")])
def test_one_that_never_had_any_gives_up_after_the_third_try(start: Any, stage: Any, caplog: Any, refusal: Any) -> None:
    stage.refusal = refusal
    began = boottime()
    running = start(wait_ready=False, concurrency=4)
    assert running.exit_code(20) == 2
    assert boottime() - began > 0.5 + 1
    assert stage.refused <= 3 * 4, "those that were asked for together fail together"
    assert caplog.text.count("an executor could not be started") == 3
    assert "(3 in a row)" in caplog.text


def test_a_stop_waits_for_no_next_try(start: Any, stage: Any, until: Any) -> None:
    running = start()
    stage.refusal = NO_MORE
    stage.next().die()
    until(lambda: stage.refused >= 1)
    running.worker.interrupt()
    assert running.exit_code(10) == 0


def test_a_place_where_executors_die_idle_waits_longer_each_time(start: Any, stage: Any, send: Any, until: Any) -> None:
    running = start()
    actor = stage.next()
    began = boottime()
    for _ in range(2):
        actor.die()
        actor = stage.next()
    assert boottime() - began >= 1 + 2
    send("jobs")
    actor.started(actor.expect(Run))
    until(lambda: running.worker.totals.started == 1)
    actor.die()
    stage.next()
    assert not running.worker._pool._boot._short_lives, "one that was of use is replaced at once, and so is the next"


def test_one_that_has_lived_for_long_is_replaced_at_once(start: Any, stage: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(boot, "LONG_ENOUGH", 0.0)
    monkeypatch.setattr(boot, "FIRST_PAUSE", 60.0)
    monkeypatch.setattr(boot, "LONGEST_PAUSE", 60.0)
    start()
    stage.next().die()
    stage.next()
