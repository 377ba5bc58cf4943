"""Long tasks that end early because the worker stops: given back at once, run again elsewhere, and no failure."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

TASKS = '''
import asyncio
from pyqs import ShutdownRequested, interruptible, should_stop
from pyqs_celery_compat.exceptions import Retry

def again(kind):
    """The second worker runs it to its end."""
    if os.path.exists("calm"):
        ran(f"{kind} ends")
        return True
    ran(f"{kind} begins")

@task
def asks():
    if again("asks"):
        return
    assert not should_stop()
    while not should_stop():
        time.sleep(0.01)
    raise ShutdownRequested

@task
def sleeps():
    if again("sleeps"):
        return
    try:
        with interruptible():
            time.sleep(60)
    except Exception:
        ran("swallowed")

@task
async def async_sleeps():
    if again("async_sleeps"):
        return
    with interruptible():
        await asyncio.sleep(60)

@shared_task(name="stops.async", acks_late=True)
async def async_late():
    if not again("async"):
        with interruptible():
            await asyncio.sleep(60)

@task
async def async_group():
    if again("async_group"):
        return
    with interruptible():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            await asyncio.sleep(60)

@shared_task(name="stops.group", acks_late=True)
async def group_late():
    async def child():
        while not should_stop():
            await asyncio.sleep(0.01)
        raise ShutdownRequested
    if not again("group"):
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

@task
def finishes():
    """Sees it coming, and does its work in time."""
    ran("finishes begins")
    while not should_stop():
        time.sleep(0.01)
    ran("finishes ends")

@task
def cries_wolf():
    ran("cries wolf")
    raise ShutdownRequested

@shared_task(name="stops.late", acks_late=True)
def late():
    if not again("late"):
        with interruptible():
            time.sleep(60)

@shared_task(name="stops.early")
def early():
    if not again("early"):
        with interruptible():
            time.sleep(60)

@shared_task(name="stops.retries", bind=True, acks_late=True)
def retries(self):
    if again("retries"):
        return
    try:
        self.retry(countdown=1)
    except Retry:
        with interruptible():
            ran("retries retried")
            time.sleep(60)
'''


@pytest.fixture(autouse=True)
def _more_tasks(project: Any) -> None:
    with (project.folder / "tasks.py").open("a") as file:
        file.write(TASKS)


#: asyncio's own groups are of Python 3.11.
GROUPS = ["async_group", "group"] if sys.version_info >= (3, 11) else []


@pytest.mark.parametrize("kind", ["asks", "sleeps", "async_sleeps", "late", "async", "early", "retries", *GROUPS])
@pytest.mark.parametrize("redrive", [False, True], ids=["", "last-life"])
@pytest.mark.parametrize("name", ["email", "email.fifo"])
def test_what_is_stopped_is_given_back_at_once_and_runs_again(
    sqs: Any, start_worker: Callable[..., Any], kind: str, redrive: bool, name: str
) -> None:
    if name.endswith(".fifo") and redrive:
        pytest.skip("a copy would lose its place in the group: FIFO is released")
    dlq = "dlq.fifo" if name.endswith(".fifo") else "dlq"
    sqs.create(dlq)
    arn = sqs.store.queue_attributes(dlq)["QueueArn"]
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})} if redrive else {}
    sqs.create(name, **policy)
    group = "g" if name.endswith(".fifo") else None
    if kind in ("asks", "sleeps", "async_sleeps", "async_group"):
        sqs.native(name, kind, group=group)
    else:
        from pyqs_celery_compat.outgoing import as_task_v2, seal_task

        sqs.send(name, seal_task(as_task_v2("id-1", f"stops.{kind}", (), {}), routing_key=name), group=group)
    worker = start_worker("-Q", name, "-c", "1")
    worker.wait_ran("retries retried" if kind == "retries" else f"{kind} begins")
    assert worker.terminate(signal.SIGINT) < 10
    sqs.wait_counts(name, visible=1)
    (line,) = worker.lines("stopped in")
    assert " INFO " in line
    assert worker.lines("ERROR|Traceback| failed") == []
    assert "1 stopped" in worker.wait_log("stopped: ")

    worker.touch("calm")
    second = start_worker("-Q", name, "-c", "1")
    second.wait_ran(f"{kind} ends")
    sqs.wait_counts(name)
    second.terminate(signal.SIGINT)
    assert sqs.counts(dlq).total == 0
    assert [line for line in second.ran(kind) if "retried" not in line] == [f"{kind} begins", f"{kind} ends"]


def test_a_task_that_ends_by_itself_has_succeeded(sqs: Any, start_worker: Callable[..., Any]) -> None:
    sqs.create("email")
    sqs.native("email", "finishes")
    worker = start_worker("-Q", "email", "-c", "1")
    worker.wait_ran("finishes begins")
    worker.terminate()  # it hears of the stop while the open poll still runs
    assert worker.ran("finishes ends")
    sqs.wait_counts("email")


def test_without_a_stop_it_is_a_failure_that_waits(sqs: Any, start_worker: Callable[..., Any]) -> None:
    """Released at once, it would run in a hot loop."""
    sqs.create("email")
    sqs.native("email", "cries_wolf")
    worker = start_worker("-Q", "email", "-c", "1")
    worker.wait_log("cries_wolf.* failed in")
    sqs.wait_counts("email", hidden=1)
    worker.terminate(signal.SIGINT)
    assert worker.ran() == ["cries wolf"]
