"""The pauses: bounded, growing, jittered as asked."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyqs import backoff
from pyqs.config import MAX_VISIBILITY

attempts = st.integers(min_value=-5, max_value=10**12)
jitters = st.sampled_from(["full", "equal", "none"])


@given(attempt=attempts, base=st.floats(0.01, 1e6), cap=st.floats(0.01, 1e6), jitter=jitters, rand=st.floats(0, 0.999999))
def test_never_negative_never_above_the_cap(attempt, base, cap, jitter, rand) -> None:
    seconds = backoff.exponential(attempt, base=base, cap=cap, jitter=jitter, rand=lambda: rand)
    assert 0 <= seconds <= cap


def test_doubles_until_the_cap() -> None:
    seconds = [backoff.exponential(n, base=1, cap=30, jitter="none") for n in range(1, 8)]
    assert seconds == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(("jitter", "low", "high"), [("full", 0, 8), ("equal", 4, 8), ("none", 8, 8)])
def test_jitter_spreads_over_its_range(jitter, low, high) -> None:
    rand = random.Random(1).random
    found = [backoff.exponential(4, base=1, cap=100, jitter=jitter, rand=rand) for _ in range(500)]
    assert low <= min(found) <= low + 0.2
    assert high - 0.2 <= max(found) <= high


@given(count=attempts, held=st.floats(-10, 1e6), cap=st.floats(1, 1e6), jitter=jitters)
def test_a_hidden_message_stays_within_twelve_hours_of_its_receive(count, held, cap, jitter) -> None:
    seconds = backoff.retry_seconds(count, held=held, cap=cap, jitter=jitter)
    assert isinstance(seconds, int)
    assert 0 <= seconds <= MAX_VISIBILITY - backoff.VISIBILITY_MARGIN
    assert seconds == 0 or seconds + held <= MAX_VISIBILITY


def test_retry_grows_with_the_receive_count() -> None:
    assert [backoff.retry_seconds(n, jitter="none") for n in (1, 2, 3, 4, 20)] == [10, 20, 40, 80, 3600]


def test_network_backoff_grows_and_starts_over_after_a_success() -> None:
    pause = backoff.NetworkBackoff(rand=lambda: 0.999999)
    assert [round(pause.failed()) for _ in range(7)] == [1, 2, 4, 8, 16, 25, 25]
    assert pause.succeeded() is True
    assert pause.succeeded() is False
    assert round(pause.failed()) == 1
