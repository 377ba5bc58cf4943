"""A real function behind a real event source mapping: ministack's Lambda polls its SQS and runs our handler from a zip."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import emulators
from processes import wait_until
from pyqs.config import ConnectionConfig
from pyqs.sqs import connect

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1"}
QUEUES = ("celery", "orders.fifo")
TIMEOUT = 5

FUNCTION = """
import os, time
from pyqs import task
from pyqs_celery_compat import Celery

app = Celery("function", broker="sqs://", task_acks_late=True, allow_native=True)
OUT = os.environ["OUT"]

def ran(line):
    with open(OUT, "a") as out:
        out.write(line + "\\n")

@app.task(name="add")
def add(x, y):
    ran(f"add {x} {y}")
    return x + y

@app.task(name="flaky", bind=True, max_retries=2, default_retry_delay=1)
def flaky(self):
    ran(f"flaky {self.request.retries}")
    if self.request.retries < 1:
        raise self.retry()

@task(queue="celery")
def native(tag):
    ran(f"native {tag}")
    if tag == "fails" and open(OUT).read().count("native fails") < 2:
        raise ValueError("the first time")

@app.task(name="step", acks_on_failure_or_timeout=False)
def step(group, number):
    ran(f"step {group} {number}")
    if (group, number) == ("a", 1) and open(OUT).read().count("step a 1") < 2:
        raise ValueError("the first time")

@app.task(name="overlong")
def overlong(tag):
    ran(f"overlong {tag}")
    if open(OUT).read().count(f"overlong {tag}") < 2:
        time.sleep(60)

@app.task(name="hangs", time_limit=1)
def hangs():
    ran("hangs")
    time.sleep(60)

handler = app.lambda_handler
"""


class Function:
    """The function, its queues, and what it has left behind."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.directory, self.out = url, directory, directory / "ran"
        self.out.touch()
        self.sqs = connect(ConnectionConfig(endpoint_url=url, region="us-east-1", access_key_id="k", secret_access_key="s"))
        (directory / "function.py").write_text(FUNCTION)

    def deploy(self, visibility: int) -> None:
        import boto3

        keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
        client = boto3.client("lambda", endpoint_url=self.url, region_name="us-east-1", **keys)
        client.create_function(
            FunctionName="function", Runtime="python3.12", Role="arn:aws:iam::000000000000:role/function",
            Handler="function.handler", Code={"ZipFile": self.packed()}, Timeout=TIMEOUT,
            Environment={"Variables": {"OUT": str(self.out), "AWS_ENDPOINT_URL": self.url, "PYQS_LAMBDA_MARGIN": "1"}},
        )  # fmt: skip
        dead = self.sqs.create_queue("dead.fifo", {"FifoQueue": "true"})
        arn = self.sqs.queue_attributes(dead, ("QueueArn",))["QueueArn"]
        for queue in QUEUES:
            attributes = {"VisibilityTimeout": str(visibility)}
            if queue.endswith(".fifo"):
                redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 9})
                attributes |= {"FifoQueue": "true", "RedrivePolicy": redrive}
            url = self.sqs.create_queue(queue, attributes)
            client.create_event_source_mapping(
                EventSourceArn=self.sqs.queue_attributes(url, ("QueueArn",))["QueueArn"], FunctionName="function",
                BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"],
            )  # fmt: skip

    def packed(self) -> bytes:
        """What a user would upload, without the dependencies, which the interpreter has."""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(self.directory / "function.py", "function.py")
            for package in ("pyqs", "pyqs_celery_compat"):
                for path in sorted((ROOT / package).rglob("*")):
                    if path.is_file() and "__pycache__" not in path.parts:
                        archive.write(path, str(path.relative_to(ROOT)))
        return made.getvalue()

    def publish(self, code: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYQS_"))}
        env |= KEYS | {"AWS_ENDPOINT_URL": self.url, "OUT": os.devnull, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", f"from function import *\n{code}"],
            cwd=self.directory, env=env, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    @property
    def ran(self) -> list[str]:
        return self.out.read_text().splitlines()

    def left(self, queue: str) -> int:
        found = self.sqs.queue_attributes(self.sqs.queue_url(queue))
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
        return sum(int(found[name]) for name in names)

    def drained(self, done: Callable[[], Any]) -> None:
        wait_until(lambda: done() and not any(self.left(queue) for queue in QUEUES), 90)


@pytest.fixture
def function(tmp_path: Path) -> Iterator[Function]:
    with emulators.ministack("sqs,lambda,iam,logs") as url:
        yield Function(url, tmp_path)


def test_calls_of_every_kind(function: Function) -> None:
    function.deploy(visibility=600)
    function.publish(
        "for n in range(25): add.delay(n, 0)\n"
        "(add.s(1, 2) | add.s(3)).delay()\n"
        "flaky.delay()\n"
        "add.apply_async((7, 7), countdown=2)\n"
        "native.delay('once')\n"
    )
    function.drained(lambda: {"add 3 3", "flaky 1", "add 7 7"} <= set(function.ran))
    expected = [f"add {n} 0" for n in range(25)] + ["add 1 2", "add 3 3", "flaky 0", "flaky 1", "add 7 7", "native once"]
    assert Counter(function.ran) == Counter(expected)


def test_a_failed_record_comes_back_alone_and_soon(function: Function) -> None:
    """After its own backoff of some seconds: the queue's visibility timeout is more than this test waits."""
    function.deploy(visibility=600)
    function.publish("native.delay('fails')\nfor n in range(5): add.delay(n, 0)")
    function.drained(lambda: function.ran.count("native fails") == 2)
    assert Counter(function.ran) == Counter([f"add {n} 0" for n in range(5)] + ["native fails"] * 2)


def test_a_fifo_group_keeps_its_order_over_a_failure(function: Function) -> None:
    function.deploy(visibility=600)
    function.publish(
        "for n in range(4):\n    for group in 'ab': step.apply_async((group, n), queue='orders.fifo', MessageGroupId=group)\n"
    )
    function.drained(lambda: "step a 3" in function.ran)
    assert [line for line in function.ran if " a " in line] == ["step a 0", "step a 1", "step a 1", "step a 2", "step a 3"]
    assert [line for line in function.ran if " b " in line] == [f"step b {n}" for n in range(4)]


def test_what_was_done_does_not_run_again_when_the_function_runs_into_its_timeout(function: Function) -> None:
    """Lambda calls the whole batch failed: what was done was deleted before."""
    function.deploy(visibility=10)
    function.publish("with app.batch():\n    for n in range(9): add.delay(n, 0)\n    overlong.delay('x')\n")
    function.drained(lambda: function.ran.count("overlong x") == 2)
    assert Counter(function.ran) == Counter([f"add {n} 0" for n in range(9)] + ["overlong x"] * 2)


def test_a_hard_limit_ends_the_functions_process_and_the_task_has_failed(function: Function) -> None:
    function.deploy(visibility=600)
    function.publish("with app.batch():\n    for n in range(4): add.delay(n, 0)\n    hangs.delay()\n    add.delay(4, 0)\n")
    function.drained(lambda: len(function.ran) >= 6)
    assert Counter(function.ran) == Counter([f"add {n} 0" for n in range(5)] + ["hangs"])
