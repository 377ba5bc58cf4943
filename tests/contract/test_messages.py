"""SQS's rules about messages: what may be sent, what comes back, batches, delays, waiting."""

from __future__ import annotations

import time

import pytest

from pyqs.errors import LeaseLost, SqsError
from pyqs.message import MessageAttribute, OutgoingMessage, SentMessage

MIB = 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        "plain",
        '{"task": "t", "args": [], "kwargs": {}}',
        " spaces, \ttabs\nand lines\r\n ",
        "ünïcödé ☃ 日本",
        "\U0001f600 beyond the first plane",
        "<xml>&amp;\"'</xml>",
        "\ud7ff\ue000\ufffd\U0010ffff",
    ],
)
def test_a_body_comes_back_as_it_was_sent(backend, body) -> None:
    url = backend.queue()
    [message_id] = backend.send(url, body)
    message = backend.one(url)
    assert (message.message_id, message.body) == (message_id, body)
    assert message.receipt_handle


@pytest.mark.parametrize("char", ["\x00", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_characters_that_sqs_refuses(backend, char) -> None:
    url = backend.queue()
    with pytest.raises(SqsError) as caught:
        backend.send(url, f"a{char}b")
    assert caught.value.retryable is False


def test_an_empty_body_is_refused(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.send(url, "")


def test_a_message_of_one_mebibyte(backend) -> None:
    url = backend.queue()
    backend.send(url, "x" * MIB)
    assert len(backend.one(url).body) == MIB


def test_one_byte_more_is_refused(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError) as caught:
        backend.send(url, "x" * (MIB + 1))
    assert caught.value.retryable is False


def test_size_is_counted_in_bytes(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.send(url, "é" * (MIB // 2 + 1))


def test_attributes_count_towards_the_size(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.send(url, "x" * (MIB - 5), message_attributes={"note": MessageAttribute("String", "some text")})


def test_a_queues_own_size_limit(backend) -> None:
    url = backend.queue(MaximumMessageSize="1024")
    backend.send(url, "x" * 1024)
    with pytest.raises(SqsError):
        backend.send(url, "x" * 1025)


def test_system_attributes_are_there_unasked(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    message = backend.one(url)
    assert message.attributes["ApproximateReceiveCount"] == "1"
    assert int(message.attributes["SentTimestamp"]) <= int(message.attributes["ApproximateFirstReceiveTimestamp"])
    assert message.attributes["SenderId"]


def test_message_attributes_come_back_with_their_types(backend) -> None:
    url = backend.queue()
    attributes = {
        "text": MessageAttribute("String", "ünïcödé"),
        "number": MessageAttribute("Number", "12.5"),
        "bytes": MessageAttribute("Binary", binary_value=b"\x00\xff\x01"),
        "custom": MessageAttribute("String.json", "{}"),
    }
    backend.send(url, "x", message_attributes=attributes)
    assert dict(backend.one(url).message_attributes) == attributes


def test_a_message_without_attributes_has_none(backend) -> None:
    url = backend.queue()
    backend.send(url, "x")
    assert dict(backend.one(url).message_attributes) == {}


def test_a_trace_header_comes_back(backend) -> None:
    url = backend.queue()
    backend.send(url, "x", trace_header="Root=1-5759e988-bd862e3fe1be46a994272793")
    assert backend.one(url).attributes["AWSTraceHeader"] == "Root=1-5759e988-bd862e3fe1be46a994272793"


@pytest.mark.parametrize(
    "attributes",
    [
        {f"a{number}": MessageAttribute("String", "x") for number in range(11)},
        {"a": MessageAttribute("String", "")},
        {"a": MessageAttribute("Text", "x")},
        {"a..b": MessageAttribute("String", "x")},
        {"AWS.a": MessageAttribute("String", "x")},
    ],
    ids=["eleven", "empty", "type", "dots", "reserved"],
)
def test_illegal_message_attributes(backend, attributes) -> None:
    url = backend.queue()
    with pytest.raises(SqsError) as caught:
        backend.send(url, "x", message_attributes=attributes)
    assert caught.value.retryable is False


def test_a_standard_queue_keeps_a_group_id(backend) -> None:
    url = backend.queue()
    backend.send(url, "x", group_id="tenant-1")
    assert backend.one(url).attributes["MessageGroupId"] == "tenant-1"


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_batch_answers_in_order(backend) -> None:
    url = backend.queue()
    sent = backend.sqs.send_batch(url, [OutgoingMessage(body=str(number)) for number in range(10)])
    by_id = {one.message_id: str(number) for number, one in enumerate(sent) if isinstance(one, SentMessage)}
    assert len(by_id) == 10
    found = {message.message_id: message.body for message in backend.take(url, 10)}
    assert found == by_id


def test_one_bad_delay_fails_alone(backend) -> None:
    url = backend.queue()
    messages = [OutgoingMessage(body="1"), OutgoingMessage(body="2", delay=901), OutgoingMessage(body="3")]
    answers = backend.sqs.send_batch(url, messages)
    assert [isinstance(answer, SentMessage) for answer in answers] == [True, False, True]
    assert isinstance(answers[1], SqsError)
    assert answers[1].retryable is False
    assert sorted(message.body for message in backend.take(url, 2)) == ["1", "3"]


def test_eleven_are_too_many(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.sqs.send_batch(url, [OutgoingMessage(body="x")] * 11)
    with pytest.raises(SqsError):
        backend.sqs.change_visibility_batch(url, [(f"x{number}", 0) for number in range(11)])


def test_eleven_deletes_are_too_many(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError) as caught:
        backend.sqs.delete_batch(url, [f"x{number}" for number in range(11)])
    assert not isinstance(caught.value, LeaseLost)


def test_a_batch_of_more_than_one_mebibyte_is_refused_whole(backend) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.sqs.send_batch(url, [OutgoingMessage(body="x" * (MIB // 2 + 1))] * 2)
    assert backend.nothing(url)


def test_a_batch_of_exactly_one_mebibyte(backend) -> None:
    url = backend.queue()
    answers = backend.sqs.send_batch(url, [OutgoingMessage(body="x" * (MIB // 2))] * 2)
    assert all(isinstance(answer, SentMessage) for answer in answers)


# -- delays ------------------------------------------------------------------------------------------------------------


def test_a_delayed_message_comes_when_it_is_due(backend) -> None:
    url = backend.queue()
    backend.send(url, "later", delay=2)
    assert backend.sqs.receive(url, wait=0) == []
    backend.advance(2.5)
    assert backend.one(url).body == "later"


def test_a_queues_delay_is_for_messages_without_their_own(backend) -> None:
    url = backend.queue(DelaySeconds="900")
    backend.send(url, "later")
    backend.send(url, "now", delay=0)
    assert backend.one(url).body == "now"
    assert backend.nothing(url)


@pytest.mark.parametrize("delay", [901, -1])
def test_a_delay_out_of_range(backend, delay) -> None:
    url = backend.queue()
    with pytest.raises(SqsError):
        backend.send(url, "x", delay=delay)


# -- receiving ---------------------------------------------------------------------------------------------------------


def test_no_more_than_asked_for(backend) -> None:
    url = backend.queue()
    backend.send(url, *map(str, range(5)))
    assert len(backend.sqs.receive(url, max_messages=2, wait=0 if backend.exact else 5)) <= 2


@pytest.mark.parametrize("options", [{"max_messages": 11}, {"max_messages": 0}, {"wait": 21}, {"visibility": 43201}])
def test_a_receive_out_of_range(backend, options) -> None:
    url = backend.queue()
    with pytest.raises(SqsError) as caught:
        backend.sqs.receive(url, **{"wait": 0, **options})
    assert caught.value.retryable is False


def test_an_empty_queue_answers_nothing_after_its_wait(backend) -> None:
    url = backend.queue()
    started = time.monotonic()
    assert backend.sqs.receive(url, wait=0) == []
    assert time.monotonic() - started < (1 if backend.exact else 5)
    started = time.monotonic()
    assert backend.sqs.receive(url, wait=1) == []
    assert 0.9 < time.monotonic() - started < 6


def test_no_wait_overrides_a_queues_own(backend) -> None:
    url = backend.queue(ReceiveMessageWaitTimeSeconds="20")
    started = time.monotonic()
    assert backend.sqs.receive(url, wait=0) == []
    assert time.monotonic() - started < 5


def soon(backend) -> float:
    """Seconds within which a long poll must wake: emulators look again a few times a second."""
    return {"inprocess": 0.3, "local": 0.3}.get(backend.name, 3.0)


def test_a_long_poll_wakes_on_a_send(backend) -> None:
    url = backend.queue()
    waiting = backend.beside(lambda: backend.sqs.receive(url, wait=20))
    time.sleep(0.3)
    started = time.monotonic()
    backend.send(url, "now")
    assert [message.body for message in waiting(19)] == ["now"]
    assert time.monotonic() - started < soon(backend)


def test_a_long_poll_wakes_on_a_release(backend) -> None:
    url = backend.queue()
    backend.send(url, "again")
    message = backend.one(url, visibility=600)
    waiting = backend.beside(lambda: backend.sqs.receive(url, wait=20))
    time.sleep(0.3)
    started = time.monotonic()
    assert backend.hide(url, message, 0) is None
    assert [message.body for message in waiting(19)] == ["again"]
    assert time.monotonic() - started < soon(backend)


def test_a_long_poll_wakes_when_a_delay_ends(backend) -> None:
    url = backend.queue()
    backend.send(url, "due", delay=2)
    waiting = backend.beside(lambda: backend.sqs.receive(url, wait=20))
    time.sleep(0.3)
    backend.advance(2)
    assert [message.body for message in waiting(soon(backend) + 1)] == ["due"]


def test_a_long_poll_wakes_when_a_lease_runs_out(backend) -> None:
    url = backend.queue()
    backend.send(url, "again")
    backend.one(url, visibility=2)
    waiting = backend.beside(lambda: backend.sqs.receive(url, wait=20))
    time.sleep(0.3)
    backend.advance(2)
    assert [message.body for message in waiting(soon(backend) + 1)] == ["again"]


def test_many_pollers_share_what_comes(backend) -> None:
    url = backend.queue()
    pollers = [backend.beside(lambda: backend.sqs.receive(url, max_messages=1, wait=20)) for _ in range(12)]
    time.sleep(0.3)
    backend.send(url, *map(str, range(12)))
    found = [message.body for poller in pollers for message in poller(19)]
    assert sorted(found, key=int) == [str(number) for number in range(12)]


def test_a_message_is_thrown_away_after_its_retention(backend) -> None:
    if not backend.jumps:
        pytest.skip("takes more than a minute")
    url = backend.queue(MessageRetentionPeriod="60")
    backend.send(url, "old")
    backend.advance(61)
    assert backend.nothing(url)
