"""Credentials as a container gets them: an HTTP endpoint that hands out short-lived keys, and can fail.

Owns: ``Roles``, for ``AWS_CONTAINER_CREDENTIALS_FULL_URI``. Runs in a thread of the test's process, on loopback.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Seconds for which a key is good: so few that every call finds it due for renewal, and must renew it.
GOOD_FOR = 30


class Roles:
    """The endpoint. ``failing`` makes it answer 500; ``asked`` counts."""

    def __init__(self) -> None:
        self.failing = False
        self.asked = 0
        roles = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                roles.asked += 1
                expires = datetime.now(timezone.utc) + timedelta(seconds=GOOD_FOR)
                answer = {
                    "AccessKeyId": f"key{roles.asked}", "SecretAccessKey": "secret", "Token": "token",
                    "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }  # fmt: skip
                body = b"{}" if roles.failing else json.dumps(answer).encode()
                self.send_response(500 if roles.failing else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/credentials"

    def __enter__(self) -> Roles:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
