"""The network between a worker and the SQS: a TCP relay that can be cut, frozen, made to reset, or to answer like a proxy.

Owns: ``Line``: one listening port on loopback, and a pair of threads for each connection. Runs in the test's process. Never
looks into what it carries.

=========  =========================================================================================================
open       bytes go both ways
cut        nobody listens: the connection is refused, those that are open end
frozen     packets vanish: no new connection comes about, on those that are open nothing arrives any more, not even when
           the line is open again (whatever kept their state has forgotten them)
resets     a connection is reset with this probability each time that the worker has sent something
proxy      each request is answered with a page and 403, as a proxy does that has a bad day
=========  =========================================================================================================
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from urllib.parse import urlsplit

_PAGE = b"<html><body><h1>403 Forbidden</h1>The corporate proxy says no.</body></html>"
_FORBIDDEN = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(_PAGE)
) + _PAGE
_RESET = struct.pack("ii", 1, 0)
_CHUNK = 65536


class Line:
    """A relay to a server.

    Parameters:
        url: of the SQS server, on loopback.
        dice: for resets.
    """

    def __init__(self, url: str, dice: random.Random) -> None:
        self._target = urlsplit(url).port
        self._dice = dice
        self._reset_rate = 0.0
        self._as_proxy = False
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._frozen: set[_Pair] = set()
        self._stuffing: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    @property
    def url(self) -> str:
        """The endpoint for the worker."""
        return f"http://127.0.0.1:{self.port}"

    # -- the weather ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """All is well from now on."""
        self._reset_rate, self._as_proxy = 0.0, False
        if self._stuffing or self._listener is None:
            self._close_listener()
            for one in self._stuffing:
                one.close()
            self._stuffing.clear()
            self._listen()

    def cut(self) -> None:
        """Nobody listens any more."""
        self._close_listener()
        self._end_pairs()

    def freeze(self) -> None:
        """No packet arrives any more. The listener's queue is filled, so that the kernel drops what would connect."""
        self._close_listener()
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.frozen = True
        self._frozen |= pairs
        listener = _bound(self.port)
        listener.listen(0)
        self._listener = listener
        self._stuffing = [socket.socket() for _ in range(4)]
        for one in self._stuffing:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))

    def reset(self, rate: float) -> None:
        """Connections are reset at random."""
        self._reset_rate = rate

    def answer_as_proxy(self) -> None:
        """Requests are answered with 403 and a page."""
        self._as_proxy = True

    def close(self) -> None:
        """The end of it."""
        self.cut()
        for pair in self._frozen:
            pair.end(reset=False)
        for one in self._stuffing:
            one.close()

    # -- connections ----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        listener = _bound(self.port)
        listener.listen(512)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="line-accept", daemon=True).start()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # it ends the accept() under way
            listener.close()

    def _end_pairs(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.end(reset=False)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(near, far)
            with self._lock:
                self._pairs.add(pair)
            for source, to in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(pair, source, to), name="line", daemon=True).start()

    def _carry(self, pair: _Pair, source: socket.socket, to: socket.socket) -> None:
        while True:
            try:
                data = source.recv(_CHUNK)
                if pair.frozen:
                    if not data and source is pair.near:
                        pair.end(reset=False)  # the worker has given it up
                        return
                    if not data:
                        return
                    continue
                if data and source is pair.near and self._struck(pair):
                    return
                if not data:
                    break
                to.sendall(data)
            except OSError:
                break
        if not pair.frozen:
            pair.end(reset=False)
            with self._lock:
                self._pairs.discard(pair)

    def _struck(self, pair: _Pair) -> bool:
        """Whether the weather has ended this connection."""
        if self._as_proxy:
            with contextlib.suppress(OSError):
                pair.near.sendall(_FORBIDDEN)
            pair.end(reset=False)
        elif self._reset_rate and self._dice.random() < self._reset_rate:
            pair.end(reset=True)
        else:
            return False
        with self._lock:
            self._pairs.discard(pair)
        return True


class _Pair:
    """One connection: the worker's side and the server's."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.frozen = False

    def end(self, *, reset: bool) -> None:
        with contextlib.suppress(OSError):
            if reset:
                self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            else:
                self.near.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.far.shutdown(socket.SHUT_RDWR)
        for one in (self.near, self.far):
            one.close()


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener
