"""One app, unchanged, for both workers: it imports ``celery``, whichever that is."""

import os

import celery
from celery import Celery, shared_task
from celery.exceptions import Retry, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

app = Celery("both", broker="sqs://k:s@127.0.0.1:" + os.environ["INTEROP_PORT"])
app.conf.update(
    broker_transport_options={"region": "us-east-1", "wait_time_seconds": 1},
    task_default_queue="both",
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
logger = get_task_logger(__name__)


def write(line):
    with open(os.environ["INTEROP_OUT"], "a", encoding="utf-8") as out:
        out.write(f"{celery.__name__} {line}\n")


@shared_task(bind=True)
def add(self, a, b):
    write(f"{self.name} {a + b}")


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def again(self):
    try:
        self.retry(exc=KeyError("x"))
    except Retry:
        write("retry")
        raise
    except KeyError:
        write("gave up")


@app.task(soft_time_limit=1)
def slow():
    try:
        while True:
            pass
    except SoftTimeLimitExceeded:
        write("soft limit")
