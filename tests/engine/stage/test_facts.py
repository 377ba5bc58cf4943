"""What the queues' own attributes make the worker say: once for each queue, however often they are read."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from pyqs.local.inprocess import InProcessSqs
from pyqs.worker import facts as facts_module
from pyqs.worker.facts import Facts


@pytest.fixture
def queues(sqs: InProcessSqs) -> dict[str, str]:
    """One without a dead-letter queue, one that hands each message out once, one that is as it should be."""
    arn = sqs.queue_attributes(sqs.create_queue("dead"))["QueueArn"]

    def redriven(name: str, count: int) -> str:
        return sqs.create_queue(name, {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": count})})

    return {"without": sqs.create_queue("without"), "once": redriven("once", 1), "good": redriven("good", 5)}


def test_a_queue_without_a_dead_letter_queue_and_one_that_hands_out_once_are_each_warned_about_once(
    sqs: InProcessSqs, queues: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, until: Any
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(facts_module, "REFRESH", 0.001)
    reads: Counter[str] = Counter()
    attributes = sqs.queue_attributes

    def counted(url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        reads[url] += 1
        return attributes(url, names)

    monkeypatch.setattr(sqs, "queue_attributes", counted)
    crashes: list[BaseException] = []
    facts = Facts(sqs, lambda _, exc: crashes.append(exc))
    facts.start()
    facts.learn(queues)
    until(lambda: len(reads) == 3 and min(reads.values()) >= 4)
    facts.learn({name: url for name, url in queues.items() if name != "good"})  # as discovery does at each look
    facts.learn(queues)
    seen = reads.total()
    until(lambda: reads.total() >= seen + 6)
    facts.stop()
    facts.join(10)
    assert not crashes
    assert sorted(caplog.messages) == [
        "queue once: maxReceiveCount is 1: a message that a stopping or crashing worker held goes to the dead-letter queue "
        "without another try",
        "queue without: it has no dead-letter queue; a message that keeps failing is tried until its retention ends",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_the_worker_says_so_at_its_start(
    start: Any, queues: dict[str, str], caplog: pytest.LogCaptureFixture, until: Any
) -> None:
    running = start(*queues)
    until(lambda: all(running.worker._facts.known(name) for name in queues))
    until(lambda: "maxReceiveCount is 1" in caplog.text and "it has no dead-letter queue" in caplog.text)
    assert sum("dead-letter queue" in line for line in caplog.messages) == 2
