"""As much of S3 as bodies of messages need: PutObject, GetObject, DeleteObjects, path style, on loopback, with faults on order.

Owns: ``SmallS3``. Runs in the test's process. What real S3 does beyond that is shown on ministack's (``tests/interop``).
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape, unescape


class SmallS3:
    """Buckets in memory; a bucket is there once it is named.

    Attributes:
        objects: "bucket/key" -> body. calls: how many of each kind. refused: kind -> S3's error code, while it is there.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        s3 = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self._begins("put"):
                    s3.objects[self._path()] = body
                    self._answer(200)

            def do_GET(self) -> None:
                if not self._begins("get"):
                    return
                found = s3.objects.get(self._path())
                if found is None:
                    self._error("NoSuchKey", 404)
                else:
                    self._answer(200, found)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if self._begins("delete"):
                    for key in re.findall(r"<Key>(.*?)</Key>", body):
                        s3.objects.pop(f"{self._path()}/{unescape(key)}", None)
                    self._answer(200, b"<DeleteResult/>")

            def _path(self) -> str:
                return unquote(urlsplit(self.path).path).strip("/")

            def _begins(self, kind: str) -> bool:
                s3.calls[kind] += 1
                code = s3.refused.get(kind)
                if code is not None:
                    self._error(code, 403 if code == "AccessDenied" else 503)
                return code is None

            def _error(self, code: str, status: int) -> None:
                self._answer(status, f"<Error><Code>{escape(code)}</Code><Message>so it is</Message></Error>".encode())

            def _answer(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
