"""One environment with Celery and this package, one app that imports ``celery``: either worker runs it, by one variable."""

from __future__ import annotations

from typing import Any

import pytest

CELERY = [
    "-m",
    "celery",
    "-A",
    "interop_both",
    "worker",
    "-c",
    "1",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
]
PYQS = ["-m", "pyqs", "worker", "-A", "interop_both", "-c", "1"]


@pytest.mark.parametrize("written_by", ["celery", "pyqs"])
@pytest.mark.parametrize("worker", ["celery", "pyqs"])
def test_one_app_runs_under_both_workers(
    interop: Any, find_peer: Any, monkeypatch: pytest.MonkeyPatch, worker: str, written_by: str
) -> None:
    python = find_peer("PYQS_INTEROP_BESIDE")
    switch = {"celery": {"PYQS_AS_CELERY": "0"}, "pyqs": {}}
    writer = {**switch[written_by], "INTEROP_ALIAS": "1" if written_by == "pyqs" else ""}
    base = dict(interop.env)
    interop.env = {**base, **writer}
    lines = interop.write(python, "interop_both_writer.py", 0, foreign=False)
    interop.env = {**base, **switch[worker]}
    process = interop.start("worker", [python, *(CELERY if worker == "celery" else PYQS)])
    name = {"celery": "celery", "pyqs": "pyqs_celery_compat"}[worker]
    wanted = sorted(f"{name} {line}" for line in lines)
    interop.wait_for(lambda: len(interop.ran()) >= len(wanted), process)
    process.terminate()
    process.wait(60)
    assert sorted(interop.ran()) == wanted, interop.logs()
    assert interop.left("both") == 0
