"""An app whose periodic tasks are in Redis, as celery-redbeat's README has it."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("redbeaten", broker="sqs://")
app.conf.update(
    task_default_queue="redbeaten",
    broker_transport_options={"region": "us-east-1", "wait_time_seconds": 1},
    redbeat_redis_url=os.environ.get("EXAMPLE_REDIS", "redis://localhost"),
    redbeat_redis_options={"retry_period": 5},
    redbeat_lock_timeout=10,
    beat_max_loop_interval=1,
    beat_schedule={"often": {"task": "redbeaten.note", "schedule": 1.0, "args": ("often",)}},
)


@app.task(name="redbeaten.note")
def note(what: str) -> None:
    """Leave a line."""
    with open(os.environ["EXAMPLE_OUT"], "a", encoding="utf-8") as out:
        out.write(f"{what} {note.request.id}\n")
