"""``with app.batch()``: what is published inside goes out at the end, ten to a request."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from pyqs.errors import SendFailed, SqsError
from pyqs.local.inprocess import InProcessSqs
from pyqs.message import FollowUp, OutgoingMessage, SentMessage
from pyqs_celery_compat import Celery, signals
from pyqs_celery_compat.publisher import collecting, into_outbox


@pytest.fixture
def batches(sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(queue, size) of each SendMessageBatch."""
    seen: list[tuple[str, int]] = []
    real = sqs.send_batch

    def send_batch(url: str, messages: Sequence[OutgoingMessage]) -> Any:
        seen.append((url.rpartition("/")[2], len(messages)))
        return real(url, messages)

    monkeypatch.setattr(sqs, "send_batch", send_batch)
    monkeypatch.setattr(sqs, "send", lambda *_: pytest.fail("one by one"))
    return seen


def waiting(sqs: InProcessSqs, queue: str) -> int:
    return int(sqs.queue_attributes(sqs.queue_url(queue))["ApproximateNumberOfMessages"])


@pytest.fixture
def add(app: Celery) -> Any:
    @app.task(name="add")
    def add(x: int) -> None: ...

    return add


def test_many_calls_go_in_few_requests_at_the_end(
    app: Celery, add: Any, sqs: InProcessSqs, batches: list[tuple[str, int]]
) -> None:
    with app.batch():
        results = [add.delay(n) for n in range(25)]
        add.apply_async((1,), queue="other")
        assert not batches
    assert len({result.id for result in results}) == 25
    assert sorted(batches) == [("celery", 5), ("celery", 10), ("celery", 10), ("other", 1)]
    assert (waiting(sqs, "celery"), waiting(sqs, "other")) == (25, 1)


def test_what_came_before_an_exception_is_sent(app: Celery, add: Any, sqs: InProcessSqs, batches: Any) -> None:
    def publish() -> None:
        with app.batch():
            add.delay(1)
            raise KeyError("the caller's")

    with pytest.raises(KeyError):
        publish()
    assert waiting(sqs, "celery") == 1


def test_the_outer_one_of_two_sends(app: Celery, add: Any, batches: list[tuple[str, int]]) -> None:
    with app.batch():
        with app.batch():
            add.delay(1)
        assert not batches
        add.delay(2)
    assert batches == [("celery", 2)]


def test_an_empty_one_is_no_call(app: Celery, batches: list[tuple[str, int]]) -> None:
    with app.batch():
        pass
    assert not batches


def test_another_thread_publishes_for_itself(app: Celery, add: Any, sqs: InProcessSqs) -> None:
    with app.batch():
        thread = threading.Thread(target=lambda: add.delay(1))
        thread.start()
        thread.join()
        assert waiting(sqs, "celery") == 1


def test_what_was_not_sent_is_named_and_only_the_rest_counts_as_published(
    app: Celery, add: Any, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []

    def note(sender: Any = None, headers: Any = None, **_: Any) -> None:
        published.append(headers["id"])

    signals.after_task_publish.connect(note)
    real = sqs.send_batch
    refused = SqsError("no such characters", code="InvalidMessageContents", retryable=False)

    def send_batch(url: str, messages: Sequence[OutgoingMessage]) -> list[SentMessage | SqsError]:
        answers = list(real(url, messages))
        return [refused if index == 1 else answer for index, answer in enumerate(answers)]

    monkeypatch.setattr(sqs, "send_batch", send_batch)
    results: list[Any] = []

    def publish() -> None:
        with app.batch():
            results.extend(add.delay(n) for n in range(3))
            assert not published

    try:
        with pytest.raises(SendFailed) as caught:
            publish()
    finally:
        signals.after_task_publish.disconnect(note)
    assert f"1 of 3 calls were not sent: add[{results[1].id}] to queue celery: no such characters" in str(caught.value)
    assert [isinstance(answer, SentMessage) for answer in caught.value.results] == [True, False, True]
    assert published == [results[0].id, results[2].id]


def test_a_queue_that_is_away_stops_only_its_own(
    app: Celery, add: Any, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqs.send_batch

    def send_batch(url: str, messages: Sequence[OutgoingMessage]) -> Any:
        if url.endswith("away"):
            raise SqsError("not today", code="InternalError", retryable=False)
        return real(url, messages)

    monkeypatch.setattr(sqs, "send_batch", send_batch)

    def publish() -> None:
        with app.batch():
            for n in range(12):
                add.apply_async((n,), queue="away")
            for n in range(3):
                add.delay(n)

    with pytest.raises(SendFailed, match=r"12 of 15 calls were not sent.*; and 2 more"):
        publish()
    assert waiting(sqs, "celery") == 3


def test_what_belongs_to_the_end_of_a_task_stays_with_it(app: Celery, add: Any, batches: list[tuple[str, int]]) -> None:
    outbox: list[FollowUp] = []
    with collecting(outbox), app.batch():
        with into_outbox():
            add.delay(1)
        add.delay(2)
    assert len(outbox) == 1
    assert batches == [("celery", 1)]
