"""``newrelic-admin run-program`` around a worker, in developer mode: what the agent would send is in its audit log."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from processes import wait_until

LAUNCHER = (str(Path(sys.executable).parent / "newrelic-admin"), "run-program")
INI = """
[newrelic]
app_name = example
developer_mode = true
audit_log_file = {audit}
log_file = stderr
log_level = warning
startup_timeout = 10
"""


@dataclass(frozen=True)
class Transaction:
    """One that a process has sent."""

    pid: int
    name: str
    error: bool
    trace: str
    parent: str | None


def transactions(audit: Path) -> list[Transaction]:
    """Those of every process that have been sent, which is when a process ends, or once a minute."""
    found = []
    for entry in audit.read_text().split("=" * 78) if audit.exists() else []:
        method = re.search(r"^PARAMS: .*'method': 'analytic_event_data'", entry, re.MULTILINE)
        pid, _, data = re.search(r"^PID: (\d+)", entry, re.MULTILINE), *entry.partition("\nDATA: ")[1:]
        if method and pid and data:
            for event, _, _ in ast.literal_eval(data.strip())[2]:
                if event["type"] == "Transaction":
                    found.append(
                        Transaction(
                            int(pid[1]), event["name"], bool(event.get("error", False)), event["traceId"], event.get("parentId")
                        )
                    )
    return found


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def worker(audit: Path, tmp_path: Path, redis_url: str, work: Any) -> Any:
    ini = tmp_path / "newrelic.ini"
    ini.write_text(INI.format(audit=audit))
    return work("launched", *LAUNCHER, EXAMPLE_REDIS=redis_url, NEW_RELIC_CONFIG_FILE=str(ini), NEW_RELIC_DEVELOPER_MODE="true")


@pytest.fixture
def tasks(worker: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EXAMPLE_REDIS", redis_url)
    return importlib.import_module("launched")


def test_transactions_come_from_the_processes_that_run_tasks(tasks: Any, worker: Any, audit: Path) -> None:
    _, pid = tasks.works.delay(1).get(timeout=40)
    inner, _ = tasks.calls.delay(2).get(timeout=40)
    tasks.app.AsyncResult(inner).get(timeout=40)
    tasks.fails.delay("on purpose").get(timeout=40, propagate=False)
    worker.end()
    wait_until(lambda: len(transactions(audit)) >= 4)
    found = transactions(audit)
    named = {one.name: one for one in found}
    assert sorted(one.name.rpartition("/")[2] for one in found) == [
        "launched.calls", "launched.fails", "launched.works", "launched.works",
    ]  # fmt: skip
    assert {one.name.rpartition("/")[0] for one in found} == {"OtherTransaction/Celery"}
    assert {one.pid for one in found} == {pid}, worker.log.read_text()
    assert [named[f"OtherTransaction/Celery/launched.{name}"].error for name in ("calls", "fails")] == [False, True]
    (calls,) = [one for one in found if one.name.endswith("calls")]
    assert [one.trace for one in found if one.name.endswith("works")].count(calls.trace) == 1, "of the trace of its caller"
