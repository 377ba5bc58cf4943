"""What is raised in a thread that runs a task: in the task, once, and never after its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyqs.executor.interrupts import ThreadInterrupts
from pyqs.interruption import GivenUp, Shutdown, ShutdownRequested, have_own, interruptible, should_stop, shutdown


class Limit(Exception):
    """A soft limit."""


class Runner:
    """A thread that runs what it is given, with limits of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready = threading.Event()
        self.goes = threading.Event()
        self.over = threading.Event()
        self.outcome: list[Any] = []

    def run(self, body: Callable[[], Any], seconds: float | None = None) -> Runner:
        threading.Thread(target=self._run, args=(body, seconds), daemon=True).start()
        assert self.ready.wait(10)
        return self

    def _run(self, body: Callable[[], Any], seconds: float | None) -> None:
        self.limits = ThreadInterrupts(clock=lambda: self.now)
        try:
            self.limits.arm(seconds, Limit)
            self.ready.set()
            try:
                self.outcome.append(body())
            finally:
                self.limits.disarm()
        except BaseException as exc:
            self.outcome.append(type(exc))
        self.over.set()

    def loop(self) -> str:
        while not self.goes.is_set():
            self.goes.wait(0.001)
        return "ended"

    def end(self) -> Any:
        assert self.over.wait(10)
        (outcome,) = self.outcome
        return outcome


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.goes.set()


def test_a_soft_limit_is_raised_when_its_time_has_come(runner: Runner) -> None:
    runner.run(runner.loop, 5.0)
    assert runner.limits.remaining() == 5.0
    runner.limits.fire()
    runner.now = 105.0
    assert runner.limits.remaining() == 0.0
    runner.limits.fire()
    assert runner.end() is Limit
    assert runner.limits.remaining() is None


def test_it_is_raised_once(runner: Runner) -> None:
    def catches() -> list[str]:
        seen = []
        try:
            runner.loop()
        except Limit:
            seen.append("limit")
        return [*seen, runner.loop()]

    runner.run(catches, 1.0)
    runner.now = 102.0
    runner.limits.fire()
    runner.limits.fire()
    runner.goes.wait(0.1)
    runner.limits.fire()
    runner.goes.set()
    assert runner.end() == ["limit", "ended"]


def test_nothing_is_thrown_where_nothing_runs(runner: Runner) -> None:
    runner.run(lambda: "ended")
    assert runner.end() == "ended"
    runner.limits.throw(GivenUp)
    runner.limits.arm(None, Limit)
    assert runner.limits.remaining() is None


def test_what_comes_too_late_is_not_raised() -> None:
    """Hundreds of runs end while they are interrupted: either the run ends by it, or nothing does."""
    outcomes = set()
    for _ in range(300):
        runner = Runner()
        runner.goes.set()
        runner.run(runner.loop)
        runner.limits.throw(GivenUp)
        outcomes.add(runner.end())
    assert outcomes <= {"ended", GivenUp}


def test_given_up_passes_through_what_catches_exceptions(runner: Runner) -> None:
    def stubborn() -> str:
        try:
            return runner.loop()
        except Exception:
            return "caught"

    runner.run(stubborn)
    runner.limits.throw(GivenUp)
    assert runner.end() is GivenUp


def test_a_thread_with_its_own_worker_is_told_for_itself(runner: Runner) -> None:
    own = Shutdown()
    seen: list[bool] = []

    def body() -> Any:
        have_own(own)
        own.serve(lambda: None)
        seen.append(should_stop())
        own.begin()
        seen.append(should_stop())
        with interruptible():
            return "not reached"

    runner.run(body)
    assert runner.end() is ShutdownRequested
    assert seen == [False, True]
    assert not should_stop()
    assert not shutdown.begun
