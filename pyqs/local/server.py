"""The embedded SQS over HTTP: SQS's JSON protocol on loopback.

Owns: the listening socket, one thread per connection, HTTP/1.1 with keep-alive, the error shape, and the admin path for
faults. Never checks a signature: it is a development server. Nothing a client sends ends it.

HTTP is read by hand and not by ``http.server``: the e-mail parser behind that costs more than the work itself, and an
answer written in two parts costs 40 ms beside a client that delays its acknowledgements.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import select
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from pyqs.errors import ConfigError
from pyqs.local.actions import Actions, Caller
from pyqs.local.admin import ADMIN_PATH, administer
from pyqs.local.faults import Dropped
from pyqs.local.service_error import ServiceError
from pyqs.local.store import DEFAULT_REGION, Store

logger = logging.getLogger(__name__)

_MAX_BODY = 16 * 1024 * 1024  # a batch of 1 MiB, with every character escaped, is under 7 MiB
_MAX_LINE = 65_536
_MAX_HEADERS = 200
_TARGET = "AmazonSQS."
_JSON = "application/x-amz-json-1.0"
_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/([a-z0-9-]{1,40})/")
_CHUNK_LENGTH = re.compile(rb"[0-9a-fA-F]{1,8}\Z")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Request(NamedTuple):
    """One HTTP request, read whole. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class BadRequest(Exception):
    """Not HTTP as this server reads it; the connection is closed after the answer."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def is_loopback(host: str) -> bool:
    """Whether a host to bind is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class LocalServer:
    """A server on a thread of its own.

    Parameters:
        store: what it serves; ``stop`` leaves it open.
        host: address to bind.
        port: 0 takes a free one.

    ``seen`` counts the requests of each action. Use it as a context manager, or call ``start`` and ``stop``.
    Raises ConfigError from ``start`` when the address cannot be bound.
    """

    def __init__(self, store: Store, host: str = "127.0.0.1", port: int = 0) -> None:
        self.store = store
        self.actions = Actions(store)
        self.seen = self.actions.seen
        self._host, self._port = host, port
        self._listener: socket.socket | None = None
        self._stopping = False
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._acceptor: threading.Thread | None = None

    @property
    def endpoint_url(self) -> str:
        """What an SDK is pointed at. Only after ``start``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self._port}"

    def start(self) -> LocalServer:
        """Bind, and serve from now on."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
            listener.listen(512)
        except (OSError, OverflowError, UnicodeError) as error:
            listener.close()
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot listen on {self._host}:{self._port}: {reason}") from error
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="sqs-accept", daemon=True)
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Close the listener and every connection, and wait for their threads. Long polls end without an answer."""
        with self._lock:
            self._stopping = True
            listener, self._listener = self._listener, None
            connections = list(self._connections)
            threads = list(self._threads)
        if listener is not None:
            # shutdown, not only close: it ends the accept() that is under way
            _shut(listener)
            listener.close()
        for connection in connections:
            _shut(connection)
        self.store.faults.release()
        self.store.wake()
        for thread in [*threads, *([self._acceptor] if self._acceptor else [])]:
            thread.join(timeout=5)

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if self._stopping:
                    return
                logger.warning("accepting a connection failed, trying again: %s", error)
                time.sleep(0.1)  # out of file descriptors, say
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), name="sqs-connection", daemon=True)
            with self._lock:
                if self._stopping:
                    connection.close()
                    return
                self._connections.add(connection)
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("no thread for a connection, closing it: %s", error)
                with self._lock:
                    self._connections.discard(connection)
                    self._threads.discard(thread)
                connection.close()

    # -- one connection -----------------------------------------------------------------------------------------------

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                while self._serve_one(connection, reader):
                    pass
        except (OSError, Dropped):
            pass  # the client hung up, or a fault wants it to look so
        except Exception:
            logger.exception("a connection ended by an error of the server")
        finally:
            with self._lock:
                self._connections.discard(connection)
                self._threads.discard(threading.current_thread())

    def _serve_one(self, connection: socket.socket, reader: BinaryIO) -> bool:
        """Read one request and answer it. False when the connection is over."""
        try:
            request = read_request(reader, connection)
        except BadRequest as error:
            connection.sendall(_answer(error.status, {"message": str(error)}, {}, keep_alive=False))
            return False
        if request is None or self._stopping:
            return False
        status, payload, extra = self._respond(request, connection)
        connection.sendall(_answer(status, payload, extra, keep_alive=request.keep_alive))
        return request.keep_alive

    def _respond(self, request: Request, connection: socket.socket) -> tuple[int, object, dict[str, str]]:
        path = request.path.partition("?")[0]
        if path == ADMIN_PATH:
            peer = connection.getpeername()[0]
            return administer(self.store.faults, request.method, request.headers, request.body, peer)
        if request.method == "GET" and path == "/":
            return 200, {"service": "pyqs local", "protocol": "SQS JSON 1.0"}, {}
        try:
            return 200, self._act(request, connection), {}
        except ServiceError as error:
            fault = "Sender" if error.sender_fault else "Receiver"
            return (
                error.status,
                {"__type": error.type, "message": error.message},
                {"x-amzn-query-error": f"{error.code};{fault}"},
            )
        except Dropped:
            raise
        except Exception:
            if self._stopping:
                raise Dropped from None
            logger.exception("%s failed", request.headers.get("x-amz-target", "?"))
            text = "We encountered an internal error. Please try again."
            return 500, {"__type": "com.amazon.coral.service#InternalFailureException", "message": text}, {}

    def _act(self, request: Request, connection: socket.socket) -> dict[str, Any]:
        target = request.headers.get("x-amz-target", "")
        if request.method != "POST" or not target.startswith(_TARGET):
            text = "expected POST with X-Amz-Target: AmazonSQS.<action>: the JSON protocol, which SDKs speak since late 2023"
            raise ServiceError("UnknownOperationException", text)
        try:
            payload = json.loads(request.body) if request.body else {}
        except (ValueError, RecursionError):
            raise ServiceError("SerializationException", "the body is not JSON") from None
        host = request.headers.get("host") or self.endpoint_url.partition("//")[2]
        scope = _SCOPE.search(request.headers.get("authorization", ""))
        region = scope.group(1) if scope else DEFAULT_REGION
        caller = Caller(f"http://{host}", region, lambda: self._stopping or _hung_up(connection))
        return self.actions.call(target[len(_TARGET) :], payload, caller)


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed. A client that sends its next request early has not."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was gone already


def read_request(reader: BinaryIO, connection: socket.socket) -> Request | None:
    """One request, or None at the end of the connection. Raises BadRequest."""
    line = reader.readline(_MAX_LINE)
    while line in (b"\r\n", b"\n"):
        line = reader.readline(_MAX_LINE)
    if not line:
        return None
    parts = line.decode("latin-1").split()
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("not an HTTP/1.x request")
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = reader.readline(_MAX_LINE)
        if line in (b"\r\n", b"\n"):
            break
        name, separator, value = line.decode("latin-1").partition(":")
        if not line.endswith(b"\n") or not separator:
            raise BadRequest("malformed headers")
        headers[name.strip().lower()] = value.strip()
    else:
        raise BadRequest("too many headers")
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = _read_chunks(reader) if "chunked" in headers.get("transfer-encoding", "").lower() else _read_body(reader, headers)
    wish = headers.get("connection", "").lower()
    keep_alive = "close" not in wish and (parts[2] == "HTTP/1.1" or "keep-alive" in wish)
    return Request(parts[0], parts[1], headers, body, keep_alive)


def _read_body(reader: BinaryIO, headers: dict[str, str]) -> bytes:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BadRequest("bad Content-Length")
    if len(text) > 10 or int(text) > _MAX_BODY:
        raise BadRequest("the request is too large", 413)
    return _exactly(reader, int(text))


def _read_chunks(reader: BinaryIO) -> bytes:
    body = bytearray()
    while True:
        text = reader.readline(100).partition(b";")[0].strip()
        if not _CHUNK_LENGTH.match(text):
            raise BadRequest("bad chunk")
        length = int(text, 16)
        if len(body) + length > _MAX_BODY:
            raise BadRequest("the request is too large", 413)
        body += _exactly(reader, length)
        if reader.readline(_MAX_LINE) not in (b"\r\n", b"\n"):
            raise BadRequest("bad chunk")
        if length == 0:
            return bytes(body)


def _exactly(reader: BinaryIO, length: int) -> bytes:
    body = reader.read(length)
    if len(body) != length:
        raise BadRequest("the request ends early")
    return body


def _answer(status: int, payload: object, extra: dict[str, str], *, keep_alive: bool) -> bytes:
    body = json.dumps(payload).encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}",
        f"x-amzn-RequestId: {uuid.uuid4()}",
        f"Content-Type: {_JSON}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in extra.items()),
    ]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
