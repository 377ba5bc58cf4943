"""Executors that have served long enough: replaced quietly, nothing lost, nothing run twice, no life spent."""

from __future__ import annotations

import re
from typing import Any

from pyqs_celery_compat.outgoing import as_task_v2, seal_task

RECYCLED = """
from tasks import *
from pyqs_celery_compat.signals import worker_process_shutdown

@worker_process_shutdown.connect
def said(**_):
    ran(f"goodbye {os.getpid()}")

KEPT = []

@task
def who(n):
    ran(f"who {n} {os.getpid()}")

@task
def keep(n):
    KEPT.append(bytearray(b"x" * 30_000_000))
    ran(f"keep {n} {os.getpid()}")
"""


def test_each_executor_runs_so_many_tasks_and_no_more(project: Any, sqs: Any) -> None:
    (project.folder / "recycled.py").write_text(RECYCLED)
    sqs.create("jobs")
    worker = project.start("--include", "recycled", "-Q", "jobs", "-c", "2", "--max-tasks-per-child", "5")
    for n in range(100):
        sqs.send("jobs", f'{{"task": "recycled.who", "args": [{n}], "kwargs": {{}}}}')
    ran = [line.split() for line in worker.wait_ran("who", 100)]
    sqs.wait_counts("jobs")
    assert sorted(int(n) for _, n, _ in ran) == list(range(100)), "each once"
    pids = [pid for _, _, pid in ran]
    full = [pid for pid in set(pids) if pids.count(pid) == 5]
    assert max(pids.count(pid) for pid in pids) == 5
    assert len(set(pids)) - len(full) <= 2, "only the last two may have had less to do"
    worker.wait_ran("goodbye", len(full))
    worker.wait_until(lambda: len(worker.executors) == 2)
    worker.terminate(2)
    log = worker.log()
    assert len(worker.lines(r"INFO.* is replaced: it has run 5 tasks")) == len(full), log
    assert not worker.lines("ERROR|CRITICAL"), log
    stopped = worker.lines("stopped: ")[0]
    assert "100 received" in stopped, "none was received twice"
    assert not re.search("released|lost", stopped), stopped


def test_an_executor_that_keeps_memory_is_replaced(project: Any, sqs: Any) -> None:
    (project.folder / "recycled.py").write_text(RECYCLED)
    sqs.create("jobs")
    worker = project.start("--include", "recycled", "-Q", "jobs", "-c", "1", "--max-memory-per-child", "150000")
    for n in range(12):
        sqs.send("jobs", f'{{"task": "recycled.keep", "args": [{n}], "kwargs": {{}}}}')
    ran = [line.split() for line in worker.wait_ran("keep", 12)]
    assert sorted(int(n) for _, n, _ in ran) == list(range(12))
    pids = [pid for _, _, pid in ran]
    assert 2 <= max(pids.count(pid) for pid in pids) <= 6
    assert worker.lines(r"is replaced: it uses \d{6} KiB \(--max-memory-per-child 150000; \d+ KiB before its first task")
    sqs.wait_counts("jobs")
    worker.terminate(2)
    assert not worker.lines("ERROR|CRITICAL"), worker.log()


def test_a_limit_that_no_executor_can_keep_ends_the_worker_at_its_start(project: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = project.start("-Q", "jobs", "-c", "2", env={"PYQS_MAX_MEMORY_PER_CHILD": "5000"}, ready=None)
    assert worker.wait_exit() == 2
    said = worker.lines("CRITICAL")
    assert len(said) == 1, worker.log()
    assert re.search(r"--max-memory-per-child is 5000 KiB, but an executor uses \d{5} KiB before its first task", said[0])
    assert "Traceback" not in worker.log()


def test_an_apps_own_limit_is_kept(project: Any, sqs: Any) -> None:
    (project.folder / "proj.py").write_text(
        "import os\nfrom pyqs_celery_compat import Celery\n"
        "app = Celery('proj', broker='sqs://', task_ignore_result=True, worker_max_tasks_per_child=1)\n"
        "@app.task(name='one')\ndef one(n):\n    open('ran.txt', 'a').write(f'one {n} {os.getpid()}\\n')\n"
    )
    sqs.create("jobs")
    worker = project.start("-A", "proj", "-Q", "jobs", "-c", "2")
    for n in range(6):
        sqs.send("jobs", seal_task(as_task_v2(f"id-{n}", "one", (n,), {}), routing_key="jobs"))
    pids = {line.split()[2] for line in worker.wait_ran("one", 6)}
    assert len(pids) == 6
    worker.terminate(2)
    assert not worker.lines("WARNING.*worker_max_tasks_per_child"), worker.log()
