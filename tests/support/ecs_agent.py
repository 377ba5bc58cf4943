"""The ECS agent's endpoint for scale-in protection, as a container finds it, on loopback.

Owns: ``EcsAgent``, which notes what it is asked and answers as told. Runs a server in a thread of the test's process.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TASK = "arn:aws:ecs:us-east-1:000000000000:task/shop/0123456789abcdef"
PATH = "/api/0123456789abcdef-42/task-protection/v1/state"
THROTTLED = {"error": {"Arn": TASK, "Code": "ThrottlingException", "Message": "Rate exceeded"}, "requestID": "1"}
BLOCKED = {"failure": {"Arn": TASK, "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}}


class EcsAgent:
    """Notes every request.

    Attributes:
        asked: the bodies of valid ones, in order.
        refusal: status and body of every answer from now on; None confirms.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.refusal: tuple[int, Any] | None = None
        self.wrong: list[str] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != PATH or self.headers["Content-Type"] != "application/json":
                    agent.wrong.append(f"{self.path} {self.headers['Content-Type']}")
                agent.asked.append(body)
                status, answer = agent.refusal or (200, agent.confirmation(body))
                text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if status == 302:
                    self.send_header("Location", agent.uri + "/elsewhere")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                """Nothing is written for each request."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}{PATH.partition('/task-protection')[0]}"

    @staticmethod
    def confirmation(body: dict[str, Any]) -> dict[str, Any]:
        """As the agent answers."""
        until = "2026-11-28T04:00:00Z" if body["ProtectionEnabled"] else None
        return {"protection": {"ExpirationDate": until, "ProtectionEnabled": body["ProtectionEnabled"], "TaskArn": TASK}}

    @property
    def states(self) -> list[bool]:
        """What was asked for, in order."""
        return [body["ProtectionEnabled"] for body in self.asked]


@contextmanager
def running() -> Iterator[EcsAgent]:
    """An agent, ended with the block."""
    agent = EcsAgent()
    thread = threading.Thread(target=agent._server.serve_forever)
    thread.start()
    try:
        yield agent
    finally:
        agent._server.shutdown()
        thread.join()
        agent._server.server_close()
    assert not agent.wrong
