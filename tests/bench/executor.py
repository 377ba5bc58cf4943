"""What one no-op task costs an executor: CPU microseconds from the frame that brings it to the frames that answer it.

Runs in the benchmark's process alone, on the executor's own code, all but the two system calls on its pipe; needs no SQS. The
whole path counts: reading the frame, decoding the message, the request, signals without receivers, the call, the verdict.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import count
from typing import cast

from kit.bodies import NOOP, Format, bodies
from kit.options import Options
from kit.peers import APPS
from kit.results import record
from kit.rounds import spread
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.executor.main import Executor
from pyqs.executor.process import Pipe
from pyqs.executor.retirement import Retirement
from pyqs.message import Delivery, ReceivedMessage
from pyqs.wire import Frame, FrameReader, Run, encode
from pyqs_celery_compat.runtime import CeleryRuntime

QUEUE = "bench"
_ids = count(1)


class _Nowhere:
    """A pipe whose frames are made and go nowhere."""

    fd = -1

    def send(self, *frames: Frame) -> None:
        """Encode, as ``Pipe.send`` does."""
        for frame in frames:
            encode(frame)


def delivery(body: str) -> Delivery:
    """As a worker hands one over."""
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1764150000000"}
    message = ReceivedMessage("5d5eb5c2-7bd8-4a22-9f66-6d1d0b0f4a11", "handle" * 20, body, attributes)
    url = f"http://127.0.0.1:4566/000000000000/{QUEUE}"
    return Delivery(next(_ids), QUEUE, url, message, boottime(), time.time(), 120)


def measure(runtime: CeleryRuntime, form: Format, tasks: int) -> float:
    """CPU microseconds of one task."""
    executor = Executor(cast(Pipe, _Nowhere()), runtime, Retirement(runtime.config))
    frames = [encode(Run(delivery(body), boottime() + 3600)) for body in bodies(form, NOOP, QUEUE, 1)]
    reader = FrameReader()
    began = 0.0
    for number in range(-min(tasks, 500), tasks):  # the first ones warm up
        if number == 0:
            began = time.process_time()
        for run in reader.feed(frames[number % len(frames)]):
            executor.take_in(cast(Run, run))
            executor.run_one()
    return (time.process_time() - began) / tasks * 1e6


def main(options: Options) -> None:
    """Print one line for each kind of message."""
    os.environ |= {
        "BENCH_PEER": "pyqs",
        "BENCH_QUEUE": QUEUE,
        "BENCH_ADDRESS": "127.0.0.1:1",
        "BENCH_QUEUE_URL": "http://127.0.0.1:1/0/bench",
    }
    sys.path.append(str(APPS))  # last: one of them has the name of a bench
    runtime = CeleryRuntime(RuntimeConfig(app="bench_app", include=("bench_tasks",), working_directory=str(APPS)))
    runtime.boot()
    runtime.after_fork()
    print("\nexecutor: CPU of one no-op task, microseconds")
    for kind, form in (("celery", "celery"), ("native", "native")):
        figures = [measure(runtime, cast(Format, form), 500 if options.short else 20_000) for _ in range(options.rounds)]
        for number, figure in enumerate(figures):
            record("executor", case="no-op", peer=kind, round=number, cpu_us=figure)
        print(f"  {kind:8} {spread(figures).text(1)}", flush=True)
