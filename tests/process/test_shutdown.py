"""An orderly end: nothing hidden, nothing lost, nothing run twice, whatever SQS answers meanwhile."""

from __future__ import annotations

import signal
from typing import Any


def test_sigterm_in_the_middle_of_a_drain_accounts_for_every_message(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.many("jobs", range(2000))
    worker = start_worker("-Q", "jobs", "-c", "2", "-l", "warning", ready=None)
    worker.wait_ran("noop", 300)
    assert worker.terminate() < 10
    left = sqs.counts("jobs")
    ran = worker.ran("noop")
    assert left.hidden == 0, worker.log()
    assert len(ran) == len(set(ran)), "none ran twice"
    assert left.visible + len(ran) == 2000, "none is lost"
    assert left.visible > 0, "it was stopped before the end"


def test_two_workers_in_turn_run_each_message_once(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.many("jobs", range(1500))
    first = start_worker("-Q", "jobs", "-c", "2", "-l", "warning", ready=None)
    first.wait_ran("noop", 200)
    second = start_worker("-Q", "jobs", "-c", "1", "-l", "warning", ready=None)
    first.terminate()
    second.wait_ran("noop", 1500)
    sqs.wait_counts("jobs")
    assert sorted(second.ran("noop")) == sorted(f"noop {n}" for n in range(1500))


def test_deletes_that_fail_for_a_while_are_sent_before_the_end(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.store.faults.add("error=500:action=DeleteMessageBatch:times=5")
    sqs.many("jobs", range(5))
    worker.wait_ran("noop", 5)
    sqs.native("jobs", "gate", "open")
    worker.wait_ran("gate")
    worker.send_signal(signal.SIGTERM)
    worker.wait_log("stopping")
    sqs.many("jobs", range(10, 13))  # end the open poll
    worker.touch("open")
    assert worker.wait_exit() == 0
    assert worker.ran("gate  ends")
    sqs.wait_counts("jobs", visible=3, timeout=1)


def test_the_deadline_bounds_a_shutdown_beside_an_sqs_that_does_not_answer(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", "--shutdown-timeout", "2")
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop")
    sqs.wait_counts("jobs")
    sqs.store.faults.add("stall")
    assert worker.terminate(timeout=20) < 2 + 5


def test_totals_are_said_at_the_end(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.many("jobs", range(3))
    worker = start_worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("noop", 3)
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    assert "3" in worker.wait_log("stopped")
