"""Open connections of one botocore client, so that they can be dropped from another thread.

Owns: ``LiveSockets``. Runs in any thread. botocore has no call that ends a request another thread is waiting for; the
only thing that does is shutting down its socket. Never closes a file descriptor: that stays with the thread using it.
"""

from __future__ import annotations

import socket
import threading
import weakref
from typing import Any


class LiveSockets:
    """The connections that a client's pools have opened and not yet dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def watch(self, client: Any) -> None:
        """Have every connection that this new client opens known here.

        Uses ``pool_classes_by_scheme``, which urllib3 offers for this, reached through two attributes that botocore
        does not document; a test holds that they are there.
        """
        session = client._endpoint.http_session
        pools = {scheme: self._watched(pool) for scheme, pool in session._pool_classes_by_scheme.items()}
        session._pool_classes_by_scheme = pools  # for managers of proxies, made later
        session._manager.pool_classes_by_scheme = pools

    def shut(self) -> None:
        """Shut every open socket in both directions: whoever reads from it sees the end of the stream at once."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            sock = getattr(connection, "sock", None)
            if sock is None:
                continue
            try:
                # The plain socket's method on purpose: SSLSocket.shutdown drops its TLS state under the reader's feet.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except (OSError, TypeError):
                continue  # closed meanwhile, or TLS inside TLS (a proxy), which is no socket

    def _watched(self, pool_class: type[Any]) -> type[Any]:
        base = pool_class.ConnectionCls
        register = self._register

        class WatchedConnection(base):  # type: ignore[misc,valid-type]
            def connect(self) -> None:
                super().connect()
                register(self)

        return type("Watched" + pool_class.__name__, (pool_class,), {"ConnectionCls": WatchedConnection})

    def _register(self, connection: Any) -> None:
        with self._lock:
            self._connections.add(connection)
