"""The JSON protocol as boto3 sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from pyqs.errors import ConfigError
from pyqs.local.server import LocalServer
from pyqs.local.store import Store


def connect(endpoint: str, region: str = "us-east-1") -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, max_pool_connections=20),
    )


@pytest.fixture
def server() -> Iterator[LocalServer]:
    store = Store()
    with LocalServer(store) as server:
        yield server
    store.close()


@pytest.fixture
def client(server: LocalServer) -> Any:
    return connect(server.endpoint_url)


@pytest.fixture
def url(client: Any) -> str:
    return client.create_queue(QueueName="q")["QueueUrl"]


def failure(call: Any, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response


def test_a_message_goes_round(client, url):
    attributes = {
        "s": {"DataType": "String", "StringValue": "é"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    sent = client.send_message(
        QueueUrl=url, MessageBody="bödy 😀", MessageAttributes=attributes, MessageSystemAttributes=trace, MessageGroupId="t"
    )
    assert sent["MD5OfMessageSystemAttributes"]
    # AttributeNames: boto3's oldest allowed release knows no other name for it.
    got = client.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"][0]
    assert (got["Body"], got["MessageId"], got["MessageAttributes"]) == ("bödy 😀", sent["MessageId"], attributes)
    assert got["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert got["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert got["Attributes"]["AWSTraceHeader"] == trace["AWSTraceHeader"]["StringValue"]
    assert got["Attributes"]["MessageGroupId"] == "t"
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=10)
    client.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    assert (
        client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessagesNotVisible"]
        == "0"
    )


def test_attributes_come_only_when_asked_for(client, url):
    attributes = {name: {"DataType": "String", "StringValue": "x"} for name in ("a.b", "a.c", "d")}
    client.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=attributes)

    def receive(**names: list[str]) -> dict[str, Any]:
        return client.receive_message(QueueUrl=url, VisibilityTimeout=0, **names)["Messages"][0]

    assert not {"Attributes", "MessageAttributes", "MD5OfMessageAttributes"} & receive().keys()
    assert set(receive(AttributeNames=["SentTimestamp"])["Attributes"]) == {"SentTimestamp"}
    assert set(receive(MessageAttributeNames=["a.*"])["MessageAttributes"]) == {"a.b", "a.c"}
    assert set(receive(MessageAttributeNames=["d", "nothing"])["MessageAttributes"]) == {"d"}
    assert set(receive(MessageAttributeNames=[".*"])["MessageAttributes"]) == set(attributes)


def test_batches_and_their_partial_failures(client, url):
    entries = [
        {"Id": "good", "MessageBody": "x"},
        {"Id": "bad", "MessageBody": "\x00"},
        {"Id": "late", "MessageBody": "x", "DelaySeconds": 901},
    ]
    answer = client.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(f["Id"], f["Code"], f["SenderFault"]) for f in answer["Failed"]] == [
        ("bad", "InvalidMessageContents", True),
        ("late", "InvalidParameterValue", True),
    ]
    handle = client.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    changed = client.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "1", "ReceiptHandle": handle, "VisibilityTimeout": 60},
            {"Id": "2", "ReceiptHandle": "garbage", "VisibilityTimeout": 60},
        ],
    )
    assert [entry["Id"] for entry in changed["Successful"]] == ["1"]
    assert changed["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"
    deleted = client.delete_message_batch(
        QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": handle}, {"Id": "2", "ReceiptHandle": "garbage"}]
    )
    assert [entry["Id"] for entry in deleted["Successful"]] == ["1"]
    assert deleted["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([{"Id": str(n), "MessageBody": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([], "EmptyBatchRequest"),
        ([{"Id": "a", "MessageBody": "x"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": str(n), "MessageBody": "x" * 600_000} for n in range(2)], "BatchRequestTooLong"),
    ],
)
def test_a_batch_refused_as_a_whole_sends_nothing(client, url, entries, code):
    error = failure(client.send_message_batch, QueueUrl=url, Entries=entries)["Error"]
    assert error["Code"] == f"AWS.SimpleQueueService.{code}"
    assert "Messages" not in client.receive_message(QueueUrl=url)


def test_errors_carry_the_legacy_code_the_shape_and_the_typed_exception(client, url):
    with pytest.raises(client.exceptions.QueueDoesNotExist) as caught:
        client.get_queue_url(QueueName="nope")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert caught.value.response["Error"]["QueryErrorCode"] == "QueueDoesNotExist"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(client.exceptions.QueueNameExists) as caught:
        client.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "1"})
    assert caught.value.response["Error"]["Code"] == "QueueAlreadyExists"
    assert failure(client.receive_message, QueueUrl=url, MaxNumberOfMessages=11)["Error"]["Code"] == "InvalidParameterValue"
    assert failure(client.send_message, QueueUrl=url, MessageBody="")["Error"]["Code"] == "MissingParameter"
    assert failure(client.delete_message, QueueUrl=url, ReceiptHandle="x")["Error"]["Code"] == "ReceiptHandleIsInvalid"
    unknown = failure(client.get_queue_attributes, QueueUrl=url, AttributeNames=["Nonsense"])
    assert unknown["Error"]["Code"] == "InvalidAttributeName"


def test_what_is_not_there_says_so_by_name(client, url):
    error = failure(client.add_permission, QueueUrl=url, Label="x", AWSAccountIds=["1"], Actions=["*"])["Error"]
    assert error["Code"] == "AWS.SimpleQueueService.UnsupportedOperation"
    assert "AddPermission" in error["Message"]


def test_queues_are_listed_in_pages_and_by_prefix(client):
    for number in range(7):
        client.create_queue(QueueName=f"a{number}")
    client.create_queue(QueueName="b")
    pages = list(client.get_paginator("list_queues").paginate(QueueNamePrefix="a", PaginationConfig={"PageSize": 3}))
    assert [len(page["QueueUrls"]) for page in pages] == [3, 3, 1]
    assert "NextToken" not in client.list_queues()
    assert len(client.list_queues()["QueueUrls"]) == 8
    assert "QueueUrls" not in client.list_queues(QueueNamePrefix="c")
    assert failure(client.list_queues, MaxResults=2, NextToken="!")["Error"]["Code"] == "InvalidParameterValue"


def test_queue_settings_tags_and_sources(client, url):
    dead = client.create_queue(QueueName="dead", tags={"team": "x"})["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client.set_queue_attributes(
        QueueUrl=url, Attributes={"RedrivePolicy": f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":3}}'}
    )
    assert client.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    client.tag_queue(QueueUrl=dead, Tags={"env": "dev"})
    client.untag_queue(QueueUrl=dead, TagKeys=["team"])
    assert client.list_queue_tags(QueueUrl=dead)["Tags"] == {"env": "dev"}
    client.purge_queue(QueueUrl=dead)
    assert failure(client.purge_queue, QueueUrl=dead)["Error"]["Code"] == "AWS.SimpleQueueService.PurgeQueueInProgress"
    client.delete_queue(QueueUrl=dead)
    assert failure(client.create_queue, QueueName="dead")["Error"]["Code"] == "AWS.SimpleQueueService.QueueDeletedRecently"


def test_fifo_over_http(client):
    url = client.create_queue(QueueName="f.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sent = [
        client.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1") for _ in range(2)
    ]
    assert sent[0]["MessageId"] == sent[1]["MessageId"]
    assert sent[0]["SequenceNumber"] == sent[1]["SequenceNumber"]
    first = client.receive_message(QueueUrl=url, ReceiveRequestAttemptId="a", MaxNumberOfMessages=10)["Messages"]
    again = client.receive_message(QueueUrl=url, ReceiveRequestAttemptId="a", MaxNumberOfMessages=10)["Messages"]
    assert [m["ReceiptHandle"] for m in first] == [m["ReceiptHandle"] for m in again]


def test_the_region_of_the_signature_shows_in_the_arn(server):
    client = connect(server.endpoint_url, "eu-west-1")
    url = client.create_queue(QueueName="r")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    assert arn == "arn:aws:sqs:eu-west-1:000000000000:r"


def test_queue_urls_carry_the_host_that_the_client_used(server):
    alias = server.endpoint_url.replace("127.0.0.1", "localhost")
    client = connect(alias)
    url = client.create_queue(QueueName="q")["QueueUrl"]
    assert url == f"{alias}/000000000000/q"
    client.send_message(QueueUrl=url.replace("localhost", "somewhere.else"), MessageBody="x")
    assert len(client.receive_message(QueueUrl=url)["Messages"]) == 1


def test_requests_are_counted_per_action(server, client, url):
    client.send_message(QueueUrl=url, MessageBody="x")
    failure(client.send_message, QueueUrl=url, MessageBody="\x00")
    assert server.seen["SendMessage"] == 2
    assert server.seen["CreateQueue"] == 1


def test_a_long_poll_over_http_wakes_at_once(server, client, url):
    def send() -> None:
        while not server.seen["ReceiveMessage"]:
            time.sleep(0.005)
        time.sleep(0.05)
        client.send_message(QueueUrl=url, MessageBody="x")

    threading.Thread(target=send).start()
    start = time.monotonic()
    assert len(client.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]) == 1
    assert time.monotonic() - start < 2


def test_a_poll_whose_client_left_does_not_swallow_messages(server, client, url):
    from urllib.parse import urlsplit

    from pyqs.local.actions import ACCOUNT

    assert ACCOUNT in url
    import json
    import socket

    parts = urlsplit(server.endpoint_url)
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
    raw = socket.create_connection((parts.hostname, parts.port))
    raw.sendall(
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    while not server.store._catalog.get("q").waiting:
        time.sleep(0.005)
    raw.close()
    client.send_message(QueueUrl=url, MessageBody="x")
    assert len(client.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]) == 1


def test_a_dropped_connection_is_a_connection_error(server, client, url):
    server.store.faults.add("drop=after:action=SendMessage:times=1")
    with pytest.raises(ConnectionClosedError):
        client.send_message(QueueUrl=url, MessageBody="x")
    assert len(client.receive_message(QueueUrl=url)["Messages"]) == 1


@pytest.mark.parametrize(
    ("rule", "code", "status"),
    [
        ("throttle", "RequestThrottled", 400),
        ("throttle=ThrottlingException", "ThrottlingException", 400),
        ("error", "InternalError", 500),
        ("error=503", "ServiceUnavailable", 503),
        ("access-denied", "AccessDenied", 403),
        ("expired-token", "ExpiredToken", 403),
    ],
)
def test_faults_over_http(server, client, url, rule, code, status):
    server.store.faults.add(f"{rule}:action=ReceiveMessage")
    response = failure(client.receive_message, QueueUrl=url)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_stop_ends_long_polls_without_an_answer():
    store = Store()
    store.create_queue("q")
    server = LocalServer(store).start()
    client = connect(server.endpoint_url)
    url = client.get_queue_url(QueueName="q")["QueueUrl"]
    caught: list[Exception] = []

    def poll() -> None:
        try:
            client.receive_message(QueueUrl=url, WaitTimeSeconds=20)
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    while not store._catalog.get("q").waiting:
        time.sleep(0.005)
    start = time.monotonic()
    server.stop()
    thread.join(5)
    assert time.monotonic() - start < 2
    assert isinstance(caught[0], ConnectionClosedError)
    store.close()


def test_a_port_in_use_is_one_clear_error(server):
    port = int(server.endpoint_url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        LocalServer(server.store, port=port).start()
