"""Send, receive, delete and change visibility on a standard queue, with an injected clock."""

from __future__ import annotations

import pytest

from pyqs.local.service_error import ServiceError
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, OutgoingMessage


def test_a_received_message_is_in_flight_until_its_visibility_timeout_ends(bench, clock):
    bench.send("a")
    first = bench.receive()[0]
    assert bench.counts() == (0, 1, 0)
    clock.advance(29.9)
    assert bench.receive() == []
    clock.advance(0.2)
    assert bench.counts() == (1, 0, 0)
    again = bench.receive()[0]
    assert again.message_id == first.message_id
    assert again.receipt_handle != first.receipt_handle
    assert again.attributes["ApproximateReceiveCount"] == "2"
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert again.attributes[name] == first.attributes[name]


def test_the_receive_says_how_long_the_message_is_hidden(bench, clock):
    bench.send()
    bench.receive(visibility=100)
    clock.advance(99)
    assert bench.receive() == []
    clock.advance(1)
    assert len(bench.receive()) == 1


def test_visibility_zero_on_receive_leaves_the_message_visible_and_counts(bench):
    bench.send()
    assert [bench.receive(visibility=0)[0].attributes["ApproximateReceiveCount"] for _ in range(3)] == ["1", "2", "3"]
    assert bench.counts() == (1, 0, 0)


def test_everything_sent_comes_back(bench):
    attributes = {
        "text": MessageAttribute("String.kind", "é😀"),
        "number": MessageAttribute("Number", "-1.5e3"),
        "bytes": MessageAttribute("Binary", None, b"\x00\xff"),
    }
    sent = bench.send("body\n\t😀", message_attributes=attributes, group_id="tenant", trace_header="Root=1-2-3")
    got = bench.receive()[0]
    assert (got.message_id, got.body, got.message_attributes) == (sent.message_id, "body\n\t😀", attributes)
    assert got.attributes["MessageGroupId"] == "tenant"
    assert got.attributes["AWSTraceHeader"] == "Root=1-2-3"
    assert got.attributes["SentTimestamp"] == "1800000000000"
    assert "SequenceNumber" not in got.attributes


@pytest.mark.parametrize(("queue_delay", "delay", "expected"), [(0, 7, 7), (5, None, 5), (5, 2, 2), (5, 0, 0)])
def test_delays_of_queue_and_message(bench, clock, queue_delay, delay, expected):
    bench.store.set_queue_attributes("q", {"DelaySeconds": str(queue_delay)})
    bench.send(delay=delay)
    if expected:
        assert bench.counts() == (0, 0, 1)
        clock.advance(expected - 0.001)
        assert bench.receive() == []
        clock.advance(0.001)
    assert len(bench.receive()) == 1


def test_delete_removes_and_a_second_delete_succeeds(bench, clock):
    bench.send()
    message = bench.receive()[0]
    assert bench.delete(message) == [None]
    assert bench.counts() == (0, 0, 0)
    assert bench.delete(message, message) == [None, None]
    clock.advance(100)
    assert bench.receive() == []


def test_an_expired_handle_deletes_while_nobody_else_received_the_message(bench, clock):
    bench.send()
    message = bench.receive()[0]
    clock.advance(31)
    assert bench.delete(message) == [None]
    assert bench.receive() == []


def test_a_stale_handle_succeeds_and_does_not_delete(bench, clock):
    bench.send()
    stale = bench.receive()[0]
    clock.advance(31)
    fresh = bench.receive()[0]
    assert bench.delete(stale) == [None]
    assert bench.counts() == (0, 1, 0)
    assert bench.delete(fresh) == [None]
    assert bench.counts() == (0, 0, 0)


@pytest.mark.parametrize("handle", ["garbage", "", "AQEB", "AQEBAAAA", "é", "AQEB" + "A" * 56])
def test_garbage_is_no_receipt_handle(bench, handle):
    for result in (bench.store.delete_batch("q", [handle])[0], bench.store.change_visibility_batch("q", [(handle, 1)])[0]):
        assert result is not None
        assert result.code == "ReceiptHandleIsInvalid"


def test_a_handle_of_another_queue_or_another_store_is_no_receipt_handle(bench):
    bench.store.create_queue("other")
    bench.send()
    handle = bench.receive()[0].receipt_handle
    assert bench.store.delete_batch("other", [handle])[0].code == "ReceiptHandleIsInvalid"
    elsewhere = Store()
    elsewhere.create_queue("q")
    assert elsewhere.delete_batch("q", [handle])[0].code == "ReceiptHandleIsInvalid"
    elsewhere.close()


def test_change_visibility_extends_shortens_and_releases(bench, clock):
    bench.send()
    message = bench.receive()[0]
    assert bench.hide(message, 100) is None
    clock.advance(50)
    assert bench.receive() == []
    assert bench.hide(message, 10) is None
    clock.advance(10)
    message = bench.receive()[0]
    assert bench.hide(message, 0) is None
    assert bench.counts() == (1, 0, 0)


def test_change_visibility_of_a_visible_message_is_refused(bench, clock):
    bench.send()
    message = bench.receive()[0]
    clock.advance(31)
    assert bench.hide(message, 10).code == "AWS.SimpleQueueService.MessageNotInflight"


def test_change_visibility_with_a_stale_handle_or_of_a_deleted_message_is_refused(bench, clock):
    bench.send()
    stale = bench.receive()[0]
    clock.advance(31)
    fresh = bench.receive()[0]
    assert bench.hide(stale, 10).code == "InvalidParameterValue"
    bench.delete(fresh)
    assert bench.hide(fresh, 10).code == "InvalidParameterValue"


def test_twelve_hours_are_counted_from_the_receive(bench, clock):
    bench.send()
    message = bench.receive()[0]
    assert bench.hide(message, 43_201).code == "InvalidParameterValue"
    assert bench.hide(message, 43_200) is None
    clock.advance(3600)
    refused = bench.hide(message, 43_200)
    assert refused.code == "InvalidParameterValue"
    assert "beyond the limit" in refused.message
    assert bench.hide(message, 39_600) is None


def test_a_message_changed_twice_in_one_batch_is_changed_twice(bench, clock):
    bench.send()
    handle = bench.receive()[0].receipt_handle
    results = bench.store.change_visibility_batch("q", [(handle, 0), (handle, 5)])
    assert results[0] is None
    assert results[1].shape == "MessageNotInflight"
    assert bench.counts() == (1, 0, 0)


def test_batches_answer_per_entry(bench):
    sent = bench.store.send_batch("q", [OutgoingMessage("a"), OutgoingMessage("\x00"), OutgoingMessage("b", delay=901)])
    assert [getattr(item, "code", "sent") for item in sent] == ["sent", "InvalidMessageContents", "InvalidParameterValue"]
    message = bench.receive()[0]
    assert [getattr(r, "code", None) for r in bench.store.delete_batch("q", ["x", message.receipt_handle])] == [
        "ReceiptHandleIsInvalid",
        None,
    ]
    assert bench.counts() == (0, 0, 0)


def test_messages_older_than_the_retention_are_gone_in_flight_or_not(bench, clock):
    bench.store.set_queue_attributes("q", {"MessageRetentionPeriod": "60"})
    bench.send("old")
    bench.send("held")
    clock.advance(30)
    bench.send("young")
    held = bench.receive(count=1, visibility=1000)[0]
    clock.advance(31)
    assert bench.counts() == (1, 0, 0)
    assert bench.delete(held) == [None]
    assert bench.bodies() == ["young"]
    clock.advance(60)
    assert bench.counts() == (0, 0, 0)


def test_a_shorter_retention_applies_to_what_is_there(bench, clock):
    bench.send()
    clock.advance(100)
    bench.store.set_queue_attributes("q", {"MessageRetentionPeriod": "60"})
    assert bench.receive() == []


def test_a_message_that_was_received_too_often_moves_with_id_count_and_source(bench, clock):
    bench.store.create_queue("dead")
    bench.dead_letter("q", "dead", 2)
    sent = bench.send("poison", message_attributes={"a": MessageAttribute("String", "1")}, group_id="g")
    for _ in range(2):
        assert len(bench.receive()) == 1
        clock.advance(31)
    assert bench.counts() == (1, 0, 0)
    assert bench.receive() == []
    assert bench.counts() == (0, 0, 0)
    moved = bench.receive("dead")[0]
    assert (moved.message_id, moved.body) == (sent.message_id, "poison")
    assert moved.message_attributes == {"a": MessageAttribute("String", "1")}
    assert moved.attributes["ApproximateReceiveCount"] == "3"
    assert moved.attributes["SentTimestamp"] == "1800000000000"
    assert moved.attributes["DeadLetterQueueSourceArn"].endswith(":q")
    assert moved.attributes["MessageGroupId"] == "g"


def test_a_receive_that_moves_spent_messages_still_brings_living_ones(bench, clock):
    bench.store.create_queue("dead")
    bench.dead_letter("q", "dead", 1)
    for number in range(12):
        bench.send(f"spent{number}")
    assert len(bench.receive()) + len(bench.receive()) == 12
    clock.advance(31)
    bench.send("fresh")
    assert bench.bodies() == ["fresh"]
    assert bench.counts("dead") == (12, 0, 0)


def test_without_its_dead_letter_queue_a_message_stays(bench, clock):
    bench.store.create_queue("dead")
    bench.dead_letter("q", "dead", 1)
    bench.send()
    bench.receive()
    bench.store.delete_queue("dead")
    clock.advance(31)
    assert len(bench.receive()) == 1


def test_the_handle_from_before_the_move_neither_deletes_nor_fails(bench, clock):
    bench.store.create_queue("dead")
    bench.dead_letter("q", "dead", 1)
    bench.send()
    old = bench.receive()[0]
    clock.advance(31)
    bench.receive()
    assert bench.delete(old) == [None]
    assert bench.counts("dead") == (1, 0, 0)
    assert bench.store.delete_batch("dead", [old.receipt_handle])[0].code == "ReceiptHandleIsInvalid"


def test_at_the_in_flight_limit_a_short_poll_is_refused_and_a_long_poll_is_empty(clock):
    store = Store(clock=clock, inflight_limit=3)
    store.create_queue("q")
    for _ in range(5):
        store.send("q", OutgoingMessage("x"))
    held = store.receive("q", max_messages=10, wait=0)
    assert len(held) == 3
    with pytest.raises(ServiceError, match="OverLimit"):
        store.receive("q", wait=0)
    assert store.receive("q", wait=1) == []
    store.delete_batch("q", [held[0].receipt_handle])
    assert len(store.receive("q", max_messages=10, wait=0)) == 1
    store.close()


@pytest.mark.parametrize(
    "arguments",
    [{"max_messages": 0}, {"max_messages": 11}, {"wait": 21}, {"wait": -1}, {"visibility": 43_201}, {"visibility": -1}],
)
def test_receive_refuses_numbers_out_of_range(store, arguments):
    with pytest.raises(ServiceError) as caught:
        store.receive("q", **arguments)
    assert caught.value.code == "InvalidParameterValue"


def test_a_queue_that_is_not_there(store):
    for call in (
        lambda: store.receive("nope"),
        lambda: store.send("nope", OutgoingMessage("x")),
        lambda: store.delete_batch("nope", ["x"]),
        lambda: store.queue_attributes("nope"),
        lambda: store.delete_queue("nope"),
    ):
        with pytest.raises(ServiceError) as caught:
            call()
        assert caught.value.code == "AWS.SimpleQueueService.NonExistentQueue"


def test_an_error_inside_leaves_counts_and_data_as_they_were(bench, monkeypatch):
    from pyqs.local import table

    bench.send()
    monkeypatch.setattr(table, "mark_received", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.receive()
    monkeypatch.undo()
    assert bench.counts() == (1, 0, 0)
    assert len(bench.receive()) == 1
