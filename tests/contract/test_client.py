"""What the ``Sqs`` interface promises beyond SQS's rules: dropping polls, closing, use from threads."""

from __future__ import annotations

import time

import pytest

from pyqs.errors import SqsError
from pyqs.message import OutgoingMessage


def test_abort_ends_an_open_poll_at_once_and_the_client_goes_on(backend) -> None:
    sqs = backend.client()
    url = backend.queue()
    waiting = backend.beside(lambda: sqs.receive(url, wait=20))
    started = time.monotonic()
    while True:
        sqs.abort()  # what is open now: the poll may not have been begun yet
        try:
            assert waiting(0.3) == []
            break
        except AssertionError:
            assert time.monotonic() - started < 15, "a poll of 20 s goes on"
    sqs.send(url, OutgoingMessage(body="after"))
    # What an aborted poll may still have taken on the server's side stays hidden there for its lease.
    assert [message.body for message in sqs.receive(url, wait=2)] in (["after"], [])
    sqs.close()


def test_abort_leaves_other_clients_alone(backend) -> None:
    one, other = backend.client(), backend.client()
    url = backend.queue()
    waiting = backend.beside(lambda: other.receive(url, wait=20))
    time.sleep(0.3)
    one.abort()
    backend.send(url, "x")
    assert [message.body for message in waiting(19)] == ["x"]


def test_a_closed_client_refuses_calls(backend) -> None:
    sqs = backend.client()
    url = backend.queue()
    sqs.close()
    with pytest.raises(SqsError):
        sqs.receive(url, wait=0)


def test_a_refusal_names_the_action_and_the_queue_but_no_handle(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError) as caught:
        backend.sqs.receive(url, max_messages=11, wait=0)
    assert caught.value.queue.endswith(url.rpartition("/")[2])
    assert str(caught.value)


def test_threads_share_a_client(backend) -> None:
    url = backend.queue()
    senders = [backend.beside(lambda: backend.send(url, *"abc")) for _ in range(6)]
    assert sum(len(sender(30)) for sender in senders) == 18
    found = 0
    deadline = time.monotonic() + 30
    while found < 18 and time.monotonic() < deadline:
        found += len(backend.sqs.receive(url, wait=1))
    assert found == 18
