"""Every recorded message of real producers through the runtime: it runs, or it says why not; nothing raises."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyqs import wire
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.message import Delivery, ReceivedMessage
from pyqs.runtime import Outcome
from pyqs_celery_compat import Celery
from pyqs_celery_compat.runtime import CeleryRuntime

FOLDER = Path(__file__).parents[1] / "specimens"
SPECIMENS = [
    json.loads(line)
    for path in sorted(FOLDER.glob("celery*.gz"))
    for line in gzip.decompress(path.read_bytes()).decode().splitlines()
]
NAMES = {specimen["expect"].get("task") for specimen in SPECIMENS} - {None}


@pytest.fixture
def runtime(make_app: Callable[..., Celery]) -> CeleryRuntime:
    app = make_app()
    for name in NAMES:
        if not name.startswith("celery."):
            app.task(name=name, typing=False)(lambda *args, **kwargs: "result")
    made = CeleryRuntime(RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime"))
    made.boot()
    return made


def delivery_of(specimen: dict[str, Any]) -> Delivery:
    attributes = {**specimen["attributes"], "ApproximateReceiveCount": "1"}
    message = ReceivedMessage("m", "h", specimen["body"], attributes)
    queue = specimen["queue_name"]
    return Delivery(1, queue, f"http://sqs/{queue}", message, boottime(), time.time(), 120)


@pytest.mark.parametrize("specimen", SPECIMENS, ids=[specimen["id"] for specimen in SPECIMENS])
def test_each_ends_as_its_truth_says(runtime: CeleryRuntime, specimen: dict[str, Any]) -> None:
    delivery, expect = delivery_of(specimen), specimen["expect"]
    prepared = runtime.prepare(delivery)
    if isinstance(prepared, Outcome):
        outcome = prepared
    else:
        outcome = prepared.run()
        assert outcome.status == "succeeded", outcome.reason
        following = len(expect["callbacks"] or ()) + bool(expect["chain"])
        assert len(outcome.follow_ups) >= following
    done = wire.Done(1, outcome.verdict, outcome.follow_ups, outcome.status, outcome.task, outcome.call_id, outcome.reason)
    assert list(wire.FrameReader().feed(wire.encode(done))) == [done]
    if expect["kind"] != "task":
        assert outcome.status == "undecodable"
    elif expect["chord"]:
        assert outcome.status == "unsupported"
    else:
        assert outcome.status in ("succeeded", "postponed", "expired", "unsupported", "refused")
        if outcome.status == "unsupported":
            assert "celery." in str(expect["task"]) or "chord" in outcome.reason
        if outcome.status == "refused":
            assert "pickle" in outcome.reason
