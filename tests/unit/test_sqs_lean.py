"""The lean client beside botocore: the same requests, the same errors; and where it stands aside."""

from __future__ import annotations

import email.utils
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError, SqsError, Throttled, Unreachable
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, OutgoingMessage
from pyqs.sqs import connect, lean
from pyqs.sqs.boto import BotoSqs
from pyqs.sqs.exchange import Answer
from pyqs.sqs.lean import LeanSqs
from pyqs.sqs.retries import QUOTA, RETRY_COST, Retries
from pyqs.sqs.template import DoesNotApply, instrumented, learn

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret-secret", "session_token": "token-token"}


@pytest.fixture(scope="module")
def pair() -> tuple[BotoSqs, LeanSqs]:
    connection = ConnectionConfig(region="eu-west-1", **KEYS)
    return BotoSqs(connection), LeanSqs(connection)


# -- the same requests -----------------------------------------------------------------------------------------------


def by_botocore(sqs: BotoSqs, call: Callable[[Any], Any], answer: bytes = b"{}", status: int = 200, **headers: str) -> Any:
    """What botocore would send for it, as (headers, body); it gets the answer given here."""
    seen: list[Any] = []

    class Body:
        def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
            yield answer

    def send(request: Any, **_: Any) -> AWSResponse:
        seen.append(request)
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0", **headers}, Body())

    clients = [sqs._client(poll=poll) for poll in (True, False)]
    for client in clients:
        client.meta.events.register_first("before-send.sqs", send)
    try:
        result = attempt(call, sqs)
    finally:
        for client in clients:
            client.meta.events.unregister("before-send.sqs", send)
    return seen[0], result


def by_hand(
    monkeypatch: Any, sqs: LeanSqs, call: Callable[[Any], Any], answer: bytes = b"{}", status: int = 200, **headers: str
) -> Any:
    seen: list[Any] = []

    def post(pool: Any, target: str, constant: bytes, varying: Any, body: bytes) -> Answer:
        seen.append((constant, varying, body))
        kept = {name.lower(): value for name, value in headers.items()}
        return Answer(status, {"content-type": "application/x-amz-json-1.0", **kept}, answer)

    with monkeypatch.context() as patched:
        patched.setattr(lean, "post", post)
        result = attempt(call, sqs)
    return seen[0], result


def attempt(call: Callable[[Any], Any], sqs: Any) -> Any:
    try:
        return call(sqs)
    except SqsError as exc:
        return exc


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
ATTRIBUTES = st.dictionaries(
    st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,15}\Z"),
    st.builds(lambda text: MessageAttribute("String", text), TEXTS)
    | st.builds(lambda data: MessageAttribute("Binary", None, data), st.binary(min_size=1, max_size=50)),
    max_size=3,
)
MESSAGES = st.builds(
    OutgoingMessage,
    TEXTS,
    delay=st.none() | st.integers(0, 900),
    message_attributes=ATTRIBUTES,
    group_id=st.none() | TEXTS,
    dedup_id=st.none() | TEXTS,
    trace_header=st.none() | TEXTS,
)
HANDLES = st.lists(TEXTS, min_size=1, max_size=10)
CALLS = (
    st.builds(lambda message: lambda sqs: sqs.send(URL, message), MESSAGES)
    | st.builds(lambda messages: lambda sqs: sqs.send_batch(URL, messages), st.lists(MESSAGES, min_size=1, max_size=10))
    | st.builds(lambda handles: lambda sqs: sqs.delete_batch(URL, handles), HANDLES)
    | st.builds(
        lambda handles, seconds: lambda sqs: sqs.change_visibility_batch(URL, [(handle, seconds) for handle in handles]),
        HANDLES,
        st.integers(0, 43200),
    )
    | st.builds(
        lambda most, wait, visibility, attempt_id: (
            lambda sqs: sqs.receive(URL, max_messages=most, wait=wait, visibility=visibility, attempt_id=attempt_id)
        ),
        st.integers(1, 10),
        st.integers(0, 20),
        st.none() | st.integers(0, 43200),
        st.none() | TEXTS,
    )
)


@given(CALLS)
@settings(max_examples=150, deadline=None)
def test_every_request_is_botocores(pair: tuple[BotoSqs, LeanSqs], call: Callable[[Any], Any]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        theirs, _ = by_botocore(pair[0], call)
        (constant, varying, body), _ = by_hand(monkeypatch, pair[1], call)
    assert json.loads(body) == json.loads(theirs.body)
    written = dict(line.split(": ", 1) for line in constant.decode().split("\r\n") if line)
    ours = {name.lower(): value for name, value in (written | varying).items()}
    fresh = {"authorization", "x-amz-date", "content-length", "amz-sdk-invocation-id", "amz-sdk-request", "host"}
    expected = {name.lower(): _text(value) for name, value in theirs.headers.items()}
    assert {name: value for name, value in ours.items() if name not in fresh} == {
        name: value for name, value in expected.items() if name not in fresh
    }
    assert ours["host"] == "sqs.eu-west-1.amazonaws.com"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


MESSAGE_JSON = {
    "MessageId": "m", "ReceiptHandle": "h", "Body": "b\u2603", "MD5OfBody": "x",
    "Attributes": {"ApproximateReceiveCount": "3", "MessageGroupId": "g"},
    "MessageAttributes": {
        "text": {"DataType": "String", "StringValue": "t"}, "bytes": {"DataType": "Binary.png", "BinaryValue": "AAH/"},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [{}, {"Messages": None}, {"Messages": []}, {"Messages": [MESSAGE_JSON, {**MESSAGE_JSON, "MessageAttributes": {}}]}],
    ids=["empty", "null", "none", "two"],
)
def test_what_is_received_is_the_same(pair: Any, monkeypatch: Any, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode()
    theirs = by_botocore(pair[0], lambda sqs: sqs.receive(URL), data)[1]
    ours = by_hand(monkeypatch, pair[1], lambda sqs: sqs.receive(URL), data)[1]
    assert ours == theirs
    assert len(ours) == len(answer.get("Messages") or ())


# -- the same errors -------------------------------------------------------------------------------------------------

REFUSALS = [
    (400, "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"),
    (400, "com.amazonaws.sqs#ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid;Sender"),
    (400, "com.amazonaws.sqs#OverLimit", "OverLimit;Sender"),
    (400, "com.amazonaws.sqs#RequestThrottled", "RequestThrottled;Sender"),
    (400, "com.amazon.coral.service#InvalidSignatureException", None),
    (400, "com.amazon.coral.service#ExpiredTokenException", None),
    (400, "com.amazon.coral.service#UnrecognizedClientException", None),
    (400, "com.amazon.coral.service#AccessDeniedException", None),
    (400, "com.amazon.coral.service#ThrottlingException", None),
    (400, "com.amazonaws.sqs#KmsAccessDenied", "KMS.AccessDeniedException;Sender"),
    (400, "com.amazonaws.sqs#InvalidMessageContents", "InvalidMessageContents;Sender"),
    (500, "com.amazon.coral.service#InternalFailure", None),
    (503, "com.amazon.coral.service#ServiceUnavailable", None),
    (403, None, None),
    (429, None, None),
    (500, None, None),
    (502, None, None),
]


@pytest.mark.parametrize(("status", "kind", "query"), REFUSALS, ids=str)
@pytest.mark.parametrize("call", [lambda sqs: sqs.receive(URL), lambda sqs: sqs.delete_batch(URL, ["h"])], ids=["poll", "call"])
def test_a_refusal_is_the_same_error(
    pair: Any, monkeypatch: Any, status: int, kind: str | None, query: str | None, call: Any
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)  # no pauses between attempts
    headers = {"x-amzn-query-error": query} if query else {}
    body = json.dumps({"__type": kind, "message": "what SQS says"}).encode() if kind else b"<html>a proxy</html>"
    theirs = by_botocore(pair[0], call, body, status, **headers)[1]
    ours = by_hand(monkeypatch, pair[1], call, body, status, **headers)[1]
    assert isinstance(theirs, SqsError)
    assert (type(ours), ours.retryable, ours.queue) == (type(theirs), theirs.retryable, theirs.queue)
    if kind:
        assert (ours.code, str(ours)) == (theirs.code, str(theirs))


# -- retries, the clock ----------------------------------------------------------------------------------------------


def test_retries_are_counted_paused_for_and_bounded() -> None:
    retries = Retries(3)
    passing, throttled = Unreachable("x", code="", queue=""), Throttled("x", code="", queue="")
    assert [retries.pause(passing, attempt) is None for attempt in (1, 2, 3)] == [False, False, True]
    assert retries.pause(SqsError("x", code="", retryable=True), 1) is None, "boto3 does not try that again either"
    assert all(0 <= (retries.pause(passing, 1) or 0) <= 0.05 for _ in range(20))
    assert max(Retries(9).pause(throttled, 2) or 0 for _ in range(50)) > 0.2
    assert (Retries(3).pause(passing, 1, retry_after=3.0) or 0) >= 3.0
    assert (Retries(3).pause(passing, 1, retry_after=600.0) or 0) <= 5.1


def test_an_outage_is_not_answered_with_three_times_the_traffic() -> None:
    retries = Retries(3)
    error = Unreachable("x", code="", queue="")
    granted = sum(retries.pause(error, 1) is not None for _ in range(1000))
    assert granted == QUOTA // RETRY_COST
    for _ in range(RETRY_COST):
        retries.worked(1)
    assert retries.pause(error, 1) is not None


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_wrong_clock_is_corrected_by_sqss(monkeypatch: Any, caplog: Any, ahead: float) -> None:
    """SQS refuses signatures that are five minutes off; its answer has the right time."""
    sqs = LeanSqs(ConnectionConfig(region="eu-west-1", **KEYS))
    posts = []

    def post(pool: Any, target: str, constant: bytes, headers: Any, body: bytes) -> Answer:
        true = time.time() + ahead
        signed = time.mktime(time.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")) - time.timezone
        posts.append(signed - true)
        if abs(signed - true) > 300:
            said = {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "Signature expired: ..."}
            return Answer(403, {"date": email.utils.formatdate(true, usegmt=True)}, json.dumps(said).encode())
        return Answer(200, {}, b"{}")

    monkeypatch.setattr(lean, "post", post)
    assert sqs.receive(URL) == []
    assert sqs.receive(URL) == []
    assert len(posts) == 3
    assert caplog.text.count("clock differs from SQS's") == 1
    ahead = 0.0  # somebody has set it right
    assert sqs.receive(URL) == []
    assert len(posts) == 5
    assert abs(posts[-1]) < 5


def test_wrong_credentials_are_no_wrong_clock(monkeypatch: Any) -> None:
    sqs = LeanSqs(ConnectionConfig(region="eu-west-1", **KEYS))
    said = {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "no match"}
    answer = Answer(403, {"date": email.utils.formatdate(time.time(), usegmt=True)}, json.dumps(said).encode())
    posts: list[int] = []
    monkeypatch.setattr(lean, "post", lambda *_: posts.append(1) or answer)
    with pytest.raises(SqsError):
        sqs.receive(URL)
    assert len(posts) == 1


# -- what botocore decides -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "endpoint", "options", "host", "scope"),
    [
        ("eu-west-1", None, {}, "sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("cn-north-1", None, {}, "sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("us-gov-west-1", None, {}, "sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("us-east-1", None, {"use_fips_endpoint": True}, "sqs-fips.us-east-1.amazonaws.com", "us-east-1"),
        ("us-east-1", None, {"use_dualstack_endpoint": True}, "sqs.us-east-1.api.aws", "us-east-1"),
        ("eu-west-1", "http://127.0.0.1:9324", {}, "127.0.0.1:9324", "eu-west-1"),
        ("eu-west-1", "http://[::1]:9324", {}, "[::1]:9324", "eu-west-1"),
        (
            "eu-west-1",
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
            {},
            "vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
            "eu-west-1",
        ),
        ("eu-west-1", "https://proxy.example:443/sqs/", {}, "proxy.example", "eu-west-1"),
    ],
)
def test_endpoints_are_botocores(region: str, endpoint: str | None, options: Any, host: str, scope: str) -> None:
    session = botocore.session.get_session()
    session.set_credentials("AKID", "SECRET")
    client = session.create_client("sqs", region_name=region, endpoint_url=endpoint, config=Config(**options))
    template = learn(client, session)
    assert f"Host: {host}\r\n".encode() in template.constant
    assert f"/{scope}/sqs/" in template.signer.sign(template.credentials, 0, b"", {"x-amz-target": "x"})["Authorization"]
    assert template.pool.host in host


def test_proxies_and_ca_bundles_are_botocores(monkeypatch: Any, tmp_path: Any) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    sqs = LeanSqs(ConnectionConfig(region="eu-west-1", **KEYS))
    template = learn(sqs._client(poll=True), sqs._session)
    assert template.pool.proxy.port == 3128
    assert template.pool.ca_certs == str(bundle)


def test_the_timeouts_are_those_of_the_client() -> None:
    sqs = LeanSqs(ConnectionConfig(region="eu-west-1", **KEYS))
    waits = [learn(sqs._client(poll=poll), sqs._session).pool.timeout for poll in (True, False)]
    assert [(wait.connect_timeout, wait.read_timeout) for wait in waits] == [(5.0, 30.0), (5.0, 10.0)]


# -- where it stands aside -------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(Store(pause=0)) as running:
        yield running


def sent_by(server: LocalServer, **connection: Any) -> Any:
    """A client that has sent one message."""
    sqs = connect(ConnectionConfig(endpoint_url=server.endpoint_url, **connection))
    sqs.send(sqs.create_queue("jobs"), OutgoingMessage("x"))
    return sqs


def is_lean(sqs: Any) -> bool:
    return isinstance(sqs, LeanSqs) and sqs._templates[False][1] is not None


def test_which_client_it_is(server: LocalServer, monkeypatch: Any) -> None:
    assert is_lean(sent_by(server))
    assert is_lean(sent_by(server, client="lean"))
    assert not is_lean(sent_by(server, client="boto3"))
    monkeypatch.setenv("PYQS_CLIENT", "boto3")
    assert not is_lean(sent_by(server))
    monkeypatch.setenv("PYQS_CLIENT", "curl")
    with pytest.raises(ConfigError, match="PYQS_CLIENT is one of auto, lean, boto3"):
        sent_by(server)
    with pytest.raises(ConfigError, match="--client"):
        ConnectionConfig(client="curl")


class Wrapper:
    """As OpenTelemetry and X-Ray put one around botocore's calls."""

    def __init__(self, call: Any, seen: list[str]) -> None:
        self._call, self._seen = call, seen

    def __get__(self, client: Any, kind: Any) -> Any:
        return self if client is None else lambda *args, **kwargs: self(client, *args, **kwargs)

    def __call__(self, client: Any, name: str, params: Any) -> Any:
        self._seen.append(name)
        return self._call(client, name, params)


def test_what_has_instrumented_botocore_goes_on_seeing_every_call(server: LocalServer, monkeypatch: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, lean.log.name)
    seen: list[str] = []
    assert instrumented() is None
    monkeypatch.setattr(BaseClient, "_make_api_call", Wrapper(BaseClient._make_api_call, seen))
    assert instrumented() == __name__
    sqs = sent_by(server)
    assert not is_lean(sqs)
    assert seen == ["CreateQueue", "SendMessage"]
    sqs.receive(sqs.queue_url("jobs"))
    assert caplog.text.count("go through botocore") == 1
    assert "--client lean" in caplog.text
    seen.clear()
    assert is_lean(sent_by(server, client="lean"))
    assert "SendMessage" not in seen


def test_a_plain_function_in_its_place_is_seen_too(monkeypatch: Any) -> None:
    monkeypatch.setattr(BaseClient, "_make_api_call", lambda self, name, params: {})
    assert instrumented() == __name__


def test_a_mock_of_botocore_answers_every_call(monkeypatch: Any, caplog: Any) -> None:
    """moto's way: a handler that answers in SQS's place. Nothing may reach the network behind its back."""
    caplog.set_level(logging.INFO, lean.log.name)
    monkeypatch.setattr(lean, "post", lambda *_: pytest.fail("a real request"))
    sqs = LeanSqs(ConnectionConfig(region="eu-west-1", **KEYS))
    answer = json.dumps({"MessageId": "m"}).encode()
    _, result = by_botocore(sqs, lambda client: client.send(URL, OutgoingMessage("x")), answer)
    assert result.message_id == "m"
    assert "a mock or a stub" in caplog.text


def test_a_botocore_that_is_built_otherwise_is_left_to_its_calls(monkeypatch: Any) -> None:
    sqs = LeanSqs(ConnectionConfig(region="eu-west-1", **KEYS))
    client = sqs._client(poll=False)
    monkeypatch.delattr(client, "_endpoint")
    client._endpoint = type("Other", (), {"make_request": lambda *_: None})()
    with pytest.raises((DoesNotApply, TypeError)):
        learn(client, sqs._session)


def test_a_value_that_json_has_not_is_named_and_not_sent(server: LocalServer) -> None:
    sqs = sent_by(server)
    with pytest.raises(SqsError, match="a parameter has a value that no SQS call takes") as caught:
        sqs.send(sqs.queue_url("jobs"), OutgoingMessage(object()))  # type: ignore[arg-type]
    assert not caught.value.retryable
