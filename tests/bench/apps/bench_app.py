"""The same Celery tasks for real Celery and for pyqs's compat package (``BENCH_PEER``). Runs in the peer's processes.

Owns: the app and its tasks. Imports nothing of the benchmark: a peer's environment has only the peer.
"""

import asyncio
import os
import time

if os.environ["BENCH_PEER"] == "celery":
    from celery import Celery
else:
    from pyqs_celery_compat import Celery

QUEUE = os.environ["BENCH_QUEUE"]
BUNDLE = os.environ.get("AWS_CA_BUNDLE")

app = Celery("bench", broker="sqs://test:test@" + os.environ["BENCH_ADDRESS"])
transport = {"region": "us-east-1", "is_secure": bool(BUNDLE)}
if interval := os.environ.get("BENCH_POLLING_INTERVAL"):
    transport["polling_interval"] = float(interval)
if BUNDLE:  # the queue's URL as it is reached: the server behind the relay knows nothing of TLS
    transport["predefined_queues"] = {QUEUE: {"url": os.environ["BENCH_QUEUE_URL"]}}
app.conf.update(
    broker_transport_options=transport,
    task_default_queue=QUEUE,
    task_ignore_result="BENCH_BACKEND" not in os.environ,
    result_backend=os.environ.get("BENCH_BACKEND"),
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.noop")
def noop(number):
    pass


if "BENCH_ASYNC" in os.environ:

    @app.task(name="bench.sleep")
    async def sleep(seconds):
        await asyncio.sleep(seconds)

else:

    @app.task(name="bench.sleep")
    def sleep(seconds):
        time.sleep(seconds)


@app.task(name="bench.stamp")
def stamp(seconds):
    """Takes so long, and gives when it was over."""
    time.sleep(seconds)
    return time.monotonic()


@app.task(name="bench.note")
def note(number):
    """Append when it began, and in which process: CLOCK_MONOTONIC is the same in all processes."""
    line = f"{number} {time.monotonic():.6f} {os.getpid()}\n"
    fd = os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)
