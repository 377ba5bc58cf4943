"""django-structlog 11.0.0, whose release has no tests: what its documentation shows, in a worker and in what calls it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import wait_until

Events = Callable[[str, int], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def worker_log(folder: Path) -> Path:
    return folder / "structured.json"


@pytest.fixture
def project(redis_url: str, sqs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("EXAMPLE_REDIS", redis_url)
    module = importlib.import_module("structured")
    import structlog

    with structlog.contextvars.bound_contextvars(request_id="of-a-request", user_id=7):
        yield module


@pytest.fixture
def told(project: Any, work: Any, redis_url: str, worker_log: Path) -> Events:
    """``told(task_id, n)``: what the worker has logged of this task when it has logged this much."""
    work("structured", EXAMPLE_REDIS=redis_url, EXAMPLE_LOG=str(worker_log))

    def found(task_id: str, count: int) -> list[dict[str, Any]]:
        lines = worker_log.read_text().splitlines() if worker_log.exists() else []
        events = [one for line in lines if (one := json.loads(line)).get("task_id") == task_id]
        return events if len(events) >= count else []

    return lambda task_id, count: wait_until(lambda: found(task_id, count))


def test_a_task_is_logged_with_what_its_caller_had_bound(project: Any, told: Events) -> None:
    events = told(project.works.delay(3).id, 3)
    assert [one["event"] for one in events] == ["task_started", "from_the_task", "task_succeeded"]
    assert all((one["request_id"], one["user_id"]) == ("of-a-request", 7) for one in events)
    assert events[0]["task"] == "structured.works"
    assert events[2]["duration_ms"] >= 0


def test_a_task_that_is_called_by_another_knows_both(project: Any, told: Events) -> None:
    outer = project.calls.delay(4)
    enqueued = next(one for one in told(outer.id, 3) if one["event"] == "task_enqueued")
    assert enqueued["child_task_id"] == outer.get(timeout=30)
    inner = told(enqueued["child_task_id"], 3)
    assert all((one["request_id"], one["parent_task_id"]) == ("of-a-request", outer.id) for one in inner)


def test_a_failure_is_logged_with_its_traceback(project: Any, told: Events) -> None:
    started, failed = told(project.fails.delay("on purpose").id, 2)
    assert (started["event"], failed["event"], failed["level"]) == ("task_started", "task_failed", "error")
    assert failed["error"] == "on purpose"
    assert "ValueError: on purpose" in str(failed["exception"])


def test_a_retry_is_logged_and_carries_what_was_bound(project: Any, told: Events) -> None:
    events = told(project.tries.delay().id, 5)
    names = [one["event"] for one in events]
    assert names.count("task_started") == 2
    assert "task_retrying" in names
    assert names[-1] == "task_succeeded"
    assert {one["request_id"] for one in events} == {"of-a-request"}


def test_who_calls_logs_it_too(project: Any, tmp_path: Path) -> None:
    project.to_file(str(tmp_path / "caller.json"))
    sent = project.works.delay(5)
    (enqueued,) = map(json.loads, (tmp_path / "caller.json").read_text().splitlines())
    assert (enqueued["event"], enqueued["child_task_id"]) == ("task_enqueued", sent.id)
    assert (enqueued["child_task_name"], enqueued["routing_key"]) == ("structured.works", "structured")
    assert enqueued["request_id"] == "of-a-request"
