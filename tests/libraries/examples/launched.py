"""Tasks that know nothing of the agents started around their worker: ``ddtrace-run``, ``newrelic-admin run-program``."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

app = Celery("launched", broker="sqs://", backend=os.environ["EXAMPLE_REDIS"])
app.conf.update(
    task_default_queue="launched", broker_transport_options={"wait_time_seconds": 1, "polling_interval": 0.1},
)  # fmt: skip


@app.task
def works(number: int) -> tuple[int, int]:
    return number, os.getpid()


@app.task
def calls(number: int) -> tuple[str, int]:
    return str(works.delay(number).id), os.getpid()


@app.task
def fails(reason: str) -> None:
    raise ValueError(reason)


@app.task(bind=True)
def tries(self: Any) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=0, exc=ValueError("again"))
    return "done"
