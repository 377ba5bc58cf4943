"""Both clients against a server on loopback: errors, timeouts, regions, forks, threads, dropped polls."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.utils import ContainerMetadataFetcher

from pyqs.config import ConnectionConfig
from pyqs.errors import (
    AccessDenied,
    ConfigError,
    CredentialsError,
    QueueNotFound,
    SqsError,
    Throttled,
    Unreachable,
)
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage
from pyqs.sqs import boto, connect
from pyqs.sqs.boto import BotoSqs
from pyqs.sqs.lean import LeanSqs


@pytest.fixture(params=[BotoSqs, LeanSqs], ids=["boto3", "lean"])
def make(request) -> type[BotoSqs]:
    return request.param


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(Store(pause=0)) as running:
        yield running


@pytest.fixture
def sqs(make, server) -> Iterator[BotoSqs]:
    client = make(ConnectionConfig(endpoint_url=server.endpoint_url))
    yield client
    client.close()


def in_thread(function: Callable[[], Any]) -> Callable[[float], Any]:
    """Run it beside; the answer is a function that waits for the result, whatever it is."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as exc:
            results.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result(timeout: float) -> Any:
        thread.join(timeout)
        assert not thread.is_alive(), "it did not return"
        return results[0]

    return result


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


# -- region, profile, endpoint ---------------------------------------------------------------------------------------


def test_importing_and_naming_it_loads_no_botocore() -> None:
    code = "import sys, pyqs.producer, pyqs.queues; sys.exit(any(m.startswith(('boto', 'urllib3')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_region_names_the_ways_to_give_one(monkeypatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigError) as caught:
        connect(ConnectionConfig())
    assert "--region" in str(caught.value)
    assert "AWS_REGION" in str(caught.value)


@pytest.mark.parametrize(
    ("connection", "environment", "region"),
    [
        (ConnectionConfig(region="eu-west-1"), {"AWS_REGION": "us-west-2"}, "eu-west-1"),
        (ConnectionConfig(), {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-east-2"}, "us-west-2"),
        (ConnectionConfig(), {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
        (ConnectionConfig(endpoint_url="https://sqs.eu-north-1.amazonaws.com"), {}, "eu-north-1"),
        (ConnectionConfig(endpoint_url="http://127.0.0.1:1"), {}, "us-east-1"),
        (ConnectionConfig(), {"AWS_ENDPOINT_URL_SQS": "http://sqs:9324"}, "us-east-1"),
    ],
)
def test_where_the_region_comes_from(make, monkeypatch, connection, environment, region) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert make(connection).region == region


def test_a_profiles_region(make, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    config = tmp_path / "config"
    config.write_text("[profile work]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert make(ConnectionConfig(profile="work")).region == "ap-south-1"


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        connect(ConnectionConfig(profile="nobody"))


def test_an_endpoint_that_is_no_url_is_a_config_error(make) -> None:
    with pytest.raises(ConfigError):
        make(ConnectionConfig(endpoint_url="http://")).queue_url("x")


def test_a_queue_in_another_region_is_refused_before_any_call(make) -> None:
    sqs = make(ConnectionConfig(region="us-east-1"))
    with pytest.raises(ConfigError, match="--region eu-west-1"):
        sqs.locate("arn:aws:sqs:eu-west-1:123456789012:jobs")
    with pytest.raises(ConfigError, match="--region eu-west-1"):
        sqs.locate("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs")
    with pytest.raises(SqsError, match="eu-west-1") as caught:
        sqs.receive("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs")
    assert caught.value.retryable is False


def test_addresses_become_urls_without_a_call(make, sqs, server) -> None:
    aws = make(ConnectionConfig(region="us-east-1"))
    arn = "arn:aws:sqs:us-east-1:123456789012:jobs"
    assert aws.locate(arn) == "https://sqs.us-east-1.amazonaws.com/123456789012/jobs"
    assert sqs.locate(arn) == f"{server.endpoint_url}/123456789012/jobs"
    assert sqs.locate("http://sqs.elsewhere:4566/000000000000/jobs") == f"{server.endpoint_url}/000000000000/jobs"
    assert not server.seen


# -- credentials -----------------------------------------------------------------------------------------------------


def without_credentials(monkeypatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def test_no_credentials_says_what_to_give(make, monkeypatch) -> None:
    without_credentials(monkeypatch)
    sqs = make(ConnectionConfig(region="us-east-1"))
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID") as caught:
        sqs.queue_url("jobs")
    assert caught.value.retryable is False


def test_loopback_needs_no_credentials(make, monkeypatch, server) -> None:
    without_credentials(monkeypatch)
    sqs = make(ConnectionConfig(endpoint_url=server.endpoint_url))
    assert sqs.create_queue("jobs").startswith(server.endpoint_url)


def test_incomplete_credentials(make, monkeypatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="incomplete"):
        make(ConnectionConfig(region="us-east-1")).queue_url("jobs")


def test_expired_credentials_are_read_again_and_the_next_call_works(make, server, tmp_path, monkeypatch) -> None:
    without_credentials(monkeypatch)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = x\n")
    sqs = make(ConnectionConfig(endpoint_url=server.endpoint_url))
    url = sqs.create_queue("jobs")
    server.store.faults.add("expired-token:times=1")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = x\n")
    with pytest.raises(CredentialsError) as caught:
        sqs.send(url, OutgoingMessage(body="x"))
    assert caught.value.retryable is True
    sqs.send(url, OutgoingMessage(body="x"))
    assert sqs._session.get_credentials().access_key == "NEW"


def test_a_role_is_assumed_with_the_base_credentials(make, monkeypatch, server) -> None:
    """STS is answered by hand on loopback; what counts is that SQS is then called with what it gave."""
    seen: list[str] = []
    answer = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        "<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        "<Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    with one_answer_server(answer.encode(), "text/xml", seen) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
        sqs = make(ConnectionConfig(endpoint_url=server.endpoint_url, role_arn="arn:aws:iam::1:role/worker"))
        sqs.create_queue("jobs")
    assert "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fworker" in seen[0]
    assert "Credential=test/" in seen[0]
    assert sqs._session.get_credentials().access_key == "ASIAROLE"


def test_a_role_that_may_not_be_assumed_for_a_while_is_no_refusal_of_the_call(make, monkeypatch, server) -> None:
    """The role's renewal happens inside a receive or a delete: its refusal must not be taken for one of theirs."""
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))  # near enough to be renewed with each call
    granted = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        "<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        f"<Expiration>{soon}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    ).encode()
    refused = (
        b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>'
        b"<Message>User: x is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>"
    )
    sts = one_answer_server(granted, "text/xml")
    with sts as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        sqs = make(ConnectionConfig(endpoint_url=server.endpoint_url, role_arn="arn:aws:iam::1:role/worker"))
        queue = sqs.create_queue("jobs")
        sts.answer(refused, "403 Forbidden")
        for call in (lambda: sqs.receive(queue, wait=0), lambda: sqs.delete_batch(queue, ["h"])):
            with pytest.raises(CredentialsError, match="AssumeRole: AccessDenied") as failed:
                call()
            assert failed.value.retryable
        sts.answer(granted)
        assert sqs.receive(queue, wait=0) == []


def test_sts_that_does_not_answer_is_given_up_before_a_poll_seems_to_hang(make, monkeypatch) -> None:
    """The SDK's own patience is five tries of a minute each, inside the receive that found its credentials expired."""
    sqs = make(ConnectionConfig(region="us-east-1", access_key_id="a", secret_access_key="b"))
    sts = sqs._session.create_client("sts", region_name="us-east-1").meta.config
    assert (sts.connect_timeout, sts.read_timeout, sts.retries["total_max_attempts"]) == (5.0, 5.0, 2)
    polls, calls = sqs._client(poll=True).meta.config, sqs._client(poll=False).meta.config
    assert (polls.read_timeout, polls.retries["total_max_attempts"]) == (boto.RECEIVE_TIMEOUT, 1)
    assert (calls.read_timeout, calls.retries["total_max_attempts"]) == (boto.CALL_TIMEOUT, boto.CALL_ATTEMPTS)


def whole_request(connection: socket.socket) -> str:
    """Head and body; the body may come in a packet of its own."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(65536)
        if not data:
            return request.decode("latin-1")
        request += data
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return (head + b"\r\n\r\n" + body).decode("latin-1")


class one_answer_server:  # noqa: N801 - used as a function
    """Answers every request with the same bytes and notes what it read; or, with None, closes without an answer."""

    def __init__(
        self,
        body: bytes | None,
        kind: str = "text/plain",
        seen: list[str] | None = None,
        tls: Any = None,
        status: str = "200 OK",
    ) -> None:
        self._body, self._kind, self._seen, self._tls = body, kind, seen if seen is not None else [], tls
        self._status = status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.accepted = 0
        self.open: list[socket.socket] = []

    def __enter__(self) -> str:
        threading.Thread(target=self._accept, daemon=True).start()
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def answer(self, body: bytes, status: str = "200 OK") -> None:
        """From now on this."""
        self._body, self._status = body, status

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                return  # the client did not like the certificate
        self._seen.append(whole_request(connection))
        if self._body is not None and self._kind != "silence":
            head = f"HTTP/1.1 {self._status}\r\nContent-Type: {self._kind}\r\nContent-Length: {len(self._body)}\r\n"
            connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + self._body)
        if self._kind == "silence":
            self.open.append(connection)
            return
        connection.close()


# -- errors over the wire --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("throttle", Throttled),
        ("error=500", Unreachable),
        ("error=503", Unreachable),
        ("drop=before", Unreachable),
        ("access-denied", AccessDenied),
        ("expired-token", CredentialsError),
    ],
)
def test_a_receive_is_tried_once_and_fails_with_its_class(sqs, server, fault, kind) -> None:
    url = sqs.create_queue("jobs")
    server.store.faults.add(fault)
    before = server.seen["ReceiveMessage"]
    with pytest.raises(kind) as caught:
        sqs.receive(url, wait=0)
    assert server.seen["ReceiveMessage"] == before + 1
    assert "ReceiveMessage" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_send_survives_one_server_error(sqs, server) -> None:
    url = sqs.create_queue("jobs")
    server.store.faults.add("error=503:times=1")
    assert sqs.send(url, OutgoingMessage(body="x")).message_id


def test_nobody_listening(make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="GetQueueUrl on queue 'jobs'"):
        make(ConnectionConfig(endpoint_url=f"http://127.0.0.1:{port}")).queue_url("jobs")


@pytest.mark.parametrize(("body", "kind"), [(b"<html>hello</html>", "text/html"), (b"{}", "application/json"), (b"[", "a/b")])
def test_something_else_listening(make, body, kind) -> None:
    with one_answer_server(body, kind) as url, pytest.raises(Unreachable, match="not SQS's"):
        make(ConnectionConfig(endpoint_url=url)).queue_url("jobs")


#: What a proxy or another service says in place of SQS.
FOREIGN = {
    "latin-1": "<html><body>Zur\xfcck sp\xe4ter</body></html>".encode("latin-1"),
    "gzip": gzip.compress(b"<html>later</html>" * 20),
    "list": b"[]",
    "number": b"1",
    "null": b"null",
    "text": b'"x"',
    "deep": b"[" * 200_000,
}
STATUSES = ("200 OK", "302 Found", "400 Bad Request", "403 Forbidden", "404 Not Found", "502 Bad Gateway", "503 Slow Down")


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status[:3])
@pytest.mark.parametrize("name", FOREIGN)
def test_an_answer_that_cannot_be_read_is_no_answer(make, name: str, status: str) -> None:
    kind = "application/x-amz-json-1.0" if name in ("list", "number", "null", "text", "deep") else "text/plain"
    with one_answer_server(FOREIGN[name], kind, status=status) as url:
        sqs, queue = make(ConnectionConfig(endpoint_url=url)), f"{url}/1/jobs"
        with pytest.raises(Unreachable) as polled:
            sqs.receive(queue, wait=0)
    assert "ReceiveMessage on queue 'jobs'" in str(polled.value)
    assert polled.value.retryable


@pytest.mark.parametrize("status", [status for status in STATUSES if status[0] in "34"], ids=lambda status: status[:3])
@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b'{"message": "Forbidden"}'], ids=["empty", "html", "json"])
def test_a_refusal_without_an_error_code_is_a_proxys(make, body: bytes, status: str) -> None:
    with one_answer_server(body, "text/plain", status=status) as url, pytest.raises(Unreachable, match="a proxy") as failed:
        make(ConnectionConfig(endpoint_url=url)).receive(f"{url}/1/jobs", wait=0)
    assert failed.value.retryable


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (call, answer)
        for call, answers in {
            "receive": (
                *({"Messages": found} for found in (5, "ab", [5], [None], [{}], [{"MessageId": "m"}], {"a": 1})),
                {"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": 5}]},
                {"Messages": [{"MessageId": 5, "ReceiptHandle": "h", "Body": "b"}]},
                {"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Attributes": {"ApproximateReceiveCount": 5}}]},
                {"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "MessageAttributes": {"a": {}}}]},
                {"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "MessageAttributes": {"a": {"BinaryValue": 7}}}]},
            ),
            "delete_batch": ({"Successful": [{}]}, {"Successful": [5]}, {"Failed": [{}]}, {"Failed": 7}),
            "send_batch": ({"Successful": [{"Id": "0"}]},),
            "send": ({"MessageId": None},),
            "queue_url": ({"QueueUrl": 5}, {"QueueUrl": None}, {"QueueUrl": "http://["}),
            "list_queues": ({"QueueUrls": 5}, {"QueueUrls": [5]}),
            "queue_attributes": ({"Attributes": 5}, {"Attributes": ["a"]}),
            "dead_letter_sources": ({"queueUrls": [5]},),
            "start_move": ({"TaskHandle": None}, {}),
            "list_moves": ({"Results": 5}, {"Results": [5]}, {"Results": [{"Status": "RUNNING"}]}),
            "cancel_move": ({"ApproximateNumberOfMessagesMoved": "many"},),
        }.items()
        for answer in answers
    ],
    ids=lambda value: str(value)[:70],
)  # fmt: skip
def test_json_of_another_shape_is_no_answer(make, call: str, answer: Any) -> None:
    with one_answer_server(json.dumps(answer).encode(), "application/x-amz-json-1.0") as url:
        sqs, queue = make(ConnectionConfig(endpoint_url=url)), f"{url}/1/jobs"
        calls: dict[str, Callable[[], object]] = {
            "receive": lambda: sqs.receive(queue, wait=0),
            "delete_batch": lambda: sqs.delete_batch(queue, ["h"]),
            "send": lambda: sqs.send(queue, OutgoingMessage("b")),
            "send_batch": lambda: sqs.send_batch(queue, [OutgoingMessage("b")]),
            "queue_url": lambda: sqs.queue_url("jobs"),
            "list_queues": lambda: list(sqs.list_queues()),
            "queue_attributes": lambda: sqs.queue_attributes(queue),
            "dead_letter_sources": lambda: sqs.dead_letter_sources(queue),
            "start_move": lambda: sqs.start_move("arn:aws:sqs:us-east-1:1:jobs"),
            "list_moves": lambda: sqs.list_moves("arn:aws:sqs:us-east-1:1:jobs"),
            "cancel_move": lambda: sqs.cancel_move("handle"),
        }
        with pytest.raises(Unreachable, match="not SQS's"):
            calls[call]()


def test_a_bug_of_ours_is_seen_as_one(sqs, monkeypatch) -> None:
    monkeypatch.setattr(sqs, "_check_region", lambda url: {}["a bug"])
    with pytest.raises(KeyError, match="a bug"):
        sqs.receive("http://127.0.0.1:1/1/jobs")


def test_a_proxys_page_is_not_an_empty_queue(make) -> None:
    with one_answer_server(b"<html>log in first</html>", "text/html") as url, pytest.raises(Unreachable, match="not SQS's"):
        make(ConnectionConfig(endpoint_url=url)).receive(f"{url}/1/jobs", wait=0)


def test_a_silent_server_is_given_up_after_the_read_timeout(make, monkeypatch) -> None:
    monkeypatch.setattr(boto, "RECEIVE_TIMEOUT", 0.2)
    with one_answer_server(None, "silence") as url:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            make(ConnectionConfig(endpoint_url=url)).receive(f"{url}/1/jobs", wait=0)
        assert 0.1 < time.monotonic() - started < 3


def test_a_certificate_nobody_signed(make, tmp_path) -> None:
    with one_answer_server(b"", tls=server_tls(tmp_path)) as url, pytest.raises(Unreachable, match="TLS failed"):
        make(ConnectionConfig(endpoint_url=url)).receive(f"{url}/1/jobs")


def test_a_missing_queue_and_a_closed_client(sqs) -> None:
    with pytest.raises(QueueNotFound) as caught:
        sqs.queue_url("nobody")
    assert caught.value.code in {"NonExistentQueue", "QueueDoesNotExist"}
    sqs.close()
    with pytest.raises(SqsError, match="closed"):
        sqs.queue_url("nobody")


def test_an_entry_that_the_answer_forgets_is_not_a_success(make) -> None:
    answer = json.dumps({"Successful": [{"Id": "1"}]}).encode()
    with one_answer_server(answer, "application/x-amz-json-1.0") as url:
        results = make(ConnectionConfig(endpoint_url=url)).delete_batch(f"{url}/1/jobs", ["a", "b"])
    assert isinstance(results[0], Unreachable)
    assert results[1] is None


def test_a_failed_entry_keeps_its_place_and_says_whether_to_retry(make) -> None:
    failed = [
        {"Id": "0", "Code": "InternalError", "Message": "later", "SenderFault": False},
        {"Id": "2", "Code": "InvalidParameterValue", "Message": "never", "SenderFault": True},
    ]
    sent = [{"Id": "1", "MessageId": "m", "MD5OfMessageBody": "x"}]
    answer = json.dumps({"Successful": sent, "Failed": failed}).encode()
    with one_answer_server(answer, "application/x-amz-json-1.0") as url:
        client = make(ConnectionConfig(endpoint_url=url))
        results = client.send_batch(f"{url}/1/jobs", [OutgoingMessage(body=str(n)) for n in range(3)])
    assert [getattr(result, "retryable", None) for result in results] == [True, None, False]
    assert results[1].message_id == "m"


def test_an_empty_batch_is_no_call(sqs, server) -> None:
    url = sqs.create_queue("jobs")
    assert sqs.delete_batch(url, []) == []
    assert sqs.send_batch(url, []) == []
    assert "DeleteMessageBatch" not in server.seen


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"MessageSystemAttributeNames", "AttributeNames"}, "MessageSystemAttributeNames"),
        ({"AttributeNames"}, "AttributeNames"),
    ],
)
def test_system_attributes_are_asked_for_as_this_botocore_knows_them(members, name) -> None:
    class Client:
        class meta:  # noqa: N801
            class service_model:  # noqa: N801
                @staticmethod
                def operation_model(_: str) -> Any:
                    return type("Model", (), {"input_shape": type("Shape", (), {"members": dict.fromkeys(members)})})

    assert boto._system_attribute_names(Client) == {name: ["All"]}


# -- threads, forks, dropped polls -----------------------------------------------------------------------------------


def test_many_threads_share_one_client(sqs) -> None:
    url = sqs.create_queue("jobs")
    waits = [in_thread(lambda: [sqs.send(url, OutgoingMessage(body="x")) for _ in range(5)]) for _ in range(16)]
    assert sum(len(wait(20)) for wait in waits) == 80
    assert len({id(sqs._client(poll=False)) for _ in range(3)}) == 1


def test_thousands_of_polls_keep_their_connections(sqs) -> None:
    """Each queue has a poll of its own; one beyond the pool would connect anew each time."""
    assert sqs._client(poll=True).meta.config.max_pool_connections >= 8000


def test_first_calls_from_many_threads_at_once_make_one_client(make, server, monkeypatch) -> None:
    made: list[float] = []
    real = BotoSqs._make_client
    monkeypatch.setattr(BotoSqs, "_make_client", lambda self, *a, **k: made.append(1) or real(self, *a, **k))
    sqs = make(ConnectionConfig(endpoint_url=server.endpoint_url))
    for wait in [in_thread(lambda: sqs.create_queue("jobs")) for _ in range(8)]:
        assert isinstance(wait(20), str)
    assert len(made) == 1


def test_what_gevent_does_to_ssl_in_use_is_named(make, server, monkeypatch) -> None:
    sqs = make(ConnectionConfig(endpoint_url=server.endpoint_url))

    def recurse(*args: Any, **kwargs: Any) -> Any:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(sqs._session, "create_client", recurse)
    with pytest.raises(ConfigError, match=r"gevent\.monkey"):
        sqs.queue_url("jobs")


def polling(sqs: BotoSqs, server: LocalServer, url: str, wait: int = 20, count: int = 1) -> list[Callable[[float], Any]]:
    """Long polls that the server has certainly got."""
    before = server.seen.get("ReceiveMessage", 0)
    waits = [in_thread(lambda: sqs.receive(url, wait=wait)) for _ in range(count)]
    until(lambda: server.seen["ReceiveMessage"] >= before + count)
    return waits


def test_abort_ends_every_open_poll_at_once_and_only_those(sqs, server) -> None:
    url = sqs.create_queue("jobs")
    waits = polling(sqs, server, url, count=8)
    started = time.monotonic()
    sqs.abort()
    assert [wait(1) for wait in waits] == [[]] * 8
    assert time.monotonic() - started < 1
    sqs.send(url, OutgoingMessage(body="after"))
    assert [message.body for message in sqs.receive(url, wait=1)] == ["after"]


def test_abort_catches_a_poll_that_is_only_being_sent(sqs, server) -> None:
    url = sqs.create_queue("jobs")
    for _ in range(10):
        wait = in_thread(lambda: sqs.receive(url, wait=20))
        until(lambda: sqs._receiving)
        sqs.abort()
        assert wait(2) == []


def test_abort_with_nothing_open_returns(sqs) -> None:
    started = time.monotonic()
    sqs.abort()
    assert time.monotonic() - started < 0.5


def server_tls(folder: Any) -> ssl.SSLContext:
    """A throw-away certificate for 127.0.0.1."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl command here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_abort_ends_polls_over_tls(make, tmp_path, monkeypatch) -> None:
    tls = server_tls(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    seen: list[str] = []
    with one_answer_server(None, "silence", seen, tls) as url:
        sqs = make(ConnectionConfig(endpoint_url=url))
        waits = [in_thread(lambda: sqs.receive(f"{url}/1/jobs")) for _ in range(4)]
        until(lambda: len(seen) == 4)
        started = time.monotonic()
        sqs.abort()
        assert [wait(1) for wait in waits] == [[]] * 4
        assert time.monotonic() - started < 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_a_client_of_its_own_and_leaves_the_parents_alone(sqs, server) -> None:
    url = sqs.create_queue("jobs")
    [wait] = polling(sqs, server, url, wait=5)
    with sqs._lock:  # held by "another thread" at the fork
        child = os.fork()
        if child == 0:
            code = 1
            try:
                sqs.send(url, OutgoingMessage(body="from the child"))
                code = 0
            finally:
                os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [message.body for message in wait(6)] == ["from the child"]


def test_queue_urls_are_reached_where_the_endpoint_is(make, server) -> None:
    port = server.endpoint_url.rpartition(":")[2]
    sqs = make(ConnectionConfig(endpoint_url=f"http://localhost:{port}"))
    url = sqs.create_queue("jobs")
    assert url.startswith(f"http://localhost:{port}/")
    assert sqs.queue_url("jobs") == url
    assert list(sqs.list_queues("jo")) == [url]


def test_credentials_that_cannot_be_fetched_are_an_error_that_passes(make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint of a container's role is there and answers nothing: at the start, and when the session is made again."""
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)  # between botocore's own three tries of it
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    sqs = make(ConnectionConfig(region="us-east-1", endpoint_url="http://127.0.0.1:9"))
    for _ in range(2):
        with pytest.raises(CredentialsError, match="could not be fetched") as failed:
            sqs.queue_url("jobs")
        assert failed.value.retryable
        sqs._reset()
