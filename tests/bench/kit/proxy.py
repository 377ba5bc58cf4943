"""A relay that makes SQS far away: each direction's bytes arrive half a round trip later. A process of its own.

Owns: one listening port on loopback, TLS on it if asked. ``python proxy.py PORT_OF_SERVER ROUND_TRIP_MS [CERT.pem]`` prints
its address. Never looks into what it carries, and never slows a new connection's handshake (kept-alive connections
make few).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import sys
from collections import deque

_CHUNK = 1 << 18


class Pipe(asyncio.Protocol):
    """One side of a relayed connection; what it reads is written to the other side after the delay."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.transport: asyncio.Transport | None = None
        self.other: Pipe | None = None
        self._waiting: deque[bytes] = deque()
        self._late: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        with contextlib.suppress(OSError, AttributeError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.delay:
            self._late.append(data)
            asyncio.get_running_loop().call_later(self.delay, self._next)
        else:
            self._hand_over(data)

    def _next(self) -> None:
        self._hand_over(self._late.popleft())  # in order, even where two timers are due at once

    def _hand_over(self, data: bytes) -> None:
        if self.other is None:
            self._waiting.append(data)
        elif self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            asyncio.get_running_loop().call_later(self.delay, self.other.transport.close)

    def join(self, other: Pipe) -> None:
        """Both sides are there: what came before goes over."""
        self.other, other.other = other, self
        while self._waiting:
            self._hand_over(self._waiting.popleft())


class Near(Pipe):
    """The client's side: it opens the server's."""

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self.port = port
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_connection(lambda: Pipe(self.delay), "127.0.0.1", self.port)
        except OSError:
            if self.transport is not None:
                self.transport.abort()
            return
        self.join(far)
        if self.transport is None or self.transport.is_closing():
            assert far.transport is not None
            far.transport.close()


async def serve(port: int, delay: float, certificate: str | None) -> None:
    """Relay until SIGTERM."""
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(lambda: Near(delay, port), "127.0.0.1", 0, ssl=tls, backlog=1024)
    print(f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await over.wait()


def main() -> None:
    """Read the arguments and serve."""
    port, round_trip, *certificate = sys.argv[1:]
    asyncio.run(serve(int(port), float(round_trip) / 2000, certificate[0] if certificate else None))


if __name__ == "__main__":
    main()
