"""The small HTTP server behind the probes: what it answers, and what clients cannot do to it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from pyqs.errors import ConfigError
from pyqs.worker import probe_server
from pyqs.worker.probe_server import MOST_CONNECTIONS, Page, ProbeServer

BIG = b"x" * 3_000_000


@pytest.fixture
def server() -> Iterator[ProbeServer]:
    pages = {
        "/fine": lambda: Page.line("fine"),
        "/bad": lambda: Page.line("bad", 503),
        "/big": lambda: Page(BIG, content_type="text/x-big"),
    }
    server = ProbeServer("127.0.0.1", 0, pages)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            server.serve(0.05)
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server
    ended.set()
    thread.join()


def ask(server: ProbeServer, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Content-Type"]
    finally:
        connection.close()


def talk(server: ProbeServer, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(data)
        pieces = []
        while piece := client.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)


def test_pages(server: ProbeServer) -> None:
    assert ask(server, "/fine") == (200, b"fine\n", "text/plain; charset=utf-8")
    assert ask(server, "/fine?verbose=1")[:2] == (200, b"fine\n")
    assert ask(server, "/bad")[:2] == (503, b"bad\n")
    assert ask(server, "/")[0] == 404
    assert ask(server, "/fine/")[0] == 404
    assert ask(server, "/big") == (200, BIG, "text/x-big")


def test_head_has_no_body(server: ProbeServer) -> None:
    raw = talk(server, b"HEAD /fine HTTP/1.1\r\nHost: x\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 5\r\n" in raw
    assert raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_get_and_head(server: ProbeServer, method: str) -> None:
    assert ask(server, "/fine", method, b"body")[0] == 405


@pytest.mark.parametrize("junk", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\n\n", b"GET\r\n\r\n", b"GET /fine\r\n\r\n"])
def test_what_is_not_http(server: ProbeServer, junk: bytes) -> None:
    assert talk(server, junk).startswith(b"HTTP/1.1 400 ")
    assert ask(server, "/fine")[0] == 200


def test_a_request_in_pieces(server: ProbeServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /fi")
        assert ask(server, "/bad")[0] == 503  # others are served meanwhile
        client.sendall(b"ne HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_request_without_end_is_cut(server: ProbeServer) -> None:
    endless = b"GET /fine HTTP/1.1\r\nX: " + b"y" * 50_000_000
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client, pytest.raises(OSError):
        client.sendall(endless)
    assert ask(server, "/fine")[0] == 200


def test_silent_clients_shut_nobody_out(server: ProbeServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(MOST_CONNECTIONS + 5)]
    try:
        assert ask(server, "/fine")[0] == 200
        assert silent[0].recv(1) == b"", "the oldest was closed"
    finally:
        for one in silent:
            one.close()


def test_a_silent_client_is_closed_in_time(server: ProbeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_server, "PATIENCE", 0.1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        assert client.recv(1) == b""


def test_a_client_that_does_not_read_its_answer_holds_nobody_up(server: ProbeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_server, "PATIENCE", 0.5)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert ask(server, "/fine")[0] == 200


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--health: cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
            ProbeServer("127.0.0.1", port, {})


def test_a_host_that_is_not_ours() -> None:
    with pytest.raises(ConfigError, match=r"--health: cannot listen on 192\.0\.2\.1:0: "):
        ProbeServer("192.0.2.1", 0, {})


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6() -> None:
    try:
        server = ProbeServer("::1", 0, {})
    except ConfigError as error:
        pytest.skip(str(error))
    assert server.port
    server.close()
