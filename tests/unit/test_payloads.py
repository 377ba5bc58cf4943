"""Bodies in S3: the format of their pointers, when they go there, and what is never fetched or deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs.config import ConnectionConfig
from pyqs.errors import (
    BadMessageOption,
    ConfigError,
    PayloadRefused,
    PayloadUnavailable,
    TooLarge,
    Undecodable,
    Unsupported,
)
from pyqs.message import MessageAttribute, OutgoingMessage, ReceivedMessage
from pyqs.payloads import Payloads
from pyqs.pointers import Pointer, is_pointer, pointer_of, pointing, read_pointer
from small_s3 import SmallS3

#: What AWS's Extended Client Library for Java 2 writes, and what it wrote before version 1.1.
AWS = '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"big","s3Key":"5d2b1d7e"}]'
OLD = '["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"big","s3Key":"5d2b1d7e"}]'


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    made = SmallS3()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
    yield made
    made.close()


def connection(bucket: str | None = "big", threshold: int | None = None) -> ConnectionConfig:
    return ConnectionConfig(region="us-east-1", large_payload_bucket=bucket, large_payload_threshold=threshold)


def received(body: str) -> ReceivedMessage:
    return ReceivedMessage("m-1", "handle", body)


def test_pointers_are_those_of_aws() -> None:
    assert read_pointer(AWS) == read_pointer(OLD) == Pointer("big", "5d2b1d7e")
    made = pointing(OutgoingMessage("x" * 400), Pointer("big", "5d2b1d7e"), 400)
    assert made.body == AWS
    assert made.message_attributes == {"ExtendedPayloadSize": MessageAttribute("Number", "400")}


@pytest.mark.parametrize(
    "rest",
    ["", "]", ",{}]", ',{"s3BucketName":"b"}]', ',{"s3BucketName":1,"s3Key":"k"}]', ',{"s3BucketName":"","s3Key":"k"}]', ",5]",
     ',{"s3BucketName":"b","s3Key":"k"},1]', ',{"s3BucketName":"b","s3Key":"' + "k" * 9000 + '"}]', "," + "[" * 5000],
)  # fmt: skip
def test_a_broken_pointer_is_undecodable(rest: str) -> None:
    body = '["software.amazon.payloadoffloading.PayloadS3Pointer"' + rest
    assert is_pointer(body)
    with pytest.raises(Undecodable, match="it says that its body lies in S3, and not where"):
        read_pointer(body)
    assert pointer_of(received(body)) is None


@pytest.mark.parametrize("body", ["{}", "[]", '["x"]', "eyJ9", '["software.amazon"]', " "])
def test_other_bodies_are_none(body: str) -> None:
    assert not is_pointer(body)
    assert Payloads(connection()).body_of(received(body), 1000) is body


def test_a_body_goes_there_and_comes_back(s3: SmallS3) -> None:
    payloads = Payloads(connection(threshold=100))
    message = OutgoingMessage("ü" * 60, delay=5, group_id="g", message_attributes={"a": MessageAttribute("String", "x")})
    sent = payloads.put_away(message, "task t")
    assert is_pointer(sent.body)
    assert (sent.delay, sent.group_id) == (5, "g")
    assert sent.message_attributes["a"].string_value == "x"
    assert sent.message_attributes["ExtendedPayloadSize"].string_value == "120"
    assert payloads.body_of(received(sent.body), 120) == message.body
    pointer = read_pointer(sent.body)
    payloads.delete([pointer])
    assert s3.objects == {}


def test_what_is_small_stays_where_it_is(s3: SmallS3) -> None:
    message = OutgoingMessage("x" * (256 << 10))
    assert Payloads(connection()).put_away(message, "task t") is message
    assert is_pointer(Payloads(connection()).put_away(OutgoingMessage("x" * ((256 << 10) + 1)), "task t").body)


def test_without_a_bucket_there_is_an_error_that_names_task_and_size() -> None:
    payloads = Payloads(connection(None))
    assert payloads.put_away(OutgoingMessage("x" * (1 << 20)), "task t")
    with pytest.raises(TooLarge, match=r"task t for queue 'q' has 1048577 bytes, SQS takes 1048576; .*docs/big-messages.md"):
        payloads.put_away(OutgoingMessage("x" * ((1 << 20) + 1)), "task t for queue 'q'")


def test_ten_attributes_leave_no_room(s3: SmallS3) -> None:
    full = {f"a{n}": MessageAttribute("String", "x") for n in range(10)}
    with pytest.raises(BadMessageOption, match="none is left for a pointer to S3"):
        Payloads(connection(threshold=10)).put_away(OutgoingMessage("x" * 50, message_attributes=full), "task t")
    assert not s3.calls


@pytest.mark.parametrize("bucket", [None, "small", "bigger", "small,other"])
def test_a_pointer_to_another_bucket_is_refused_unread(s3: SmallS3, bucket: str | None) -> None:
    s3.objects["big/5d2b1d7e"] = b"{}"
    for body in (AWS, OLD):
        with pytest.raises(PayloadRefused, match=r"its body lies in the S3 bucket 'big', .*\(--large-payload-bucket\)"):
            Payloads(connection(bucket)).body_of(received(body), 1000)
    assert not s3.calls


def test_further_buckets_are_read_and_not_written(s3: SmallS3) -> None:
    payloads = Payloads(connection("new, big", threshold=1))
    s3.objects["big/5d2b1d7e"] = b"text"
    assert payloads.body_of(received(AWS), 1000) == "text"
    assert read_pointer(payloads.put_away(OutgoingMessage("xx"), "task t").body).bucket == "new"


def test_the_size_limit_holds_for_objects(s3: SmallS3) -> None:
    s3.objects["big/5d2b1d7e"] = b"x" * 1001
    with pytest.raises(Undecodable, match=r"has 1001 bytes, over the limit of 1000 \(--max-payload\)"):
        Payloads(connection()).body_of(received(AWS), 1000)


def test_an_object_that_is_gone_and_one_that_is_no_text(s3: SmallS3) -> None:
    with pytest.raises(Undecodable, match="not in S3 any more"):
        Payloads(connection()).body_of(received(AWS), 1000)
    s3.objects["big/5d2b1d7e"] = b"\xff\xfe"
    with pytest.raises(Undecodable, match="no UTF-8"):
        Payloads(connection()).body_of(received(AWS), 1000)


@pytest.mark.parametrize(("code", "retryable"), [("AccessDenied", False), ("SlowDown", True)])
def test_s3_that_refuses_is_nobodys_fault(s3: SmallS3, code: str, retryable: bool) -> None:
    """No policy deletes the message for it."""
    s3.refused = dict.fromkeys(("put", "get", "delete"), code)
    payloads = Payloads(connection(threshold=1))
    with pytest.raises(Unsupported, match=f"cannot get s3://big/5d2b1d7e: {code}: so it is; the message stays on its queue"):
        payloads.body_of(received(AWS), 1000)
    with pytest.raises(PayloadUnavailable, match=f"cannot put task t, 2 bytes, in s3://big/.*: {code}") as caught:
        payloads.put_away(OutgoingMessage("xx"), "task t")
    assert caught.value.retryable is retryable
    with pytest.raises(PayloadUnavailable, match=code):
        payloads.delete([Pointer("big", "k")])


def test_nobody_there(s3: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.close()
    with pytest.raises(Unsupported, match=r"EndpointConnectionError|ConnectionClosedError|ConnectTimeoutError"):
        Payloads(connection()).body_of(received(AWS), 1000)


def test_a_fork_makes_a_client_of_its_own(s3: SmallS3) -> None:
    payloads = Payloads(connection(threshold=1))
    payloads.put_away(OutgoingMessage("xx"), "task t")
    mine = payloads._made
    child = os.fork()
    if not child:
        try:
            payloads.put_away(OutgoingMessage("xx"), "task t")
            os._exit(payloads._made is mine)
        except BaseException:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(s3.objects) == 2


@pytest.mark.parametrize("threshold", [0, -1, (1 << 20) + 1])
def test_a_threshold_out_of_range(threshold: int) -> None:
    with pytest.raises(ConfigError, match="--large-payload-threshold must be 1 to 1048576 bytes"):
        connection(threshold=threshold)


def test_variables() -> None:
    env = {"PYQS_LARGE_PAYLOAD_BUCKET": "a,b", "PYQS_LARGE_PAYLOAD_THRESHOLD": "1000"}
    read = ConnectionConfig.from_environment(env)
    assert (read.large_payload_buckets, read.payload_threshold) == (("a", "b"), 1000)
    with pytest.raises(ConfigError, match="PYQS_LARGE_PAYLOAD_THRESHOLD must be a whole number, not 'much'"):
        ConnectionConfig.from_environment(env | {"PYQS_LARGE_PAYLOAD_THRESHOLD": "much"})


def test_a_native_producer_puts_bodies_away(s3: SmallS3) -> None:
    from pyqs.local.inprocess import InProcessSqs
    from pyqs.local.store import Store
    from pyqs.producer import Producer

    sqs = InProcessSqs(Store())
    producer = Producer(connection(threshold=200), connector=lambda _: sqs)
    producer.send_many("q", [OutgoingMessage("x" * size) for size in (100, 300, 3_000_000)])
    found: Any = sqs.receive(sqs.queue_url("q"), wait=0)
    assert sorted(is_pointer(one.body) for one in found) == [False, True, True]
    assert sorted(map(len, s3.objects.values())) == [300, 3_000_000]
    assert json.loads(next(one.body for one in found if is_pointer(one.body)))[1]["s3BucketName"] == "big"
