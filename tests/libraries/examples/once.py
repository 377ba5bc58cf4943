"""What celery-once's README shows."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery_once import QueueOnce

REDIS = os.environ["EXAMPLE_REDIS"]

app = Celery("once", broker="sqs://", backend=REDIS)
app.conf.update(
    task_default_queue="once", broker_transport_options={"wait_time_seconds": 1, "polling_interval": 0.1},
)  # fmt: skip
app.conf.ONCE = {
    "backend": "celery_once.backends.File",
    "settings": {"location": os.environ["EXAMPLE_LOCKS"], "default_timeout": 60},
}


@app.task(base=QueueOnce)
def slow_task() -> str:
    return "Done!"


@app.task(base=QueueOnce, once={"graceful": True})
def graceful() -> str:
    return "Done!"


@app.task(base=QueueOnce, once={"keys": ["a"]})
def slow_add(a: int, b: int) -> int:
    return a + b


@app.task(base=QueueOnce, once={"keys": []})
def whatever(a: int, b: int) -> int:
    return a + b


@app.task(base=QueueOnce, once={"unlock_before_run": True}, bind=True)
def unlocked(self: Any, number: int) -> bool:
    """Whether the same call could be sent while this one runs."""
    return self.apply_async(args=(number + 1,)) is not None if number == 0 else True


@app.task(base=QueueOnce)
def fails(reason: str) -> None:
    raise ValueError(reason)


@app.task(base=QueueOnce, bind=True, max_retries=3)
def tries(self: Any, number: int) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=0, exc=ValueError("again"))
    return number + int(self.request.retries)
