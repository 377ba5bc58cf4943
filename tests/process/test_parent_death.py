"""SIGKILL of the worker alone: nothing of it lives on, whatever its executors are doing."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("task", "args"),
    [("nap", (60,)), ("spin", ()), ("hold_gil", (60,)), ("with_child", (60,)), (None, ())],
    ids=["asleep", "computing", "holding-the-gil", "with-a-child-of-its-own", "idle"],
)
def test_everything_ends_with_the_worker(start_worker: Any, sqs: Any, task: str | None, args: tuple[Any, ...]) -> None:
    sqs.create("jobs")
    if task is not None:
        sqs.native("jobs", task, *args)
        sqs.native("jobs", task, *args)
    worker = start_worker("-Q", "jobs", "-c", "2")
    if task is not None:
        notes = worker.wait_ran("child" if task == "with_child" else task, 2)
    pids = [worker.forkserver, *worker.executors]
    assert len(pids) == 3
    if task == "with_child":
        pids += [int(note.split()[1]) for note in notes]
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait_until(lambda: not worker.alive(pids), timeout=2)
    assert worker.wait_exit() == -signal.SIGKILL
