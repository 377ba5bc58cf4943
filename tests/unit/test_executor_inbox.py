"""What an executor holds, without threads: on a clock of the test's own, each delivery ends in exactly one place."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyqs.executor.inbox import HAND_BACK_AFTER, TICK, Inbox
from pyqs.message import Delivery, ReceivedMessage
from pyqs.wire import Run


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def a_run(number: int, start_before: float = 1e9) -> Run:
    return Run(Delivery(number, "q", "u", ReceivedMessage("m", "h", "b"), 0.0, 0.0, 30), start_before)


class Subject:
    def __init__(self) -> None:
        self.clock, self.wall = Clock(), Clock()
        self.back: list[int] = []
        self.inbox = Inbox(self.back.extend, self.clock, self.wall)


@pytest.fixture
def it() -> Subject:
    return Subject()


def test_an_idle_executor_sleeps_until_something_comes(it: Subject) -> None:
    assert it.inbox.look() is None
    it.inbox.put(a_run(1))
    assert it.inbox.look() == TICK


def test_it_looks_in_time(it: Subject) -> None:
    for number in (1, 2):
        it.inbox.put(a_run(number))
    it.inbox.put(a_run(3, start_before=it.clock.now + 0.1))
    it.inbox.take()
    assert it.inbox.look() == pytest.approx(0.1)
    it.clock.now += 0.1
    assert it.inbox.look() == TICK
    assert it.back == [3]
    it.clock.now += HAND_BACK_AFTER - 0.2
    assert it.inbox.look() == pytest.approx(0.1)
    it.clock.now += 0.101
    it.inbox.look()
    assert it.back == [3, 2]


def test_what_comes_right_after_the_end_of_a_long_one_is_held(it: Subject) -> None:
    it.inbox.put(a_run(1))
    it.inbox.take()
    it.inbox.start(None)
    it.clock.now += 10
    it.inbox.finish()
    it.inbox.put(a_run(2))
    assert it.back == []


def test_a_lease_that_ends_while_the_call_is_decoded_is_not_started(it: Subject) -> None:
    it.inbox.put(a_run(1, start_before=it.clock.now + 5))
    it.inbox.take()
    it.clock.now += 5
    assert not it.inbox.start(None)
    assert it.back == [1]


def test_a_waiting_take_ends_with_stop(it: Subject) -> None:
    taken: list[Run | None] = []
    thread = threading.Thread(target=lambda: taken.append(it.inbox.take()))
    thread.start()
    it.inbox.stop()
    thread.join(5)
    assert taken == [None]


class Holding(RuleBasedStateMachine):
    """Any order of what the worker sends, the clock does and the main thread does."""

    @initialize()
    def begin(self) -> None:
        self.it = Subject()
        self.put: list[int] = []
        self.started: list[int] = []
        self.in_hand: Run | None = None
        self.running = self.stopped = False

    @rule(left=st.floats(-1, 3) | st.just(1e6))
    def comes(self, left: float) -> None:
        number = len(self.put) + 1
        self.put.append(number)
        self.it.inbox.put(a_run(number, self.it.clock.now + left))

    @rule(seconds=st.floats(0, 1))
    def passes(self, seconds: float) -> None:
        self.it.clock.now += seconds
        self.it.wall.now += seconds
        wait = self.it.inbox.look()
        assert wait is None or 0 <= wait <= TICK

    @rule()
    def recall(self) -> None:
        self.it.inbox.recall()
        if not self.running:
            assert len(self.it.back) == len(self.put) - len(self.started) - (self.in_hand is not None)

    @rule()
    def stop(self) -> None:
        self.it.inbox.stop()
        self.stopped = True

    @precondition(lambda self: self.in_hand is None and (self.stopped or self.it.inbox._held))
    @rule()
    def take(self) -> None:
        if not self.stopped and all(run.start_before <= self.it.clock.now for run in self.it.inbox._held):
            return  # it would hand all of them back and wait
        self.in_hand = self.it.inbox.take()
        assert (self.in_hand is None) <= self.stopped

    @precondition(lambda self: self.in_hand is not None and not self.running)
    @rule()
    def start(self) -> None:
        assert self.in_hand is not None
        self.running = self.it.inbox.start(self.it.wall.now)
        if self.running:
            assert self.in_hand.start_before > self.it.clock.now
            assert not self.stopped
            self.started.append(self.in_hand.delivery.id)
        else:
            self.in_hand = None

    @precondition(lambda self: self.running)
    @rule()
    def end(self) -> None:
        self.it.inbox.finish()
        self.in_hand, self.running = None, False

    @invariant()
    def each_is_in_one_place(self) -> None:
        if not hasattr(self, "it"):
            return
        held = [run.delivery.id for run in self.it.inbox._held]
        hand = [] if self.in_hand is None or self.running else [self.in_hand.delivery.id]
        assert sorted([*held, *hand, *self.started, *self.it.back]) == self.put
        assert held == sorted(held)
        assert self.started == sorted(self.started)
        assert not (self.stopped and held)


TestHolding = Holding.TestCase
TestHolding.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
