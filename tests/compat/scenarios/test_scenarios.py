"""The same scripts under genuine prefork Celery and under us: what tasks see, who is told, how often they run, what wins.

Celery's side is in ``recorded/``; ours must be the same but for what ``_differs`` has from
docs/differences.md. Where ``PYQS_INTEROP_CELERY57`` names a Python with Celery and Redis, and redis-server is installed
(``nox -s interop``), the records are held against Celery itself; ``RECORD_SCENARIOS=1`` writes them anew.
"""

from __future__ import annotations

import difflib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import real_redis
import scenarios
from pyqs.local.server import LocalServer
from pyqs.local.store import Store

RECORDED = Path(__file__).parent / "recorded"
#: Whether a worker takes part.
SCRIPTS = {
    "acknowledgement": True, "canvases": True, "configuration": False, "eager": False, "request_attributes": True,
    "results": True, "retries": True, "signals": True,
}  # fmt: skip
Story = dict[str, list[dict[str, Any]]]


def _differs(one: dict[str, Any]) -> list[dict[str, Any]]:
    """What happens here where Celery does this: the same, or what docs/differences.md has ("Apps"), or nothing."""
    signal = one.get("signal", "")
    if signal == "worker_before_create_process":
        return []
    if one.get("step") == "made":  # in the executor, too, which does not inherit what that has done
        return [one, one | {"process": "child"}]
    if signal.startswith("after_setup_"):  # sent in the executor, too: it does not inherit it
        return [one, one | {"process": "child"}]
    if signal in ("worker_init", "worker_ready", "worker_shutdown"):
        return [one | {"sender": "HostedWorker"}]
    if signal == "task_received":
        return [one | {"process": "child", "sender": "NoneType"}]
    if signal == "task_revoked" or (signal == "task_failure" and one["process"] == "app"):
        return [one | {"process": "child"}]
    return [one]


def told(happened: list[dict[str, Any]]) -> Story:
    """What is known of each call, in order, process by process: calls come in any order, and so do processes."""
    story: Story = defaultdict(list)
    for one in _in_order(happened):
        story[str(one.pop("call", one.get("about") or one.get("label") or ""))].append(one)
    return dict(sorted(story.items()))


def _in_order(happened: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Process by process. What comes from another process or thread than its neighbours has no place among them, nor have
    steps, which Celery starts in any order that their needs leave."""

    def place(one: dict[str, Any]) -> tuple[str, str]:
        loose = one.get("signal", "").startswith(("task_received", "task_revoked", "after_setup")) or one["what"] == "step"
        loose = loose or (one.get("signal") == "task_failure" and "reject" in str(one["said"]))
        return str(one["process"]), json.dumps(one, sort_keys=True) if loose else ""

    return sorted(happened, key=place)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    store = Store()
    store.create_queue("scenario", {})
    with LocalServer(store) as running:
        yield running
    store.close()


@pytest.fixture
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this test, so that what one leaves is no other's."""
    with real_redis.running(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


def _written(story: Story) -> str:
    """Short enough to be read in a review: a line for each thing that happened."""
    return json.dumps(story, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _recorded(script: str) -> Story:
    story: Story = json.loads((RECORDED / f"{script}.json").read_text())
    return {call: _in_order(happened) for call, happened in story.items()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_is_as_under_celery_57(script: str, server: LocalServer, redis_url: str, tmp_path: Path) -> None:
    story = told(scenarios.ours(tmp_path, server.endpoint_url, redis_url).run(script, worker=SCRIPTS[script]))
    celerys = {call: _in_order(chain.from_iterable(map(_differs, happened))) for call, happened in _recorded(script).items()}
    assert not (apart := _apart(celerys, story)), apart


def _apart(expected: Story, found: Story) -> str:
    return "\n".join(difflib.unified_diff(_lines(expected), _lines(found), "celery", "here", n=1, lineterm=""))


def _lines(story: Story) -> list[str]:
    return [f"{call}: {json.dumps(one, sort_keys=True)}" for call, happened in sorted(story.items()) for one in happened]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_record_is_what_celery_does(script: str, redis_url: str, tmp_path: Path) -> None:
    python = os.environ.get("PYQS_INTEROP_CELERY57")
    if not python:
        pytest.skip("PYQS_INTEROP_CELERY57 names no Python with Celery 5.7")
    story = told(scenarios.genuine(tmp_path, python, redis_url).run(script, worker=SCRIPTS[script]))
    if os.environ.get("RECORD_SCENARIOS"):
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{script}.json").write_text(_written(story))
    assert not (apart := _apart(_recorded(script), story)), apart
