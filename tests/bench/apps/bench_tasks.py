"""The same tasks for PyQS 1 and for native pyqs, which share ``@task``. Runs in the peer's processes."""

import os
import time

from pyqs import task

QUEUE = os.environ["BENCH_QUEUE"]


@task(queue=QUEUE)
def noop(number):
    pass


@task(queue=QUEUE)
def sleep(seconds):
    time.sleep(seconds)


@task(queue=QUEUE)
def note(number):
    line = f"{number} {time.monotonic():.6f} {os.getpid()}\n"
    fd = os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)
