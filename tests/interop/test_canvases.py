"""One Celery worker and one of ours on the same queue and the same Redis: canvases whose parts run on either side."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import real_redis

SCRIPT = Path(__file__).with_name("interop_canvases.py")
#: Of each kind.
ROUNDS = 4


@pytest.fixture
def fleet(find_peer: Any, interop: Any, tmp_path: Path) -> Iterator[Callable[[str, Any], Any]]:
    """Calls the script, by one side, while a worker of each runs; both must have run something."""
    celery = find_peer("PYQS_INTEROP_CELERY57")
    with real_redis.running(tmp_path) as server:
        interop.env["INTEROP_BACKEND"] = server.url
        theirs = [celery, "-m", "celery", "-A", "interop_canvases", "worker", "-c", "2", "-l", "WARNING", "--without-gossip",
                  "--without-mingle", "--without-heartbeat"]  # fmt: skip
        interop.start("celery", theirs, foreign=True)
        interop.start("ours", [sys.executable, "-m", "pyqs", "worker", "-A", "interop_canvases", "-c", "2", "-l", "WARNING"])

        def call(caller: str, what: Any, timeout: float = 100) -> Any:
            python, foreign = (celery, True) if caller == "celery" else (sys.executable, False)
            (line,) = interop.write(python, SCRIPT.name, what, foreign=foreign, timeout=timeout)
            assert set(Counter(interop.ran())) == {"celery", "ours"}, "one side ran everything: this shows nothing"
            return json.loads(line)

        yield call


@pytest.mark.parametrize("caller", ["ours", "celery"])
def test_canvases_end_as_they_would_under_one_of_them(fleet: Callable[..., Any], caller: str) -> None:
    assert fleet(caller, ROUNDS) == {name: [expected] * ROUNDS for name, expected in EXPECTED.items()}


@pytest.mark.parametrize("caller", ["ours", "celery"])
@pytest.mark.parametrize("count", [40, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_canvases_by_chance_give_what_they_must(fleet: Callable[..., Any], caller: str, count: int) -> None:
    assert fleet(caller, f"random-{count}", timeout=800) == []


#: What each canvas of the script gives; a failure by its kind.
EXPECTED = {
    "chain": 10,
    "chord": 6,
    "chain with a group at its end, as a group": [4, 5],
    "chain with a group at its end, in a header": 11,
    "chain with a group in its middle, in a header": 11,
    "chord in a chain": 12,
    "chord in a chord": 12,
    "chords in a row": 9,
    "failing body": "ValueError",
    "failing chain": "ValueError",
    "empty header": 0,
    "failing chain with a group in its middle, in a header": "ChordError",
    "failing header": "ChordError",
    "group": [2, 4],
    "group as a body": [6, 6],
    "many": 380,
    "retries in a chord": 3,
    "task, group, task": 7,
}
