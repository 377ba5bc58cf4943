"""A Lambda function as the process that it is: its start, its hard limits, and a SIGKILL at the worst moments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import Clock, Sqs
from lambdas import event_of
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.server import LocalServer
from pyqs.local.store import Store

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"

#: What Lambda does: import the module that Handler names, then call it with each event.
BOOTSTRAP = """
import json, logging, os, sys
logging.basicConfig(level="INFO", stream=sys.stderr)
from lambdas import Context
import function
with open("answer", "w") as out:
    json.dump(function.handler(json.load(open("event")), Context(float(sys.argv[1]))), out)
"""

NATIVE = """
import os, time
from pyqs import SoftTimeLimitExceeded, task
from pyqs import lambda_handler as handler

def ran(line):
    with open("ran", "a") as out:
        out.write(line + "\\n")

@task(queue="jobs")
def noop(n):
    ran(f"noop {n}")

@task(queue="jobs")
def fail(n):
    ran(f"fail {n}")
    raise ValueError("no")

@task(queue="jobs", time_limit=0.5)
def hangs():
    ran("hangs")
    time.sleep(60)

@task(queue="jobs", max_deliveries=1)
def once(n):
    ran(f"once {n}")

@task(queue="jobs")
def killed():
    os.kill(os.getpid(), 9)
"""

CELERY = """
import os, time
from pyqs_celery_compat import Celery

app = Celery("function", broker="sqs://", backend=f"db+sqlite:///{os.getcwd()}/results", task_acks_late=True)

def ran(line):
    with open("ran", "a") as out:
        out.write(line + "\\n")

@app.task(name="noop")
def noop(n):
    ran(f"noop {n}")

@app.task(name="hangs", time_limit=0.5)
def hangs():
    ran("hangs")
    time.sleep(60)

@app.task(name="told")
def told(call_id):
    ran("told")

handler = app.lambda_handler
"""


CHAOS = """
import os, signal, threading, time
from datetime import datetime, timezone
from pyqs_celery_compat import Celery

app = Celery("function", broker="sqs://", task_acks_late=True, task_default_queue="jobs")
after = os.environ.get("KILL_AFTER")

def ran(line):
    with open("ran", "a") as out:
        out.write(line + "\\n")

@app.task(name="plain")
def plain(call):
    ran(f"plain {call}")

@app.task(name="retried", bind=True, max_retries=3)
def retried(self, call):
    ran(f"retried {call}")
    if not self.request.retries:
        raise self.retry(countdown=0)
    ran(f"again {call}")

@app.task(name="linked")
def linked(call):
    ran(f"linked {call}")
    next_one.apply_async((call,))

@app.task(name="next")
def next_one(call):
    ran(f"next {call}")

load = app.lambda_handler

def handler(event, context):
    if after:
        threading.Timer(float(after), os.kill, (os.getpid(), signal.SIGKILL)).start()
    return load(event, context)
"""


class Function:
    """One function's directory, the SQS that it reaches, and invocations."""

    def __init__(self, directory: Path, sqs: Sqs) -> None:
        self.directory, self.sqs = directory, sqs
        self.client = InProcessSqs(sqs.store)

    def invoke(self, *, seconds: float = 900, **environ: str) -> subprocess.CompletedProcess[str]:
        """One cold start and one invocation with all that is visible on the queue."""
        messages = self.sqs.store.receive("jobs", max_messages=10, wait=0, visibility=5400)
        (self.directory / "event").write_text(json.dumps(event_of("jobs", messages)))
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYQS_")}
        env |= {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(SUPPORT)]),
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_SQS": self.sqs.server.endpoint_url,
            **environ,
        }
        return subprocess.run(
            [sys.executable, "-c", BOOTSTRAP, str(seconds)],
            cwd=self.directory, env=env, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def tell_lambda(self) -> None:
        """Lambda's part: what has not failed is deleted."""
        failed = {failure["itemIdentifier"] for failure in self.failures}
        for record in json.loads((self.directory / "event").read_text())["Records"]:
            if record["messageId"] not in failed:
                self.client.delete_batch(self.client.queue_url("jobs"), [record["receiptHandle"]])

    @property
    def failures(self) -> list[Any]:
        found: list[Any] = json.loads((self.directory / "answer").read_text())["batchItemFailures"]
        return found

    @property
    def ran(self) -> list[str]:
        path = self.directory / "ran"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def sqs() -> Iterator[Sqs]:
    clock = Clock()
    store = Store(clock=clock)
    with LocalServer(store) as server:
        made = Sqs(store, server, clock)
        made.create("jobs")
        yield made


@pytest.fixture
def function(sqs: Sqs, tmp_path: Path) -> Function:
    (tmp_path / "function.py").write_text(NATIVE)
    return Function(tmp_path, sqs)


def native(sqs: Sqs, task: str, *args: Any) -> None:
    sqs.send("jobs", json.dumps({"task": f"function.{task}", "args": args, "kwargs": {}}))


def test_native_tasks_run_and_a_failure_is_hidden_for_its_backoff(function: Function, sqs: Sqs) -> None:
    for number in range(3):
        native(sqs, "noop", number)
    native(sqs, "fail", 3)
    done = function.invoke()
    assert done.returncode == 0, done.stderr
    assert function.ran == ["noop 0", "noop 1", "noop 2", "fail 3"]
    assert len(function.failures) == 1
    assert "ValueError: no" in done.stderr
    sqs.advance(11)  # the first pause of a failed native task; the receive has hidden all of them for 5400 s
    assert sqs.counts("jobs").visible == 1


def test_a_message_over_its_tasks_deliveries_goes_to_the_dead_letter_queue(function: Function, sqs: Sqs) -> None:
    sqs.create("dead")
    arn = sqs.store.queue_attributes("dead")["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 9})
    sqs.store.set_queue_attributes("jobs", {"RedrivePolicy": policy})
    native(sqs, "once", 1)
    sqs.store.receive("jobs", max_messages=1, wait=0, visibility=1)
    sqs.advance(2)
    done = function.invoke()
    assert done.returncode == 0, done.stderr
    assert (function.ran, function.failures) == ([], [])
    sqs.wait_counts("dead", visible=1)


def test_a_native_task_over_its_hard_limit_ends_the_process_after_all_is_settled(function: Function, sqs: Sqs) -> None:
    for task, *args in (("noop", 1), ("hangs",), ("noop", 2)):
        native(sqs, task, *args)
    done = function.invoke()
    assert done.returncode == 1, done.stderr
    assert "has run over its hard limit of 0.5 s; this process ends" in done.stderr
    assert function.ran == ["noop 1", "hangs"]
    # What was done is deleted, what had not started is free, what hung comes back after its pause.
    sqs.wait_counts("jobs", visible=1, hidden=1)
    sqs.advance(11)
    sqs.wait_counts("jobs", visible=2)


def test_a_celery_task_over_its_hard_limit_has_failed(function: Function, sqs: Sqs, tmp_path: Path) -> None:
    """By Celery's matrix (acks_on_failure_or_timeout): result, errbacks, and no second run."""
    (tmp_path / "function.py").write_text(CELERY)
    hangs = (
        "import function\n"
        "call = function.hangs.apply_async(queue='jobs', link_error=function.told.s().set(queue='jobs'))\n"
        "print(call.id)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_SQS": sqs.server.endpoint_url}
    sent = subprocess.run([sys.executable, "-c", hangs], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert sent.returncode == 0, sent.stderr
    done = function.invoke()
    assert done.returncode == 1, done.stderr
    sqs.wait_counts("jobs", visible=1)
    assert function.invoke().returncode == 0
    assert function.ran == ["hangs", "told"]
    look = f"import function; r = function.app.AsyncResult({sent.stdout.strip()!r}); print(r.state, type(r.result).__name__)"
    state = subprocess.run([sys.executable, "-c", look], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert state.stdout.split() == ["FAILURE", "TimeLimitExceeded"], state.stderr


def test_a_sigkill_in_a_batch_loses_nothing(function: Function, sqs: Sqs) -> None:
    native(sqs, "noop", 1)
    native(sqs, "killed")
    native(sqs, "noop", 2)
    assert function.invoke().returncode == -9
    assert sqs.counts("jobs").total == 3
    sqs.advance(5401)
    assert sqs.counts("jobs").visible == 3


def test_a_sigkill_between_a_hop_and_its_end_leaves_a_copy_more(function: Function, sqs: Sqs, tmp_path: Path) -> None:
    kills = "handler._settling._copies.settled = lambda delivery: os.kill(os.getpid(), 9)\n"
    (tmp_path / "function.py").write_text(CELERY + kills)
    sqs.celery("jobs", "noop", 1, eta_in=5000)
    assert function.invoke().returncode == -9
    counts = sqs.counts("jobs")
    assert (counts.hidden, counts.delayed) == (1, 1), "never none"
    assert function.ran == []


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PYQS_INCLUDE": "not_there"}, "module not_there does not load"),
        ({"PYQS_ON_UNKNOWN": "burn"}, "--on-unknown is one of leave, dlq, delete, not 'burn'"),
        ({"PYQS_CLIENT": "carrier-pigeon"}, ""),
    ],
)
def test_what_is_wrong_fails_the_start_of_the_function(function: Function, environ: dict[str, str], said: str) -> None:
    done = function.invoke(**environ)
    if said:
        assert done.returncode == 1
        assert said in done.stderr.splitlines()[-1]
    else:
        assert done.returncode == 0, "nothing was to be said to SQS, so no client was made"


def test_a_module_named_by_the_environment_needs_no_code(function: Function, sqs: Sqs, tmp_path: Path) -> None:
    """Handler: pyqs.aws_lambda.handler, PYQS_INCLUDE: the module with the tasks."""
    (tmp_path / "jobs.py").write_text(NATIVE.replace("from pyqs import lambda_handler as handler\n", ""))
    (tmp_path / "function.py").write_text("from pyqs.aws_lambda import handler\n")
    sqs.send("jobs", json.dumps({"task": "jobs.noop", "args": [5], "kwargs": {}}))
    done = function.invoke(PYQS_INCLUDE="jobs")
    assert done.returncode == 0, done.stderr
    assert function.ran == ["noop 5"]


def test_sigkills_at_any_moment_lose_nothing(function: Function, sqs: Sqs, tmp_path: Path) -> None:
    """Whatever was killed while it ran, hopped, retried or told Lambda: in the end every call has run."""
    (tmp_path / "function.py").write_text(CHAOS)
    calls = [f"call-{number}" for number in range(40)]
    for number, call in enumerate(calls):
        sqs.celery("jobs", ("plain", "retried", "linked")[number % 3], call, **({"eta_in": 3} if number % 5 == 0 else {}))
    killed = 0
    for turn in range(60):
        done = function.invoke(KILL_AFTER=str(0.01 + 0.02 * (turn % 7)) if turn < 14 else "")
        killed += done.returncode == -9
        if done.returncode == 0:
            function.tell_lambda()
        sqs.advance(1001 if turn % 4 == 3 else 5401)
        if turn >= 14 and not sqs.counts("jobs").total:
            break
    assert killed >= 5
    assert not sqs.counts("jobs").total
    ran = function.ran
    assert {line.split()[1] for line in ran if line.split()[0] in ("plain", "retried", "linked")} == set(calls)
    assert {line.split()[1] for line in ran if line.startswith("next")} == {call for n, call in enumerate(calls) if n % 3 == 2}
    assert {line.split()[1] for line in ran if line.startswith("again")} == {call for n, call in enumerate(calls) if n % 3 == 1}
