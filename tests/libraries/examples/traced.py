"""Tasks of which OpenTelemetry tells, as ``opentelemetry-instrument`` wraps their worker and their caller.

All that they know of it: a process of the worker that leaves sends what it has collected, or that is lost.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown
from opentelemetry import trace

app = Celery("traced", broker="sqs://", backend=os.environ["EXAMPLE_REDIS"])
app.conf.update(
    task_default_queue="traced", broker_transport_options={"wait_time_seconds": 1, "polling_interval": 0.1},
)  # fmt: skip


@worker_process_shutdown.connect
def send_spans(**_: Any) -> None:
    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]


@app.task
def works(number: int) -> tuple[int, int]:
    return number, os.getpid()


@app.task
def calls(number: int) -> str:
    return str(works.delay(number).id)


@app.task
def fails(reason: str) -> None:
    raise ValueError(reason)


@app.task(bind=True)
def tries(self: Any) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=0, exc=ValueError("again"))
    return "done"
