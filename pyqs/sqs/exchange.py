"""One HTTP/1.1 exchange over a keep-alive connection that urllib3 has made.

Owns: ``post``: a request written in one piece, and an answer read as far as its length says. urllib3 keeps the connections, and
does names, IPv6, TLS and timeouts; through a proxy it does the exchange, too. Any thread: each takes a connection of its own.
Never repeats a request, never follows a redirect, never gives a connection back that is not at the end of an answer.

urllib3's own ``urlopen`` is http.client's: two writes a request and a parser for e-mail headers, 0.53 ms of CPU beside 0.14 ms
here for the same call (Python 3.11). An answer's framing is read as RFC 9112 has it, as far as a server may use it on a client
that sends no ``TE``: a Content-Length, chunks, or the end of the connection.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import urllib3
from urllib3 import exceptions as http

_ONCE = urllib3.Retry(False)
_CHUNK = 65536
#: Bytes of a status line with headers, and of a whole answer. Ten messages of 1 MiB are 60 MiB when JSON escapes all of them.
MAX_HEAD = 65536
MAX_BODY = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Parameters:
    headers: by lower-case name; of several of one name the last.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


class Stream(Protocol):
    """A connected socket."""

    def recv(self, size: int, /) -> bytes: ...


def post(pool: Any, target: str, constant: bytes, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send a POST and read its answer.

    Parameters:
        pool: urllib3's, for the host.
        target: what stands in the request line.
        constant: the headers that are always the same, as they are written: lines that end in CRLF.
        headers: the others, but for Content-Length.

    Raises:
        urllib3.exceptions.HTTPError, OSError: nobody answered, or not in HTTP.
    """
    values = "".join(headers.values())
    if "\n" in values or "\r" in values:
        raise http.HTTPError("a header's value has a line break in it")
    if pool.proxy is not None:
        return _through_proxy(pool, target, constant, headers, body)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = f"POST {target} HTTP/1.1\r\n".encode("ascii") + constant
    request = head + f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body
    connection = pool._get_conn()
    try:
        if getattr(connection, "sock", None) is None:
            _connect(connection)
        if connection.sock.gettimeout() != pool.timeout.read_timeout:  # setting it is a system call
            connection.sock.settimeout(pool.timeout.read_timeout)
        connection.sock.sendall(request)
        answer, reusable = read_answer(connection.sock)
    except BaseException:
        connection.close()
        pool._put_conn(connection)
        raise
    if not reusable:
        connection.close()
    pool._put_conn(connection)
    return answer


#: TLS context -> the CA bundles that were read into it: path, and what tells one state of the file from another.
_read: weakref.WeakKeyDictionary[Any, set[tuple[Any, ...]]] = weakref.WeakKeyDictionary()


def _connect(connection: Any) -> None:
    """Connect, and have the CA bundle read once into the TLS context that a pool's connections share.

    urllib3 reads it for each of them, which changes nothing after the first and costs 30 ms of CPU with botocore's bundle, ten
    times the handshake. A bundle that has changed on disk is read again.
    """
    context, bundle = getattr(connection, "ssl_context", None), getattr(connection, "ca_certs", None)
    if context is None or not isinstance(bundle, str):
        connection.connect()
        return
    try:
        about = os.stat(bundle)
        state = (bundle, about.st_mtime_ns, about.st_size, about.st_ino)
    except OSError:  # urllib3 says what is wrong with it
        connection.connect()
        return
    if state in _read.get(context, ()):
        connection.ca_certs = None
    try:
        connection.connect()
    finally:
        connection.ca_certs = bundle
    _read.setdefault(context, set()).add(state)


def read_answer(sock: Stream) -> tuple[Answer, bool]:
    """The answer that comes next, and whether the connection may be used again.

    Raises:
        urllib3.exceptions.ProtocolError: what comes is no HTTP, or ends too early.
    """
    data = b""
    while True:
        head, data = _head(sock, data)
        status, version, headers = _parsed(head)
        if status >= 200:  # those below announce the answer, or say that the request is wanted
            break
    if status in (204, 304):
        return Answer(status, headers, b""), _stays_open(version, headers)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, rest = _chunks(sock, data)
    elif "content-length" in headers:
        length = _number(headers["content-length"], 10)
        if length > MAX_BODY:
            raise http.ProtocolError(f"an answer of {length} bytes")
        body = _at_least(sock, data, length)
        body, rest = body[:length], body[length:]
    else:
        body = _to_the_end(sock, data)
        return Answer(status, headers, body), False
    return Answer(status, headers, body), not rest and _stays_open(version, headers)


def _through_proxy(pool: Any, target: str, constant: bytes, headers: Mapping[str, str], body: bytes) -> Answer:
    """The same by urllib3, which knows how to talk to proxies."""
    fixed = dict(line.split(": ", 1) for line in constant.decode("latin-1").split("\r\n") if line)
    fixed.pop("Host", None)
    response = pool.urlopen(
        "POST", target, body, {**fixed, **headers}, retries=_ONCE, redirect=False, assert_same_host=False, decode_content=False
    )
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, response.data)


def _head(sock: Stream, data: bytes) -> tuple[bytes, bytes]:
    """Status line and headers, and what has come after them."""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > MAX_HEAD:
            raise http.ProtocolError("headers without an end")
        data += _more(sock, began=bool(data))
    return data[:end], data[end + 4 :]


def _parsed(head: bytes) -> tuple[int, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdecimal()) or len(code) != 3:
        raise http.ProtocolError("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise http.ProtocolError("a header line that is none")
        headers[name.lower()] = value.strip(" \t")
    return int(code), version, headers


def _chunks(sock: Stream, data: bytes) -> tuple[bytes, bytes]:
    """A body in chunks, and what has come after it."""
    parts: list[bytes] = []
    total = 0
    while True:
        line, data = _line(sock, data)
        length = _number(line.partition(b";")[0].strip().decode("latin-1"), 16)
        if not length:
            break
        total += length
        if total > MAX_BODY:
            raise http.ProtocolError(f"an answer of more than {MAX_BODY} bytes")
        data = _at_least(sock, data, length + 2)
        if data[length : length + 2] != b"\r\n":
            raise http.ProtocolError("a chunk of another length than it says")
        parts.append(data[:length])
        data = data[length + 2 :]
    while line:  # trailers, and the empty line after them
        line, data = _line(sock, data)
    return b"".join(parts), data


def _line(sock: Stream, data: bytes) -> tuple[bytes, bytes]:
    while (end := data.find(b"\r\n")) < 0:
        if len(data) > MAX_HEAD:
            raise http.ProtocolError("a line without an end")
        data += _more(sock)
    return data[:end], data[end + 2 :]


def _at_least(sock: Stream, data: bytes, length: int) -> bytes:
    if len(data) >= length:
        return data
    parts, have = [data], len(data)
    while have < length:
        parts.append(_more(sock))
        have += len(parts[-1])
    return b"".join(parts)


def _to_the_end(sock: Stream, data: bytes) -> bytes:
    parts, have = [data], len(data)
    while more := sock.recv(_CHUNK):
        parts.append(more)
        have += len(more)
        if have > MAX_BODY:
            raise http.ProtocolError(f"an answer of more than {MAX_BODY} bytes")
    return b"".join(parts)


def _more(sock: Stream, *, began: bool = True) -> bytes:
    data = sock.recv(_CHUNK)
    if not data:
        raise http.ProtocolError(
            "the connection was closed " + ("in the middle of an answer" if began else "without an answer")
        )
    return data


_DIGITS = {10: frozenset("0123456789"), 16: frozenset("0123456789abcdef")}


def _number(text: str, base: int) -> int:
    if not text or len(text) > 16 or not _DIGITS[base].issuperset(text.lower()):
        raise http.ProtocolError("a length that is no number")
    return int(text, base)


def _stays_open(version: str, headers: Mapping[str, str]) -> bool:
    said = headers.get("connection", "").lower()
    return said == "keep-alive" if version == "HTTP/1.0" else "close" not in said
