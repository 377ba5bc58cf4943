"""Calls each task of ``traced`` once, inside of one span; prints what came of it. ``opentelemetry-instrument`` wraps it."""

from __future__ import annotations

import json

import traced
from opentelemetry import trace

with trace.get_tracer("caller").start_as_current_span("a request") as span:
    works, calls = traced.works.delay(1), traced.calls.delay(2)
    fails, tries = traced.fails.delay("on purpose"), traced.tries.delay()
    inner = traced.app.AsyncResult(calls.get(timeout=40))
    ran = {"works": works.get(timeout=40), "inner": inner.get(timeout=40), "tries": tries.get(timeout=40)}
    fails.get(timeout=40, propagate=False)

ids = {"works": works.id, "calls": calls.id, "fails": fails.id, "tries": tries.id, "inner": inner.id}
print(json.dumps({"trace": f"{span.get_span_context().trace_id:032x}", "ids": ids, "ran": ran, "failed": fails.state}))
