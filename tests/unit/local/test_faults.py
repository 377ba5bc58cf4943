"""Each fault does what it says, and only where it is asked to."""

from __future__ import annotations

import threading
import time

import pytest

from pyqs.errors import AccessDenied, ConfigError, CredentialsError, LeaseLost, SqsError, Throttled, Unreachable
from pyqs.local.faults import Faults, Rule
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage


@pytest.fixture
def faults():
    return Faults(seed=7)


@pytest.fixture
def sqs(faults):
    store = Store(faults=faults)
    store.create_queue("q")
    store.create_queue("other")
    yield InProcessSqs(store)
    store.close()


@pytest.fixture
def url(sqs):
    return sqs.queue_url("q")


def fill(sqs: InProcessSqs, url: str, count: int) -> None:
    for number in range(count):
        sqs.send(url, OutgoingMessage(f"{number:03}"))


def visible(sqs: InProcessSqs, url: str) -> int:
    return int(sqs.queue_attributes(url)["ApproximateNumberOfMessages"])


@pytest.mark.parametrize(
    ("rule", "error", "code"),
    [
        ("throttle", Throttled, "RequestThrottled"),
        ("throttle=ThrottlingException", Throttled, "ThrottlingException"),
        ("error", Unreachable, "InternalError"),
        ("error=503", Unreachable, "ServiceUnavailable"),
        ("access-denied", AccessDenied, "AccessDenied"),
        ("expired-token", CredentialsError, "ExpiredToken"),
        ("drop", Unreachable, ""),
        ("stall=0.01", Unreachable, ""),
    ],
)
def test_calls_that_fail_do_nothing(sqs, url, faults, rule, error, code):
    faults.add(rule + ":action=SendMessage")
    with pytest.raises(error) as caught:
        sqs.send(url, OutgoingMessage("x"))
    assert caught.value.code == code
    assert visible(sqs, url) == 0


def test_a_connection_dropped_after_the_action_has_done_it(sqs, url, faults):
    faults.add("drop=after:action=SendMessage*")
    with pytest.raises(Unreachable):
        sqs.send_batch(url, [OutgoingMessage("x")])
    assert visible(sqs, url) == 1


def test_latency_delays_the_call(sqs, url, faults):
    faults.add("latency=0.2:action=SendMessage")
    start = time.monotonic()
    sqs.send(url, OutgoingMessage("x"))
    assert time.monotonic() - start >= 0.2


def test_a_stall_ends_with_abort(sqs, url, faults):
    faults.add("stall")
    caught: list[BaseException] = []

    def call() -> None:
        try:
            sqs.receive(url)
        except SqsError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while thread.is_alive():
        sqs.abort()
        thread.join(0.01)
    assert isinstance(caught[0], Unreachable)


def test_a_rule_meets_only_its_action_and_queue(sqs, url, faults):
    faults.add("access-denied:action=ReceiveMessage:queue=oth*")
    sqs.send(url, OutgoingMessage("x"))
    assert len(sqs.receive(url, wait=0)) == 1
    with pytest.raises(AccessDenied):
        sqs.receive(sqs.queue_url("other"), wait=0)


def test_a_rule_with_times_ends(sqs, url, faults):
    faults.add("throttle:action=SendMessage:times=2")
    for _ in range(2):
        with pytest.raises(Throttled):
            sqs.send(url, OutgoingMessage("x"))
    sqs.send(url, OutgoingMessage("x"))
    assert faults.describe() == []


def test_a_rate_is_met_roughly_and_a_seed_repeats_it():
    def struck(seed: int) -> list[bool]:
        faults = Faults(["empty:rate=0.3"], seed=seed)
        return [faults.limit("q", 10) == 0 for _ in range(300)]

    assert 50 < sum(struck(1)) < 130
    assert struck(1) == struck(1)
    assert struck(1) != struck(2)


def test_short_receives(sqs, url, faults):
    fill(sqs, url, 60)
    faults.add("short")
    sizes = [len(sqs.receive(url, wait=0)) for _ in range(15)]
    assert set(sizes) == {1, 2, 3}
    faults.clear()
    assert len(sqs.receive(url, wait=0)) == 10


def test_empty_receives_although_messages_wait(sqs, url, faults):
    fill(sqs, url, 1)
    faults.add("empty:times=1")
    start = time.monotonic()
    assert sqs.receive(url, wait=20) == []
    assert time.monotonic() - start < 5
    assert len(sqs.receive(url, wait=0)) == 1


def test_duplicates_are_delivered_while_the_first_is_held(sqs, url, faults):
    fill(sqs, url, 1)
    faults.add("duplicate:times=1")
    first, second = sqs.receive(url, wait=0)[0], sqs.receive(url, wait=0)[0]
    assert first.message_id == second.message_id
    assert first.receipt_handle != second.receipt_handle
    assert second.attributes["ApproximateReceiveCount"] == "2"
    assert sqs.receive(url, wait=0) == []


def test_reordering_takes_from_the_whole_queue(sqs, url, faults):
    fill(sqs, url, 50)
    faults.add("reorder")
    bodies = [m.body for _ in range(5) for m in sqs.receive(url, wait=0)]
    assert sorted(bodies) == [f"{n:03}" for n in range(50)]
    assert bodies != sorted(bodies)
    assert max(bodies[:10]) > "020"


def test_neither_order_nor_single_delivery_is_broken_on_fifo(sqs, faults):
    url = sqs.create_queue("f.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"})
    for body in "abcdef":
        sqs.send(url, OutgoingMessage(body, group_id="g"))
    for rule in ("reorder", "duplicate", "undelete"):
        faults.add(rule)
    messages = sqs.receive(url, wait=0)
    assert [m.body for m in messages] == list("abcdef")
    assert sqs.receive(url, wait=0) == []
    sqs.delete_batch(url, [m.receipt_handle for m in messages])
    assert sqs.queue_attributes(url)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_an_undeleted_message_comes_back(sqs, url, faults):
    fill(sqs, url, 1)
    faults.add("undelete:times=1")
    message = sqs.receive(url, wait=0, visibility=1)[0]
    assert sqs.delete_batch(url, [message.receipt_handle]) == [None]
    again = sqs.receive(url, wait=5)[0]
    assert again.message_id == message.message_id
    sqs.delete_batch(url, [again.receipt_handle])
    assert sqs.queue_attributes(url)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_expired_handles(sqs, url, faults):
    fill(sqs, url, 2)
    handles = [m.receipt_handle for m in sqs.receive(url, wait=0)]
    faults.add("expired-handle:times=1:action=DeleteMessage")
    refused, done = sqs.delete_batch(url, handles)
    assert isinstance(refused, LeaseLost)
    assert done is None
    faults.add("expired-handle:action=ChangeMessageVisibility")
    assert isinstance(sqs.change_visibility_batch(url, [(handles[0], 0)])[0], LeaseLost)


def test_a_late_change_of_visibility_may_be_answered_ok_and_do_nothing(sqs, url, faults):
    fill(sqs, url, 1)
    handle = sqs.receive(url, wait=0, visibility=0)[0].receipt_handle
    assert isinstance(sqs.change_visibility_batch(url, [(handle, 60)])[0], LeaseLost)
    faults.add("late-change-ok")
    assert sqs.change_visibility_batch(url, [(handle, 60)]) == [None]
    assert visible(sqs, url) == 1


def test_counts_lag(sqs, url, faults):
    faults.add("lag=60")
    assert visible(sqs, url) == 0
    fill(sqs, url, 3)
    assert visible(sqs, url) == 0
    faults.clear()
    assert visible(sqs, url) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "short=0",
        "short=x",
        "latency=-1",
        "latency=nan",
        "error=404",
        "drop=sideways",
        "empty:rate=2",
        "empty:rate=nan",
        "empty:rate=x",
        "empty:colour=red",
        "empty:rate",
        "empty:times=0",
    ],
)
def test_a_malformed_rule_is_refused(text):
    with pytest.raises(ConfigError):
        Faults([text])


def test_rules_are_described_as_they_were_given(faults):
    faults.add("short=2:queue=a*:rate=0.5")
    described = faults.describe()
    assert described == [
        {"name": "short", "value": "2", "action": "*", "queue": "a*", "rate": 0.5, "times": None},
    ]
    assert Rule.checked(described[0]) == Rule.parse("short=2:queue=a*:rate=0.5")
