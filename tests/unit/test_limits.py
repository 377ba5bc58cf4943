"""The soft limit on a clock of the test's own; real tasks are interrupted in tests/process."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from pyqs.executor.limits import SOFT_LIMIT_SIGNAL, SoftLimit


class Late(Exception):
    pass


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> Iterator[SoftLimit]:
    before = signal.getsignal(SOFT_LIMIT_SIGNAL)
    yield SoftLimit(clock)
    signal.signal(SOFT_LIMIT_SIGNAL, before or signal.SIG_DFL)


def test_nothing_is_armed_at_first_and_without_a_limit(limit: SoftLimit) -> None:
    assert limit.remaining() is None
    limit.arm(None, Late)
    assert limit.remaining() is None
    limit.fire()


def test_it_counts_down_and_is_not_raised_early(limit: SoftLimit, clock: Clock) -> None:
    limit.arm(10.0, Late)
    assert limit.remaining() == 10.0
    clock.now += 9.9
    limit.fire()
    assert limit.remaining() == pytest.approx(0.1)
    clock.now += 5
    assert limit.remaining() == 0.0


def test_it_is_raised_once(limit: SoftLimit, clock: Clock) -> None:
    limit.arm(1.0, Late)
    clock.now += 1
    with pytest.raises(Late):
        limit.fire()
    assert limit.remaining() is None
    limit.fire()
    signal.raise_signal(SOFT_LIMIT_SIGNAL)


def test_a_run_that_has_ended_is_left_alone(limit: SoftLimit, clock: Clock) -> None:
    limit.arm(1.0, Late)
    limit.disarm()
    clock.now += 2
    limit.fire()
    signal.raise_signal(SOFT_LIMIT_SIGNAL)


def test_a_signal_that_comes_late_does_not_hit_the_next_run(limit: SoftLimit, clock: Clock) -> None:
    limit.arm(1.0, Late)
    clock.now += 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {SOFT_LIMIT_SIGNAL})
    try:
        limit.fire()  # sent, and not delivered yet
        limit.disarm()
        limit.arm(1000.0, Late)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SOFT_LIMIT_SIGNAL})
    time.sleep(0)  # the handler has run by now
    assert limit.remaining() == 1000.0


def test_the_tasks_own_signals_stay_theirs() -> None:
    assert SOFT_LIMIT_SIGNAL not in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
