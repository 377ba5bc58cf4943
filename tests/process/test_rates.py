"""Rate limits in a real worker: kept to, nothing lost or run twice, nobody else held back."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest

from pyqs_celery_compat.outgoing import as_task_v2, seal_task

TASKS = """
import time
from pyqs_celery_compat import shared_task

def ran(line):
    with open("ran.txt", "a") as ledger:
        ledger.write(f"{line} {time.time()}\\n")

@shared_task(name="ten", rate_limit="10/s")
def ten(n):
    ran(f"ten {n}")

@shared_task(name="one", rate_limit="1/s", acks_late=True)
def one(n):
    ran(f"one {n}")

@shared_task(name="rare", rate_limit="10/m")
def rare(n):
    ran(f"rare {n}")

@shared_task(name="brief", rate_limit="2/s", time_limit=0.6, soft_time_limit=0.5)
def brief(n):
    time.sleep(0.1)
    ran(f"brief {n}")

@shared_task(name="free")
def free(n):
    ran(f"free {n}")
"""


@pytest.fixture
def limited(project: Any) -> Any:
    (project.folder / "limited.py").write_text(TASKS)

    def start(*args: str) -> Any:
        return project.start("--include", "limited", *args)

    return start


def send(sqs: Any, queue: str, task: str, numbers: range, group: str | None = None) -> None:
    for n in numbers:
        sqs.send(queue, seal_task(as_task_v2(f"{task}-{n}", task, (n,), {}), routing_key=queue), group=group)


def notes(worker: Any, name: str, count: int) -> list[tuple[int, float]]:
    return [(int(n), float(at)) for _, n, at in (line.split() for line in worker.wait_ran(f"{name} ", count))]


def test_thirty_at_ten_a_second(limited: Any, sqs: Any) -> None:
    sqs.create("jobs")
    send(sqs, "jobs", "ten", range(30))
    worker = limited("-Q", "jobs", "-c", "4")
    ran = notes(worker, "ten", 30)
    assert sorted(n for n, _ in ran) == list(range(30)), "each once"
    took = ran[-1][1] - ran[0][1]
    assert 2.5 <= took < 15.0
    sqs.wait_counts("jobs")
    worker.terminate(2)
    assert len(worker.ran("ten ")) == 30


def test_what_is_over_the_limit_comes_back_in_its_turn(limited: Any, sqs: Any) -> None:
    sqs.create("jobs")
    send(sqs, "jobs", "rare", range(200))
    worker = limited("-Q", "jobs", "-c", "2")
    sqs.wait_counts("jobs", delayed=199)
    assert len(worker.lines(r"rare\[.*postponed .*over its rate limit, back in \d+ s")) >= 199
    sends = sqs.server.seen["SendMessageBatch"] + sqs.server.seen["SendMessage"]
    time.sleep(2.5)  # a storm would show
    assert sqs.server.seen["SendMessageBatch"] + sqs.server.seen["SendMessage"] - sends <= 2
    assert len(worker.ran("rare ")) == 1
    worker.terminate(2)


def test_a_fifo_queue_hides_and_keeps_its_order(limited: Any, sqs: Any) -> None:
    sqs.create("jobs.fifo")
    send(sqs, "jobs.fifo", "one", range(5), group="a")
    worker = limited("-Q", "jobs.fifo", "-c", "2")
    ran = notes(worker, "one", 5)
    assert [n for n, _ in ran] == [0, 1, 2, 3, 4]
    gaps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(ran)]
    assert min(gaps) > 0.5
    assert sum(gaps) > 3.5
    sqs.wait_counts("jobs.fifo")
    assert sqs.server.seen["SendMessage"] == sqs.server.seen["SendMessageBatch"] == 0
    worker.terminate(2)


def test_no_fifo_message_is_hidden_into_the_dead_letter_queue(limited: Any, sqs: Any) -> None:
    """One life each: whoever is hidden never starts."""
    sqs.create("dead.fifo")
    arn = sqs.store.queue_attributes("dead.fifo")["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    sqs.create("jobs.fifo", RedrivePolicy=policy)
    for n in range(3):
        send(sqs, "jobs.fifo", "rare", range(n, n + 1), group=f"g{n}")
    send(sqs, "jobs.fifo", "free", range(6), group="free")
    worker = limited("-Q", "jobs.fifo", "-c", "1")
    free = notes(worker, "free", 6)
    ran = notes(worker, "rare", 3)
    assert sorted(n for n, _ in ran) == list(range(3))
    assert free[-1][1] < ran[1][1], "those that wait for a token wait beside the executor"
    sqs.wait_counts("jobs.fifo")
    assert sqs.counts("dead.fifo").total == 0
    worker.terminate(2)


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_two_limits_do_not_hold_each_other_back(limited: Any, sqs: Any, concurrency: str) -> None:
    sqs.create("jobs")
    for n in range(20):  # one queue, in turn
        send(sqs, "jobs", "one", range(n, n + 1))
        send(sqs, "jobs", "ten", range(n, n + 1))
    worker = limited("-Q", "jobs", "-c", concurrency)
    ran = notes(worker, "ten", 20)
    assert ran[-1][1] - ran[0][1] < 15.0
    worker.terminate(2)


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_a_limited_flood_does_not_hold_back_another_queue(limited: Any, sqs: Any, concurrency: str) -> None:
    sqs.create("flooded", "jobs")
    send(sqs, "flooded", "one", range(100))
    send(sqs, "jobs", "free", range(100))
    worker = limited("-Q", "flooded,jobs", "-c", concurrency)
    ran = notes(worker, "free", 100)
    assert ran[-1][1] - ran[0][1] < 20.0
    assert notes(worker, "one", 4), "and the limited ones go on"
    worker.terminate(2)


def test_waiting_for_a_token_is_no_run_time(limited: Any, sqs: Any) -> None:
    sqs.create("jobs")
    send(sqs, "jobs", "brief", range(4))
    worker = limited("-Q", "jobs", "-c", "4")
    notes(worker, "brief", 4)
    sqs.wait_counts("jobs")
    worker.terminate(2)
    assert len(worker.lines(r"brief\[.*succeeded in 0\.[1-4]\d\d s")) == 4, worker.log()


def test_a_stop_while_they_wait_gives_them_back(limited: Any, sqs: Any) -> None:
    sqs.create("jobs")
    send(sqs, "jobs", "one", range(3))
    worker = limited("-Q", "jobs", "-c", "2")
    notes(worker, "one", 1)
    assert worker.terminate(2) < 10
    ran = len(worker.ran("one "))
    sqs.advance(5)  # one may have been told already to come back in its turn, long before a lease is over
    found = sqs.counts("jobs")
    assert found.hidden == 0
    assert found.total == 3 - ran


def test_a_limit_that_nobody_can_read_ends_the_worker_at_its_start(project: Any, sqs: Any) -> None:
    (project.folder / "limited.py").write_text(TASKS.replace("10/m", "10/fortnight"))
    sqs.create("jobs")
    worker = project.start("--include", "limited", "-Q", "jobs", "-c", "2", ready=None)
    assert worker.wait_exit() == 2
    said = worker.lines("CRITICAL")
    assert len(said) == 1
    assert "rate_limit of task rare: '10/fortnight' is no rate" in said[0]
