"""Bytes that are not what an SDK sends: answered or closed, never a crash."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from pyqs.local.server import LocalServer, is_loopback
from pyqs.local.store import Store


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    store = Store()
    store.create_queue("q")
    with LocalServer(store) as server:
        yield server
    store.close()


def talk(server: LocalServer, data: bytes) -> bytes:
    """Send bytes, close our side, read all that comes."""
    parts = urlsplit(server.endpoint_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all of it was sent
        answer = b""
        try:
            while chunk := connection.recv(65_536):
                answer += chunk
        except ConnectionResetError:
            pass  # the same, seen when reading
        return answer


def request(action: str, payload: object, *, target: str = "AmazonSQS.") -> bytes:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = f"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: {target}{action}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def parsed(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def alive(server: LocalServer) -> bool:
    status, payload = parsed(talk(server, request("GetQueueUrl", {"QueueName": "q"})))
    return status == 200 and payload["QueueUrl"] == "http://h/000000000000/q"


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"GET / HTTP/2.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nshort",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"POST / HTTP/1.1\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
        b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\na: b",
    ],
)
def test_broken_http_is_answered_400_and_closed(server, data):
    answer = talk(server, data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer
    assert alive(server)


@pytest.mark.parametrize("length", [17_000_000, 10**30])
def test_a_request_that_is_too_large_is_answered_413_unread(server, length):
    answer = talk(server, b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert alive(server)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"x"', b"1", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000]
)
def test_a_body_that_is_no_request_is_answered_400(server, body):
    status, payload = parsed(talk(server, request("ListQueues" if body else "SendMessage", body)))
    assert status == 400
    assert payload["__type"].partition("#")[2] in ("SerializationException", "MissingRequiredParameterException")
    assert alive(server)


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, [1], {"a": 1}, "x", "\ud800", 10**30, None, [{}], {"a": {}}])
@pytest.mark.parametrize(
    ("action", "field"),
    [
        ("CreateQueue", "QueueName"),
        ("CreateQueue", "Attributes"),
        ("CreateQueue", "tags"),
        ("GetQueueUrl", "QueueName"),
        ("ListQueues", "QueueNamePrefix"),
        ("ListQueues", "MaxResults"),
        ("ListQueues", "NextToken"),
        ("GetQueueAttributes", "QueueUrl"),
        ("GetQueueAttributes", "AttributeNames"),
        ("SetQueueAttributes", "Attributes"),
        ("SendMessage", "MessageBody"),
        ("SendMessage", "DelaySeconds"),
        ("SendMessage", "MessageAttributes"),
        ("SendMessage", "MessageSystemAttributes"),
        ("SendMessage", "MessageGroupId"),
        ("SendMessageBatch", "Entries"),
        ("ReceiveMessage", "MaxNumberOfMessages"),
        ("ReceiveMessage", "VisibilityTimeout"),
        ("ReceiveMessage", "MessageAttributeNames"),
        ("DeleteMessage", "ReceiptHandle"),
        ("DeleteMessageBatch", "Entries"),
        ("ChangeMessageVisibility", "VisibilityTimeout"),
        ("TagQueue", "Tags"),
        ("UntagQueue", "TagKeys"),
    ],
)
def test_a_field_of_any_type_is_taken_or_refused_never_a_server_error(server, action, field, value):
    payload = {"QueueUrl": "http://h/0/q", "QueueName": "q", "MessageBody": "x", "ReceiptHandle": "x", field: value}
    if action == "ListQueues":
        payload = {field: value}
    status, answer = parsed(talk(server, request(action, payload)))
    assert status in (200, 400), answer


def test_random_bytes(server):
    dice = random.Random(5)
    good = request("SendMessage", {"QueueUrl": "http://h/0/q", "MessageBody": "x"})
    for _ in range(150):
        data = bytearray(good)
        for _ in range(dice.randint(1, 12)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        answer = talk(server, bytes(data))
        assert answer == b"" or answer.split()[1] in (b"200", b"400", b"413")
    assert alive(server)


def test_a_client_that_resets_the_connection_ends_nothing_else(server):
    parts = urlsplit(server.endpoint_url)
    for _ in range(20):
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(request("ReceiveMessage", {"QueueUrl": "q", "WaitTimeSeconds": 1}))
        connection.close()
    assert alive(server)


def test_two_requests_in_one_write_get_two_answers_in_order(server):
    one = request("GetQueueUrl", {"QueueName": "q"})
    answer = talk(server, one + request("GetQueueUrl", {"QueueName": "nope"}))
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.index(b"200 OK") < answer.index(b"400 Bad Request")


def test_chunked_bodies_and_expect_continue(server):
    body = json.dumps({"QueueName": "q"}).encode()
    chunks = b"5\r\n" + body[:5] + b"\r\n" + b"%x;note=1\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.GetQueueUrl\r\nTransfer-Encoding: chunked\r\n"
    assert b"/000000000000/q" in talk(server, head + b"\r\n" + chunks)
    answer = talk(server, head + b"Expect: 100-continue\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_other_targets_and_methods(server):
    for data in (
        request("ListTables", {}, target="DynamoDB_20120810."),
        request("NoSuchAction", {}),
        b"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 17\r\n\r\nAction=ListQueues",
    ):
        status, payload = parsed(talk(server, data))
        assert status == 400
        assert payload["__type"].endswith("#UnknownOperationException")
    assert talk(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_many_idle_connections_do_not_hold_up_a_request(server):
    parts = urlsplit(server.endpoint_url)
    idle = [socket.create_connection((parts.hostname, parts.port)) for _ in range(100)]
    assert alive(server)
    for connection in idle:
        connection.close()


def admin(server: LocalServer, method: str, body: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(
        server.endpoint_url + "/_pyqs/faults", data, {"Content-Type": "application/json", **headers}, method=method
    )
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_faults_are_set_read_and_cleared_while_running(server):
    status, answer = admin(server, "POST", {"rules": ["short=2:rate=0.5", {"name": "error", "value": "503", "times": 3}]})
    assert status == 200
    assert [rule["name"] for rule in answer["rules"]] == ["short", "error"]
    assert admin(server, "GET")[1] == answer
    assert admin(server, "DELETE") == (200, {"rules": []})
    assert server.store.faults.describe() == []


@pytest.mark.parametrize(
    "body", [[], {}, {"rules": "short"}, {"rules": [1]}, {"rules": ["nonsense"]}, {"rules": [{"name": "short", "x": 1}]}]
)
def test_malformed_rules_are_refused(server, body):
    status, answer = admin(server, "POST", body)
    assert status == 400
    assert answer["message"]
    assert server.store.faults.describe() == []


def test_a_web_page_cannot_set_faults(server):
    assert admin(server, "POST", {"rules": ["empty"]}, Origin="http://evil.example")[0] == 403
    assert admin(server, "POST", {"rules": ["empty"]}, **{"Content-Type": "text/plain"})[0] == 400
    assert server.store.faults.describe() == []


def test_no_thread_is_left_after_stop():
    store = Store()
    before = set(threading.enumerate())
    with LocalServer(store) as server:
        assert parsed(talk(server, request("ListQueues", {})))[0] == 200
    assert set(threading.enumerate()) <= before
    store.close()


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("127.evil.example", False),
        ("localhost.evil.example", False),
    ],
)
def test_which_hosts_are_warned_about(host, local):
    assert is_loopback(host) is local
