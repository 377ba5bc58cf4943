"""SQS's rules about FIFO queues: order, group locks, deduplication, receive attempts."""

from __future__ import annotations

import uuid

import pytest

from pyqs.errors import LeaseLost, SqsError
from pyqs.message import OutgoingMessage, SentMessage


def put(backend, url: str, group: str, *bodies: str) -> list[SentMessage]:
    messages = [OutgoingMessage(body=body, group_id=group, dedup_id=uuid.uuid4().hex) for body in bodies]
    answers = backend.sqs.send_batch(url, messages)
    assert all(isinstance(answer, SentMessage) for answer in answers)
    return answers


def bodies(messages) -> list[str]:
    return [message.body for message in messages]


def test_a_group_comes_in_order_with_growing_sequence_numbers(backend) -> None:
    url = backend.fifo()
    sent = put(backend, url, "g", "1", "2", "3", "4", "5")
    numbers = [int(one.sequence_number) for one in sent]
    assert numbers == sorted(numbers)
    found = backend.take(url, 5)
    assert bodies(found) == ["1", "2", "3", "4", "5"]
    assert [int(message.attributes["SequenceNumber"]) for message in found] == numbers
    assert {message.attributes["MessageGroupId"] for message in found} == {"g"}


def test_a_group_in_flight_is_locked_and_others_go_on(backend) -> None:
    url = backend.fifo()
    put(backend, url, "a", "a1", "a2")
    put(backend, url, "b", "b1")
    first = backend.sqs.receive(url, max_messages=1, wait=0 if backend.exact else 5, visibility=600)
    assert bodies(first) == ["a1"]
    assert bodies(backend.sqs.receive(url, wait=0 if backend.exact else 5)) == ["b1"]
    assert backend.delete(url, *first) == [None]
    assert bodies(backend.sqs.receive(url, wait=0 if backend.exact else 5)) == ["a2"]


def test_a_released_head_comes_back_first(backend) -> None:
    url = backend.fifo()
    put(backend, url, "g", "1", "2", "3")
    head = backend.one(url, visibility=600)
    assert backend.nothing(url)
    assert backend.hide(url, head, 0) is None
    assert bodies(backend.take(url, 3)) == ["1", "2", "3"]


def test_a_hidden_head_holds_its_group(backend) -> None:
    url = backend.fifo()
    put(backend, url, "g", "1", "2")
    head = backend.one(url, visibility=1)
    assert backend.hide(url, head, 8) is None
    backend.advance(2)
    assert backend.nothing(url)
    backend.advance(7)
    assert bodies(backend.take(url, 2)) == ["1", "2"]


def test_one_deduplication_id_is_one_message(backend) -> None:
    url = backend.fifo()
    first = backend.sqs.send(url, OutgoingMessage(body="1", group_id="g", dedup_id="same"))
    again = backend.sqs.send(url, OutgoingMessage(body="2", group_id="g", dedup_id="same"))
    assert again.message_id == first.message_id
    assert again.sequence_number == first.sequence_number
    assert bodies(backend.take(url, 1)) == ["1"]
    assert backend.nothing(url)


def test_deduplication_outlives_the_delete(backend) -> None:
    url = backend.fifo()
    backend.sqs.send(url, OutgoingMessage(body="1", group_id="g", dedup_id="same"))
    assert backend.delete(url, backend.one(url)) == [None]
    backend.sqs.send(url, OutgoingMessage(body="2", group_id="g", dedup_id="same"))
    assert backend.nothing(url)
    if backend.jumps:
        backend.advance(301)
        backend.sqs.send(url, OutgoingMessage(body="3", group_id="g", dedup_id="same"))
        assert bodies(backend.take(url, 1)) == ["3"]


def test_deduplication_by_content(backend) -> None:
    url = backend.fifo(ContentBasedDeduplication="true")
    for body in ("1", "1", "2"):
        backend.sqs.send(url, OutgoingMessage(body=body, group_id="g"))
    assert bodies(backend.take(url, 2)) == ["1", "2"]
    assert backend.nothing(url)


def test_without_a_group_or_a_deduplication_id_it_is_refused(backend) -> None:
    url = backend.fifo()
    with pytest.raises(SqsError):
        backend.sqs.send(url, OutgoingMessage(body="x", dedup_id="d"))
    with pytest.raises(SqsError):
        backend.sqs.send(url, OutgoingMessage(body="x", group_id="g"))


def test_a_message_has_no_delay_of_its_own(backend) -> None:
    url = backend.fifo()
    with pytest.raises(SqsError):
        backend.sqs.send(url, OutgoingMessage(body="x", group_id="g", dedup_id="d", delay=5))


def test_a_deduplication_id_on_a_standard_queue_is_refused(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.sqs.send(url, OutgoingMessage(body="x", dedup_id="d"))


def test_a_repeated_receive_attempt_brings_the_same_messages(backend) -> None:
    url = backend.fifo()
    put(backend, url, "g", "1", "2")
    attempt = uuid.uuid4().hex
    first = backend.sqs.receive(url, wait=0 if backend.exact else 5, visibility=600, attempt_id=attempt)
    again = backend.sqs.receive(url, wait=0 if backend.exact else 5, visibility=600, attempt_id=attempt)
    assert bodies(first) == bodies(again)
    assert bodies(first)


def test_a_delete_after_the_lease_ran_out_is_refused(backend) -> None:
    url = backend.fifo()
    put(backend, url, "g", "1")
    message = backend.one(url, visibility=1)
    backend.advance(1.5)
    [answer] = backend.delete(url, message)
    assert isinstance(answer, LeaseLost)
    assert bodies(backend.take(url, 1)) == ["1"]
