"""The tasks of the interop tests, for every peer: our package, Celery 4.4 and Celery 5.7 (Python 3.8 and later).

Each call appends one line to the file in ``INTEROP_OUT``: what it was called with, as ``repr``.
"""

import os

if os.environ.get("INTEROP_PEER") == "celery":
    from celery import Celery
else:
    from pyqs_celery_compat import Celery

QUEUE = "interop.queue"


def make(name, transport=(), **settings):
    broker = "sqs://k:s@127.0.0.1:" + os.environ["INTEROP_PORT"]
    made = Celery(name, broker=broker, set_as_current=name == "interop")
    made.conf.update(  # Celery 4.4 takes no settings in the constructor
        broker_transport_options=dict({"region": "us-east-1", "wait_time_seconds": 1}, **dict(transport)),
        task_default_queue=QUEUE,
        accept_content=["json", "yaml", "msgpack", "pickle"],
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        **settings,
    )
    return made


app = make("interop")


def write(line):
    with open(os.environ["INTEROP_OUT"], "a", encoding="utf-8") as out:
        out.write(line + "\n")


@app.task(name="interop.record")
def record(*args, **kwargs):
    write(repr((tuple(args), sorted(kwargs.items()))))
    return "done"


@app.task(name="interop.late", acks_late=True)
def late(*args, **kwargs):
    write(repr((tuple(args), sorted(kwargs.items()))))


@app.task(name="interop.retried", bind=True, max_retries=3)
def retried(self, number):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    write(repr(((number, self.request.retries), [])))


@app.task(name="interop.asked", bind=True)
def asked(self, number):
    """Records what its request says."""
    headers = self.request.headers or {}
    write(repr(((number, self.request.id, headers.get("x_trace"), self.request.retries), [])))
