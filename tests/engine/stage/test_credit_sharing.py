"""Who may receive next: claims of receives under way, sharing between queues, batches for short tasks, being stopped."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyqs.worker.credit import CLAIM, Credit, Grant


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


NEVER = threading.Event()


def ask(credit: Credit, queue: str = "q", most: int = 10) -> Grant | None:
    """Ask without waiting."""
    return credit.acquire(queue, most=most, timeout=0.0, stopping=NEVER)


def hold(credit: Credit, queue: str, number: int) -> None:
    grant = ask(credit, queue, number)
    assert grant is not None
    credit.received(grant, number)


def test_a_receive_under_way_counts_only_while_it_may_still_bring_something_at_once(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(1)
    assert ask(credit, "empty") is not None
    assert ask(credit, "full") is None
    clock.now += CLAIM + 0.01
    assert ask(credit, "full") is not None, "a long poll of an empty queue holds up nobody"


def test_one_long_task_ends_the_depth(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(1)
    for seconds, expected in ((0.001, 101), (20.0, 1)):
        hold(credit, "q", 1)
        credit.ended("q", seconds)
        grant = ask(credit, most=1000)
        assert grant is not None
        assert grant.count == expected
        credit.received(grant, 0)


def test_queues_that_want_some_at_the_same_time_share_it(clock: Clock, until: Any) -> None:
    credit = Credit(clock=clock)
    granted: dict[str, int] = {}

    def wait(queue: str) -> threading.Thread:
        def run() -> None:
            grant = credit.acquire(queue, timeout=10.0, stopping=NEVER)
            granted[queue] = grant.count if grant is not None else 0

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    credit.executors(4)
    hold(credit, "busy", 4)
    threads = [wait("busy"), wait("calm")]
    until(lambda: len(credit._waiters) == 2)
    credit.executors(10)
    for thread in threads:
        thread.join(5)
    assert granted == {"calm": 3, "busy": 3}


def test_the_queue_that_holds_less_comes_first(clock: Clock, until: Any) -> None:
    credit = Credit(clock=clock)
    stopping = threading.Event()
    granted: list[str] = []

    def wait(queue: str) -> threading.Thread:
        def run() -> None:
            if credit.acquire(queue, timeout=10.0, stopping=stopping) is not None:
                granted.append(queue)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    credit.executors(4)
    hold(credit, "busy", 4)
    threads = [wait("busy"), wait("calm")]
    until(lambda: len(credit._waiters) == 2)
    credit.ended("busy", 30.0)
    until(lambda: granted)
    stopping.set()
    credit.wake()
    for thread in threads:
        thread.join(5)
    assert granted == ["calm"]


def test_short_tasks_are_received_in_batches(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(1)
    hold(credit, "q", 1)
    credit.ended("q", 0.001)
    for number in (10,) * 9 + (5,):
        hold(credit, "q", number)
    assert ask(credit) is None, "a call for six messages is not worth it while 95 wait"
    for _ in range(4):
        credit.ended("q", 0.001)
    grant = ask(credit)
    assert grant is not None
    assert grant.count == 10


def test_stopping_ends_the_wait() -> None:
    credit = Credit()
    stopping = threading.Event()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(credit.acquire("q", timeout=60.0, stopping=stopping)))
    thread.start()
    stopping.set()
    credit.wake()
    thread.join(5)
    assert answers == [None]
