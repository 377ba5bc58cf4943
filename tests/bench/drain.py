"""How fast a worker drains no-op tasks, beside a bare boto3 receive-and-delete loop on the same server.

``python tests/bench/drain.py [--tasks 5000] [--latency 0.02] [--rounds 3]``: both take turns on the embedded SQS in a process
of its own. Prints tasks a second, CPU per task of the whole worker (its executors included) and the ratio of the medians;
asserts nothing. The first figure includes neither the start of the worker nor its last, empty polls: it is taken from the
server's count of what is left.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyqs.codec import encode_call
from pyqs.config import ConnectionConfig
from pyqs.message import OutgoingMessage
from pyqs.sqs import Sqs, connect

TASKS = "from pyqs import task\n\n@task(queue='jobs')\ndef noop(n): pass\n"
POLLERS = 8


@contextmanager
def server(latency: float) -> Iterator[str]:
    """The endpoint of an SQS in a process of its own; ``latency`` seconds are added to each call."""
    fault = ["--fault", f"latency={latency}"] if latency else []
    command = [sys.executable, "-m", "pyqs.local", "--memory", "--port", "0", *fault]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    try:
        yield next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
    finally:
        process.terminate()
        process.wait()


def fill(sqs: Sqs, queue: str, tasks: int) -> str:
    url = sqs.create_queue(queue)
    for start in range(0, tasks, 10):
        sqs.send_batch(url, [OutgoingMessage(encode_call("noops.noop", [start + n])) for n in range(10)])
    return url


def left(sqs: Sqs, url: str) -> int:
    counts = sqs.queue_attributes(url)
    return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])


def time_until_empty(sqs: Sqs, url: str, tasks: int) -> float:
    """Seconds from the first message gone to the last."""
    while left(sqs, url) == tasks:
        time.sleep(0.005)
    began = time.monotonic()
    while left(sqs, url):
        time.sleep(0.02)
    return time.monotonic() - began


def worker(endpoint: str, tasks: int) -> tuple[float, float]:
    """One drain by ``pyqs worker``: tasks a second, CPU milliseconds per task of all its processes."""
    sqs = connect(ConnectionConfig("us-east-1", endpoint, "test", "test"))
    url = fill(sqs, "jobs", tasks)
    env = {**os.environ, "PYQS_ENDPOINT_URL": endpoint, "PYQS_REGION": "us-east-1"}
    env |= {"PYQS_ACCESS_KEY_ID": "test", "PYQS_SECRET_ACCESS_KEY": "test"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "noops.py").write_text(TASKS)
        words = ["worker", "-Q", "jobs", "--include", "noops", "-c", "2", "--burst", "-l", "warning"]
        process = subprocess.Popen([sys.executable, "-m", "pyqs", *words], cwd=folder, env=env)
        seconds = time_until_empty(sqs, url, tasks)
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    sqs.delete_queue(url)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return tasks / seconds, cpu / tasks * 1000


def bare(endpoint: str, tasks: int) -> tuple[float, float]:
    """The same by threads that receive and delete and do nothing else."""
    sqs = connect(ConnectionConfig("us-east-1", endpoint, "test", "test"))
    url = fill(sqs, "bare", tasks)
    began, cpu = time.monotonic(), time.process_time()

    def drain() -> None:
        while found := sqs.receive(url, wait=0):
            sqs.delete_batch(url, [message.receipt_handle for message in found])

    threads = [threading.Thread(target=drain) for _ in range(POLLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answer = tasks / (time.monotonic() - began), (time.process_time() - cpu) / tasks * 1000
    sqs.delete_queue(url)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to every call")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    speeds: dict[str, list[float]] = {"pyqs worker": [], "bare loop": []}
    for _ in range(chosen.rounds):
        for name, run in (("pyqs worker", worker), ("bare loop", bare)):
            with server(chosen.latency) as endpoint:
                speed, cpu = run(endpoint, chosen.tasks)
            speeds[name].append(speed)
            print(f"{name:12} {speed:7.0f} tasks/s   {cpu:.3f} ms CPU/task")
    ours, theirs = (statistics.median(one) for one in speeds.values())
    print(f"median ratio worker/bare loop: {ours / theirs:.2f}  ({chosen.tasks} tasks, {chosen.latency * 1000:.0f} ms latency)")


if __name__ == "__main__":
    main()
