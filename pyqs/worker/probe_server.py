"""HTTP for probes: a few pages, read only, in one thread.

Owns: the listening socket and its connections. ``serve`` is called again and again by the health thread and never waits for
a client: each has a few seconds to ask and to read, and only so many are served at a time. Never logs a request and never
reads a body.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from pyqs.clock import boottime
from pyqs.errors import ConfigError

#: Connections at a time; one more and the oldest is closed, so that clients that say nothing shut nobody out.
MOST_CONNECTIONS = 32
#: Seconds from the accept until a client must have its answer.
PATIENCE = 5.0
#: Bytes of a request; probes send a few hundred.
_MOST_BYTES = 16 * 1024
#: Seconds of rest while the process has no file descriptor left.
_NO_DESCRIPTOR = 0.1
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    text: bytes
    status: int = 200
    content_type: str = _TEXT

    @classmethod
    def line(cls, text: str, status: int = 200) -> Page:
        """One line of plain text."""
        return cls(f"{text}\n".encode(errors="replace"), status)


Pages = Mapping[str, Callable[[], Page]]


@dataclass(eq=False, slots=True)
class _Client:
    channel: socket.socket
    until: float
    asked: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None


class ProbeServer:
    """Listens at once.

    Parameters:
        host: an address or a name.
        port: 0 takes any that is free.

    Raises:
        ConfigError: nobody can listen there.
    """

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self._pages = pages
        self._listener = _listen(host, port)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._clients: dict[_Client, None] = {}

    def serve(self, seconds: float) -> None:
        """Do what clients want for about so long."""
        end = boottime() + seconds
        while True:
            now = boottime()
            for client in [one for one in self._clients if one.until <= now]:
                self._drop(client)
            for key, _ in self._selector.select(max(0.0, end - now)):
                if key.data is None:
                    self._accept()
                elif key.data in self._clients:
                    self._go_on(key.data)
            if boottime() >= end:
                return

    def close(self) -> None:
        """Stop listening."""
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(_NO_DESCRIPTOR)  # it stays in the listener's queue, which would wake us at once
            return  # else it has gone already
        channel.setblocking(False)
        if len(self._clients) >= MOST_CONNECTIONS:
            self._drop(next(iter(self._clients)))
        client = _Client(channel, boottime() + PATIENCE)
        self._clients[client] = None
        self._selector.register(channel, selectors.EVENT_READ, client)

    def _go_on(self, client: _Client) -> None:
        try:
            if client.answer is None:
                self._read(client)
            else:
                self._write(client)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)

    def _read(self, client: _Client) -> None:
        data = client.channel.recv(4096)
        client.asked += data
        if not data or len(client.asked) > _MOST_BYTES:
            self._drop(client)
        elif b"\r\n\r\n" in client.asked or b"\n\n" in client.asked:
            client.answer = memoryview(self._answer(bytes(client.asked)))
            self._selector.modify(client.channel, selectors.EVENT_WRITE, client)
            self._write(client)

    def _write(self, client: _Client) -> None:
        assert client.answer is not None
        client.answer = client.answer[client.channel.send(client.answer) :]
        if not client.answer:
            client.channel.shutdown(socket.SHUT_WR)
            with contextlib.suppress(BlockingIOError):
                client.channel.recv(4096)  # what is left unread would make the kernel reset the connection
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        del self._clients[client]
        self._selector.unregister(client.channel)
        client.channel.close()

    def _answer(self, request: bytes) -> bytes:
        words = request.split(b"\n", 1)[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/"):
            method, page = b"GET", Page.line("not HTTP", 400)
        elif (method := words[0]) not in (b"GET", b"HEAD"):
            page = Page.line("GET and HEAD only", 405)
        else:
            make = self._pages.get(words[1].split(b"?", 1)[0].decode("latin-1"))
            page = Page.line("not found", 404) if make is None else make()
        head = (
            f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\nContent-Type: {page.content_type}\r\n"
            f"Content-Length: {len(page.text)}\r\nCache-Control: no-store\r\nConnection: close\r\n"
            + ("Allow: GET, HEAD\r\n" if page.status == 405 else "")
            + "\r\n"
        ).encode()
        return head if method == b"HEAD" else head + page.text


def _listen(host: str, port: int) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(MOST_CONNECTIONS)
    except OSError as exc:
        if listener is not None:
            listener.close()
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise ConfigError(f"--health: cannot listen on {shown}: {exc.strerror or exc}") from None
    listener.setblocking(False)
    return listener
