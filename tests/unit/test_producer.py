"""Publishing: which queue, what is refused before SQS is asked, batches, and what happens when some are not taken."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyqs import bulk
from pyqs.bulk import MAX_BYTES, batches, message_size
from pyqs.config import ConnectionConfig, process_defaults
from pyqs.errors import AccessDenied, BadMessageOption, QueueNotFound, SendFailed, SqsError, TooLarge, Unreachable
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, OutgoingMessage, ReceivedMessage, SentMessage
from pyqs.producer import Producer, check_delay, default_producer

CONNECTION = ConnectionConfig(endpoint_url="http://127.0.0.1:1")


class WatchedSqs(InProcessSqs):
    """Notes calls; entries and calls can be made to fail."""

    def __init__(self) -> None:
        super().__init__(Store(pause=0))
        self.calls: list[str] = []
        self.batch_sizes: list[int] = []
        self.refuse_entries: list[dict[str, SqsError]] = []
        self.fail_calls: list[SqsError] = []

    def queue_url(self, name: str) -> str:
        self.calls.append("GetQueueUrl")
        return super().queue_url(name)

    def create_queue(self, name, attributes=None, tags=None) -> str:
        self.calls.append("CreateQueue")
        return super().create_queue(name, attributes, tags)

    def send(self, queue_url: str, message: OutgoingMessage) -> SentMessage:
        self.calls.append("SendMessage")
        if self.fail_calls:
            raise self.fail_calls.pop(0)
        return super().send(queue_url, message)

    def send_batch(self, queue_url: str, messages: Sequence[OutgoingMessage]) -> list[SentMessage | SqsError]:
        self.calls.append("SendMessageBatch")
        self.batch_sizes.append(len(messages))
        if self.fail_calls:
            raise self.fail_calls.pop(0)
        refused = self.refuse_entries.pop(0) if self.refuse_entries else {}
        taken = [message for message in messages if message.body not in refused]
        answers = iter(super().send_batch(queue_url, taken) if taken else [])
        return [refused[message.body] if message.body in refused else next(answers) for message in messages]

    def all(self, name: str) -> list[ReceivedMessage]:
        found: list[ReceivedMessage] = []
        while more := self.receive(self.locate(name), wait=0):
            found += more
        return found


@pytest.fixture
def sqs() -> WatchedSqs:
    return WatchedSqs()


def producer(sqs: WatchedSqs, **options) -> Producer:
    pauses = options.pop("pauses", [])
    return Producer(CONNECTION, connector=lambda _: sqs, sleep=pauses.append, **options)


def text(body: str, **options) -> OutgoingMessage:
    return OutgoingMessage(body=body, **options)


# -- queues ----------------------------------------------------------------------------------------------------------


def test_a_missing_queue_is_created_once_and_warned_about_once(sqs, caplog) -> None:
    sending = producer(sqs)
    with caplog.at_level(logging.WARNING):
        sending.send("email.send", text("1"))
        sending.send("email.send", text("2"))
        sqs.delete_queue(sqs.locate("email-send"))
        sending.send("email.send", text("3"))
    assert [message.body for message in sqs.all("email-send")] == ["3"]
    assert sqs.calls.count("CreateQueue") == 2
    assert len([record for record in caplog.records if "dead-letter" in record.message]) == 1
    assert "email-send" in caplog.text


def test_an_existing_queue_is_looked_up_once_and_not_warned_about(sqs, caplog) -> None:
    sqs.create_queue("jobs")
    sqs.calls.clear()
    sending = producer(sqs)
    for number in range(3):
        sending.send("jobs", text(str(number)))
    assert sqs.calls == ["GetQueueUrl", "SendMessage", "SendMessage", "SendMessage"]
    assert not caplog.records


def test_without_create_queues_a_missing_queue_is_an_error_that_names_it_and_the_fix(sqs) -> None:
    with pytest.raises(QueueNotFound) as caught:
        producer(sqs, create_queues=False).send("email.send", text("x"))
    assert "'email-send'" in str(caught.value)
    assert "PYQS_CREATE_QUEUES" in str(caught.value)
    assert "CreateQueue" not in sqs.calls


def test_a_queue_that_was_deleted_and_made_again_elsewhere_is_looked_up_again(sqs) -> None:
    sqs.create_queue("jobs")
    sending = producer(sqs, create_queues=False)
    sending._urls["jobs"] = sqs.locate("gone")
    assert sending.send("jobs", text("x")).message_id
    assert sending._urls["jobs"] == sqs.locate("jobs")


def test_a_queue_created_just_now_may_take_a_moment(sqs) -> None:
    sqs.fail_calls = [QueueNotFound("not yet"), QueueNotFound("not yet")]
    pauses: list[float] = []
    assert producer(sqs, pauses=pauses).send("jobs", text("x")).message_id
    assert pauses == [1.0, 2.0]


def test_a_queue_given_by_url_or_arn_is_not_looked_up(sqs) -> None:
    url = sqs.create_queue("jobs")
    sqs.calls.clear()
    sending = producer(sqs)
    sending.send(url, text("1"))
    sending.send("arn:aws:sqs:us-east-1:000000000000:jobs", text("2"))
    assert sqs.calls == ["SendMessage", "SendMessage"]
    with pytest.raises(QueueNotFound):
        sending.send(url + "-gone", text("3"))


def test_without_permission_to_look_up_the_error_points_to_urls(sqs) -> None:
    sqs.create_queue("jobs")
    sqs.store.faults.add("access-denied:action=GetQueueUrl")
    with pytest.raises(AccessDenied, match="URL"):
        producer(sqs).send("jobs", text("x"))


@pytest.mark.parametrize("queue", ["", "a b", "café", "x" * 81, ".fifo"])
def test_an_impossible_queue_name_is_refused_before_any_call(sqs, queue) -> None:
    with pytest.raises(BadMessageOption) as caught:
        producer(sqs).send(queue, text("x"))
    assert repr(queue) in str(caught.value)
    assert sqs.calls == []


# -- what a message may be -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [-1, 901, 10**9, 1.5, "5", True, False, float("nan"), [], object()])
@pytest.mark.parametrize("queue", ["jobs", "jobs.fifo"])
def test_an_impossible_delay_names_the_queue(sqs, delay, queue) -> None:
    with pytest.raises(BadMessageOption, match=queue):
        producer(sqs).send(queue, text("x", delay=delay))
    assert sqs.calls == []


@pytest.mark.parametrize("delay", [None, 0, 1, 900])
def test_a_possible_delay_stays_as_it_is(delay) -> None:
    assert check_delay(delay, "jobs") == delay


def test_a_fifo_queue_takes_no_delay() -> None:
    assert check_delay(0, "jobs.fifo") is None
    with pytest.raises(BadMessageOption, match="FIFO"):
        check_delay(5, "jobs.fifo")


def test_a_fifo_queue_is_created_as_one_and_gets_group_and_deduplication_ids(sqs) -> None:
    sending = producer(sqs)
    sending.send("jobs.fifo", text("1"))
    sending.send("jobs.fifo", text("1"))
    sending.send("jobs.fifo", text("2", group_id="g", dedup_id="d"))
    found = sqs.all("jobs.fifo")
    assert [(message.body, message.attributes["MessageGroupId"]) for message in found] == [
        ("1", "default"), ("1", "default"), ("2", "g")
    ]  # fmt: skip
    assert found[2].attributes["MessageDeduplicationId"] == "d"


def test_a_standard_queue_keeps_a_group_and_refuses_a_deduplication_id(sqs) -> None:
    sending = producer(sqs)
    sending.send("jobs", text("1", group_id="tenant"))
    assert sqs.all("jobs")[0].attributes["MessageGroupId"] == "tenant"
    with pytest.raises(BadMessageOption, match="deduplication"):
        sending.send("jobs", text("1", dedup_id="d"))


def test_the_largest_message_passes_and_one_byte_more_names_task_queue_and_size(sqs) -> None:
    sending = producer(sqs)
    sending.send("jobs", text("x" * MAX_BYTES))
    with pytest.raises(TooLarge) as caught:
        sending.send("jobs", text("x" * (MAX_BYTES + 1)), task="shop.export")
    for word in ("shop.export", "jobs", str(MAX_BYTES + 1)):
        assert word in str(caught.value)


def test_attributes_and_characters_beyond_ascii_count() -> None:
    attributes = {"né": MessageAttribute("String", string_value="é"), "b": MessageAttribute("Binary", binary_value=b"123")}
    assert message_size(text("€", message_attributes=attributes)) == 3 + (3 + 6 + 2) + (1 + 6 + 3)


# -- many ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, MAX_BYTES // 2), max_size=40))
def test_batches_are_small_enough_complete_and_in_order(sizes) -> None:
    messages = [text("x" * size) for size in sizes]
    cut = list(batches(messages))
    assert [message for batch in cut for message in batch] == messages
    for batch in cut:
        assert 1 <= len(batch) <= 10
        assert sum(map(message_size, batch)) <= MAX_BYTES
    for one, other in itertools.pairwise(cut):
        assert len(one) == 10 or sum(map(message_size, one)) + message_size(other[0]) > MAX_BYTES


def test_many_are_sent_in_batches(sqs) -> None:
    sent = producer(sqs).send_many("jobs", [text(str(number)) for number in range(25)])
    assert sorted(sqs.batch_sizes) == [5, 10, 10]
    bodies = {message.message_id: message.body for message in sqs.all("jobs")}
    assert [bodies[one.message_id] for one in sent] == [str(number) for number in range(25)], "answers in the calls' order"
    assert len(bodies) == 25


def test_batches_go_abreast_on_a_standard_queue_and_one_by_one_on_fifo(sqs, monkeypatch) -> None:
    at_once = threading.Barrier(4)
    sending = producer(sqs)
    real = sqs.send_batch

    def send_batch(url: str, messages: Any) -> Any:
        if not url.endswith(".fifo") and messages[0].body != "0":
            at_once.wait(10)  # only if four are under way together
        return real(url, messages)

    monkeypatch.setattr(sqs, "send_batch", send_batch)
    assert len(sending.send_many("jobs", [text(str(number)) for number in range(50)])) == 50
    sent = sending.send_many("jobs.fifo", [text(str(number)) for number in range(30)])
    assert len(sent) == 30


def test_none_are_no_call(sqs) -> None:
    assert producer(sqs).send_many("jobs", []) == []
    assert sqs.calls == []


def test_only_entries_refused_for_a_passing_reason_are_sent_again(sqs) -> None:
    passing, final = SqsError("later", code="InternalError", retryable=True), SqsError("never", code="Invalid")
    sqs.refuse_entries = [{"1": passing, "2": final, "3": passing}, {"3": passing}, {}]
    pauses: list[float] = []
    with pytest.raises(SendFailed) as caught:
        producer(sqs, pauses=pauses).send_many("jobs", [text(str(number)) for number in range(5)])
    assert sqs.batch_sizes == [5, 2, 1]
    assert len(pauses) == 2
    results = caught.value.results
    assert [isinstance(result, SentMessage) for result in results] == [True, True, False, True, True]
    assert results[2] is final
    assert caught.value.retryable is False
    assert "1 of 5" in str(caught.value)
    assert "jobs" in str(caught.value)
    assert sorted(message.body for message in sqs.all("jobs")) == ["0", "1", "3", "4"]


def test_an_entry_refused_again_and_again_is_given_up(sqs) -> None:
    sqs.refuse_entries = [{"0": SqsError("later", retryable=True)}] * 20
    with pytest.raises(SendFailed) as caught:
        producer(sqs).send_many("jobs", [text("0")])
    assert len(sqs.batch_sizes) == bulk.BATCH_ATTEMPTS
    assert caught.value.retryable is True


def test_when_sqs_is_away_the_rest_is_not_tried(sqs) -> None:
    sqs.create_queue("jobs")
    away = Unreachable("nobody there")
    sending = producer(sqs)
    sending.send_many("jobs", [text("first")])
    sqs.fail_calls = [away]
    with pytest.raises(SendFailed) as caught:
        sending.send_many("jobs", [text(str(number)) for number in range(25)])
    assert sqs.batch_sizes == [1, 10]
    assert caught.value.results == (away,) * 25


def test_on_a_fifo_queue_nothing_is_sent_after_a_batch_with_a_refused_message(sqs) -> None:
    sqs.refuse_entries = [{"3": SqsError("later", retryable=True)}]
    with pytest.raises(SendFailed) as caught:
        producer(sqs).send_many("jobs.fifo", [text(str(number)) for number in range(12)])
    assert sqs.batch_sizes == [10]
    assert [isinstance(result, SentMessage) for result in caught.value.results] == [True] * 3 + [False] + [True] * 6 + [
        False
    ] * 2


def test_one_bad_message_stops_all_before_anything_is_sent(sqs) -> None:
    with pytest.raises(TooLarge):
        producer(sqs).send_many("jobs", [text("fine"), text("x" * (MAX_BYTES + 1))])
    assert sqs.calls == []


# -- the process's own -----------------------------------------------------------------------------------------------


def test_the_default_producer_is_kept_until_the_settings_change(monkeypatch) -> None:
    monkeypatch.setattr(process_defaults, "_connection", None)
    monkeypatch.setattr(process_defaults, "_create_queues", None)
    monkeypatch.setenv("PYQS_ENDPOINT_URL", "http://127.0.0.1:7")
    monkeypatch.setenv("PYQS_CREATE_QUEUES", "no")
    process_defaults.configure()
    first = default_producer()
    assert first is default_producer()
    assert first.connection.endpoint_url == "http://127.0.0.1:7"
    assert first.create_queues is False
    process_defaults.configure(connection=CONNECTION, create_queues=True)
    assert default_producer() is not first
    assert default_producer().connection == CONNECTION
    assert default_producer().create_queues is True
    monkeypatch.undo()
    process_defaults.configure()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_another_thread_connects_can_still_send(sqs) -> None:
    sending = producer(sqs)
    sqs.create_queue("jobs")
    with sending._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                sending._client()
                code = 0
            finally:
                os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
