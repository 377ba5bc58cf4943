"""A worker whose executors run several tasks at a time, ``--async-slots``: what befalls one of them befalls no other."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from pyqs_celery_compat.outgoing import as_task_v2, seal_task

TASKS = '''
import asyncio
from pyqs import interruptible, should_stop
from pyqs_celery_compat import current_task

here = []

@task
async def all_meet(n, count):
    """Ends only if so many run at a time, in this process and its loop."""
    here.append(n)
    while len(here) < count:
        await asyncio.sleep(0.01)
    ran(f"met {os.getpid()} {id(asyncio.get_running_loop())}")

@task
async def waits(tag, name="go"):
    ran(f"waits {tag} begins")
    while not os.path.exists(name):
        await asyncio.sleep(0.01)
    ran(f"waits {tag} ends")

@task
async def stoppable(tag):
    if os.path.exists("calm"):
        ran(f"stoppable {tag} ends")
        return
    ran(f"stoppable {tag} begins")
    with interruptible():
        await asyncio.sleep(60)

@shared_task(name="late.waits", acks_late=True)
async def late_waits(tag):
    ran(f"late {tag} begins")
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    ran(f"late {tag} ends")

@shared_task(name="early.waits")
async def early_waits(tag):
    ran(f"early {tag} begins")
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    ran(f"early {tag} ends")

@shared_task(name="late.hangs", acks_late=True, time_limit=1)
async def hangs():
    ran("hangs begins")
    await asyncio.sleep(60)

@shared_task(name="late.leaves", acks_late=True, time_limit=1)
async def leaves_one_that_does_not_end():
    async def goes_on():
        while not os.path.exists("go"):
            try:
                await asyncio.sleep(0.01)
            except BaseException:
                ran("left one goes on")
    asyncio.create_task(goes_on())
    await asyncio.sleep(60)

@shared_task(name="late.stubborn", acks_late=True, time_limit=1)
async def stubborn():
    ran("stubborn begins")
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException:
            ran("stubborn goes on")

@shared_task(name="plain.hangs", time_limit=1)
def plain_hangs():
    ran("plain hangs begins")
    while True:
        time.sleep(0.01)

@shared_task(name="late.soft", acks_late=True, soft_time_limit=1)
async def soft(tag):
    ran(f"soft {tag} begins")
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        ran(f"soft {tag} limit")

@shared_task(name="plain.soft", acks_late=True, soft_time_limit=1)
def plain_soft(tag):
    ran(f"plain {tag} begins")
    try:
        while True:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        ran(f"plain {tag} limit")

@shared_task(name="again.async", bind=True, acks_late=True, max_retries=3)
async def again_async(self, tag):
    await asyncio.sleep(0.05)
    assert current_task.request.id == self.request.id == tag, (self.request.id, tag)
    ran(f"again {self.request.retries} {tag}")
    if not self.request.retries:
        raise self.retry(countdown=0)

@shared_task(name="limited.async", rate_limit="20/s", acks_late=True)
async def limited(n):
    await asyncio.sleep(0.01)
    ran(f"limited {n}")

@task
async def in_order(group, n):
    ran(f"{group} {n} begins")
    await asyncio.sleep(0.02)
    ran(f"{group} {n} ends")

@task
async def dies(tag):
    if os.path.exists("calm"):
        ran(f"calm {tag}")
        return
    ran(f"dies {tag}")
    while not os.path.exists("die"):
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

@task
async def counted(n):
    await asyncio.sleep(0.01)
    ran(f"counted {n} {os.getpid()}")
'''


@pytest.fixture(autouse=True)
def _more_tasks(project: Any, sqs: Any) -> None:
    with (project.folder / "tasks.py").open("a") as file:
        file.write(TASKS)
    sqs.create("jobs")


@pytest.fixture
def start(start_worker: Callable[..., Any]) -> Callable[..., Any]:
    def start(slots: int, *args: str, executors: int = 1, queues: str = "jobs") -> Any:
        return start_worker("-Q", queues, "-c", str(executors), "--async-slots", str(slots), *args)

    return start


def celery(sqs: Any, name: str, tag: str, *args: Any) -> None:
    sqs.send("jobs", seal_task(as_task_v2(tag, name, args, {}), routing_key="jobs"))


def test_so_many_run_at_a_time_in_one_loop(sqs: Any, start: Any) -> None:
    for n in range(30):
        sqs.native("jobs", "all_meet", n, 30)
    worker = start(30)
    assert len(set(worker.wait_ran("met", 30))) == 1
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    assert worker.lines(r"ready: 1 queues, 1 executors with 30 slots each")
    assert not worker.lines("ERROR|CRITICAL")
    assert "30 received" in worker.lines("stopped: ")[0]


def test_no_more_than_so_many_are_received(sqs: Any, start: Any) -> None:
    for n in range(12):
        sqs.native("jobs", "waits", n)
    worker = start(3, executors=2)
    worker.wait_ran("waits", 6)
    sqs.wait_counts("jobs", visible=6, hidden=6)
    worker.touch("go")
    sqs.wait_counts("jobs")
    assert len(worker.ran("waits")) == 24
    worker.terminate(signal.SIGINT)


def test_plain_tasks_run_beside_coroutines(sqs: Any, start: Any) -> None:
    sqs.native("jobs", "gate", "first", "plain")
    sqs.native("jobs", "waits", "async", "first")
    worker = start(2)
    worker.wait_ran("gate plain begins")
    worker.wait_ran("waits async begins")
    worker.touch("first")
    worker.wait_ran("gate plain ends")
    worker.wait_ran("waits async ends")
    worker.terminate(signal.SIGINT)


def test_soft_limits_hit_whom_they_are_for(sqs: Any, start: Any) -> None:
    celery(sqs, "late.soft", "one", "one")
    celery(sqs, "plain.soft", "two", "two")
    celery(sqs, "late.waits", "three", "three")
    worker = start(3)
    worker.wait_ran("soft one limit")
    worker.wait_ran("plain two limit")
    worker.touch("go")
    worker.wait_ran("late three ends")
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)


def test_a_hard_limit_ends_one_and_leaves_the_others_alone(sqs: Any, start: Any) -> None:
    celery(sqs, "late.waits", "one", "one")
    celery(sqs, "early.waits", "two", "two")
    celery(sqs, "late.hangs", "three")
    celery(sqs, "plain.hangs", "four")
    worker = start(4)
    executors = worker.executors
    worker.wait_log(r"late\.hangs\[three\] timed-out in .* its executor has ended it")
    worker.wait_log(r"plain\.hangs\[four\] timed-out in")
    sqs.wait_counts("jobs", hidden=1)
    celery(sqs, "late.waits", "five", "five")
    worker.wait_ran("late five begins")
    worker.touch("go")
    sqs.wait_counts("jobs")
    assert worker.executors == executors
    worker.terminate(signal.SIGINT)
    assert sorted(line for line in worker.ran() if "ends" in line) == ["early two ends", "late five ends", "late one ends"]
    assert len(worker.ran("hangs begins")) == 1, "it has failed for good, as Celery has it"
    assert worker.lines(r"has ended it \(task late\.hangs\[three\] passed its time limit of 1 s\)")


def test_what_an_ended_one_has_left_costs_nobody_the_executor(sqs: Any, start: Any) -> None:
    celery(sqs, "late.waits", "a", "a")
    worker = start(4)
    worker.wait_ran("late a begins")
    celery(sqs, "late.leaves", "b")
    worker.wait_log("do not end within")
    worker.wait_log("timed-out in")
    worker.touch("go")
    worker.wait_ran("late a ends")
    sqs.wait_counts("jobs")
    assert worker.ran("late a begins") == ["late a begins"]
    assert worker.lines("is killed") == []


def test_the_hard_limit_of_one_that_does_not_end_has_the_others_run_again(sqs: Any, start: Any) -> None:
    celery(sqs, "late.waits", "one", "one")
    celery(sqs, "early.waits", "two", "two")
    celery(sqs, "late.stubborn", "three")
    worker = start(3)
    worker.wait_ran("late one begins", 2)  # again, in another executor
    worker.touch("go")
    worker.wait_ran("late one ends")
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    assert [line for line in worker.ran() if "ends" in line] == ["late one ends"]
    assert worker.ran("stubborn") == ["stubborn begins", "stubborn goes on"], "it has failed for good, as Celery has it"
    assert worker.lines(r"early\.waits\[two\] is lost, it was acked when it started")
    assert worker.lines(r"late\.waits\[one\] was stopped and its message is released")
    assert worker.lines(r"is killed: task late\.stubborn\[three\] passed its time limit of 1 s")


def test_what_ran_in_an_executor_that_died_comes_back(sqs: Any, start: Any) -> None:
    """Every one of them, whatever its settings say of a task that takes its executor down; none is lost."""
    for n in range(5):
        sqs.native("jobs", "waits", n)
    celery(sqs, "late.waits", "late", "late")
    sqs.native("jobs", "dies", "one")
    worker = start(7)
    worker.wait_ran("waits", 5)
    worker.wait_ran("late", 1)
    worker.wait_ran("dies one")
    worker.touch("calm")
    worker.touch("die")
    worker.wait_log("and 6 more; it is run again")
    worker.touch("go")
    sqs.advance_until(lambda: sqs.counts("jobs").total == 0)
    ended = Counter(line for line in worker.ran() if line.endswith("ends"))
    assert ended == Counter([*(f"waits {n} ends" for n in range(5)), "late late ends"])
    assert worker.ran("calm") == ["calm one"]
    worker.terminate(signal.SIGINT)
    assert " 7 lost" in worker.lines("stopped: ")[0]


def test_each_call_has_its_own_request_and_its_own_retry(sqs: Any, start: Any) -> None:
    for n in range(40):
        celery(sqs, "again.async", f"id-{n}", f"id-{n}")
    worker = start(20)
    worker.wait_ran("again 1", 40)
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    wanted = [f"again {retries} id-{n}" for n in range(40) for retries in (0, 1)]
    assert sorted(worker.ran("again")) == sorted(wanted)


def test_rate_limits_are_kept_and_nothing_is_lost(sqs: Any, start: Any) -> None:
    for n in range(30):
        celery(sqs, "limited.async", f"id-{n}", n)
    worker = start(10)
    sqs.advance_until(lambda: len(worker.ran("limited")) == 30, step=1.0)
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    assert sorted(int(line.split()[1]) for line in worker.ran("limited")) == list(range(30))


def test_groups_keep_their_order_and_overlap(sqs: Any, start: Any) -> None:
    sqs.create("jobs.fifo")
    for n in range(8):
        for group in "abcd":
            sqs.native("jobs.fifo", "in_order", group, n, group=group)
    worker = start(8, queues="jobs.fifo")
    sqs.wait_counts("jobs.fifo", timeout=60)
    worker.terminate(signal.SIGINT)
    lines = worker.ran()
    for group in "abcd":
        wanted = [f"{group} {n} {what}" for n in range(8) for what in ("begins", "ends")]
        assert [line for line in lines if line.startswith(group)] == wanted
    assert lines != sorted(lines), "no two groups ran at a time"


def test_all_that_runs_ends_before_a_stop(sqs: Any, start: Any) -> None:
    for n in range(5):
        sqs.native("jobs", "waits", n)
    for n in range(5):
        sqs.native("jobs", "stoppable", n)
    worker = start(10)
    worker.wait_ran("waits", 5)
    worker.wait_ran("stoppable", 5)
    os.kill(worker.pid, signal.SIGINT)
    sqs.wait_counts("jobs", visible=5, hidden=5)
    worker.touch("go")
    assert worker.wait_exit() == 0
    sqs.wait_counts("jobs", visible=5)
    assert not worker.lines("ERROR|Traceback")
    worker.touch("calm")
    second = start(10)
    second.wait_ran("stoppable", 10)
    sqs.wait_counts("jobs")
    second.terminate(signal.SIGINT)


def test_at_the_deadline_all_are_killed_and_released(sqs: Any, start: Any) -> None:
    for n in range(4):
        sqs.native("jobs", "waits", n)
    sqs.native("jobs", "gate", "never", "plain")
    worker = start(5, "--shutdown-timeout", "1")
    worker.wait_ran("waits", 4)
    worker.wait_ran("gate")
    worker.terminate(signal.SIGINT)
    sqs.wait_counts("jobs", visible=5)
    assert " 5 released" in worker.lines("stopped: ")[0]


@pytest.mark.parametrize("whom", ["worker", "executor"])
def test_a_kill_loses_nothing(sqs: Any, start: Any, whom: str) -> None:
    for n in range(10):
        sqs.native("jobs", "waits", n)
    worker = start(10)
    worker.wait_ran("waits", 10)
    (executor,) = worker.executors
    os.kill(worker.pid if whom == "worker" else executor, signal.SIGKILL)
    if whom == "worker":
        worker.wait_exit()
        worker.wait_until(lambda: not worker.alive([executor]))
        worker = start(10)
    worker.touch("go")
    sqs.advance_until(lambda: sqs.counts("jobs").total == 0, step=125.0)
    assert {f"waits {n} ends" for n in range(10)} == {line for line in worker.ran() if line.endswith("ends")}
    worker.terminate(signal.SIGINT)


def test_one_that_has_served_long_enough_ends_what_it_runs(sqs: Any, start: Any) -> None:
    sqs.native("jobs", "waits", "long")
    worker = start(4, "--max-tasks-per-child", "10")
    worker.wait_ran("waits long begins")
    for n in range(40):
        sqs.native("jobs", "counted", n)
    lines = worker.wait_ran("counted", 40)
    assert sorted(int(line.split()[1]) for line in lines) == list(range(40)), "each once"
    pids = Counter(line.split()[2] for line in lines)
    assert len(pids) >= 4
    assert max(pids.values()) <= 10
    worker.touch("go")
    worker.wait_ran("waits long ends")
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    assert not worker.lines("ERROR|CRITICAL")
    assert not re.search("released|lost", worker.lines("stopped: ")[0])


def test_log_lines_are_of_their_own_task(sqs: Any, start: Any, project: Any) -> None:
    with (project.folder / "tasks.py").open("a") as file:
        file.write(
            """
import logging

@task
async def says(n):
    for turn in range(5):
        await asyncio.sleep(0.01)
        logging.getLogger("shop").warning("turn %s", n)
"""
        )
    ids = {str(n): sqs.native("jobs", "says", n) for n in range(10)}
    worker = start(10, "--log-format", "json")
    worker.wait_log('"turn ')
    sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    said = [json.loads(line) for line in worker.log().splitlines() if '"turn ' in line]
    assert len(said) == 50
    assert {one["message"].split()[1]: one["message_id"] for one in said} == ids
    assert len({(one["message"], one["message_id"], one["task"]) for one in said}) == 10


@pytest.mark.parametrize(("value", "code"), [("0", 2), ("1001", 2), ("many", 2)])
def test_a_number_that_is_none(project: Any, value: str, code: int) -> None:
    worker = project.start("-Q", "jobs", "--async-slots", value, ready=None)
    assert worker.wait_exit() == code
    assert "--async-slots" in worker.log()
