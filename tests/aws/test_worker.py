"""A real worker on real SQS: a hop, a failure on a FIFO queue, a shutdown. Only with ``PYQS_TEST_AWS=1`` and your credentials.

Queues are named ``pyqs-aws-test-...`` and deleted at the end. A run makes a few hundred requests, well under a cent; the
contract suite, which the same nox session runs, prints its own number.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyqs
from pyqs.codec import encode_call
from pyqs.config import ConnectionConfig
from pyqs.errors import QueueNotFound
from pyqs.message import OutgoingMessage
from pyqs.sqs import Sqs, connect

pytestmark = [
    pytest.mark.skipif(os.environ.get("PYQS_TEST_AWS") != "1", reason="real SQS only with PYQS_TEST_AWS=1"),
    pytest.mark.timeout(300),
]

TASKS = """
    import time
    from pyqs import task

    def ran(line):
        with open("ran.txt", "a") as ledger:
            ledger.write(f"{line}\\n")

    @task(queue="QUEUE")
    def note(number):
        ran(number)

    @task(queue="QUEUE")
    def fail_once(number):
        failed = f"failed-{number}"
        try:
            open(failed, "x").close()
        except FileExistsError:
            ran(number)
        else:
            ran(failed)
            raise RuntimeError("the first time")

    @task(queue="QUEUE")
    def slow(number):
        ran(f"started {number}")
        time.sleep(4)
        ran(f"finished {number}")
"""
APP = """
    import time
    from pyqs_celery_compat import Celery

    app = Celery("proj", broker="sqs://")

    @app.task(name="proj.when")
    def when():
        with open("ran.txt", "a") as ledger:
            ledger.write(f"{time.time()}\\n")
"""


class Site:
    """A folder with tasks, queues that are deleted at the end, and workers that are ended with it."""

    def __init__(self, folder: Path, sqs: Sqs) -> None:
        self.folder = folder
        self.sqs = sqs
        self.urls: list[str] = []
        self.workers: list[subprocess.Popen[bytes]] = []

    def queue(self, ending: str = "", **attributes: str) -> tuple[str, str]:
        name = f"pyqs-aws-test-{uuid.uuid4().hex[:10]}{ending}"
        self.urls.append(self.sqs.create_queue(name, attributes))
        time.sleep(1)  # SQS asks for it after CreateQueue
        return name, self.urls[-1]

    def write(self, name: str, source: str, queue: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(source).replace("QUEUE", queue), encoding="utf-8")

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        home = str(Path(pyqs.__file__).resolve().parents[1])
        env = {**os.environ, "PYTHONPATH": home if "site-packages" not in home else ""}
        process = subprocess.Popen([sys.executable, "-m", "pyqs", "worker", *arguments], cwd=self.folder, env=env)
        self.workers.append(process)
        return process

    def ran(self) -> list[str]:
        path = self.folder / "ran.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def until(self, happened: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, f"not within {seconds} s; ran: {self.ran()}"
            assert self.workers[-1].poll() is None, "the worker has ended"
            time.sleep(0.2)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, connect(ConnectionConfig()))
    yield site
    for worker in site.workers:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    for url in site.urls:
        try:
            site.sqs.delete_queue(url)
        except QueueNotFound:
            continue


def celery_message(task: str, eta: datetime.datetime) -> str:
    """A call with an ETA as Celery 5 and kombu put it on SQS: at once, without DelaySeconds."""
    call_id = str(uuid.uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    envelope = {
        "body": base64.b64encode(json.dumps([[], {}, embed]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": call_id, "root_id": call_id, "eta": eta.isoformat(), "retries": 0},
        "properties": {"correlation_id": call_id, "delivery_tag": str(uuid.uuid4()), "body_encoding": "base64"},
    }
    return base64.b64encode(json.dumps(envelope).encode()).decode()


def test_a_celery_task_that_is_not_due_hops_and_runs_once_and_not_early(site) -> None:
    name, url = site.queue()
    site.write("proj.py", APP, name)
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=25)
    sent = site.sqs.send(url, OutgoingMessage(body=celery_message("proj.when", due)))
    site.worker("-A", "proj", "-Q", name, "-c", "1")
    site.until(lambda: bool(site.ran()))
    assert due.timestamp() - 0.1 <= float(site.ran()[0]) < due.timestamp() + 30
    time.sleep(5)
    assert len(site.ran()) == 1
    assert sent.message_id


def test_a_failure_on_a_fifo_queue_holds_its_group_in_order(site) -> None:
    name, url = site.queue(".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    site.write("tasks.py", TASKS, name)
    for number in range(1, 5):
        function = "fail_once" if number == 1 else "note"
        site.sqs.send(url, OutgoingMessage(body=encode_call(f"tasks.{function}", [number]), group_id="g"))
    site.worker("-Q", name, "-c", "2", "--include", "tasks")
    site.until(lambda: len(site.ran()) >= 5)
    assert site.ran() == ["failed-1", "1", "2", "3", "4"]


def test_sigterm_to_a_busy_worker_leaves_nothing_hidden(site) -> None:
    name, url = site.queue()
    site.write("tasks.py", TASKS, name)
    for number in range(8):
        site.sqs.send(url, OutgoingMessage(body=encode_call("tasks.slow", [number])))
    worker = site.worker("-Q", name, "-c", "1", "--include", "tasks")
    site.until(lambda: bool(site.ran()))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    ended = time.monotonic()
    lines = site.ran()
    started = {line.split()[1] for line in lines if line.startswith("started")}
    finished = {line.split()[1] for line in lines if line.startswith("finished")}
    assert started == finished
    # Every message that was not run is there for another worker well before a lease (120 s) would have run out.
    left: set[str] = set()
    while len(left) < 8 - len(finished) and time.monotonic() - ended < 60:
        left |= {message.body for message in site.sqs.receive(url, wait=5, visibility=300)}
    assert len(left) == 8 - len(finished)
