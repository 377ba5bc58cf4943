"""Tasks that are killed, in a worker of Celery's and in one of ours: who hears of it, in which process, and who runs again."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

OURS = [sys.executable, "-m", "pyqs", "worker", "-A", "interop_killed", "-c", "3", "-l", "WARNING"]
#: Calls of ``interop_killed.main`` and how many of them run twice: reject_on_worker_lost, or no ack on a timeout.
CALLS = 27
AGAIN = {"again-exit", "again-kill", "again_neither-exit", "again_neither-kill", "again_neither-timeout", "neither-timeout",
         "no_timeout-timeout"}  # fmt: skip
WORKER_SIGNALS = [
    "celeryd_init",
    "worker_init",
    "celeryd_after_setup",
    "worker_ready",
    "worker_shutting_down",
    "worker_shutdown",
]


def theirs(python: str) -> list[str]:
    return [
        python, "-m", "celery", "-A", "interop_killed", "worker", "-c", "3", "-l", "WARNING", "--without-gossip",
        "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip


def story(interop: Any, python: str, command: list[str], *, foreign: bool) -> dict[str, list[dict[str, Any]]]:
    """What each call's listeners have heard, in order, when all is over."""
    interop.write(python, "interop_killed.py", CALLS, foreign=foreign)
    worker = interop.start("worker", command, foreign=foreign)

    def over() -> bool:
        events = [json.loads(line) for line in interop.ran()]
        ran_twice = {one["id"] for one in events if one["what"] == "task_postrun" and one["second"]}
        return ran_twice == AGAIN and interop.left("interop-queue") == 0

    interop.wait_for(over, worker, 150)
    worker.terminate()
    worker.wait(60)
    heard: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in map(json.loads, interop.ran()):
        heard[event["id"]].append(event)
    return heard


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who heard of which failure in the process that holds the app, each listener once: Celery tells some of them twice."""
    names = ("called", "task_failure", "on_failure", "after_return")
    lines = [(one["what"], one["exc"]) for one in events if one["what"] in names and one["exc"] != "NoneType"]
    return sorted(set(lines))


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_killed_tasks_are_told_of_as_by_celery_57(interop: Any, find_peer: Callable[[str], str], tmp_path: Any) -> None:
    python = find_peer("PYQS_INTEROP_CELERY57")
    celery = story(interop, python, theirs(python), foreign=True)
    interop.out.write_text("")
    ours = story(interop, sys.executable, OURS, foreign=False)
    assert set(ours) == set(celery)
    for call in sorted(set(celery) - {""}):
        assert told(ours[call]) == told(celery[call]), call
        runs = [sum(one["what"] == "run" for one in story[call]) for story in (ours, celery)]
        assert runs == [2 if call in AGAIN else 1] * 2, call
        errbacks = [any(one["what"] == "errback" for one in story[call]) for story in (ours, celery)]
        assert errbacks[0] == errbacks[1], call
        for one in ours[call]:
            if one["what"] in ("called", "task_failure", "on_failure"):
                assert not one["child"], "it is heard in the process that runs no task"
    for heard in (ours[""], celery[""]):
        assert [one["what"] for one in heard] == WORKER_SIGNALS
    for mine, their in zip(ours[""], celery[""], strict=True):
        assert set(mine["named"]) == set(their["named"]), mine["what"]
        if mine["what"] == "worker_shutting_down":
            assert mine["named"] == their["named"]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_killed_tasks_are_told_of_once(interop: Any) -> None:
    ours = story(interop, sys.executable, OURS, foreign=False)
    for call, events in ours.items():
        for listener in ("called", "task_failure", "on_failure", "errback"):
            assert sum(one["what"] == listener for one in events) <= 1, (call, listener)
