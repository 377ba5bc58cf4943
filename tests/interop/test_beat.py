"""One schedule file for both beats, ours and genuine Celery's: read and written in turn, by entries and by running beats."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def celery57(find_peer: Callable[[str], str]) -> str:
    return find_peer("PYQS_INTEROP_CELERY57")


def remembered(interop: Any, python: str, path: Path) -> dict[str, Any]:
    """What a side's beat finds in the file, which it then changes."""
    done = subprocess.run(
        [python, str(HERE / "interop_beat.py"), str(path)], capture_output=True, text=True, check=False, timeout=60,
        env=interop.environment(python != sys.executable), cwd=interop.directory,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Reset" not in done.stderr
    assert "orrupt" not in done.stderr
    assert "cannot be read" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found.pop("celery.backend_cleanup", None)  # which Celery has without a result backend, too
    return found


@pytest.mark.parametrize("ours_first", [True, False])
def test_each_side_reads_what_the_other_has_written(interop: Any, celery57: str, tmp_path: Path, ours_first: bool) -> None:
    path = tmp_path / "celerybeat-schedule"
    sides = [sys.executable, celery57] if ours_first else [celery57, sys.executable]
    found = [remembered(interop, sides[turn % 2], path) for turn in range(5)]
    assert sorted(found[0]) == ["crontab", "often", "relative"]
    for before, after in pairwise(found[1:]):
        for name, entry in after.items():
            assert entry[:5] == before[name][:5]
            assert entry[5] == before[name][5] + 1
            assert entry[6] == f"2026-01-02T02:04:05{f'.{before[name][5]:06}' if before[name][5] else ''}+00:00"
    assert not list(tmp_path.glob("*unreadable*"))


def beat(interop: Any, name: str, python: str) -> subprocess.Popen[bytes]:
    foreign = python != sys.executable
    command = [python, "-m", "celery"] if foreign else [python, "-m", "pyqs"]
    return interop.start(name, [*command, "-A", "interop_beat", "beat", "-l", "info"], foreign=foreign)  # type: ignore[no-any-return]


def test_beats_take_turns_on_one_file_and_either_worker_runs_what_they_send(interop: Any, celery57: str) -> None:
    workers = {
        "ours": [sys.executable, "-m", "pyqs", "worker", "-A", "interop_beat", "-c", "1"],
        "theirs": [celery57, "-m", "celery", "-A", "interop_beat", "worker", "-P", "solo", "--without-mingle"],
    }
    sent = 0
    for turn, python in enumerate([celery57, sys.executable, celery57, sys.executable]):
        name = "ours" if turn < 2 else "theirs"
        worker = interop.start(f"worker{turn}", workers[name], foreign=name == "theirs")
        beating = beat(interop, f"beat{turn}", python)
        interop.wait_for(lambda sent=sent: len(interop.ran()) >= sent + 3, beating)
        beating.send_signal(signal.SIGTERM)
        assert beating.wait(30) == 0, interop.logs()
        sent += interop.log(f"beat{turn}").count("Sending due task often")
        interop.wait_for(lambda sent=sent: len(interop.ran()) >= sent, worker)
        worker.send_signal(signal.SIGINT)
        worker.wait(60)
        assert "eset" not in interop.log(f"beat{turn}")
    lines = [line.split() for line in interop.ran()]
    assert {(what, by_beat) for what, _, by_beat in lines} == {("often", "True")}
    assert len({task_id for _, task_id, _ in lines}) == len(lines) == sent
    found = remembered(interop, sys.executable, interop.directory / "celerybeat-schedule")
    assert found["often"][5] == sent
