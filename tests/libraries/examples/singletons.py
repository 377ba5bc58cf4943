"""What celery-singleton's README shows."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from celery_singleton import Singleton, clear_locks

REDIS = os.environ["EXAMPLE_REDIS"]

app = Celery("singletons", broker="sqs://", backend=REDIS)
app.conf.update(
    task_default_queue="singletons",
    singleton_backend_url=REDIS.replace("redis+socket://", "unix://"),
    broker_transport_options={"wait_time_seconds": 1, "polling_interval": 0.1},
)


@worker_ready.connect
def unlock_all(**_: Any) -> None:
    clear_locks(app)


@app.task(base=Singleton)
def do_stuff(*args: Any, **kwargs: Any) -> str:
    time.sleep(0.05)
    return "I just woke up"


@app.task(base=Singleton, unique_on=["username"])
def do_something(username: str, otherarg: int | None = None) -> tuple[str, int | None]:
    return username, otherarg


@app.task(base=Singleton, raise_on_duplicate=True)
def only_one(username: str) -> str:
    return username


@app.task(base=Singleton, lock_expiry=1)
def expires() -> None: ...


@app.task(base=Singleton)
def fails(reason: str) -> None:
    raise ValueError(reason)


@app.task(base=Singleton, bind=True, max_retries=2)
def tries(self: Any, number: int) -> int:
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return number + int(self.request.retries)
