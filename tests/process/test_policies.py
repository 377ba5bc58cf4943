"""Messages that cannot be run, under each policy, by a real worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from pyqs_celery_compat.outgoing import as_task_v2, seal_task

UNKNOWN = json.dumps({"task": "tasks.nothing", "args": [], "kwargs": {}})


def body_of(kind: str) -> str:
    """A message that a worker with ``--accept json`` meets in this way."""
    if kind == "refused":
        return str(seal_task(as_task_v2("id-1", "dated", ("x",), {}), routing_key="email", serializer="yaml"))
    return UNKNOWN if kind == "unknown" else "no JSON, no base64"


def queues(sqs: Any, *, redrive: bool) -> None:
    sqs.create("email-dlq")
    arn = sqs.store.queue_attributes("email-dlq")["QueueArn"]
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "50"})} if redrive else {}
    sqs.create("email", **policy)


@pytest.mark.parametrize("kind", ["undecodable", "unknown", "refused"])
@pytest.mark.parametrize("policy", ["leave", "dlq", "dlq-less", "delete"])
def test_what_becomes_of_it(sqs: Any, start_worker: Callable[..., Any], kind: str, policy: str) -> None:
    queues(sqs, redrive=policy != "dlq-less")
    body = body_of(kind)
    message_id = sqs.send("email", body)
    worker = start_worker(
        "-Q", "email", "-c", "1", "--accept", "json", env={f"PYQS_ON_{kind.upper()}": policy.removesuffix("-less")}
    )
    if policy == "delete":
        worker.wait_log(f"message {message_id} on queue email is deleted \\({kind}\\)")
        sqs.wait_counts("email")
    elif policy == "dlq":
        worker.wait_log(f"{message_id}\\) goes to the dead-letter queue email-dlq: {kind}")
        sqs.wait_counts("email")
        (copy,) = sqs.receive("email-dlq")
        assert copy.body == body
        assert copy.message_attributes["pyqs.reason"].string_value.startswith(f"{kind}: ")
        assert copy.message_attributes["pyqs.queue"].string_value == "email"
    else:
        worker.wait_log(f"{message_id}.* (is left there|stays on its queue)")
        for number in range(12):  # it comes back three times at least, and is not spoken of again
            sqs.wait_counts("email", hidden=1)
            sqs.advance(25)  # less than a lease
            sqs.native("email", "noop", number)
            worker.wait_ran(f"noop {number}")
        assert sqs.counts("email-dlq").total == 0
    assert len(worker.lines(message_id)) == 1, worker.log()
    worker.terminate(signal.SIGINT)
    if policy not in ("delete", "dlq"):
        assert 3 <= int(worker.wait_log("stopped: ").rpartition(f" {kind}")[0].split()[-1]) <= 6


def test_dlq_without_permission_to_send_leaves_it_with_its_growing_hide(sqs: Any, start_worker: Callable[..., Any]) -> None:
    queues(sqs, redrive=True)
    sqs.store.faults.add("access-denied:action=SendMessage*")
    sqs.send("email", UNKNOWN)
    worker = start_worker("-Q", "email", "-c", "1", "--on-unknown", "dlq")
    worker.wait_log("messages are hidden instead of sent on to email-dlq")
    sqs.wait_counts("email", hidden=1)
    assert sqs.counts("email-dlq").total == 0
    for number in range(3):
        sqs.wait_counts("email", hidden=1)
        sqs.advance(25)
        sqs.native("email", "noop", number)
        worker.wait_ran(f"noop {number}")
    assert len(worker.lines("instead of sent on")) == 1
    worker.terminate(signal.SIGINT)


def test_dlq_where_the_dead_letter_queue_is_gone_leaves_it(sqs: Any, start_worker: Callable[..., Any]) -> None:
    queues(sqs, redrive=True)
    sqs.store.delete_queue("email-dlq")
    sqs.send("email", UNKNOWN)
    worker = start_worker("-Q", "email", "-c", "1", "--on-unknown", "dlq")
    worker.wait_log("messages are hidden instead of sent on to email-dlq")
    sqs.wait_counts("email", hidden=1)
    worker.terminate(signal.SIGINT)
