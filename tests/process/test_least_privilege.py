"""A worker with exactly the permissions that ``pyqs iam-policy`` prints, and what it does about each one refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyqs.local.actions import Actions
from pyqs.local.store import Store

ALL = sorted(Actions(Store())._handlers)


def action_of(call: str) -> str:
    """The IAM action behind an API call: batches have none of their own."""
    return call.removesuffix("Batch")


def forbid_all_but(sqs: Any, allowed: set[str]) -> None:
    for call in ALL:
        if action_of(call) not in allowed:
            sqs.store.faults.add(f"access-denied:action={call}")


def called(sqs: Any) -> set[str]:
    """The actions that anybody has called over the network."""
    return {action_of(call) for call in sqs.server.actions.seen}


def policy(project: Any, queue: str, *options: str) -> set[str]:
    """The actions of the worker's policy, as the command prints it."""
    done = subprocess.run(
        [sys.executable, "-m", "pyqs", "iam-policy", "-Q", queue, "--worker", "--json", *options],
        cwd=project.folder, env=project.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    statements = json.loads(done.stdout)["Statement"]
    assert all(statement["Effect"] == "Allow" for statement in statements)
    return {action.removeprefix("sqs:") for statement in statements for action in statement["Action"]}


@pytest.fixture(params=["url", "name", "glob"])
def queue(request: pytest.FixtureRequest, sqs: Any) -> str:
    sqs.create("email", "other")
    url = f"{sqs.server.endpoint_url}/000000000000/email"
    return {"url": url, "name": "email", "glob": "ema*"}[request.param]


REQUIRED = {
    "http": {"ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"},
    "emai": {"ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueUrl"},
    "ema*": {"ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "ListQueues"},
}


@pytest.mark.parametrize("options", [("--required",), ()], ids=["required", "with-optional"])
def test_tasks_run_with_exactly_what_the_policy_allows(
    sqs: Any, project: Any, start_worker: Callable[..., Any], queue: str, options: tuple[str, ...]
) -> None:
    allowed = policy(project, queue, *options)
    optional = {"GetQueueAttributes"} | ({"ListDeadLetterSourceQueues"} if queue == "ema*" else set())
    assert allowed == REQUIRED[queue[:4]] | (set() if options else optional)
    forbid_all_but(sqs, allowed)
    sqs.many("email", range(20))
    sqs.native("email", "fail", "once")
    worker = start_worker("-Q", queue, "-c", "2", "--lease", "10")
    sqs.native("email", "nap", 6, "long")  # its lease is renewed
    worker.wait_ran("noop", 20)
    worker.wait_ran("fail")
    worker.wait_ran("nap long ends")
    sqs.wait_counts("email", hidden=1)
    worker.terminate(signal.SIGINT)
    assert called(sqs) <= allowed | optional, "the optional ones are tried, and nothing else"
    refused = worker.lines("AccessDenied|not authorized")
    assert len(refused) <= len(optional - allowed), refused
    assert sqs.counts("other").total == 0


def test_retries_and_links_need_no_more_than_the_policy_with_sends(
    sqs: Any, project: Any, start_worker: Callable[..., Any], queue: str
) -> None:
    """The worker knows its own queues' URLs: only a queue of others is looked up by its name."""
    own = policy(project, queue, "--sends")
    assert own == REQUIRED[queue[:4]] | {"SendMessage", "GetQueueAttributes"} | (
        {"ListDeadLetterSourceQueues"} if queue == "ema*" else set()
    )
    forbid_all_but(sqs, own)
    worker = start_worker("-Q", queue, "-c", "1")
    sqs.celery("email", "again", "a")
    worker.wait_ran("again 1 a")
    sqs.wait_counts("email")
    assert worker.lines("AccessDenied|not authorized") == []
    assert called(sqs) <= own
    allowed = policy(project, queue, "--sends-to", "other")
    assert allowed == own | {"GetQueueUrl"}
    sqs.store.faults.clear()
    forbid_all_but(sqs, allowed)
    link = {"task": "next.link", "args": (), "kwargs": {}, "options": {"queue": "other"}}
    sqs.celery("email", "slow.link", 0, callbacks=[link])
    sqs.wait_counts("email")
    sqs.wait_counts("other", visible=1)
    worker.terminate(signal.SIGINT)
    assert called(sqs) <= allowed


def start_refused(sqs: Any, start_worker: Callable[..., Any], queue: str, *actions: str, ready: Any = "consuming") -> Any:
    """A worker to which these actions are refused, from the start."""
    for action in actions:
        sqs.store.faults.add(f"access-denied:action={action}")
        sqs.store.faults.add(f"access-denied:action={action}Batch")
    return start_worker("-Q", queue, "-c", "1", ready=ready)


def test_without_attributes_it_goes_on_and_says_so_once(sqs: Any, start_worker: Callable[..., Any]) -> None:
    sqs.create("email", "email-2")
    worker = start_refused(sqs, start_worker, "email,email-2", "GetQueueAttributes")
    for name in ("email", "email-2"):
        sqs.native(name, "noop", name)
        worker.wait_ran(f"noop {name}")
    worker.terminate(signal.SIGINT)
    assert len(worker.lines("not authorized")) == 1


def test_without_visibility_changes_a_failure_comes_back_by_itself(sqs: Any, start_worker: Callable[..., Any]) -> None:
    sqs.create("email")
    worker = start_refused(sqs, start_worker, "email", "ChangeMessageVisibility")
    sqs.native("email", "fail", "a")
    sqs.native("email", "fail", "b")
    worker.wait_ran("fail", 2)
    sqs.wait_counts("email", hidden=2)
    worker.touch("calm")
    sqs.advance_until(lambda: len(worker.ran("calm")) == 2, step=125)
    sqs.wait_counts("email")
    worker.terminate(signal.SIGINT)
    assert len(worker.lines("not authorized")) == 1, worker.log()


def test_without_deletes_nothing_runs_twice_here(sqs: Any, start_worker: Callable[..., Any]) -> None:
    sqs.create("email")
    worker = start_refused(sqs, start_worker, "email", "DeleteMessage")
    for number in range(3):
        sqs.native("email", "noop", number)
        worker.wait_ran(f"noop {number}")
    sqs.wait_counts("email", hidden=3)
    sqs.store.faults.clear()
    sqs.wait_counts("email")
    assert len(worker.ran("noop")) == 3
    worker.terminate(signal.SIGINT)
    assert len(worker.lines("not authorized")) == 1, worker.log()


def test_without_sends_what_is_due_later_is_hidden(sqs: Any, start_worker: Callable[..., Any]) -> None:
    sqs.create("email")
    worker = start_refused(sqs, start_worker, "email", "SendMessage")
    for tag in ("a", "b"):
        sqs.celery("email", "dated", tag, eta_in=600)
    worker.wait_log("hidden instead of sent")
    sqs.wait_counts("email", hidden=2)
    worker.terminate(signal.SIGINT)
    assert len(worker.lines("not authorized")) == 1, worker.log()


@pytest.mark.parametrize(("queue", "action"), [("email", "ReceiveMessage"), ("email", "GetQueueUrl"), ("ema*", "ListQueues")])
def test_without_what_is_required_it_says_so_once_and_runs_when_allowed(
    sqs: Any, start_worker: Callable[..., Any], queue: str, action: str
) -> None:
    sqs.create("email")
    sqs.native("email", "noop", 1)
    worker = start_refused(sqs, start_worker, queue, action, ready="not authorized")
    worker.wait_until(lambda: sqs.server.actions.seen[action] >= 3)
    sqs.store.faults.clear()
    worker.wait_ran("noop", timeout=60)
    sqs.wait_counts("email")
    worker.terminate(signal.SIGINT)
    assert len(worker.lines("not authorized")) == 1, worker.log()


def test_a_wildcard_without_the_list_of_dead_letter_sources(sqs: Any, start_worker: Callable[..., Any]) -> None:
    """The attributes say it, too."""
    sqs.create("mails-failed")
    arn = sqs.store.queue_attributes("mails-failed")["QueueArn"]
    sqs.create("mails", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"}))
    sqs.native("mails-failed", "noop", 0)
    sqs.native("mails", "noop", 1)
    worker = start_refused(sqs, start_worker, "mail*", "ListDeadLetterSourceQueues")
    worker.wait_ran("noop 1")
    worker.wait_log("queue mails-failed: not consumed: the dead-letter queue of another queue")
    worker.terminate(signal.SIGINT)
    assert worker.ran("noop 0") == []
    assert worker.lines("not authorized") == []


def test_an_operator_needs_what_the_policy_says_and_no_more(sqs: Any, project: Any) -> None:
    sqs.create("email-dlq")
    arn = sqs.store.queue_attributes("email-dlq")["QueueArn"]
    sqs.create("email", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5}))
    sqs.many("email-dlq", range(40))

    def run(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pyqs", *args], cwd=project.folder, env=project.env, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout

    printed = json.loads(run("iam-policy", "-Q", "email", "--dead-letter", "email-dlq", "--operator", "--json"))
    allowed = {action.removeprefix("sqs:") for one in printed["Statement"] for action in one["Action"]}
    forbid_all_but(sqs, allowed)
    run("queues", "-Q", "email", "--json")
    run("send", "tasks.noop", "-Q", "email", "--args", "[1]")
    assert "tasks.noop" in run("peek", "email")
    (group,) = json.loads(run("dlq", "list", "email-dlq", "--json"))["groups"]
    run("dlq", "show", "email-dlq", group["message_ids"][0])
    run("dlq", "retry", "email-dlq", group["message_ids"][0])
    run("dlq", "redrive", "email-dlq", "--to", "email", "--rate", "1", "--no-wait", "-f")
    run("dlq", "redrive", "email-dlq", "--status")
    run("dlq", "redrive", "email-dlq", "--cancel")
    run("purge", "-Q", "email", "-f")
    assert called(sqs) == allowed
