"""SQS's rules about what was received: visibility, receive counts, receipt handles, dead-letter queues."""

from __future__ import annotations

import json

import pytest

from pyqs.errors import LeaseLost, SqsError
from pyqs.message import MessageAttribute


def test_what_was_received_is_hidden_from_others(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    backend.one(url, visibility=600)
    assert backend.nothing(url)


def test_a_lease_that_runs_out_brings_the_message_back_with_a_new_handle(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    first = backend.one(url, visibility=1)
    backend.advance(1.5)
    second = backend.one(url)
    assert (second.message_id, second.body) == (first.message_id, "x")
    assert second.receipt_handle != first.receipt_handle
    assert second.attributes["ApproximateReceiveCount"] == "2"
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert second.attributes[name] == first.attributes[name]


def test_the_queues_own_visibility_is_for_receives_without_theirs(backend) -> None:
    url = backend.queue(VisibilityTimeout="1")
    backend.send(url, "x")
    backend.one(url)
    backend.advance(1.5)
    backend.one(url, visibility=600)
    backend.advance(1.5)
    assert backend.nothing(url)


def test_a_release_makes_it_visible_at_once(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url, visibility=600)
    assert backend.hide(url, message, 0) is None
    assert backend.one(url).attributes["ApproximateReceiveCount"] == "2"


def test_a_renewal_counts_from_now(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url, visibility=2)
    backend.advance(1)
    assert backend.hide(url, message, 8) is None
    backend.advance(2)
    assert backend.nothing(url)
    backend.advance(7)
    assert backend.one(url).body == "x"


def test_hiding_for_longer_than_twelve_hours(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url, visibility=600)
    error = backend.hide(url, message, 43201)
    assert isinstance(error, SqsError)
    assert not isinstance(error, LeaseLost)
    assert error.retryable is False


def test_twelve_hours_count_from_the_receive(backend) -> None:
    if not backend.jumps:
        pytest.skip("takes hours")
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url, visibility=43200)
    backend.advance(43000)
    assert isinstance(backend.hide(url, message, 300), SqsError)
    assert backend.hide(url, message, 100) is None


def test_hiding_what_is_visible_again_is_a_lost_lease(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url, visibility=1)
    backend.advance(1.5)
    assert isinstance(backend.hide(url, message, 60), LeaseLost)


def test_hiding_what_was_deleted_is_a_lost_lease(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url)
    assert backend.delete(url, message) == [None]
    error = backend.hide(url, message, 60)
    assert isinstance(error, LeaseLost)
    assert message.receipt_handle not in str(error)


def test_a_batch_of_changes_answers_each_in_order(backend) -> None:
    url = backend.queue()
    backend.send(url, "1", "2")
    one, two = backend.take(url, 2, visibility=600)
    answers = backend.sqs.change_visibility_batch(
        url, [(one.receipt_handle, 0), (two.receipt_handle, 43201), (two.receipt_handle, 0)]
    )
    assert [answer is None for answer in answers] == [True, False, True]


def test_what_was_deleted_does_not_come_back(backend) -> None:
    url = backend.queue()
    backend.send(url, "1", "2")
    one, _two = backend.take(url, 2, visibility=1)
    assert backend.delete(url, one) == [None]
    backend.advance(1.5)
    assert [message.body for message in backend.take(url, 1)] != [one.body]
    assert backend.nothing(url)


def test_deleting_twice_is_no_error(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url)
    assert backend.delete(url, message) == [None]
    assert backend.delete(url, message) == [None]


def test_deleting_after_the_lease_ran_out_works_while_nobody_else_has_it(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url, visibility=1)
    backend.advance(1.5)
    assert backend.delete(url, message) == [None]
    assert backend.nothing(url)


def test_a_delete_with_a_stale_handle_is_answered_and_may_do_nothing(backend) -> None:
    """SQS: "the request succeeds, but the message might not be deleted"; either is fine, an exception is not."""
    url = backend.queue()
    backend.send(url, "x")
    stale = backend.one(url, visibility=1)
    backend.advance(1.5)
    fresh = backend.one(url, visibility=600)
    [answer] = backend.delete(url, stale)
    assert answer is None or isinstance(answer, LeaseLost)
    [answer] = backend.delete(url, fresh)
    assert answer is None or isinstance(answer, LeaseLost)


def test_a_handle_that_never_was(backend) -> None:
    url = backend.queue()
    [error] = backend.sqs.delete_batch(url, ["nonsense"])
    assert isinstance(error, LeaseLost)
    [error] = backend.sqs.change_visibility_batch(url, [("nonsense", 0)])
    assert isinstance(error, LeaseLost)


def test_a_batch_of_deletes_answers_each_in_order(backend) -> None:
    url = backend.queue()
    backend.send(url, "1", "2")
    one, two = backend.take(url, 2)
    answers = backend.sqs.delete_batch(url, [one.receipt_handle, "nonsense", two.receipt_handle])
    assert [answer is None for answer in answers] == [True, False, True]


def test_what_is_received_too_often_moves_to_the_dead_letter_queue(backend) -> None:
    dead = backend.queue()
    policy = json.dumps({"deadLetterTargetArn": backend.arn(dead), "maxReceiveCount": "2"})
    url = backend.queue(RedrivePolicy=policy)
    attributes = {"kind": MessageAttribute("String", "invoice")}
    [message_id] = backend.send(url, "poison", message_attributes=attributes)
    for _ in range(2):
        message = backend.one(url, visibility=600)
        assert backend.hide(url, message, 0) is None
    assert backend.nothing(url)
    moved = backend.one(dead)
    assert (moved.message_id, moved.body) == (message_id, "poison")
    assert dict(moved.message_attributes) == attributes


def test_a_moved_message_names_where_it_came_from(backend) -> None:
    dead = backend.queue()
    url = backend.queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": backend.arn(dead), "maxReceiveCount": "1"}))
    backend.send(url, "poison")
    backend.hide(url, backend.one(url, visibility=600), 0)
    assert backend.nothing(url)
    assert backend.one(dead).attributes["DeadLetterQueueSourceArn"] == backend.arn(url)
