"""Executors that run several deliveries at a time: who gets what, and what becomes of the others when one ends them all."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs.config import RuntimeConfig
from pyqs.message import CalledOff, Death, Delete, Hide, Leave
from pyqs.wire import CallOff, Cancelled, Done, Killed, Leaving, Ready, Recall, Run, Started, Stop
from pyqs.worker.fate import decide, divide
from pyqs.worker.health import Health
from pyqs.worker.placement import choose
from pyqs.worker.slot import OVERDUE, Slot
from pyqs.worker.surplus import START_WITHIN, Surplus


@pytest.fixture
def lanes(stage: Any, sqs: Any) -> int:
    sqs.create_queue("jobs")
    stage.lanes = 3
    return 3


def all_of(actor: Any, count: int) -> list[Run]:
    return [actor.expect(Run) for _ in range(count)]


def test_it_gets_as_much_as_it_runs_at_a_time(start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any) -> None:
    for _ in range(5):
        send("jobs")
    start()
    actor = stage.next()
    first, *_ = all_of(actor, 3)
    until(lambda: counts("jobs") == (2, 3, 0))
    assert actor.frames.empty()
    actor.started(first)
    actor.done(first, seconds=9.0)
    actor.expect(Run)
    until(lambda: counts("jobs") == (1, 3, 0))


def test_what_comes_goes_to_the_executor_with_most_room(start: Any, stage: Any, lanes: int, send: Any) -> None:
    start(concurrency=2)
    actors = [stage.next(), stage.next()]
    for _ in range(4):
        send("jobs")
    for actor in actors:
        all_of(actor, 2)


def test_short_tasks_are_not_put_behind_each_other(start: Any, stage: Any, lanes: int, send: Any, until: Any) -> None:
    running = start(runtime=RuntimeConfig(async_slots=3))
    actor = stage.next()
    send("jobs")
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run, seconds=0.001)
    until(lambda: running.worker.totals.done["succeeded"] == 1)
    for _ in range(8):
        send("jobs")
    all_of(actor, 3)
    until(lambda: running.worker.held == 6)  # one more for each lane
    assert actor.frames.empty()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor has no time to end a task alone."""
    monkeypatch.setattr("pyqs.worker.slot.ALONE", 0.0)


@pytest.mark.usefixtures("impatient")
def test_the_hard_limit_of_one_kills_it_and_the_others_are_released(
    start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    for _ in range(3):
        send("jobs")
    running = start()
    actor = stage.next()
    runs = all_of(actor, 3)
    actor.started(runs[0])
    actor.started(runs[1], time_limit=0.2)
    actor.started(runs[2], if_killed=Delete())
    replacement = stage.next()
    again = {one.delivery.message.message_id for one in all_of(replacement, 2)}
    assert again == {runs[0].delivery.message.message_id, runs[2].delivery.message.message_id}
    until(lambda: counts("jobs") == (0, 3, 0))
    assert (running.worker.totals.lost, running.worker.totals.released) == (1, 2)
    assert "is killed: task tasks.a[call] passed its time limit of 0.2 s" in caplog.text


def test_one_that_it_ends_alone_is_settled_alone(
    start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    for _ in range(3):
        send("jobs")
    running = start()
    actor = stage.next()
    runs = all_of(actor, 3)
    actor.started(runs[0])
    actor.started(runs[1], time_limit=0.1)
    actor.started(runs[2], time_limit=0.1, if_killed=Delete())
    actor.say(Cancelled(runs[1].delivery.id), Cancelled(runs[2].delivery.id))
    until(lambda: running.worker.held == 1)
    until(lambda: counts("jobs") == (0, 2, 0))
    assert (running.worker.totals.lost, running.worker.totals.released) == (2, 0)
    assert (
        "has ended it (task tasks.a[call] passed its time limit of 0.1 s) while it held tasks.a[call]; it is run again"
        in caplog.text
    )
    send("jobs")
    actor.expect(Run)
    assert not actor.gone.is_set()
    actor.done(runs[0])
    until(lambda: counts("jobs") == (0, 2, 0))


def test_the_host_hears_of_one_that_was_ended_alone(start: Any, stage: Any, lanes: int, send: Any, until: Any) -> None:
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run, time_limit=0.5, tells=True)
    actor.say(Cancelled(run.delivery.id))
    host = stage.next_host()
    asked = host.expect(Killed)
    assert (asked.delivery.id, asked.death) == (run.delivery.id, Death("its executor has ended it", 0.5))
    assert running.worker.held == 1, "until the host has said what becomes of it"
    host.say(Done(run.delivery.id, Delete(), status="timed-out", task="tasks.a"))
    until(lambda: running.worker.held == 0)
    assert not actor.gone.is_set()


def test_a_word_about_one_that_has_ended_changes_nothing(start: Any, stage: Any, lanes: int, send: Any, until: Any) -> None:
    send("jobs")
    running = start()
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run)
    actor.say(Cancelled(run.delivery.id), Cancelled(run.delivery.id + 7))
    send("jobs")
    actor.expect(Run)
    assert running.worker.totals.lost == 0


def test_of_one_that_dies_nobody_knows_which_task_it_was(
    start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any, caplog: Any
) -> None:
    """None of them is held to have failed, whatever its settings say of a task whose executor dies."""
    for _ in range(3):
        send("jobs")
    running = start()
    actor = stage.next()
    runs = all_of(actor, 3)
    actor.started(runs[0], tells=True)
    actor.started(runs[1], if_killed=Delete())
    until(lambda: running.worker.totals.started == 2)
    actor.die()
    replacement = stage.next()
    assert replacement.expect(Run).delivery.id == runs[2].delivery.id, "it had not begun"
    until(lambda: running.worker.totals.lost == 2)
    until(lambda: running.worker.held == 1)
    assert counts("jobs") == (0, 3, 0)
    assert caplog.text.count("and 1 more; it is run again in") == 2


def test_one_that_dies_with_a_single_task_is_judged_by_its_settings(
    start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any
) -> None:
    send("jobs")
    running = start()
    actor = stage.next()
    actor.started(actor.expect(Run), if_killed=Delete())
    until(lambda: running.worker.totals.started == 1)
    actor.die()
    until(lambda: counts("jobs") == (0, 0, 0))


def test_one_that_dies_before_anything_has_begun_blames_all_that_it_held(
    start: Any, stage: Any, lanes: int, send: Any, until: Any
) -> None:
    send("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    all_of(actor, 2)
    actor.die()
    until(lambda: running.worker.totals.lost == 2)
    until(lambda: running.worker.held == 0)


def test_each_is_acked_early_for_itself(start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any) -> None:
    send("jobs")
    send("jobs")
    start()
    actor = stage.next()
    first, second = all_of(actor, 2)
    actor.started(first)
    actor.started(second, ack_early=True)
    until(lambda: counts("jobs") == (0, 1, 0))
    actor.done(second)
    actor.done(first, Hide(30))
    until(lambda: counts("jobs") == (0, 1, 0))


@pytest.mark.usefixtures("impatient")
def test_one_is_called_off_and_the_host_hears_of_that_one_only(
    start: Any, stage: Any, lanes: int, send: Any, until: Any
) -> None:
    for _ in range(2):
        send("jobs")
    stage.make_ready = False
    running = start(runtime=RuntimeConfig(app="shop"), wait_ready=False)
    actor, host = stage.next(), stage.next_host()
    for one in (actor, host):
        one.say(Ready(1, 999, (), 0, watches=True))
    host.say(CallOff(()))
    runs = []
    while len(runs) < 2:
        frame = actor.frames.get(timeout=10)
        if isinstance(frame, Run):
            runs.append(frame)
    for number, run in enumerate(runs):
        actor.say(Started(run.delivery.id, "tasks.a", f"call-{number}", tells=True))
    host.say(CallOff((CalledOff("call-1", 4e9, 15),)))
    while not isinstance(asked := host.frames.get(timeout=10), Killed):
        pass
    assert (asked.delivery.id, asked.death.signal) == (runs[1].delivery.id, 15)
    until(lambda: running.worker.totals.released == 1)


def test_what_comes_again_while_it_runs_is_adopted(start: Any, stage: Any, lanes: int, sqs: Any, send: Any, until: Any) -> None:
    send("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    first, second = all_of(actor, 2)
    actor.started(first)
    actor.started(second)
    until(lambda: running.worker.totals.started == 2)
    sqs.change_visibility_batch(first.delivery.queue_url, [(second.delivery.message.receipt_handle, 0)])
    (slot,) = running.worker._pool.slots
    until(lambda: slot.held[second.delivery.id].receive_count == 2)
    assert actor.frames.empty()


def test_all_that_runs_ends_before_it_leaves(start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any) -> None:
    for _ in range(3):
        send("jobs")
    running = start()
    actor = stage.next()
    first, second, third = all_of(actor, 3)
    actor.started(first)
    actor.started(second)
    until(lambda: running.worker.totals.started == 2)
    running.worker.drain()
    actor.expect(Recall)
    actor.hand_back(third)
    actor._running.discard(third.delivery.id)
    until(lambda: counts("jobs") == (1, 2, 0))
    actor.done(first)
    actor.done(second)
    actor.expect(Stop)
    actor.die()
    assert running.exit_code() == 0
    assert counts("jobs") == (1, 0, 0)


def test_one_that_leaves_finishes_what_it_runs_beside_its_replacement(
    start: Any, stage: Any, lanes: int, send: Any, counts: Any, until: Any
) -> None:
    send("jobs")
    send("jobs")
    running = start()
    actor = stage.next()
    first, second = all_of(actor, 2)
    actor.started(first)
    actor.started(second)
    actor.say(Leaving("it is old"))
    actor.expect(Stop)
    replacement = stage.next()
    for _ in range(3):
        send("jobs")
    all_of(replacement, 3)
    actor.done(first)
    actor.done(second)
    assert actor.gone.wait(10)
    until(lambda: counts("jobs") == (0, 3, 0))
    assert running.worker.totals.lost == 0


def test_statistics_show_each_task(start: Any, stage: Any, lanes: int, send: Any, until: Any) -> None:
    send("jobs")
    send("jobs")
    health = Health(("127.0.0.1", 0))
    running = start(health=health)
    actor = stage.next()
    for number, run in enumerate(all_of(actor, 2)):
        actor.say(Started(run.delivery.id, f"tasks.{number}", "call"))
    until(lambda: running.worker.totals.started == 2)
    (one,) = json.loads(health.stats().text)["executors"]
    figures = health.metrics().text.decode()
    health.end()
    assert "pyqs_slots_busy 2.0" in figures
    assert (one["state"], one["holds"], {task["name"] for task in one["tasks"]}) == ("busy", 2, {"tasks.0", "tasks.1"})


# -- one slot, looked at alone ----------------------------------------------------------------------------------------
@pytest.fixture
def slot() -> Iterator[Slot]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Slot(0, ours, ready=True, lanes=2)


def test_what_hangs_before_its_start_has_its_lane_until_it_is_handed_back(slot: Slot, deliver: Any) -> None:
    first, second = deliver(), deliver()
    slot.give(first, 100.0, 1.0)
    slot.give(second, 1e9, 1.0)
    slot.begins(Started(second.id, "tasks.a", "call"))
    assert slot.overdue(100.0 + OVERDUE) == [first]
    assert not slot.idle, "it has not spoken"
    slot.speaks()
    assert not slot.idle, "no lane is free"
    assert choose([slot], first, None) is None
    assert slot.handed_back(first.id) is None
    assert slot.idle


def test_what_hangs_in_one_lane_is_not_given_to_another(deliver: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        slot = Slot(0, ours, ready=True, lanes=3)
        slot.give(first := deliver(), 100.0, 1.0)
        slot.overdue(100.0 + OVERDUE)
        slot.speaks()
        assert choose([slot], first, None) is None
        assert choose([slot], deliver(), None) is slot


def test_one_that_begins_nothing_is_stuck(slot: Slot, deliver: Any) -> None:
    first = deliver()
    slot.give(first, 100.0, 1.0)
    now = slot._first_since
    assert not slot.is_stuck(now + 59, 60)
    assert slot.is_stuck(now + 60, 60)
    slot.overdue(100.0 + OVERDUE)
    assert slot.is_stuck(slot._first_since + 60, 60), "what it did not hand back hangs there"
    slot.handed_back(first.id)
    assert not slot.is_stuck(slot._first_since + 60, 60)


def test_whoever_began_while_the_kill_was_on_its_way_runs_elsewhere(slot: Slot, deliver: Any) -> None:
    first, second = deliver(), deliver()
    for one in (first, second):
        slot.give(one, 1e9, 1.0)
    slot.flush()
    slot.begins(Started(first.id, "tasks.a", "one", time_limit=5.0, if_killed=Leave()))
    slot.kill_due()
    slot.begins(Started(second.id, "tasks.a", "two", ack_early=True))
    assert not slot.running[second.id].acked_early
    assert divide(slot) == ([first], [second])
    assert decide(slot, first, "died") == Leave()


def test_an_early_ack_beside_a_kill_is_lost_and_told(slot: Slot, deliver: Any) -> None:
    """Its message is gone: nothing can be released."""
    first, second = deliver(), deliver()
    for one in (first, second):
        slot.give(one, 1e9, 1.0)
    slot.begins(Started(first.id, "tasks.a", "one", time_limit=5.0))
    slot.begins(Started(second.id, "tasks.a", "two", ack_early=True, tells=True))
    slot.kill_due()
    assert decide(slot, second, "died", beside=1) == Death("died", None, acked_early=True)
    assert isinstance(decide(slot, first, "died", beside=1), Hide)


def test_what_waits_may_start_in_any_lane(slot: Slot, deliver: Any) -> None:
    class Knows:
        def is_last_life(self, _one: Any) -> bool:
            return False

        def known(self, _queue: str) -> None:
            return None

    class Credit:
        shares = type("Shares", (), {"options": staticmethod(lambda _queue: type("Options", (), {"max": None}))})

        def duration(self, _queue: str) -> float:
            return 60.0

        def polls(self, _queue: str) -> bool:
            return False

    surplus = Surplus(Credit(), Knows(), 120)  # type: ignore[arg-type]
    running = deliver()
    slot.give(running, 1e9, 60.0)
    slot.begins(Started(running.id, "tasks.a", "call", at=running.received_at - 10))
    waiting = [deliver(), deliver()]
    now = waiting[0].received_at + START_WITHIN
    assert surplus.find(now, waiting, [slot]) == []
    assert surplus.find(now + 1, waiting, [slot]) == waiting[1:], "one lane is free, for one of them"
