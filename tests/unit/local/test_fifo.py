"""FIFO queues: order, locked groups, deduplication, retried receives."""

from __future__ import annotations

import pytest

from pyqs.local.service_error import ServiceError
from pyqs.message import OutgoingMessage


@pytest.fixture
def fifo(bench):
    bench.fifo()

    class Fifo:
        def send(self, group, *bodies, **options):
            return [bench.send(body, "f.fifo", group_id=group, **options) for body in bodies]

        def receive(self, count=10, **options):
            return bench.receive("f.fifo", count, **options)

        def bodies(self, count=10, **options):
            return [m.body for m in self.receive(count, **options)]

        def delete(self, *messages):
            return bench.delete(*messages, queue="f.fifo")

        def hide(self, message, seconds):
            return bench.hide(message, seconds, "f.fifo")

        def counts(self):
            return bench.counts("f.fifo")

    return Fifo()


def test_a_receive_brings_several_messages_of_a_group_in_order_and_then_other_groups(fifo):
    fifo.send("a", "a0", "a1", "a2")
    fifo.send("b", "b0", "b1")
    assert fifo.bodies(4) == ["a0", "a1", "a2", "b0"]


def test_a_group_is_locked_while_one_of_its_messages_is_in_flight(fifo):
    fifo.send("a", "a0", "a1", "a2")
    fifo.send("b", "b0")
    first = fifo.receive(1)[0]
    assert fifo.bodies() == ["b0"]
    fifo.delete(first)
    assert fifo.bodies() == ["a1", "a2"]


def test_after_the_visibility_timeout_the_head_comes_first_again(fifo, clock):
    fifo.send("a", "a0", "a1", "a2")
    fifo.receive(2)
    clock.advance(31)
    assert fifo.bodies() == ["a0", "a1", "a2"]


def test_a_partly_finished_batch_holds_the_group_until_its_last_message_is_settled(fifo):
    fifo.send("a", "a0", "a1", "a2", "a3")
    a0, a1 = fifo.receive(2)
    fifo.delete(a1)
    assert fifo.bodies() == []
    fifo.hide(a0, 0)
    assert fifo.bodies() == ["a0", "a2", "a3"]


def test_a_hidden_head_holds_its_group(fifo, clock):
    fifo.send("a", "a0", "a1")
    head = fifo.receive(1)[0]
    fifo.hide(head, 600)
    clock.advance(599)
    assert fifo.bodies() == []
    clock.advance(1)
    assert fifo.bodies() == ["a0", "a1"]


def test_order_holds_over_many_redeliveries(fifo, clock):
    fifo.send("a", *[f"a{n}" for n in range(15)])
    done = []
    for turn in range(60):
        batch = fifo.receive(3)
        assert [m.body for m in batch] == [f"a{n}" for n in range(len(done), min(len(done) + 3, 15))]
        if turn % 2 and batch:
            fifo.delete(batch[0])
            done.append(batch[0].body)
        clock.advance(31)
    assert done == [f"a{n}" for n in range(15)]


def test_the_same_deduplication_id_within_five_minutes_is_the_same_message(fifo, clock):
    (first,) = fifo.send("a", "x", dedup_id="1")
    (second,) = fifo.send("a", "other body", dedup_id="1")
    assert first == second
    assert fifo.bodies() == ["x"]


def test_deduplication_outlives_the_delete_and_ends_after_five_minutes(fifo, clock):
    (first,) = fifo.send("a", "x")
    fifo.delete(*fifo.receive())
    clock.advance(299)
    assert fifo.send("a", "x") == [first]
    assert fifo.receive() == []
    clock.advance(1)
    assert fifo.send("a", "x") != [first]
    assert fifo.bodies() == ["x"]


def test_duplicates_within_one_batch_are_one_message(bench, fifo):
    sent = bench.store.send_batch("f.fifo", [OutgoingMessage("x", group_id="a")] * 2)
    assert sent[0] == sent[1]
    assert fifo.counts() == (1, 0, 0)


def test_deduplication_by_group_when_the_queue_says_so(bench):
    bench.fifo("g.fifo", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in ("a", "b", "a"):
        bench.send("x", "g.fifo", group_id=group)
    assert bench.counts("g.fifo") == (2, 0, 0)


def test_sequence_numbers_grow_and_are_handed_out(fifo):
    sent = fifo.send("a", *"vwxyz")
    numbers = [item.sequence_number for item in sent]
    assert numbers == sorted(set(numbers))
    assert {len(number) for number in numbers} == {20}
    received = fifo.receive()
    assert [m.attributes["SequenceNumber"] for m in received] == numbers
    assert len(received[0].attributes["MessageDeduplicationId"]) == 64
    assert received[0].attributes["MessageGroupId"] == "a"


def test_a_message_needs_a_group_and_a_way_to_tell_duplicates(bench, fifo):
    with pytest.raises(ServiceError) as caught:
        bench.send("x", "f.fifo")
    assert caught.value.code == "MissingParameter"
    bench.store.create_queue("plain.fifo", {"FifoQueue": "true"})
    with pytest.raises(ServiceError, match="ContentBasedDeduplication"):
        bench.send("x", "plain.fifo", group_id="a")
    bench.send("x", "plain.fifo", group_id="a", dedup_id="1")


def test_no_delay_per_message_on_fifo_and_no_deduplication_id_on_standard(bench, fifo):
    with pytest.raises(ServiceError, match="DelaySeconds"):
        bench.send("x", "f.fifo", group_id="a", delay=1)
    bench.send("x", "f.fifo", group_id="a", delay=0)
    with pytest.raises(ServiceError, match="MessageDeduplicationId"):
        bench.send("x", dedup_id="1")


def test_the_queue_delay_holds_and_counts_for_messages_already_there(bench, fifo, clock):
    bench.store.set_queue_attributes("f.fifo", {"DelaySeconds": "60"})
    fifo.send("a", "a0")
    clock.advance(10)
    assert fifo.receive() == []
    bench.store.set_queue_attributes("f.fifo", {"DelaySeconds": "5"})
    assert fifo.bodies() == ["a0"]


def test_a_delayed_head_holds_its_group_and_no_other(bench, fifo):
    bench.store.set_queue_attributes("f.fifo", {"DelaySeconds": "60"})
    fifo.send("a", "a0")
    fifo.send("b", "b0")
    bench.store.set_queue_attributes("f.fifo", {"DelaySeconds": "0"})
    assert fifo.bodies() == ["a0", "b0"]


@pytest.mark.parametrize("redelivered", [False, True])
def test_delete_with_an_expired_handle_is_refused(fifo, clock, redelivered):
    fifo.send("a", "a0")
    message = fifo.receive()[0]
    clock.advance(31)
    if redelivered:
        fifo.receive()
    refused = fifo.delete(message)[0]
    assert refused.code == "InvalidParameterValue"
    assert "expired" in refused.message
    clock.advance(31)
    assert fifo.counts() == (1, 0, 0)


def test_delete_twice_succeeds(fifo):
    fifo.send("a", "a0")
    message = fifo.receive()[0]
    assert fifo.delete(message) == [None]
    assert fifo.delete(message) == [None]


def test_a_retried_receive_brings_the_same_messages_with_the_same_handles(fifo, clock):
    fifo.send("a", "a0", "a1")
    fifo.send("b", "b0")
    first = fifo.receive(2, attempt_id="try")
    clock.advance(20)
    again = fifo.receive(2, attempt_id="try")
    assert [m.receipt_handle for m in again] == [m.receipt_handle for m in first]
    assert [m.attributes["ApproximateReceiveCount"] for m in again] == ["1", "1"]
    clock.advance(20)  # the retry hid them anew
    assert fifo.bodies() == ["b0"]
    assert fifo.delete(*again) == [None, None]


def test_a_retry_after_a_message_was_touched_is_a_new_receive(fifo):
    fifo.send("a", "a0", "a1")
    fifo.send("b", "b0")
    first = fifo.receive(2, attempt_id="try")
    fifo.delete(first[0])
    assert [m.body for m in fifo.receive(2, attempt_id="try")] == ["b0"]


def test_redrive_keeps_group_and_unlocks_the_next_message(bench, fifo, clock):
    bench.fifo("dead.fifo")
    bench.dead_letter("f.fifo", "dead.fifo", 1)
    fifo.send("a", "poison", "good")
    fifo.receive(1)
    clock.advance(31)
    assert fifo.bodies() == ["good"]
    moved = bench.receive("dead.fifo")[0]
    assert (moved.body, moved.attributes["MessageGroupId"]) == ("poison", "a")
    assert moved.attributes["SentTimestamp"] == "1800000031000"


def test_a_long_locked_group_does_not_hide_the_others(fifo):
    fifo.send("a", *[f"a{n}" for n in range(200)])
    fifo.receive(1)
    fifo.send("b", "b0")
    assert fifo.bodies() == ["b0"]


def test_counts_and_purge(bench, fifo):
    fifo.send("a", "a0", "a1")
    fifo.receive(1)
    assert fifo.counts() == (1, 1, 0)
    bench.store.purge_queue("f.fifo")
    fifo.send("a", "a2")
    assert fifo.bodies() == ["a2"]


def test_retention_drops_the_head_and_frees_its_group(bench, fifo, clock):
    bench.store.set_queue_attributes("f.fifo", {"MessageRetentionPeriod": "60"})
    fifo.send("a", "old")
    fifo.receive(1, visibility=1000)
    clock.advance(30)
    fifo.send("a", "young")
    clock.advance(31)
    assert fifo.bodies() == ["young"]
