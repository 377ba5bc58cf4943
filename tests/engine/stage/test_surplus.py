"""What waits behind long tasks: released soon when somebody else could run it, kept where that would cost too much."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.wire import Run, Started
from pyqs.worker.credit import Credit
from pyqs.worker.facts import QueueFacts
from pyqs.worker.slot import Slot
from pyqs.worker.surplus import AGAIN, START_WITHIN, Surplus, take_turns


class LongTasks:
    """Executors whose first task runs until told otherwise; what comes behind it is handed back, as executors do."""

    def __init__(self, *actors: Any) -> None:
        self.running: dict[Any, Run | None] = dict.fromkeys(actors)

    def play(self) -> None:
        """Act on what has come."""
        for actor, running in self.running.items():
            while not actor.frames.empty():
                frame = actor.frames.get()
                if not isinstance(frame, Run):
                    continue
                if running is None:
                    running = self.running[actor] = frame
                    actor.started(frame)
                else:
                    actor.hand_back(frame)

    def end(self, seconds: float) -> None:
        """All of them end."""
        for actor, running in self.running.items():
            self.running[actor] = None
            actor.done(running, seconds=seconds)


def believe_short(actor: Any, running: Any, until: Callable[..., None]) -> None:
    """Let the worker measure that this queue's tasks take 5 ms."""
    run = actor.expect(Run)
    actor.started(run)
    actor.done(run, seconds=0.005)
    until(lambda: running.worker.held == 0)


def test_the_surplus_is_released_soon_after_tasks_have_become_long_and_not_taken_again(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    running = start(concurrency=1)
    send("jobs")
    actor = stage.next()
    believe_short(actor, running, until)
    for _ in range(15):
        send("jobs")
    tasks = LongTasks(actor)

    def only_one_held() -> bool:
        tasks.play()
        return bool(running.worker.held == 1 and counts("jobs") == (14, 1, 0))

    until(lambda: tasks.play() or running.worker.held > 5)
    until(only_one_held, timeout=5.0)
    assert running.worker.totals.done == {"succeeded": 1}
    # With its executor taken, it receives nothing; what others do not take is run here later, and not released again.
    released = running.worker.totals.released
    assert released > 0
    tasks.end(seconds=0.005)
    until(lambda: tasks.play() or (running.worker.held > 5 and counts("jobs")[0] == 0))  # else one more receive may follow
    held = running.worker.held
    give_time = running.worker._pool._next_look + 3.5
    until(lambda: tasks.play() or running.worker._pool._next_look > give_time)
    once = {one.message.message_id for one in running.worker._pool._custody._buffer if one.receive_count == 2}
    assert once, "they have come back"
    assert running.worker.held <= held


@pytest.mark.parametrize("lives", [1, 2])
def test_nothing_is_released_that_has_no_life_to_spare(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, lives: int
) -> None:
    sqs.create_queue("dead")
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": lives})
    sqs.create_queue("jobs", {"RedrivePolicy": policy})
    running = start(concurrency=1)
    until(lambda: running.worker._facts.known("jobs"))
    send("jobs")
    actor = stage.next()
    believe_short(actor, running, until)
    for _ in range(15):
        send("jobs")
    tasks = LongTasks(actor)
    until(lambda: tasks.play() or running.worker.held > 5)
    held = running.worker.held
    give_time = running.worker._pool._next_look + 3.5
    until(lambda: tasks.play() or running.worker._pool._next_look > give_time)
    assert running.worker.held >= held
    assert running.worker.totals.released == 0
    assert counts("dead") == (0, 0, 0)


class Knows:
    """Facts without a queue to ask."""

    def __init__(self, lives: int | None) -> None:
        self._lives = lives

    def known(self, queue: str) -> QueueFacts:
        return QueueFacts(max_receive_count=self._lives)

    def is_last_life(self, delivery: Any) -> bool:
        return self._lives is not None and delivery.receive_count >= self._lives


@pytest.fixture
def slot() -> Any:
    """An executor that has run a task for ten seconds."""

    ours, theirs = socket.socketpair()
    yield Slot(0, ours, ready=True)
    ours.close()
    theirs.close()


def occupy(slot: Any, delivery: Any) -> None:
    slot.held[delivery.id] = delivery
    slot.begins(Started(delivery.id, "tasks.a", "call", at=boottime() - 10))


def surplus_of(waiting: Any, slots: Any, *, lives: int | None = None, credit: Credit | None = None) -> list[Any]:
    """What two looks, a second apart, find."""
    surplus = Surplus(credit or Credit(), Knows(lives), 120)  # type: ignore[arg-type]
    now = max(one.received_at for one in waiting) + 1
    assert surplus.find(now, waiting, slots) == [], "it may be on its way to an executor"
    return surplus.find(now + 1, waiting, slots)


@pytest.mark.parametrize(
    ("lives", "count", "released"),
    [(None, 1, True), (None, 2, False), (2, 1, False), (3, 1, True), (3, 2, False), (10, 4, True), (10, 5, False)],
)
def test_half_of_the_lives_are_for_the_task(deliver: Any, slot: Any, lives: Any, count: int, released: bool) -> None:
    occupy(slot, deliver())
    waiting = [deliver(count=count)]
    assert surplus_of(waiting, [slot], lives=lives) == (waiting if released else [])


def test_what_can_start_soon_stays(deliver: Any, slot: Any) -> None:
    credit = Credit()
    credit.ended("jobs", 10.0 + START_WITHIN / 2)
    occupy(slot, deliver())
    waiting = [deliver(), deliver()]
    assert surplus_of(waiting, [slot], credit=credit) == waiting[1:], "by the average the first starts in a second"


def test_what_would_come_back_through_our_own_poll_stays(deliver: Any, slot: Any) -> None:
    import threading

    credit = Credit()
    credit.executors(1)
    assert credit.acquire("jobs", timeout=0.0, stopping=threading.Event()) is not None
    occupy(slot, deliver())
    assert surplus_of([deliver()], [slot], credit=credit) == []
    assert len(surplus_of([deliver("other")], [slot], credit=credit)) == 1


def test_of_a_fifo_group_only_what_is_held_alone_is_released_before_a_lease_has_passed(deliver: Any, slot: Any) -> None:
    occupy(slot, deliver())
    alone = deliver("jobs.fifo", group="alone")
    first, second = (deliver("jobs.fifo", group="g") for _ in range(2))
    elsewhere = deliver("other.fifo", group="g")
    assert surplus_of([first, alone, second, elsewhere], [slot], lives=3) == [alone, elsewhere]
    assert surplus_of([alone], [slot], lives=2) == [], "no life to spare"
    surplus = Surplus(Credit(), Knows(None), 120)  # type: ignore[arg-type]
    assert surplus.find(second.received_at + 121, [first, second], [slot]) == [first, second]


def test_a_fifo_message_that_cannot_start_here_runs_elsewhere_before_what_comes_after_it(
    start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any
) -> None:
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead.fifo", "maxReceiveCount": 5})
    sqs.create_queue("dead.fifo", {"FifoQueue": "true"})
    url = sqs.create_queue("jobs.fifo", {"FifoQueue": "true", "RedrivePolicy": policy})
    running = start("jobs.fifo", concurrency=1)
    until(lambda: running.worker._facts.known("jobs.fifo"))
    send("jobs.fifo", "short", group_id="short", dedup_id="short")
    actor = stage.next()
    believe_short(actor, running, until)
    send("jobs.fifo", "long", group_id="a", dedup_id="long")
    tasks = LongTasks(actor)
    until(lambda: tasks.play() or running.worker.held == 1)
    for body in ("1", "2", "3"):
        send("jobs.fifo", body, group_id="b", dedup_id=body)
    until(lambda: tasks.play() or running.worker.held == 2)
    until(lambda: tasks.play() or counts("jobs.fifo") == (3, 1, 0))
    assert running.worker.totals.released == 1
    seen = [message.body for _ in range(3) for message in sqs.receive(url, max_messages=1, wait=0)]
    assert seen == ["1"], "its group waits for it"
    assert counts("dead.fifo") == (0, 0, 0)


def test_a_message_is_not_released_twice_in_a_while(deliver: Any, slot: Any) -> None:
    surplus = Surplus(Credit(), Knows(10), 10)  # type: ignore[arg-type]
    occupy(slot, deliver())
    first = deliver(message_id="m")
    now = first.received_at
    assert surplus.find(now, [first], [slot]) == []
    assert surplus.find(now + 1, [first], [slot]) == [first]
    again = deliver(message_id="m", count=2, at=now + 2)
    for seconds in (2, 4, 20, AGAIN - 1):
        assert surplus.find(now + seconds, [again], [slot]) == []
    assert surplus.find(now + AGAIN + 2, [again], [slot]) == [again]


def test_queues_take_turns(deliver: Any) -> None:
    a1, a2, b1 = deliver("a"), deliver("a"), deliver("b")
    assert list(take_turns([a1, a2, b1])) == [a1, b1, a2]
