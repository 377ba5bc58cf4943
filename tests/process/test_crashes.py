"""Executors that die: replaced at once, one message blamed, nothing lost, and the worker goes on."""

from __future__ import annotations

import os
import signal
from typing import Any

KINDS = ("exit", "segfault", "kill")


def test_tasks_that_take_their_process_down(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2")
    for number, kind in enumerate(KINDS):
        sqs.native("jobs", "crash", kind)
        sqs.many("jobs", range(number * 10, number * 10 + 10))
    worker.wait_ran("crash", 3)
    worker.wait_ran("noop", 30)
    sqs.wait_counts("jobs", hidden=3)
    assert len(worker.lines(r"(?=.*tasks\.crash)(?=.*(died|lost|killed))")) == 3, worker.log()
    assert len(set(worker.ran("noop"))) == len(worker.ran("noop")) == 30, "only the one that ran is blamed"
    worker.touch("calm")
    sqs.advance_until(lambda: len(worker.ran("calm")) == 3)
    sqs.wait_counts("jobs")
    assert worker.process.poll() is None
    assert len(worker.executors) == 2


def test_a_message_that_always_kills_goes_to_the_dead_letter_queue(start_worker: Any, sqs: Any) -> None:
    sqs.create("dead")
    arn = sqs.store.queue_attributes("dead", ["QueueArn"])["QueueArn"]
    sqs.create("jobs", RedrivePolicy=f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "2"}}')
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.native("jobs", "crash", "kill")
    worker.wait_ran("crash", 1)
    sqs.advance_until(lambda: sqs.counts("dead").visible == 1)
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")
    sqs.wait_counts("jobs")
    assert len(worker.ran("crash")) == 2


def test_executors_and_the_forkserver_killed_from_outside(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2")
    idle = worker.executors
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    sqs.many("jobs", range(10))
    worker.wait_ran("noop", 10)
    worker.wait_until(lambda: len(worker.executors) == 2 and not set(worker.executors) & set(idle))
    os.kill(worker.forkserver, signal.SIGKILL)
    sqs.native("jobs", "crash", "kill")
    sqs.native("jobs", "crash", "kill")
    worker.wait_ran("crash", 2)
    sqs.many("jobs", range(20, 30))
    worker.wait_ran("noop 2", 10)
    sqs.wait_counts("jobs", hidden=2)
    assert worker.process.poll() is None, worker.log()


def test_an_executor_killed_in_its_task_gives_the_message_back(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.native("jobs", "gate", "open", "a")
    worker.wait_ran("gate a begins")
    os.kill(worker.executors[0], signal.SIGKILL)
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")
    sqs.wait_counts("jobs", hidden=1)
    worker.touch("open")
    sqs.advance_until(lambda: worker.ran("gate a ends"))
    sqs.wait_counts("jobs")


def test_the_hard_limit_kills_and_the_soft_one_raises(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2")
    before = worker.executors
    sqs.celery("jobs", "timed.hard")
    sqs.celery("jobs", "timed.soft")
    child = int(worker.wait_ran("child")[0].split()[1])
    worker.wait_ran("soft begins")
    worker.wait_ran("soft limit")
    worker.wait_log(r"(?=.*timed\.hard)(?=.*time limit)")
    sqs.many("jobs", range(10))
    worker.wait_ran("noop", 10)
    worker.wait_until(lambda: len(worker.executors) == 2)
    assert len(set(worker.executors) & set(before)) == 1, "only the one with the hard limit was killed"
    worker.wait_until(lambda: not worker.alive([child]))
    assert not worker.ran("hard ends")
    sqs.wait_counts("jobs")  # acks_on_timeout: it has failed, as in Celery, and does not come back


def test_an_early_acked_task_that_dies_is_named_as_lost(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.celery("jobs", "early.nap", 60)
    worker.wait_ran("early nap begins")
    sqs.wait_counts("jobs")
    os.kill(worker.executors[0], signal.SIGKILL)
    worker.wait_log(r"(?=.*early\.nap\[id-of-early\.nap\])(?=.*lost)")
    sqs.many("jobs", range(3))
    worker.wait_ran("noop", 3)
    sqs.wait_counts("jobs")


def test_a_forkserver_that_died_imports_the_tasks_again_for_everybody(start_worker: Any, sqs: Any, project: Any) -> None:
    (project.folder / "counted.py").write_text("import os\nopen('imports.txt', 'a').write(f'{os.getpid()}\\n')\n")
    sqs.create("jobs")
    worker = start_worker("--include", "counted", "-Q", "jobs", "-c", "2")
    first = worker.forkserver
    os.kill(first, signal.SIGKILL)
    for _ in range(2):
        sqs.native("jobs", "crash", "exit")
    worker.wait_ran("crash", 2)
    sqs.many("jobs", range(10))
    worker.wait_ran("noop", 10)
    worker.wait_until(lambda: len(worker.executors) == 2)
    assert len(worker.lines(rf"the forkserver \(pid {first}\) has died")) == 1
    assert (project.folder / "imports.txt").read_text().split() == [str(first), str(worker.forkserver)]
