"""What ``@task`` says about failures and limits, kept by a real worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

TASKS = """
from pyqs import SoftTimeLimitExceeded

@task(retry_backoff=(3000, 3000))
def dies():
    ran("dies")
    os.kill(os.getpid(), signal.SIGKILL)

@task(retry_backoff=lambda count: 1000.0 * count, time_limit=0.5)
def overstays():
    ran("overstays")
    time.sleep(60)

@task(soft_time_limit=0.3, time_limit=20)
def warned():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        ran("warned in time")

@task(max_deliveries=2, retry_backoff=1)
def hopeless():
    ran("hopeless")
    raise ValueError
"""


@pytest.fixture(autouse=True)
def _more_tasks(project: Any) -> None:
    with (project.folder / "tasks.py").open("a") as file:
        file.write(TASKS)


@pytest.mark.parametrize(("task", "low", "high"), [("dies", 1500, 3000), ("overstays", 1000, 1000)])
def test_a_killed_task_waits_as_its_own_backoff_says(
    sqs: Any, start_worker: Callable[..., Any], task: str, low: int, high: int
) -> None:
    sqs.create("email")
    sqs.native("email", task)
    worker = start_worker("-Q", "email", "-c", "1")
    worker.wait_ran(task)
    seconds = int(worker.wait_log(r"it is run again in \d+ s").rpartition("run again in ")[2].split()[0])
    assert low <= seconds <= high
    worker.terminate(signal.SIGINT)
    sqs.advance(low - 60)
    assert sqs.counts("email").hidden == 1
    sqs.advance(high - low + 120)
    assert sqs.counts("email").visible == 1


def test_the_soft_limit_is_raised_in_a_native_task(sqs: Any, start_worker: Callable[..., Any]) -> None:
    sqs.create("email")
    sqs.native("email", "warned")
    worker = start_worker("-Q", "email", "-c", "1")
    worker.wait_ran("warned in time")
    sqs.wait_counts("email")


@pytest.mark.parametrize("redrive", [True, False])
def test_above_max_deliveries_the_message_goes_to_the_dead_letter_queue_or_waits_longest(
    sqs: Any, start_worker: Callable[..., Any], redrive: bool
) -> None:
    sqs.create("email-dlq")
    arn = sqs.store.queue_attributes("email-dlq")["QueueArn"]
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "50"})} if redrive else {}
    sqs.create("email", **policy)
    sqs.native("email", "hopeless")
    worker = start_worker("-Q", "email", "-c", "1")
    line = "hopeless was received 3 times, its max_deliveries is 2"
    sqs.advance_until(lambda: worker.lines(line))
    assert worker.ran() == ["hopeless"] * 2
    if redrive:
        sqs.wait_counts("email")
        (copy,) = sqs.receive("email-dlq")
        assert line in copy.message_attributes["pyqs.reason"].string_value
    else:
        sqs.wait_counts("email", hidden=1)
        sqs.advance(3500)  # the longest pause is an hour
        sqs.wait_counts("email", hidden=1)
        sqs.advance(200)
        sqs.wait_counts("email", hidden=1)  # received once more, and hidden again without a word
    assert len(worker.lines("hopeless was received")) == 1
    worker.terminate(signal.SIGINT)
