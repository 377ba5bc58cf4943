"""Answers as a server may frame them, in whatever pieces they come; http.client is the oracle."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3 import exceptions

from pyqs.sqs import exchange

HEADERS = st.dictionaries(
    st.from_regex(r"\A[A-Za-z][A-Za-z0-9-]{0,20}\Z").filter(
        lambda name: name.lower() not in {"content-length", "transfer-encoding", "connection"}
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    max_size=6,
)


class Pieces:
    """A socket whose bytes come in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def recv(self, size: int, /) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]


class OneSocket:
    """What http.client wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def chunked(body: bytes, sizes: list[int]) -> bytes:
    parts, start = [], 0
    for size in sizes:
        part = body[start : start + size]
        start += size
        if part:
            parts.append(b"%x;note=1\r\n%s\r\n" % (len(part), part))
    rest = body[start:]
    if rest:
        parts.append(b"%X\r\n%s\r\n" % (len(rest), rest))
    return b"".join(parts) + b"0\r\nX-Trailer: 1\r\n\r\n"


@given(
    st.sampled_from([200, 400, 403, 500, 503]),
    HEADERS,
    st.binary(max_size=500),
    st.sampled_from(["length", "chunks", "close"]),
    st.lists(st.integers(1, 100), max_size=5),
    st.lists(st.integers(1, 60), max_size=30),
    st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_an_answer_is_read_as_http_client_reads_it(
    status: int, headers: dict[str, str], body: bytes, framing: str, sizes: list[int], cuts: list[int], announced: bool
) -> None:
    head = f"HTTP/1.1 {status} Some Reason\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    framed = body
    if framing == "length":
        head += f"Content-Length: {len(body)}\r\n"
    elif framing == "chunks":
        head += "Transfer-Encoding: chunked\r\n"
        framed = chunked(body, sizes)
    data = head.encode() + b"\r\n" + framed
    if announced:
        data = b"HTTP/1.1 100 Continue\r\n\r\n" + data
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(data[start : start + cut])
        start += cut
    answer, reusable = exchange.read_answer(Pieces(*pieces, data[start:]))
    theirs = http.client.HTTPResponse(OneSocket(data), method="POST")  # type: ignore[arg-type]
    theirs.begin()
    assert answer.status == theirs.status
    assert answer.data == theirs.read() == body
    last = {name.lower(): value for name, value in theirs.getheaders()}
    assert dict(answer.headers) == last
    assert reusable == (framing != "close")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Folded: x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    ],
)
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(exceptions.ProtocolError):
        exchange.read_answer(Pieces(data))


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nand more", False),
    ],
)
def test_whether_a_connection_is_used_again(head: bytes, reusable: bool) -> None:
    assert exchange.read_answer(Pieces(head))[1] is reusable


# -- over real connections -------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[Callable[..., Any]]:
    """A server that gives these answers, one after the other on as many connections as it is asked for."""
    listeners = []

    def serve(*answers: bytes) -> Any:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        left = list(answers)
        seen: list[bytes] = []
        connections: list[socket.socket] = []

        def talk(connection: socket.socket) -> None:
            while left:
                request = b""
                while b"\r\n\r\n" not in request:
                    data = connection.recv(65536)
                    if not data:
                        return
                    request += data
                seen.append(request)
                answer = left.pop(0)
                connection.sendall(answer)
                if b"close" in answer or not answer:
                    break
            connection.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        pool = urllib3.HTTPConnectionPool("127.0.0.1", listener.getsockname()[1], timeout=urllib3.Timeout(5, read=5))
        return pool, seen, connections

    yield serve
    for listener in listeners:
        listener.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CONSTANT = b"Host: h\r\nUser-Agent: test\r\n"


def test_a_connection_serves_one_request_after_the_other(served: Any) -> None:
    pool, seen, connections = served(OK, OK, OK)
    for n in range(3):
        answer = exchange.post(pool, "/x", CONSTANT, {"X-N": str(n)}, b"body")
        assert (answer.status, answer.data) == (200, b"{}")
    assert len(connections) == 1
    assert seen[1] == b"POST /x HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\nX-N: 1\r\nContent-Length: 4\r\n\r\nbody"


def test_after_one_that_was_closed_comes_another(served: Any) -> None:
    pool, _, connections = served(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"", OK)
    assert exchange.post(pool, "/", CONSTANT, {}, b"").data == b"{}"
    with pytest.raises(exceptions.ProtocolError, match="without an answer"):
        exchange.post(pool, "/", CONSTANT, {}, b"")
    assert exchange.post(pool, "/", CONSTANT, {}, b"").data == b"{}"
    assert len(connections) == 3


def test_no_answer_in_time(served: Any) -> None:
    pool, _, _ = served(OK[:-1])
    pool.timeout = urllib3.Timeout(connect=1, read=0.05)
    with pytest.raises((TimeoutError, exceptions.ProtocolError)):
        exchange.post(pool, "/", CONSTANT, {}, b"")


def test_a_header_with_a_line_break_is_not_sent(served: Any) -> None:
    pool, seen, _ = served(OK)
    with pytest.raises(exceptions.HTTPError, match="line break"):
        exchange.post(pool, "/", CONSTANT, {"X-Amz-Security-Token": "a\r\nEvil: 1"}, b"")
    assert not seen


class Connection:
    """As much of urllib3's as connecting takes; notes which bundle each connect would read."""

    def __init__(self, context: Any, bundle: Any, seen: list[Any]) -> None:
        self.ssl_context, self.ca_certs, self.seen = context, bundle, seen

    def connect(self) -> None:
        self.seen.append(self.ca_certs)


def test_a_ca_bundle_is_read_once_into_a_tls_context(tmp_path: Path) -> None:
    bundle, seen = tmp_path / "ca.pem", list[Any]()
    bundle.write_text("one")
    path, context, other = str(bundle), ssl.create_default_context(), ssl.create_default_context()
    connections = [Connection(of, path, seen) for of in (context, context, other)]
    for connection in (*connections, connections[0]):
        exchange._connect(connection)
    assert seen == [path, None, path, None]
    assert {connection.ca_certs for connection in connections} == {path}
    bundle.write_text("another")
    exchange._connect(connections[1])
    assert seen[4:] == [path]
    bundle.unlink()
    exchange._connect(connections[0])
    assert seen[5:] == [path]


def test_a_bundle_whose_connect_failed_is_read_again(tmp_path: Path) -> None:
    bundle, seen = tmp_path / "ca.pem", list[Any]()
    bundle.write_text("one")

    class Failing(Connection):
        def connect(self) -> None:
            super().connect()
            raise OSError("no")

    connection = Failing(ssl.create_default_context(), str(bundle), seen)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            exchange._connect(connection)
    assert seen == [str(bundle)] * 2


@pytest.mark.parametrize("bundle", [None, ""])
def test_without_a_bundle_or_a_context_nothing_is_kept(bundle: str | None) -> None:
    seen: list[Any] = []
    exchange._connect(Connection(ssl.create_default_context(), bundle, seen))
    exchange._connect(Connection(None, "ca.pem", seen))
    assert seen == [bundle, "ca.pem"]


def test_urllib3_shares_the_context_and_takes_the_bundle_from_the_connection(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    pool = urllib3.PoolManager(ssl_context=context).connection_from_url("https://sqs.invalid")
    pool.ca_certs, pool.cert_reqs = "ca.pem", "CERT_REQUIRED"
    connection: Any = pool._get_conn()
    assert connection.ssl_context is context
    assert "ca_certs" in vars(connection)


def test_through_a_proxy_urllib3_does_the_talking(served: Any) -> None:
    proxy, seen, _ = served(OK)
    manager = urllib3.ProxyManager(f"http://127.0.0.1:{proxy.port}")
    pool = manager.connection_from_url("http://sqs.invalid/")
    answer = exchange.post(pool, "http://sqs.invalid/", CONSTANT, {"X-N": "1"}, b"body")
    assert answer.data == b"{}"
    assert seen[0].startswith(b"POST http://sqs.invalid/ HTTP/1.1\r\n")
    assert b"X-N: 1\r\n" in seen[0]
