"""When an object in S3 is done with: after its message's delete, at the end of an early-acked task, never under a copy."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from processes import wait_until
from pyqs.clock import boottime
from pyqs.config import ConnectionConfig
from pyqs.errors import PayloadUnavailable
from pyqs.message import Delivery, FollowUp, OutgoingMessage, ReceivedMessage, copy_of
from pyqs.pointers import Pointer, pointing
from pyqs.worker.payloads import LargePayloads


class S3:
    """What a worker asks of S3, kept."""

    def __init__(self) -> None:
        self.buckets = ("big",)
        self.deleted: list[str] = []
        self.calls = 0
        self.failures: list[PayloadUnavailable] = []
        self.go = threading.Event()
        self.go.set()

    def delete(self, pointers: Sequence[Pointer]) -> None:
        self.go.wait()
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        self.deleted += [one.key for one in pointers]


@pytest.fixture
def s3() -> S3:
    return S3()


@pytest.fixture
def payloads(s3: S3) -> Iterator[LargePayloads]:
    made = LargePayloads(ConnectionConfig(large_payload_bucket="big"), lambda _, exc: None, s3)  # type: ignore[arg-type]
    made.start()
    yield made
    made.stop()
    assert made.join(10)


def delivery(number: int = 1, bucket: str = "big") -> Delivery:
    body = pointing(OutgoingMessage("x"), Pointer(bucket, f"key-{number}"), 1).body
    return Delivery(number, "q", "http://sqs/1/q", ReceivedMessage(f"m-{number}", "h", body), boottime(), 0.0, 120)


def test_it_goes_after_the_messages_delete(payloads: LargePayloads, s3: S3) -> None:
    payloads.ends(delivery(), ())
    assert not s3.calls
    payloads.deleted(delivery())
    wait_until(lambda: s3.deleted == ["key-1"])


def test_nothing_of_another_bucket_and_nothing_without_a_pointer(payloads: LargePayloads, s3: S3) -> None:
    payloads.deleted(delivery(1, "secrets"))
    plain = Delivery(2, "q", "http://sqs/1/q", ReceivedMessage("m-2", "h", "{}"), boottime(), 0.0, 120)
    payloads.deleted(plain)
    payloads.deleted(delivery(3))
    wait_until(lambda: s3.deleted == ["key-3"])


@pytest.mark.parametrize("first", ["delete", "end"])
def test_of_an_early_ack_it_goes_after_both_ends(payloads: LargePayloads, s3: S3, first: str) -> None:
    payloads.begins_early(delivery())
    steps = [lambda: payloads.deleted(delivery()), lambda: payloads.ends(delivery(), ())]
    for step in steps if first == "delete" else reversed(steps):
        assert not s3.calls
        step()
    wait_until(lambda: s3.deleted == ["key-1"])


def test_what_was_copied_is_the_copys(payloads: LargePayloads, s3: S3) -> None:
    """A hop; and the same message again, when its delete was lost, is only deleted."""
    payloads.copied(delivery())
    payloads.deleted(delivery())
    payloads.deleted(delivery())
    payloads.deleted(delivery(2))
    wait_until(lambda: s3.deleted == ["key-2"])


def test_a_delete_by_an_old_receipt_may_have_deleted_nothing(payloads: LargePayloads, s3: S3) -> None:
    payloads.deleted(delivery(), held=False)
    payloads.deleted(delivery(2))
    wait_until(lambda: s3.deleted == ["key-2"])


def test_one_that_was_stopped_and_is_sent_again_keeps_it(payloads: LargePayloads, s3: S3) -> None:
    payloads.begins_early(delivery())
    payloads.deleted(delivery())
    payloads.ends(delivery(), (FollowUp("q", copy_of(delivery(), 0)),))
    payloads.deleted(delivery(2))
    wait_until(lambda: s3.deleted == ["key-2"])


def test_many_go_in_one_call(payloads: LargePayloads, s3: S3) -> None:
    s3.go.clear()
    for number in range(100):
        payloads.deleted(delivery(number))
    s3.go.set()
    wait_until(lambda: len(s3.deleted) == 100)
    assert s3.calls <= 3


def test_what_fails_for_the_moment_is_tried_again_and_what_is_refused_said_once(
    payloads: LargePayloads, s3: S3, caplog: pytest.LogCaptureFixture
) -> None:
    s3.failures = [PayloadUnavailable("busy", code="SlowDown", retryable=True)]
    payloads.deleted(delivery(1))
    wait_until(lambda: s3.deleted == ["key-1"])
    for number in (2, 3):
        s3.failures = [PayloadUnavailable("no", code="AccessDenied")]
        calls = s3.calls
        payloads.deleted(delivery(number))
        wait_until(lambda before=calls: s3.calls > before)
    payloads.deleted(delivery(4))
    wait_until(lambda: s3.deleted == ["key-1", "key-4"])
    assert len([record for record in caplog.records if "until its lifecycle rule" in record.message]) == 1


def test_at_the_end_what_is_there_is_deleted_still(payloads: LargePayloads, s3: S3) -> None:
    for number in range(5):
        payloads.deleted(delivery(number))
    payloads.end()
    assert len(s3.deleted) == 5


def test_without_a_bucket_there_is_no_thread() -> None:
    none = LargePayloads(ConnectionConfig(), lambda _, exc: None)
    none.start()
    none.deleted(delivery())
    none.end()
    assert not none.alive
