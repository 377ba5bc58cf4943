"""Calls that are called off, with executors and a host that are played by the test: who is told, who is killed, what waits."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from pyqs.config import RuntimeConfig
from pyqs.message import CalledOff, Death, Delete
from pyqs.wire import CallOff, Done, Killed, Ready, Run, Started
from pyqs.worker import calls_off
from pyqs.worker import host as host_module
from pyqs.worker.fate import decide
from pyqs.worker.slot import Slot

APP = RuntimeConfig(app="proj")
LATER = time.time() + 3600


@pytest.fixture
def world(start: Any, stage: Any, sqs: Any) -> Any:
    """A worker whose executors say that there is a host which watches."""
    stage.make_ready = False
    sqs.create_queue("jobs")

    def begin(executors: int = 1, *, watches: bool = True) -> tuple[Any, list[Any], Any]:
        running = start(runtime=APP, concurrency=executors, wait_ready=False)
        actors = [stage.next() for _ in range(executors)]
        host = stage.next_host()
        for actor in actors:
            ready(actor, watches=watches)
        ready(host, watches=watches)
        return running, actors, host

    return begin


def ready(actor: Any, *, watches: bool = True) -> None:
    actor.say(Ready(1000 + actor.number, 999, ("tasks.a",), 0, watches=watches))


def next_of(actor: Any, kind: Any) -> Any:
    """The next frame of this kind; others are passed over."""
    while True:
        frame = actor.frames.get(timeout=10)
        if isinstance(frame, kind):
            return frame


def test_nothing_starts_until_it_is_known_what_was_called_off(world: Any, stage: Any, send: Any, until: Any) -> None:
    running, (actor,), host = world()
    send("jobs")
    until(lambda: running.worker.held == 1)
    before = CalledOff("before", LATER)
    host.say(CallOff((before,)))
    assert actor.expect(CallOff).calls == (before,), "and it hears of them first"
    actor.expect(Run)


def test_the_hosts_first_word_may_be_that_there_are_none(world: Any, send: Any) -> None:
    _, (actor,), host = world()
    send("jobs")
    host.say(CallOff(()))
    actor.expect(Run)


def test_a_host_that_says_nothing_is_not_waited_for_for_ever(
    world: Any, send: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_off, "PATIENCE", 0.2)
    _, (actor,), _ = world()
    send("jobs")
    actor.expect(Run)
    assert "the host does not say which calls were called off" in caplog.text


def test_where_nobody_watches_nothing_waits(world: Any, send: Any) -> None:
    _, (actor,), _ = world(watches=False)
    send("jobs")
    actor.expect(Run)


def test_what_is_new_goes_to_every_executor_and_all_to_a_new_one(world: Any, stage: Any, send: Any) -> None:
    _, actors, host = world(2)
    first, second = CalledOff("first", LATER), CalledOff("second", LATER)
    host.say(CallOff((first,)), CallOff((first, second)))
    for actor in actors:  # in two frames, or in one to an executor that was not ready yet
        told = actor.expect(CallOff).calls
        assert (*told, *(actor.expect(CallOff).calls if len(told) == 1 else ())) == (first, second)
    actors[0].die()
    newcomer = stage.next()
    ready(newcomer)
    assert newcomer.expect(CallOff).calls == (first, second)


def test_what_runs_is_killed_and_the_host_says_what_becomes_of_it(
    world: Any, stage: Any, send: Any, counts: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running, (actor,), host = world()
    send("jobs")
    host.say(CallOff(()))
    run = next_of(actor, Run)
    actor.started(run, tells=True)
    host.say(CallOff((CalledOff("call", LATER, 15),)))
    assert actor.gone.wait(10)
    question = next_of(host, Killed)
    assert (question.delivery.id, question.death) == (run.delivery.id, Death("died", None, False, 15))
    host.say(Done(run.delivery.id, Delete(), (), "revoked", "tasks.a", "call", ""))
    until(lambda: counts("jobs") == (0, 0, 0))
    until(lambda: running.worker.held == 0)
    assert running.worker.totals.done == {"revoked": 1}
    assert "tasks.a[call] was called off" in caplog.text
    ready(stage.next())


def test_what_begins_although_it_was_called_off_is_killed_when_that_is_noticed(world: Any, send: Any) -> None:
    """It had looked just before it heard of it."""
    _, (actor,), host = world()
    send("jobs")
    host.say(CallOff((CalledOff("call", LATER, 9),)))
    actor.started(next_of(actor, Run), tells=True)
    assert actor.gone.wait(10)
    assert next_of(host, Killed).death.signal == 9


def test_an_early_acked_one_is_told_of_as_such(world: Any, send: Any, counts: Any, until: Any) -> None:
    _, (actor,), host = world()
    send("jobs")
    host.say(CallOff(()))
    actor.started(next_of(actor, Run), tells=True, ack_early=True)
    until(lambda: counts("jobs") == (0, 0, 0))
    host.say(CallOff((CalledOff("call", LATER, 15),)))
    assert next_of(host, Killed).death == Death("died", None, True, 15)


@pytest.mark.parametrize(
    ("fields", "call"),
    [
        ({"tells": True}, CalledOff("call", LATER)),
        ({"tells": True}, CalledOff("another", LATER, 15)),
        ({"tells": False}, CalledOff("call", LATER, 15)),
    ],
)
def test_what_need_not_or_cannot_be_told_of_runs_on(
    world: Any, send: Any, counts: Any, until: Any, fields: Any, call: CalledOff
) -> None:
    _, (actor,), host = world()
    send("jobs")
    host.say(CallOff(()))
    run = next_of(actor, Run)
    actor.started(run, **fields)
    host.say(CallOff((call,)))
    next_of(actor, CallOff)
    actor.done(run)
    until(lambda: counts("jobs") == (0, 0, 0))
    assert not actor.gone.is_set()


def test_a_hard_limit_is_no_calling_off(world: Any, send: Any) -> None:
    _, (actor,), host = world()
    send("jobs")
    host.say(CallOff(()))
    actor.started(next_of(actor, Run), tells=True, time_limit=0.1)
    assert next_of(host, Killed).death == Death("died", 0.1)


def test_what_has_ended_by_then_is_not_killed(world: Any, send: Any, counts: Any, until: Any) -> None:
    _, (actor,), host = world()
    send("jobs")
    host.say(CallOff(()))
    run = next_of(actor, Run)
    actor.started(run, tells=True)
    actor.done(run)
    host.say(CallOff((CalledOff("call", LATER, 15),)))
    next_of(actor, CallOff)
    until(lambda: counts("jobs") == (0, 0, 0))
    assert not actor.gone.is_set()


def test_what_ends_between_the_word_and_the_kill_leaves_nothing_behind(deliver: Any) -> None:
    """Its executor goes on, and what it runs next is killed for its own reasons."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        slot = Slot(0, ours)
        for delivery in (first := deliver(), second := deliver()):
            slot.give(delivery, 1e9, 0.1)
        slot.begins(Started(first.id, "tasks.a", "one", tells=True))
        slot.call_off(slot.running[first.id], 15)
        assert slot.kill_at is not None
        slot.ended(first.id)
        assert slot.kill_at is None
        slot.begins(Started(second.id, "tasks.a", "two", time_limit=5.0, tells=True))
        slot.kill_due()
        assert decide(slot, second, "died") == Death("died", 5.0)


def test_a_kill_that_is_under_way_is_not_taken_for_another(deliver: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        slot = Slot(0, ours)
        slot.give(delivery := deliver(), 1e9, 0.1)
        slot.begins(Started(delivery.id, "tasks.a", "one", time_limit=5.0, tells=True))
        slot.kill_due()
        slot.call_off(slot.running[delivery.id], 15)
        assert decide(slot, delivery, "died") == Death("died", 5.0)


def test_a_host_that_watched_is_replaced_soon(world: Any, stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "WATCH_AGAIN", 0.05)
    _, (actor,), host = world()
    host.say(CallOff((CalledOff("one", LATER),)))
    next_of(actor, CallOff)
    host.die()
    other = stage.next_host()
    ready(other)
    other.say(CallOff((CalledOff("one", LATER), CalledOff("two", LATER))))
    assert next_of(actor, CallOff).calls == (CalledOff("two", LATER),)


def test_a_worker_whose_host_watched_ends_with_it(world: Any, stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "WATCH_AGAIN", 60.0)
    running, (actor,), host = world()
    host.say(CallOff((CalledOff("one", LATER),)))
    next_of(actor, CallOff)
    host.die()
    running.worker.interrupt()
    assert running.exit_code() == 0
