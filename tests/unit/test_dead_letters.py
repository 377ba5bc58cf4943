"""Sending dead letters back, on the store itself: order, pace, what is held meanwhile, and an SQS that stops answering."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pyqs.commands import looking
from pyqs.commands.anatomy import Anatomy
from pyqs.commands.dead_letters import Choice, Graveyard, Retry
from pyqs.commands.looking import Look
from pyqs.commands.target import Target
from pyqs.errors import ConfigError
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage, ReceivedMessage

ALL = Choice()


class Bench:
    """A queue, its dead-letter queue, and a time that passes only while something sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ending: str = "") -> None:
        self.now = 1_800_000_000.0
        self.store = Store(clock=lambda: self.now)
        self.sqs = InProcessSqs(self.store)
        self.slept: list[float] = []
        kind = {"FifoQueue": "true"} if ending else {}
        self.dead = Target(f"dead{ending}", self.sqs.create_queue(f"dead{ending}", kind))
        arn = self.sqs.queue_attributes(self.dead.url)["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
        self.queue = Target(f"q{ending}", self.sqs.create_queue(f"q{ending}", {**kind, "RedrivePolicy": policy}))
        self.graveyard = Graveyard(self.dead, {self.queue.name: self.queue.url})
        monkeypatch.setattr(looking, "boottime", lambda: self.now)
        monkeypatch.setattr(looking, "_WAIT", 0)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def bury(self, *tasks: str, group: str | None = None) -> None:
        for number, task in enumerate(tasks):
            dedup = f"{task}{number}" if group else None
            self.sqs.send(self.dead.url, OutgoingMessage(json.dumps({"task": task}), group_id=group, dedup_id=dedup))

    def retry(self, choice: Choice = ALL, most: int | None = None, **options: Any) -> Retry:
        work = Retry(self.sqs, self.graveyard, sleep=self.sleep, **options)
        with Look(self.sqs, self.dead) as look:
            work.run(look, read, choice, most)
        return work

    def left(self, target: Target) -> tuple[int, int]:
        """Visible, hidden."""
        found = self.sqs.queue_attributes(target.url)
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])

    def tasks(self, target: Target) -> list[str]:
        found = []
        while batch := self.sqs.receive(target.url, wait=0):
            found += [json.loads(message.body)["task"] for message in batch]
            self.sqs.delete_batch(target.url, [message.receipt_handle for message in batch])
        return found


def read(message: ReceivedMessage) -> Anatomy:
    return Anatomy(message, {"format": "native", "task": json.loads(message.body)["task"]})


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


@pytest.fixture
def fifo(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch, ".fifo")


def test_a_group_longer_than_a_batch_keeps_its_order(fifo: Bench) -> None:
    names = [f"t{number:02}" for number in range(25)]
    fifo.bury(*names, group="g")
    assert fifo.retry().tally.total == 25
    assert fifo.tasks(fifo.queue) == names
    assert fifo.left(fifo.dead) == (0, 0)


def test_nothing_overtakes_a_message_of_its_group_that_is_refused(fifo: Bench) -> None:
    fifo.bury("a0", "a1", "a2", group="a")
    fifo.bury("b0", group="b")
    fifo.store.faults.add("error=503:action=SendMessage:times=1")
    work = fifo.retry()
    assert (work.tally.total, len(work.tally.problems)) == (1, 3)
    assert (fifo.tasks(fifo.queue), fifo.left(fifo.dead)) == (["b0"], (3, 0))
    assert fifo.retry().tally.total == 3
    assert fifo.tasks(fifo.queue) == ["a0", "a1", "a2"]


def test_others_are_held_while_it_takes_long_and_visible_at_its_end(bench: Bench) -> None:
    """Four a minute take minutes, in which the others would come back again and again."""
    bench.bury(*["other"] * 3, *["t", "other"] * 12)
    work = bench.retry(Choice(task="t"), rate=4 / 60)
    assert (work.tally.total, work.tally.others, work.tally.problems) == (12, 15, [])
    assert sum(bench.slept) == pytest.approx(12 * 15)
    assert bench.left(bench.dead) == (15, 0)
    received = bench.sqs.receive(bench.dead.url, wait=0)
    assert {message.attributes["ApproximateReceiveCount"] for message in received} == {"2"}, "one receive each, and this one"


def test_at_most_so_many(bench: Bench) -> None:
    bench.bury(*["t"] * 25)
    assert bench.retry(most=12).tally.total == 12
    assert (bench.left(bench.queue), bench.left(bench.dead)) == ((12, 0), (13, 0))


@pytest.mark.parametrize(
    ("fault", "sent", "left"),
    [
        ("error=503:action=ReceiveMessage", 0, 30),
        ("error=503:action=SendMessageBatch", 0, 30),
        ("drop=before:action=SendMessageBatch", 0, 30),
        ("drop=after:action=SendMessageBatch", 30, 30),
        ("error=503:action=DeleteMessageBatch", 30, 30),
    ],
)
def test_an_sqs_that_fails_loses_nothing_and_is_told(bench: Bench, fault: str, sent: int, left: int) -> None:
    bench.bury(*["t"] * 30)
    bench.store.faults.add(fault)
    work = bench.retry()
    bench.store.faults.clear()
    assert work.tally.problems
    assert (sum(bench.left(bench.queue)), sum(bench.left(bench.dead))) == (sent, left)


def test_it_ends_when_nothing_can_be_sent_instead_of_receiving_everything(bench: Bench) -> None:
    bench.bury(*["t"] * 60)
    bench.store.faults.add("access-denied:action=SendMessageBatch")
    work = bench.retry()
    bench.store.faults.clear()
    assert "nothing can be sent" in work.tally.problems[-1]
    received = [
        one.attributes["ApproximateReceiveCount"] for _ in range(6) for one in bench.sqs.receive(bench.dead.url, wait=0)
    ]
    assert sorted(received) == ["1"] * 30 + ["2"] * 30


def test_a_delete_that_fails_once_is_tried_again(bench: Bench) -> None:
    bench.bury(*["t"] * 3)
    bench.store.faults.add("error=503:action=DeleteMessageBatch:times=1")
    assert bench.retry().tally.problems == []
    assert (bench.left(bench.queue), bench.left(bench.dead)) == ((3, 0), (0, 0))


def test_a_queue_of_another_kind_and_the_queue_itself_are_no_target(bench: Bench) -> None:
    other = Target("x.fifo", bench.sqs.create_queue("x.fifo", {"FifoQueue": "true"}))
    with pytest.raises(ConfigError, match="not of one kind"):
        bench.retry(to=other)
    with pytest.raises(ConfigError, match="is where they lie"):
        bench.retry(to=bench.dead)


def test_progress_is_told_as_it_goes(bench: Bench) -> None:
    bench.bury(*["t"] * 25)
    told: list[int] = []
    note: Callable[[int], None] = told.append
    bench.retry(told=note)
    assert told == [10, 20, 25]
