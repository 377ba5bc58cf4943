"""A worker in this process: what it promises of a worker, what a thread cannot do, and what is left when it has gone."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

from pyqs.config import WorkerConfig
from pyqs.errors import BootFailed
from pyqs.interruption import shutdown
from pyqs.message import CalledOff, OutgoingMessage
from pyqs.testing import InProcessWorker

pytest_plugins = ["pyqs.testing.pytest"]


def until(happened: Any, timeout: float = 20.0) -> None:
    pause, rounds = threading.Event(), int(timeout / 0.01)
    assert any(happened() or pause.wait(0.01) for _ in range(rounds)), f"not within {timeout} s"


def test_tasks_run_in_threads_of_this_process(tasks, pyqs_thread_worker):
    worker = pyqs_thread_worker("jobs")
    tasks.where.delay()
    until(lambda: worker.totals.done["succeeded"] == 1)
    assert tasks.seen == [(os.getpid(), False)]


def test_as_many_at_once_as_it_has_executors(tasks, pyqs_thread_worker):
    worker = pyqs_thread_worker("jobs", concurrency=2)
    tasks.waits.delay()
    assert tasks.begun.wait(10)
    tasks.note.delay("meanwhile")
    until(lambda: tasks.seen == [("meanwhile",)])
    tasks.go_on.set()
    until(lambda: worker.totals.done["succeeded"] == 2)
    assert tasks.seen[1] == "went on"


def test_a_failure_hides_the_message(tasks, pyqs_thread_worker, pyqs_sqs):
    worker = pyqs_thread_worker("jobs")
    tasks.fails.delay()
    until(lambda: worker.totals.done["failed"] == 1)
    worker.stop()
    assert pyqs_sqs.left() == {"jobs": 1}
    assert not pyqs_sqs.plain_client().receive(pyqs_sqs.plain_client().queue_url("jobs"), wait=0)


def test_what_cannot_be_read_stays(pyqs_thread_worker, pyqs_sqs):
    worker = pyqs_thread_worker("jobs")
    client = pyqs_sqs.plain_client()
    client.send(client.queue_url("jobs"), OutgoingMessage("no call"))
    until(lambda: worker.totals.done["undecodable"] == 1)
    worker.stop()
    assert pyqs_sqs.left() == {"jobs": 1}


def test_a_soft_limit_is_raised_in_the_task(tasks, pyqs_thread_worker):
    worker = pyqs_thread_worker("jobs")
    tasks.runs_into_its_soft_limit.delay()
    until(lambda: worker.totals.done["succeeded"] == 1)
    assert tasks.seen == ["soft limit"]


def test_at_its_hard_limit_a_task_is_given_up_and_its_message_comes_again(tasks, pyqs_thread_worker, pyqs_sqs, caplog):
    caplog.set_level(logging.WARNING)
    worker = pyqs_thread_worker("jobs")
    tasks.runs_into_its_hard_limit.delay()
    until(lambda: tasks.seen.count("began") == 2)
    assert "passed its time limit" in caplog.text
    tasks.note.delay("another executor")
    until(lambda: ("another executor",) in tasks.seen)
    worker.stop()
    assert "ended" not in tasks.seen
    assert pyqs_sqs.left() == {"jobs": 1}


def test_a_stop_waits_for_what_runs_and_gives_back_the_rest(tasks, pyqs_thread_worker, pyqs_sqs):
    worker = pyqs_thread_worker("jobs")
    tasks.waits.delay()
    assert tasks.begun.wait(10)
    tasks.note.delay("too late")
    worker.ask_to_stop()
    assert not worker.ends_within(0.3)
    tasks.go_on.set()
    worker.stop()
    assert tasks.seen == ["went on"]
    client = pyqs_sqs.plain_client()
    assert len(client.receive(client.queue_url("jobs"), wait=0)) == 1


def test_a_task_that_runs_for_too_long_is_named_and_given_up(tasks, pyqs_sqs):
    worker = InProcessWorker(WorkerConfig(("jobs",), create_queues=True), pyqs_sqs.plain_client())
    worker.start()
    tasks.waits.delay()
    until(lambda: worker.running)
    with pytest.raises(
        RuntimeError, match=r"not stopped within 0\.1 s, tasks_of_tests\.waits\[.*\] still ran and was given up"
    ):
        worker.stop(0.1)
    client = pyqs_sqs.plain_client()
    assert len(client.receive(client.queue_url("jobs"), wait=0)) == 1, "its message is there for the next worker"
    tasks.go_on.set()


def test_a_task_sees_that_its_worker_stops_and_no_other_does(tasks, pyqs_thread_worker):
    worker = pyqs_thread_worker("jobs")
    tasks.looks_whether_it_should_stop.delay()
    assert tasks.begun.wait(10)
    worker.stop()
    assert tasks.seen == ["should stop: True"]
    assert not shutdown.begun


def test_a_block_that_can_be_interrupted_is(tasks, pyqs_thread_worker, pyqs_sqs):
    worker = pyqs_thread_worker("jobs")
    tasks.can_be_interrupted.delay()
    assert tasks.begun.wait(10)
    worker.stop()
    assert (tasks.seen, worker.totals.done) == ([], {"stopped": 1})
    assert pyqs_sqs.left() == {"jobs": 1}


def test_a_fifo_queue_keeps_its_order(tasks, pyqs_thread_worker):
    for number in range(5):
        tasks.in_order.delay("a", number)
    worker = pyqs_thread_worker("orders.fifo", concurrency=3)
    until(lambda: worker.totals.done["succeeded"] == 5)
    assert tasks.seen == [("a", number) for number in range(5)]


def test_a_call_that_was_called_off_does_not_go_on(tasks, pyqs_thread_worker):
    """Native runtimes keep none of these; that it must reach the executors is the engine's part."""
    worker = pyqs_thread_worker("jobs")
    worker.call_off([CalledOff("somebody's", 2e9, 15)])
    tasks.note.delay("after it")
    until(lambda: tasks.seen == [("after it",)])


def test_nothing_of_it_is_left(tasks, pyqs_sqs):
    before = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(3):
        with InProcessWorker(WorkerConfig(("jobs",), create_queues=True), pyqs_sqs.plain_client()) as worker:
            tasks.note.delay(1)
            until(lambda worker=worker: worker.totals.done["succeeded"] == 1)
    until(lambda: not {thread for thread in threading.enumerate() if thread not in before and "pyqs" in thread.name})
    if descriptors:
        import gc

        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 4


def test_one_that_cannot_start_says_so(pyqs_sqs, caplog):
    worker = InProcessWorker(WorkerConfig(("nowhere",), strict=True), pyqs_sqs.plain_client())
    with pytest.raises(BootFailed, match="nowhere"):
        worker.start()
