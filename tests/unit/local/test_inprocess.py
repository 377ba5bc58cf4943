"""The store behind the engine's interface: URLs, errors of pyqs, batches as lists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyqs.errors import LeaseLost, QueueFull, QueueNotFound, SqsError
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, OutgoingMessage, SentMessage
from pyqs.sqs import Sqs


@pytest.fixture
def sqs() -> Iterator[Sqs]:
    store = Store(inflight_limit=5)
    client: Sqs = InProcessSqs(store)
    yield client
    store.close()


def test_a_message_goes_round(sqs):
    url = sqs.create_queue("q", {"VisibilityTimeout": "5"}, {"team": "x"})
    assert sqs.queue_url("q") == url
    attributes = {"a": MessageAttribute("String", "1")}
    sent = sqs.send(url, OutgoingMessage("x", message_attributes=attributes, group_id="g"))
    (message,) = sqs.receive(url, wait=0)
    assert (message.message_id, message.body, message.message_attributes) == (sent.message_id, "x", attributes)
    assert message.attributes["MessageGroupId"] == "g"
    assert sqs.change_visibility_batch(url, [(message.receipt_handle, 100)]) == [None]
    assert sqs.delete_batch(url, [message.receipt_handle]) == [None]


def test_batches_answer_in_order(sqs):
    url = sqs.create_queue("q")
    good, bad = sqs.send_batch(url, [OutgoingMessage("x"), OutgoingMessage("\x00")])
    assert isinstance(good, SentMessage)
    assert isinstance(bad, SqsError)
    assert bad.code == "InvalidMessageContents"
    (message,) = sqs.receive(url, wait=0, visibility=0)
    lost = sqs.change_visibility_batch(url, [(message.receipt_handle, 1)])[0]
    assert isinstance(lost, LeaseLost)
    assert lost.queue == url
    assert message.receipt_handle not in str(lost)
    with pytest.raises(SqsError):
        sqs.delete_batch(url, [])
    with pytest.raises(SqsError):
        sqs.send_batch(url, [OutgoingMessage("x")] * 11)


def test_errors_are_those_of_the_engine(sqs):
    with pytest.raises(QueueNotFound):
        sqs.queue_url("nope")
    with pytest.raises(QueueNotFound):
        sqs.receive("http://x/0/nope", wait=0)
    url = sqs.create_queue("q")
    sqs.send_batch(url, [OutgoingMessage("x")] * 10)
    assert len(sqs.receive(url, wait=0)) == 5
    with pytest.raises(QueueFull):
        sqs.receive(url, wait=0)


def test_queues(sqs):
    for number in range(1100):
        sqs.create_queue(f"a{number:04}")
    url = sqs.create_queue("b")
    assert len(list(sqs.list_queues("a"))) == 1100
    assert list(sqs.list_queues("b")) == [url]
    sqs.set_queue_attributes(url, {"DelaySeconds": "1"})
    assert sqs.queue_attributes(url, ["DelaySeconds"]) == {"DelaySeconds": "1"}
    sqs.purge_queue(url)
    sqs.delete_queue(url)
    assert list(sqs.list_queues("b")) == []


def test_a_closed_client_refuses_and_leaves_the_store_open(sqs):
    url = sqs.create_queue("q")
    sqs.close()
    with pytest.raises(SqsError, match="closed"):
        sqs.receive(url)
    assert sqs.store.has_queue("q")
