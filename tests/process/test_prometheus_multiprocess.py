"""prometheus_client's multiprocess mode in tasks, by Celery's signals: figures of executors are seen in a scrape of the host.

The project is the one that docs/observability.md shows; what is added here tells the test where it listens.
"""

from __future__ import annotations

import os
import re
import signal
import textwrap
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

DOCS = Path(__file__).parents[2] / "docs" / "observability.md"
TASKS = """

import os
from pyqs_celery_compat import Celery

app = Celery("metered", broker="sqs://", task_default_queue="jobs", task_acks_late=True, task_reject_on_worker_lost=True)

@app.task(name="count")
def count(tag):
    RUNS.labels("count").inc()
    BUSY.set(1)
    with open("ran.txt", "a") as ledger:
        ledger.write(f"count {tag} {os.getpid()}\\n")

@app.task(name="die")
def die(tag):
    RUNS.labels("die").inc()
    BUSY.set(1)
    with open("ran.txt", "a") as ledger:
        ledger.write(f"die {tag} {os.getpid()}\\n")
    if not os.path.exists("calm"):
        os.kill(os.getpid(), 9)
"""


def documented() -> str:
    """The example of the documentation."""
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "MultiProcess" in code]
    assert "9100" in code
    return textwrap.dedent(code).replace("9100", 'int(open("port").read())')


@pytest.fixture
def worker(project: Any, sqs: Any) -> Any:
    from processes import free_port

    sqs.create("jobs")
    (project.folder / "metered.py").write_text(documented() + TASKS)
    (project.folder / "port").write_text(str(free_port()))
    (project.folder / "figures").mkdir()
    env = {
        "PROMETHEUS_MULTIPROC_DIR": str(project.folder / "figures"),
        "AWS_ENDPOINT_URL_SQS": sqs.server.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    return project.start("-A", "metered", "-Q", "jobs", "-c", "2", "--max-tasks-per-child", "3", ready="ready:", env=env)


def scrape(worker: Any) -> dict[tuple[str, ...], float]:
    port = (worker.ledger.parent / "port").read_text()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def counted(worker: Any, kind: str) -> float:
    return scrape(worker).get(("shop_runs_total", kind), 0.0)


def test_counters_outlive_their_executors(worker: Any, sqs: Any, project: Any) -> None:
    for n in range(2):
        sqs.celery("jobs", "count", n)
    worker.wait_ran("count", 2)
    worker.wait_until(lambda: counted(worker, "count") == 2)
    first = set(worker.executors)
    for n in range(8):
        sqs.celery("jobs", "count", n + 2)
    worker.wait_ran("count", 10)
    worker.wait_until(lambda: not first & set(worker.executors))
    assert counted(worker, "count") == 10, "the executors that counted have been replaced"
    sqs.celery("jobs", "die", "x")
    worker.wait_ran("die x")
    worker.touch("calm")
    sqs.advance_until(lambda: len(worker.ran("die x")) >= 2)
    pids = {int(line.split()[2]) for line in worker.ran()}
    worker.wait_until(lambda: counted(worker, "die") == len(worker.ran("die")))
    assert counted(worker, "count") == 10
    assert len(pids) > 2
    worker.wait_until(lambda: len(worker.executors) == 2)
    assert scrape(worker)["shop_busy",] <= 2, "of executors that live, be the dead ones recycled or killed"
    left = {int(path.stem.rpartition("_")[2]) for path in (project.folder / "figures").glob("gauge_live*.db")}
    assert left <= {*worker.executors, *worker.hosts, worker.forkserver}
    worker.terminate(signal.SIGINT)


def test_an_executor_that_is_killed_between_tasks(worker: Any, sqs: Any) -> None:
    sqs.celery("jobs", "count", 1)
    (line,) = worker.wait_ran("count 1")
    pid = int(line.split()[2])
    worker.wait_until(lambda: counted(worker, "count") == 1)
    os.kill(pid, signal.SIGKILL)
    worker.wait_until(lambda: len(worker.executors) == 2 and pid not in worker.executors)
    assert counted(worker, "count") == 1
    worker.wait_until(lambda: scrape(worker).get(("shop_busy",), 0.0) == 0)
    worker.terminate(signal.SIGINT)
