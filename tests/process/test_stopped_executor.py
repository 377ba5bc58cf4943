"""An executor that is frozen (SIGSTOP, a debugger, a stuck disk) holds up nobody else and no shutdown."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

BLOB = "x" * 1_000_000


@pytest.fixture
def stop() -> Iterator[Any]:
    stopped: list[int] = []

    def stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    yield stop
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_stopped_executor_with_large_messages_waiting_holds_up_nobody(start_worker: Any, sqs: Any, stop: Any) -> None:
    sqs.create("jobs", "large")
    worker = start_worker("-Q", "jobs", "-Q", "large", "-c", "2")
    sqs.many("jobs", range(30))
    worker.wait_ran("noop", 30)
    victim = worker.executors[0]
    stop(victim)
    for n in range(8):
        sqs.native("large", "big", n, BLOB)
    sqs.many("jobs", range(100, 200))
    # At most one large one and a few small ones are in the stopped executor's hands.
    worker.wait_ran("big", 7)
    worker.wait_ran("noop 1", 90)
    os.kill(victim, signal.SIGCONT)
    worker.wait_ran("big", 8)
    worker.wait_ran("noop", 130)
    sqs.wait_counts("jobs")
    sqs.wait_counts("large")
    assert len(worker.ran("big")) == 8
    assert len(set(worker.ran("noop"))) == len(worker.ran("noop")) == 130


def test_a_running_task_that_is_stopped_and_continued_runs_once(start_worker: Any, sqs: Any, stop: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2")
    sqs.native("jobs", "gate", "open", "a")
    worker.wait_ran("gate a begins")
    idle_or_busy = worker.executors
    for pid in idle_or_busy:
        if _has_slept_in(pid, worker):
            stop(pid)
    sqs.many("jobs", range(10))
    worker.wait_ran("noop", 10)
    worker.touch("open")
    for pid in idle_or_busy:
        os.kill(pid, signal.SIGCONT)
    worker.wait_ran("gate a ends")
    sqs.wait_counts("jobs")
    assert worker.ran("gate") == ["gate a begins", "gate a ends"]


def _has_slept_in(pid: int, worker: Any) -> bool:
    """The executor that runs the gate polls for a file: it alone switches all the time."""

    def switches() -> int:
        with open(f"/proc/{pid}/task/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))

    before = switches()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if switches() > before + 5:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("what", ["running", "waiting"])
def test_sigterm_ends_a_worker_whose_executor_is_stopped(start_worker: Any, sqs: Any, stop: Any, what: str) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", "--shutdown-timeout", "2")
    if what == "running":
        sqs.native("jobs", "nap", 60)
        worker.wait_ran("nap")
        stop(worker.executors[0])
    else:
        stop(worker.executors[0])
        sqs.native("jobs", "big", 1, BLOB)
        sqs.wait_counts("jobs", hidden=1)
    victim = worker.executors[0]
    assert worker.terminate() < 2 + 4
    sqs.wait_counts("jobs", visible=1, timeout=1)
    worker.wait_until(lambda: not worker.alive([victim]), timeout=1)


@pytest.mark.slow
def test_what_a_stopped_executor_has_not_started_runs_elsewhere_after_a_lease(start_worker: Any, sqs: Any, stop: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2", "--lease", "10")
    sqs.many("jobs", range(30))
    worker.wait_ran("noop", 30)  # several at once go to each executor from now on
    stop(worker.executors[0])
    sqs.many("jobs", range(100, 130))
    worker.wait_ran("noop", 60, timeout=20)
