"""What the queues' attributes say, and for how long it is believed that they may not be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs.errors import AccessDenied
from pyqs.worker.facts import REFRESH, Facts

URL = "http://sqs/1/jobs"


class Sqs:
    """Answers reads of attributes, or refuses them."""

    def __init__(self) -> None:
        self.calls = 0
        self.denies = True
        self.asked = threading.Semaphore(0)

    def queue_attributes(self, url: str, names: Any) -> dict[str, str]:
        self.calls += 1
        self.asked.release()
        if self.denies:
            raise AccessDenied("no")
        return {"VisibilityTimeout": "45"}


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


@pytest.fixture
def facts(sqs: Sqs, clock: Any) -> Iterator[Facts]:
    facts = Facts(sqs, lambda *_: None, clock=clock)  # type: ignore[arg-type]
    yield facts
    facts.stop()


def test_a_refusal_counts_for_a_minute_then_longer_and_is_said_once(
    facts: Facts, sqs: Sqs, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []
    while clock.now < 1000 + 4000:
        before = sqs.calls
        assert facts.of("jobs", URL) is None
        assert facts.is_refused("jobs")
        if sqs.calls > before:
            asked.append(clock.now - 1000)
        clock.now += 1
    assert asked == [0, 60, 180, 420, 900, 1500, 2100, 2700, 3300, 3900]
    assert caplog.text.count("its attributes cannot be read") == 1
    sqs.denies = False
    clock.now += REFRESH
    found = facts.of("jobs", URL)
    assert found is not None
    assert found.visibility_timeout == 45
    assert not facts.is_refused("jobs")


def test_the_next_refusal_is_short_again_and_what_was_known_stays(facts: Facts, sqs: Sqs, clock: Any) -> None:
    assert facts.attributes("jobs", URL, ("All",)) is None
    clock.now += 60
    sqs.denies = False
    facts.of("jobs", URL)
    sqs.denies = True
    assert facts.attributes("jobs", URL, ("All",)) is None
    assert facts.known("jobs") is not None
    clock.now += 60
    assert not facts.is_refused("jobs")


def test_the_thread_reads_again_when_the_refusal_is_over(facts: Facts, sqs: Sqs, clock: Any) -> None:
    facts.learn({"jobs": URL})
    facts.start()
    assert sqs.asked.acquire(timeout=20)
    sqs.denies = False
    while not facts.is_refused("jobs"):
        assert facts.alive
    clock.now += 61
    facts.learn({"jobs": URL})  # discovery's next look
    assert sqs.asked.acquire(timeout=20)


def test_on_fifo_a_refusal_lets_messages_come_in_batches_until_more_is_known(facts: Facts, sqs: Sqs, clock: Any) -> None:
    assert facts.comes_singly("jobs.fifo")
    assert facts.attributes("jobs.fifo", URL, ("All",)) is None
    assert not facts.comes_singly("jobs.fifo")
    clock.now += 61
    assert not facts.comes_singly("jobs.fifo")
