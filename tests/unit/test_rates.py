"""Token buckets on a clock of the test's own: never more than the rate, nobody kept out for ever, no storm of returns."""

from __future__ import annotations

import heapq
import itertools
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyqs.config import MAX_DELAY
from pyqs.wire import Admitted, MayStart, Postponed
from pyqs.worker.rates import HURRY, LAST_LIFE, PATIENCE, RECENT, Rates


class Clock:
    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> Rates:
    return Rates(clock, random.Random(1).random)


def ask(rates: Rates, rate: float, key: str = "t", patience: float = PATIENCE) -> float:
    """Seconds to wait if it may start, else the delay as a negative number."""
    answer = rates.ask(MayStart(7, key, rate), patience)
    assert answer.delivery_id == 7
    return answer.wait if isinstance(answer, Admitted) else -answer.delay


def test_the_first_starts_at_once_the_next_wait_for_their_tokens(rates: Rates) -> None:
    waits = [ask(rates, 4) for _ in range(6)]
    assert waits[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    assert waits[5] < 0, "more than a second: it is sent away"


def test_a_token_that_nobody_took_is_there_but_only_one(rates: Rates, clock: Clock) -> None:
    ask(rates, 2)
    clock.now += 3600
    assert [ask(rates, 2) for _ in range(2)] == pytest.approx([0, 0.5])


def test_keys_do_not_hold_each_other_back(rates: Rates) -> None:
    assert ask(rates, 0.1, "a") == 0
    assert ask(rates, 0.1, "a") < 0
    assert ask(rates, 0.1, "b") == 0


def test_while_others_wait_an_executor_is_not_kept(rates: Rates) -> None:
    assert ask(rates, 2) == 0
    assert ask(rates, 2, patience=HURRY) == -1
    assert ask(rates, 2) == pytest.approx(0.5)


def test_other_work_that_was_there_a_moment_ago_is_reckoned_with(rates: Rates, clock: Clock) -> None:
    """Its next messages may be on their way: an executor that waits would hold them up."""
    assert ask(rates, 2) == 0
    rates.started("t")
    assert ask(rates, 2) == pytest.approx(0.5), "only this task runs here"
    rates.started("another")
    assert ask(rates, 2) < 0
    rates.started("t")
    assert ask(rates, 2) < 0
    clock.now += RECENT
    rates.started("t")
    assert [ask(rates, 2), ask(rates, 2)] == pytest.approx([0, 0.5])


def test_the_last_life_of_a_message_waits_for_its_token(rates: Rates) -> None:
    """While the worker stops: on FIFO it would come back in the dead-letter queue."""
    assert ask(rates, 1 / 6) == 0
    rates.started("another")
    assert ask(rates, 1 / 6, patience=LAST_LIFE) == pytest.approx(6)


def test_returns_lie_one_behind_the_other(rates: Rates) -> None:
    """Ten a minute: six seconds apart, each a moment early, so that it waits for its token in an executor."""
    assert ask(rates, 1 / 6) == 0
    assert [-ask(rates, 1 / 6) for _ in range(5)] == [5, 11, 17, 23, 29]


def test_where_a_message_can_be_hidden_each_comes_back_once(rates: Rates) -> None:
    """SQS hides for hours, and each return on FIFO costs a life."""
    ask(rates, 1 / 60)
    answers = [rates.ask(MayStart(7, "t", 1 / 60), longest=40_000) for _ in range(40)]
    delays = [answer.delay for answer in answers if isinstance(answer, Postponed)]
    assert delays == [60 * number - 1 for number in range(1, 41)]


def test_a_thousand_over_ten_a_minute_do_not_come_back_each_second(rates: Rates) -> None:
    ask(rates, 1 / 6)
    delays = [-ask(rates, 1 / 6) for _ in range(1000)]
    assert min(delays) == 5
    assert max(delays) <= MAX_DELAY
    assert len([delay for delay in delays if delay <= 60]) <= 11
    late = sorted(delay for delay in delays if delay >= MAX_DELAY // 2)
    assert len([delay for delay in late if delay < MAX_DELAY * 3 // 4]) > 250, "spread, not all at once"


def test_what_comes_a_little_too_early_gets_the_next_token(rates: Rates, clock: Clock) -> None:
    """One was late, so the next finds its token taken: it is not sent behind everybody else for that."""
    ask(rates, 1 / 6)
    delays = [-ask(rates, 1 / 6) for _ in range(50)]
    clock.now += delays[0] + 4  # the first to come back is four seconds late
    assert ask(rates, 1 / 6) == 0
    clock.now += 2  # the second is in time
    assert ask(rates, 1 / 6) == -3


def test_idle_buckets_are_forgotten(rates: Rates, clock: Clock) -> None:
    for number in range(5000):
        ask(rates, 1000, f"task {number}")
        clock.now += 0.01
    assert len(rates._buckets) <= 1001


@given(
    rate=st.floats(0.01, 200),
    pauses=st.lists(st.floats(0, 20) | st.just(0.0), min_size=1, max_size=200),
    hurry=st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_never_more_than_the_rate_in_any_window(rate: float, pauses: list[float], hurry: list[bool]) -> None:
    clock = Clock()
    rates = Rates(clock)
    starts = []
    for pause, hurried in zip(pauses, hurry, strict=False):
        clock.now += pause
        patience = HURRY if hurried else PATIENCE
        answer = rates.ask(MayStart(1, "t", rate), patience)
        if isinstance(answer, Admitted):
            assert 0 <= answer.wait <= patience
            starts.append(clock.now + answer.wait)
        else:
            assert 1 <= answer.delay <= MAX_DELAY
    for (i, first), (j, last) in itertools.combinations(enumerate(starts), 2):
        assert j - i + 1 <= rate * (last - first) + 1 + 1e-6


@given(
    rate=st.floats(0.05, 20), count=st.integers(1, 120), lateness=st.floats(0, 3), executors=st.integers(1, 8),
    seed=st.integers(0, 10**6),
)  # fmt: skip
@example(rate=1 / 6, count=120, lateness=1.0, executors=4, seed=1)
def test_everybody_starts_in_a_bounded_time(rate: float, count: int, lateness: float, executors: int, seed: int) -> None:
    """Messages that hop and come back late by chance, executors that wait: all start, and the rate is made use of."""
    chance = random.Random(seed)
    clock = Clock()
    rates = Rates(clock, chance.random)
    began = clock.now
    free = [began] * executors
    coming = [(began, number) for number in range(count)]
    asks = 0
    last = began
    while coming:
        at, number = heapq.heappop(coming)
        at = max(at, heapq.heappop(free))
        clock.now = max(clock.now, at)
        answer = rates.ask(MayStart(number, "t", rate))
        asks += 1
        assert asks <= 6 * count + 20, "a storm of returns"
        if isinstance(answer, Postponed):
            heapq.heappush(free, clock.now)
            heapq.heappush(coming, (clock.now + answer.delay + chance.random() * lateness, number))
        else:
            last = clock.now + answer.wait
            heapq.heappush(free, last)
    ideal = (count - 1) / rate
    assert last - began <= 2.5 * ideal + MAX_DELAY * (1 if ideal > MAX_DELAY / 2 else 0) + 30
