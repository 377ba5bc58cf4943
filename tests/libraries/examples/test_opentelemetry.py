"""``opentelemetry-instrument`` around a caller and a worker, against a collector of ours that takes OTLP over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from conftest import environment
from processes import wait_until

HERE = Path(__file__).parent
INSTRUMENT = str(Path(sys.executable).parent / "opentelemetry-instrument")
CONSUMER, PRODUCER, ERROR = 5, 4, 2


class Collector:
    """Keeps the spans that are sent to it, each with the process that it says it comes from."""

    def __init__(self) -> None:
        self.spans: list[tuple[dict[str, Any], Any]] = []
        kept = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    for told in ExportTraceServiceRequest.FromString(body).resource_spans:
                        resource = _attributes(told.resource)
                        kept.extend((resource, span) for scope in told.scope_spans for span in scope.spans)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                """Nothing is written for each request."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def of(self, task_id: str, kind: int) -> list[Any]:
        """The spans of one call."""
        return [
            span for _, span in self.spans if span.kind == kind and _attributes(span).get("messaging.message.id") == task_id
        ]


def _attributes(what: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in what.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    made.thread.start()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def env(collector: Collector, sqs: str, redis_url: str) -> dict[str, str]:
    return {
        "EXAMPLE_REDIS": redis_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "example",
    }


@pytest.fixture
def told(collector: Collector, env: dict[str, str], work: Any) -> dict[str, Any]:
    """What the caller says after all has run and every span of it has arrived."""
    env = {**env, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    worker = work("traced", INSTRUMENT, **env)
    done = subprocess.run(
        [INSTRUMENT, sys.executable, str(HERE / "traced_caller.py")],
        env=environment(**env), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr[-4000:]}\n{worker.log.read_text()[-4000:]}"
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    runs = {"tries": 2}
    for name, task_id in said["ids"].items():
        wait_until(lambda name=name, task_id=task_id: len(collector.of(task_id, CONSUMER)) >= runs.get(name, 1))
    return said


def test_what_runs_in_the_worker_is_of_the_callers_trace(collector: Collector, told: dict[str, Any]) -> None:
    ids = told["ids"]
    spans = {name: (collector.of(ids[name], PRODUCER), collector.of(ids[name], CONSUMER)) for name in ids}
    assert {span.trace_id.hex() for pair in spans.values() for kind in pair for span in kind} == {told["trace"]}
    for name in ("works", "fails", "inner"):
        (sent,), (ran,) = spans[name]
        assert ran.parent_span_id == sent.span_id, name
    (ran,) = spans["calls"][1]
    (sent,) = spans["inner"][0]
    assert sent.parent_span_id == ran.span_id
    assert [ran.name for ran in spans["works"][1]] == ["run/traced.works"]
    assert [sent.name for sent in spans["works"][0]] == ["apply_async/traced.works"]
    (failed,) = spans["fails"][1]
    assert failed.status.code == ERROR
    assert [event.name for event in failed.events] == ["exception"]
    assert _attributes(failed.events[0])["exception.type"] == "ValueError"
    assert told["failed"] == "FAILURE"
    assert len(spans["tries"][0]) == len(spans["tries"][1]) == 2
    assert [_attributes(ran)["celery.state"] for ran in spans["tries"][1]] == ["RETRY", "SUCCESS"]
    known = _attributes(spans["works"][1][0])
    assert (known["celery.action"], known["celery.state"], known["messaging.destination"]) == ("run", "SUCCESS", "traced")
    assert (told["ran"]["inner"][0], told["ran"]["tries"]) == (2, "done")


def test_the_last_spans_are_there_when_the_project_sends_them_as_a_process_leaves(
    collector: Collector, env: dict[str, str], work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is collected for a minute nothing is sent before, on either side; ``traced`` has a receiver that does."""
    worker = work("traced", INSTRUMENT, **env, OTEL_BSP_SCHEDULE_DELAY="60000")
    monkeypatch.setenv("EXAMPLE_REDIS", env["EXAMPLE_REDIS"])
    import traced

    sent = traced.works.delay(7)
    assert sent.get(timeout=40)[0] == 7
    assert not collector.of(sent.id, CONSUMER)
    worker.end()
    assert [span.name for span in collector.of(sent.id, CONSUMER)] == ["run/traced.works"], worker.log.read_text()
