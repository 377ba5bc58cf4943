"""Long polls on the real clock: they end when something happens, not before, and nobody takes everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pyqs.local.inprocess import InProcessSqs
from pyqs.local.service_error import ServiceError
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage

#: Seconds that "at once" may take on a machine with other things to do; a poll that is not ended lasts ten.
SOON = 2.0


class Poll(threading.Thread):
    """A receive on a thread; ``result`` has its messages or its error, ``took`` its seconds."""

    def __init__(self, call: Callable[[], list]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.start()

    def run(self) -> None:
        start = time.monotonic()
        try:
            self.result = self._call()
        except Exception as error:
            self.result = error
        self.ended = time.monotonic()
        self.took = self.ended - start

    def wait(self) -> list:
        self.join(15)
        assert not self.is_alive()
        return self.result


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    store.create_queue("q")
    yield store
    store.close()


def poll(store: Store, count: int = 1, wait: int = 10, **options) -> Poll:
    return Poll(lambda: store.receive("q", max_messages=count, wait=wait, **options))


def until_waiting(store: Store, number: int, queue: str = "q") -> None:
    """Return when so many polls wait."""
    deadline = time.monotonic() + 10
    while store._catalog.get(queue).waiting < number:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_send_ends_the_poll_at_once(store):
    waiting = poll(store)
    until_waiting(store, 1)
    sent = time.monotonic()
    store.send("q", OutgoingMessage("x"))
    assert [m.body for m in waiting.wait()] == ["x"]
    assert waiting.ended - sent < SOON


def test_a_release_ends_the_poll_at_once(store):
    store.send("q", OutgoingMessage("x"))
    held = store.receive("q", wait=0)[0]
    waiting = poll(store)
    until_waiting(store, 1)
    released = time.monotonic()
    store.change_visibility_batch("q", [(held.receipt_handle, 0)])
    assert len(waiting.wait()) == 1
    assert waiting.ended - released < SOON


def test_the_end_of_a_visibility_timeout_ends_the_poll(store):
    store.send("q", OutgoingMessage("x"))
    store.receive("q", wait=0, visibility=1)
    waiting = poll(store)
    assert len(waiting.wait()) == 1
    assert 0.8 < waiting.took < 1 + SOON


def test_a_visibility_shortened_while_polls_wait_is_noticed(store):
    store.send("q", OutgoingMessage("x"))
    held = store.receive("q", wait=0, visibility=600)[0]
    waiting = poll(store)
    until_waiting(store, 1)
    store.change_visibility_batch("q", [(held.receipt_handle, 1)])
    assert len(waiting.wait()) == 1
    assert waiting.took < 1.5 + SOON


def test_the_end_of_a_delay_ends_the_poll(store):
    waiting = poll(store)
    until_waiting(store, 1)
    store.send("q", OutgoingMessage("x", delay=1))
    assert len(waiting.wait()) == 1
    assert 0.8 < waiting.took < 1.5 + SOON


def test_a_message_moved_to_a_dead_letter_queue_ends_the_poll_there(store):
    store.create_queue("dead")
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":1}'
    store.set_queue_attributes("q", {"RedrivePolicy": policy})
    store.send("q", OutgoingMessage("x"))
    store.receive("q", wait=0, visibility=0)
    waiting = Poll(lambda: store.receive("dead", wait=10))
    until_waiting(store, 1, "dead")
    assert store.receive("q", wait=0) == []
    assert [m.body for m in waiting.wait()] == ["x"]


def test_an_unlocked_group_ends_the_poll(store):
    store.create_queue("f.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"})
    for body in "ab":
        store.send("f.fifo", OutgoingMessage(body, group_id="g"))
    held = store.receive("f.fifo", wait=0)[0]
    waiting = Poll(lambda: store.receive("f.fifo", wait=10))
    until_waiting(store, 1, "f.fifo")
    store.delete_batch("f.fifo", [held.receipt_handle])
    assert [m.body for m in waiting.wait()] == ["b"]
    assert waiting.took < 5


def test_an_empty_poll_lasts_its_time_and_the_queues_own_time_is_the_default(store):
    store.set_queue_attributes("q", {"ReceiveMessageWaitTimeSeconds": "1"})
    start = time.monotonic()
    assert store.receive("q") == []
    assert 0.95 < time.monotonic() - start < 1 + SOON
    start = time.monotonic()
    assert store.receive("q", wait=0) == []
    assert time.monotonic() - start < SOON


@pytest.mark.parametrize("asked", [1, 10])
def test_fifty_polls_and_fifty_messages_each_gets_one(store, asked):
    polls = [poll(store, asked) for _ in range(50)]
    until_waiting(store, 50)
    for _ in range(5):
        store.send_batch("q", [OutgoingMessage("x") for _ in range(10)])
    assert [len(p.wait()) for p in polls] == [1] * 50
    assert max(p.took for p in polls) < 5


def test_a_single_poll_gets_the_whole_batch(store):
    waiting = poll(store, 10)
    until_waiting(store, 1)
    store.send_batch("q", [OutgoingMessage("x") for _ in range(10)])
    assert len(waiting.wait()) == 10


def test_many_delayed_messages_due_at_once_reach_many_polls(store):
    store.send_batch("q", [OutgoingMessage("x", delay=1) for _ in range(10)])
    polls = [poll(store, 10) for _ in range(10)]
    assert [len(p.wait()) for p in polls] == [1] * 10


def test_a_caller_that_left_takes_nothing_and_passes_the_wake_up_on(store):
    left = threading.Event()
    gone = poll(store, gone=left.is_set)
    until_waiting(store, 1)
    staying = poll(store)
    until_waiting(store, 2)
    left.set()
    store.send("q", OutgoingMessage("x"))
    assert len(staying.wait()) == 1
    assert staying.took < 5
    assert gone.wait() == []


def test_deleting_the_queue_ends_the_poll_with_an_error(store):
    waiting = poll(store)
    until_waiting(store, 1)
    store.delete_queue("q")
    result = waiting.wait()
    assert isinstance(result, ServiceError)
    assert result.shape == "QueueDoesNotExist"


def test_closing_the_store_ends_the_poll_with_an_error(store):
    waiting = poll(store)
    until_waiting(store, 1)
    store.close()
    result = waiting.wait()
    assert isinstance(result, ServiceError)
    assert result.shape == "ServiceUnavailableException"


def test_abort_ends_the_polls_of_its_client_only(store):
    mine, other = InProcessSqs(store), InProcessSqs(store)
    url = mine.queue_url("q")
    aborted = [Poll(lambda: mine.receive(url, wait=10)) for _ in range(3)]
    kept = Poll(lambda: other.receive(url, wait=10))
    until_waiting(store, 4)
    start = time.monotonic()
    mine.abort()
    assert [p.wait() for p in aborted] == [[], [], []]
    assert time.monotonic() - start < SOON * 2
    assert kept.is_alive()
    store.send("q", OutgoingMessage("x"))
    assert len(kept.wait()) == 1


def test_one_message_is_never_handed_to_two_of_many_threads(store):
    total = 400
    received: list[str] = []
    lock = threading.Lock()

    def consume() -> None:
        while messages := store.receive("q", max_messages=10, wait=1):
            with lock:
                received.extend(m.message_id for m in messages)
            store.delete_batch("q", [m.receipt_handle for m in messages])

    def produce() -> None:
        for _ in range(total // 40):
            store.send_batch("q", [OutgoingMessage("x") for _ in range(10)])

    threads = [threading.Thread(target=target) for target in [consume] * 8 + [produce] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(received) == len(set(received)) == total
    counts = store.queue_attributes("q")
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
