"""``ddtrace-run`` around a worker, against an agent of ours that keeps the spans that are sent to it."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgpack
import pytest

from processes import wait_until

LAUNCHER = str(Path(sys.executable).parent / "ddtrace-run")


class Agent:
    """Takes traces as Datadog's agent does, in its format of version 0.4."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({"version": "7.60.0", "endpoints": ["/v0.4/traces"], "client_drop_p0s": False})

            def do_PUT(self) -> None:
                body = self._body()
                if self.path == "/v0.4/traces":
                    agent.spans.extend(span for trace in msgpack.unpackb(body, strict_map_key=False) for span in trace)
                self._answer({"rate_by_service": {}})

            def do_POST(self) -> None:
                self.do_PUT()

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def _answer(self, what: dict[str, Any]) -> None:
                text = json.dumps(what).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                """Nothing is written for each request."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def of(self, task_id: str, name: str) -> list[dict[str, Any]]:
        """The spans of one call, by when they began."""
        found = [span for span in self.spans if span["name"] == name and span["meta"].get("celery.id") == task_id]
        return sorted(found, key=lambda span: int(span["start"]))

    def wait(self, task_id: str, name: str, count: int = 1) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.of(task_id, name)) >= count)
        return self.of(task_id, name)


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    made = Agent()
    made.thread.start()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


@pytest.fixture
def tasks(agent: Agent, redis_url: str, work: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application, and a worker of it below ``ddtrace-run``."""
    env = {
        "EXAMPLE_REDIS": redis_url,
        "DD_TRACE_AGENT_URL": agent.url,
        "DD_TRACE_API_VERSION": "v0.4",
        "DD_SERVICE": "example",
        "DD_CELERY_DISTRIBUTED_TRACING": "true",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_CRASHTRACKING_ENABLED": "false",
    }
    work("launched", LAUNCHER, **env)
    monkeypatch.setenv("EXAMPLE_REDIS", redis_url)
    return importlib.import_module("launched")


def test_spans_come_from_the_processes_that_run_tasks(agent: Agent, tasks: Any) -> None:
    sent = tasks.works.delay(1)
    _, pid = sent.get(timeout=40)
    (span,) = agent.wait(sent.id, "celery.run")
    assert (span["resource"], span["service"], span.get("error", 0)) == ("launched.works", "example", 0)
    assert (span["meta"]["celery.action"], span["meta"]["celery.state"], span["meta"]["span.kind"]) == (
        "run",
        "SUCCESS",
        "consumer",
    )
    assert span["metrics"]["process_id"] == pid


def test_a_call_within_a_task_is_of_its_trace(agent: Agent, tasks: Any) -> None:
    sent = tasks.calls.delay(2)
    inner, pid = sent.get(timeout=40)
    tasks.app.AsyncResult(inner).get(timeout=40)
    (outer_run,) = agent.wait(sent.id, "celery.run")
    (apply,) = agent.wait(inner, "celery.apply")
    (inner_run,) = agent.wait(inner, "celery.run")
    assert outer_run["metrics"]["process_id"] == pid
    assert apply["parent_id"] == outer_run["span_id"]
    assert inner_run["parent_id"] == apply["span_id"]
    assert len({span["trace_id"] for span in (outer_run, apply, inner_run)}) == 1


def test_failures_and_retries(agent: Agent, tasks: Any) -> None:
    failed, tried = tasks.fails.delay("on purpose"), tasks.tries.delay()
    assert tried.get(timeout=40) == "done"
    failed.get(timeout=40, propagate=False)
    (span,) = agent.wait(failed.id, "celery.run")
    assert span["error"] == 1
    assert (span["meta"]["error.message"], span["meta"]["error.type"]) == ("on purpose", "builtins.ValueError")
    runs = agent.wait(tried.id, "celery.run", 2)
    assert [run["meta"]["celery.state"] for run in runs] == ["RETRY", "SUCCESS"]
    assert [run.get("error", 0) for run in runs] == [0, 0]
