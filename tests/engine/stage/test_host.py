"""Killed tasks and a host that is played by the test: what it is asked, and what becomes of a delivery without its word."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyqs.config import RuntimeConfig
from pyqs.message import Death, Delete, FollowUp, Hide, Leave, OutgoingMessage, Verdict
from pyqs.runtime import ALIVE
from pyqs.wire import Done, Event, Killed, NotReady, Run, Stop
from pyqs.worker import host as host_module

APP = RuntimeConfig(app="proj")


def answer(host: Any, question: Killed, verdict: Verdict, *follow_ups: FollowUp) -> None:
    host.say(Done(question.delivery.id, verdict, follow_ups, "lost", "tasks.a", "call", "as told"))


def killed(stage: Any, actor: Any, **fields: Any) -> Run:
    """A task that begins in this executor and dies with it."""
    run: Run = actor.expect(Run)
    actor.started(run, **{"tells": True, **fields})
    actor.die()
    return run


def test_the_host_is_asked_and_its_follow_ups_are_sent_before_the_delete(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    sqs.create_queue("jobs")
    sqs.create_queue("errbacks")
    send("jobs", "body")
    running = start()
    run = killed(stage, stage.next())
    host = stage.next_host()
    question = host.expect(Killed)
    assert question == Killed(run.delivery, Death("died"))
    assert counts("jobs") == (0, 1, 0), "nothing is settled before it has answered"
    stage.next()  # the executor is replaced meanwhile
    answer(host, question, Delete(), FollowUp("errbacks", OutgoingMessage("told")))
    until(lambda: counts("jobs") == (0, 0, 0))
    assert counts("errbacks") == (1, 0, 0)
    until(lambda: running.worker.held == 0)
    assert "delivery 1 from jobs: tasks.a[call] lost in" in caplog.text
    running.worker.interrupt()
    host.expect(Stop)
    host.die()
    assert running.exit_code() == 0


def test_a_refused_follow_up_keeps_the_message(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    killed(stage, stage.next())
    host = stage.next_host()
    answer(host, host.expect(Killed), Delete(), FollowUp("missing", OutgoingMessage("told")))
    until(lambda: counts("jobs") == (0, 1, 0) and not running.worker.held and not running.worker._acker.pending)


def test_a_task_that_tells_nobody_needs_no_host(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    killed(stage, stage.next(), tells=False)
    until(lambda: counts("jobs") == (0, 1, 0) and not running.worker.held and not running.worker._acker.pending)
    assert stage.hosts.empty()


def test_the_hard_limit_is_told(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    start()
    actor = stage.next()
    actor.started(actor.expect(Run), tells=True, time_limit=0.1)
    question = stage.next_host().expect(Killed)
    assert question.death == Death("died", 0.1)


def test_a_task_that_was_acked_early_is_told_of_and_left(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    sqs.create_queue("errbacks")
    send("jobs")
    running = start()
    killed(stage, stage.next(), ack_early=True)
    host = stage.next_host()
    question = host.expect(Killed)
    assert question.death.acked_early
    answer(host, question, Leave(), FollowUp("errbacks", OutgoingMessage("told")))
    until(lambda: counts("errbacks") == (1, 0, 0))
    until(lambda: counts("jobs") == (0, 0, 0) and not running.worker.held and not running.worker._acker.pending)


def test_a_host_that_dies_costs_no_message(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    for _ in range(2):
        send("jobs")
    running = start(concurrency=2)
    first, second = stage.next(), stage.next()
    killed(stage, first)
    killed(stage, second)
    host = stage.next_host()
    blamed = host.expect(Killed).delivery.id
    until(lambda: running.worker.totals.lost == 2)
    host.die()
    other = stage.next_host()
    question = other.expect(Killed)
    assert question.delivery.id != blamed, "the one it died of is hidden, the other one is told of again"
    answer(other, question, Delete())
    until(lambda: counts("jobs") == (0, 1, 0) and not running.worker.held and not running.worker._acker.pending)
    assert len([one for one in caplog.messages if one.startswith("the host (pid None) died when it was told of")]) == 1


def test_a_host_that_hangs_is_killed(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "ANSWER_LIMIT", 0.2)
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    killed(stage, stage.next())
    host = stage.next_host()
    host.expect(Killed)
    assert host.gone.wait(10)
    until(lambda: counts("jobs") == (0, 1, 0) and not running.worker.held and not running.worker._acker.pending)
    assert "it does not answer" in caplog.text


def test_an_early_acked_death_is_told_to_the_next_host_too(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    killed(stage, stage.next(), ack_early=True)
    for _ in range(host_module.MOST_TRIES):
        host = stage.next_host()
        host.expect(Killed)
        host.die()
    until(lambda: running.worker.held == 0)
    assert "nobody could be told of its failure" in caplog.text
    until(lambda: counts("jobs") == (0, 0, 0))


def test_a_host_that_cannot_load_the_app_is_given_up(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    stage.make_ready = False
    killed(stage, actor)
    host = stage.next_host()
    host.say(NotReady("no module named proj", ""))
    host.die()
    until(lambda: counts("jobs") == (0, 1, 0) and not running.worker.held)
    assert "no module named proj" in caplog.text


def test_a_host_that_dies_before_it_is_ready_is_tried_a_few_times(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    stage.make_ready = False
    killed(stage, actor)
    for _ in range(host_module.MOST_FAILURES):
        stage.next_host().die()
    until(lambda: counts("jobs") == (0, 1, 0) and not running.worker.held)
    assert "what becomes of killed tasks is decided without it" in caplog.text


def test_a_host_of_an_import_that_cannot_be_forked_is_made_without(start: Any, stage: Any, sqs: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    stage.make_ready = False
    running = start(runtime=APP, wait_ready=False)
    first = stage.next_host()
    first.say(NotReady("the import left threads running", "", 999, retry_without_preload=True))
    first.die()
    second = stage.next_host()
    second.ready()
    assert second.expect(Event).name == "starting"
    assert stage.without == [999]
    stage.next().ready()
    assert running.worker.wait_ready(10)


def test_with_an_app_the_host_hears_of_the_worker(start: Any, stage: Any, sqs: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    stage.make_ready = False
    running = start(runtime=APP, wait_ready=False)
    host = stage.next_host()
    host.stays = True
    host.ready()
    starting = host.expect(Event)
    assert (starting.name, starting.details["concurrency"]) == ("starting", 1)
    assert host.frames.empty(), "the worker is not ready yet"
    stage.next().ready()
    assert host.expect(Event) == Event("ready")
    running.worker.drain()
    told = [host.expect(Event)]
    while told[-1].name != "stopped":
        told.append(host.expect(Event))
    assert [one for one in told if one.name != ALIVE] == [  # which is told every two seconds
        Event("stopping", {"sig": "SIGTERM", "how": "Warm", "exitcode": 0}), Event("stopped")
    ]  # fmt: skip
    host.expect(Stop)
    assert running.thread.is_alive(), "it waits for the host's goodbye"
    host.die()
    assert running.exit_code() == 0


def test_a_host_that_does_not_leave_holds_nobody_up(start: Any, stage: Any, sqs: Any, until: Any, caplog: Any) -> None:
    sqs.create_queue("jobs")
    running = start(runtime=APP, shutdown_timeout=0.5)
    host = stage.next_host()
    host.stays = True
    running.worker.interrupt()
    assert running.exit_code(10) == 0
    assert host.gone.wait(5)
    assert "it does not leave" in caplog.text


def test_a_host_that_hears_nothing_delays_no_start(start: Any, stage: Any, sqs: Any, send: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    running = start(runtime=APP)
    stage.next_host()  # and takes no frame
    send("jobs")
    stage.next().expect(Run)
    assert running.worker.wait_ready(0)


def test_a_second_signal_tells_of_early_acked_tasks_and_waits_for_no_word(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "HURRY_LIMIT", 0.3)
    sqs.create_queue("jobs")
    send("jobs")
    running = start(shutdown_timeout=None)
    actor = stage.next()
    actor.started(actor.expect(Run), tells=True, ack_early=True)
    until(lambda: counts("jobs") == (0, 0, 0))
    running.worker.drain()
    running.worker.stop()
    assert stage.next_host().expect(Killed).death.acked_early
    assert running.exit_code(15) == 1


def test_a_task_stopped_at_the_deadline_has_not_failed(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start(shutdown_timeout=0.5)
    actor = stage.next()
    actor.started(actor.expect(Run), tells=True)
    running.worker.drain()
    assert running.exit_code(15) == 0
    assert counts("jobs") == (1, 0, 0)
    assert stage.hosts.empty()


def test_a_delivery_whose_fate_is_asked_keeps_a_burst_from_ending(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start(burst=True, wait=0)
    killed(stage, stage.next())
    host = stage.next_host()
    question = host.expect(Killed)
    stage.next()
    running.thread.join(0.5)
    assert running.thread.is_alive()
    answer(host, question, Delete())
    host.expect(Stop)
    host.die()
    assert running.exit_code() == 0
    assert counts("jobs") == (0, 0, 0)


def test_a_hide_of_the_hosts_is_kept(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    send("jobs")
    running = start()
    killed(stage, stage.next())
    host = stage.next_host()
    answer(host, host.expect(Killed), Hide(0))
    stage.next().expect(Run)
    assert running.worker.totals.lost == 1
