"""Queues that SQS says are gone: tried again soon, created no sooner than SQS allows, said in few lines."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from pyqs.config import RuntimeConfig, WorkerConfig
from pyqs.errors import QueueNotFound, SqsError, Throttled, Unreachable
from pyqs.local.inprocess import InProcessSqs
from pyqs.wire import Run
from pyqs.worker.discovery import SOON, Discovery
from pyqs.worker.fetcher import QueueState
from pyqs.worker.gone import GONE, Gone

NO_QUEUE = QueueNotFound("no such queue", code="QueueDoesNotExist")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_queue_that_is_gone_is_tried_again_soon_and_then_less_often() -> None:
    clock = Clock()
    gone = Gone(clock)
    assert gone.pause(20.0) == 20.0
    gone.notice("a", anew=True)
    assert gone.waiting() == {"a"}
    assert gone.pause(20.0) <= 1.0
    pauses = []
    for _ in range(12):
        pauses.append(gone.pause(100.0))
        clock.now += pauses[-1]
        assert gone.waiting() == set()
        gone.notice("a", anew=False)
    assert max(pauses) <= 25.0
    assert min(pauses[-3:]) >= 12.0
    gone.notice("a", anew=True)
    assert gone.pause(20.0) <= 1.0, "it was there again meanwhile"


def test_what_is_gone_is_forgotten_when_it_answers_or_is_found_no_longer() -> None:
    clock = Clock()
    gone = Gone(clock)
    for name in "abc":
        gone.notice(name, anew=True)
    assert gone.uncreatable("c")
    assert gone.settle({"a", "x"}, {"b"}) == {"a"}
    clock.now += GONE
    assert not gone.uncreatable("c")
    assert gone.settle(set(), {"b"}) == {"c"}
    assert gone


class PlayedFetchers:
    """Takes note of what is to be received from. Like the real ones it may be asked by any thread, and has a lock for that."""

    def __init__(self) -> None:
        self.queues: dict[str, str] = {}
        self.answered: set[str] = set()
        self._lock = threading.Lock()

    @property
    def states(self) -> list[QueueState]:
        with self._lock:
            return [QueueState(name, url, 1.0 if name in self.answered else None) for name, url in self.queues.items()]

    def sync(self, queues: Any, options: Any) -> tuple[list[str], list[str]]:
        with self._lock:
            added, dropped = sorted(queues.keys() - self.queues), sorted(self.queues.keys() - queues)
            self.queues = dict(queues)
        return added, dropped

    def add(self, queue: str) -> None:
        with self._lock:
            self.queues[queue] = "url"

    def drop(self, queue: str) -> bool | None:
        with self._lock:
            if self.queues.pop(queue, None) is None:
                return None
            existed = queue in self.answered
            self.answered.discard(queue)
        return existed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock()


@pytest.fixture
def fetchers() -> PlayedFetchers:
    return PlayedFetchers()


@pytest.fixture
def discovery(sqs: InProcessSqs, fetchers: PlayedFetchers, clock: Clock) -> Any:
    def make(*queues: str, **settings: Any) -> Discovery:
        config = WorkerConfig(queues, runtime=RuntimeConfig(), **settings)
        ignored: Any = lambda *_: None  # noqa: E731
        made = Discovery(config, sqs, fetchers, on_found=ignored, on_failed=ignored, on_crash=ignored)  # type: ignore[arg-type]
        made._gone = Gone(clock)
        return made

    return make


def test_one_stray_answer_keeps_a_queue_unconsumed_for_seconds(
    discovery: Any, fetchers: PlayedFetchers, sqs: InProcessSqs, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sqs.create_queue("jobs")
    looks = discovery("jobs")
    looks._look()
    fetchers.answered.add("jobs")
    looks.gone("jobs", NO_QUEUE)
    assert looks._look() <= 1.0
    assert fetchers.queues == {}
    clock.now += 1.0
    looks._look()
    assert "jobs" in fetchers.queues
    fetchers.answered.add("jobs")
    looks._look()
    assert caplog.messages == [
        "queue jobs: no longer consumed, it is gone (QueueDoesNotExist)",
        "queue jobs: consuming again",
    ]


def test_a_queue_that_stays_away_is_said_once_and_consumed_within_35_s_of_its_return(
    discovery: Any, fetchers: PlayedFetchers, sqs: InProcessSqs, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """By its address, so that nothing but a receive shows whether it is there."""
    caplog.set_level(logging.INFO)
    looks = discovery(sqs.create_queue("jobs"))
    looks._look()
    fetchers.answered.add("jobs")
    begun = tried = clock.now
    while clock.now < begun + 600:
        pause = looks._look()
        if "jobs" in fetchers.queues:
            assert clock.now - tried <= 30.0
            tried = clock.now
            looks.gone("jobs", NO_QUEUE)
            pause = SOON
        clock.now += pause
    assert len(caplog.messages) == 1


def test_a_queue_is_not_created_again_while_sqs_would_refuse_it(
    discovery: Any, fetchers: PlayedFetchers, sqs: InProcessSqs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs.create_queue("jobs")
    sqs.create_queue("other")
    looks = discovery("jobs", "other", create_queues=True)
    looks._look()
    fetchers.answered.update(("jobs", "other"))
    sqs.delete_queue(url)
    looks.gone("jobs", NO_QUEUE)

    asked: list[str] = []

    def create(name: str, *_: Any) -> str:
        asked.append(name)
        raise SqsError("wait 60 seconds", code="QueueDeletedRecently", retryable=True)

    monkeypatch.setattr(sqs, "create_queue", create)
    for _ in range(5):
        looks._look()
        clock.now += 5
        assert set(fetchers.queues) == {"other"}
    assert not asked, "a refusal would keep every look from its end"
    clock.now += GONE
    looks._look()
    assert asked == ["jobs"]


def test_errors_that_take_turns_are_said_once_each(
    discovery: Any, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = sqs.create_queue("jobs")
    looks = discovery("jobs")
    errors = [Unreachable("no network"), Throttled("slow down")] * 10

    def fails(name: str) -> str:
        if errors:
            raise errors.pop()
        return url

    monkeypatch.setattr(sqs, "queue_url", fails)
    while errors:
        looks._look()
    looks._look()
    assert len(caplog.messages) == 3
    assert caplog.messages[-1].startswith("looking for queues works again")


def test_fetchers_may_find_queues_gone_while_it_looks(discovery: Any, fetchers: PlayedFetchers, sqs: InProcessSqs) -> None:
    names = [f"q{number}" for number in range(300)]
    looks = discovery("q*", wait=1)
    for name in names:
        sqs.create_queue(name)
    looks._look()
    fetchers.answered.update(names)
    over, looked = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def look() -> None:
        try:
            while not over.is_set():
                looks._back(looks_found)
                looks._gone.waiting()
                looks._gone.pause(20.0)
                looked.set()
        except BaseException as exc:
            failures.append(exc)

    looks_found = looks._find()
    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(20):
        looked.clear()
        for name in names:
            fetchers.add(name)
            looks.gone(name, NO_QUEUE)
        assert looked.wait(30) or failures, "it looks again and again"
    over.set()
    thread.join()
    assert not failures


def test_a_stray_answer_that_the_queue_is_gone_stops_its_tasks_for_seconds_only(
    start: Any, stage: Any, sqs: InProcessSqs, send: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create_queue("jobs")
    running = start("jobs")
    actor = stage.next()
    until(lambda: running.worker._fetchers.states[0].answered_at is not None)
    receive = sqs.receive
    strays = [NO_QUEUE]

    def once(*args: Any, **options: Any) -> Any:
        if strays:
            raise strays.pop()
        return receive(*args, **options)

    monkeypatch.setattr(sqs, "receive", once)
    until(lambda: not strays)
    send("jobs")
    run = actor.expect(Run, timeout=35.0)
    actor.started(run)
    actor.done(run)


def test_a_created_queue_has_the_apps_attributes_and_tags(discovery: Any, sqs: InProcessSqs) -> None:
    attributes, tags = (("VisibilityTimeout", "1800"),), (("team", "mail"),)
    discovery("jobs", create_queues=True, create_attributes=attributes, create_tags=tags)._look()
    assert sqs.queue_attributes(sqs.queue_url("jobs"), ("VisibilityTimeout",)) == {"VisibilityTimeout": "1800"}
    assert sqs.store.queue_tags("jobs") == {"team": "mail"}
