"""``--max-tasks``: a trial on a queue runs so many tasks and no more, leaves the rest as it was, and ends with 0."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("executors", [1, 4])
def test_it_runs_so_many_and_leaves_the_rest(start_worker: Any, sqs: Any, executors: int) -> None:
    sqs.create("jobs")
    sqs.many("jobs", range(250))
    worker = start_worker("-Q", "jobs", "-c", str(executors), "--max-tasks", "100", ready=None)
    assert worker.wait_exit() == 0, worker.log()
    assert len(worker.ran("noop")) == 100
    assert len(worker.lines(r"stopping \(it has run 100 tasks, --max-tasks\)")) == 1
    sqs.wait_counts("jobs", visible=150)
    assert "100 received" in worker.log(), "nothing was received that was not run"


def test_it_waits_for_as_many_as_there_will_be(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "noop", 1)
    worker = start_worker("-Q", "jobs", "-c", "2", "--max-tasks", "3")
    worker.wait_ran("noop", 1)
    sqs.many("jobs", range(2, 9))
    assert worker.wait_exit() == 0, worker.log()
    assert len(worker.ran("noop")) == 3
    sqs.wait_counts("jobs", visible=5)
