"""The worker as process 1 of a PID namespace, as in a container: it stops on a signal and leaves no zombies of others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]

ORPHANS = """
import os, time
from pyqs import task

@task
def leave_an_orphan():
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()  # out of the executor's process group: nobody kills it, and nobody but process 1 waits for it
            os._exit(0)
        os._exit(0)
    os.wait()
    open("ran.txt", "a").write("orphan\\n")
"""


def _may_unshare() -> bool:
    return shutil.which("unshare") is not None and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


def _children(pid: int) -> list[tuple[int, str]]:
    """(pid, state) of each child."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid:
            found.append((int(entry), state))
    return found


@pytest.mark.skipif(not _may_unshare(), reason="needs the right to make a PID namespace")
@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, 8.0), (signal.SIGQUIT, 8.0), (signal.SIGTERM, 22.0)])
def test_process_1(project: Any, sqs: Any, number: int, seconds: float) -> None:
    sqs.create("jobs")
    (project.folder / "orphans.py").write_text(ORPHANS)
    command = [sys.executable, "-m", "pyqs", "worker", "--include", "orphans", "-Q", "jobs", "-c", "1"]
    running = project._launch([*UNSHARE, *command], "ready", {})
    for _ in range(3):
        sqs.send("jobs", '{"task": "orphans.leave_an_orphan", "args": [], "kwargs": {}}')
    running.wait_ran("orphan", 3)
    ((worker, _),) = _children(running.pid)
    running.wait_until(lambda: all(state != "Z" for _, state in _children(worker)))
    assert len(_children(worker)) == 2, "the forkserver and multiprocessing's resource tracker"
    sqs.wait_counts("jobs")
    began = time.monotonic()
    os.kill(worker, number)
    if number == signal.SIGTERM:
        running.wait_log("stopping")
        sqs.send("jobs", "ends the open poll")
    assert running.wait_exit() == (1 if number == signal.SIGQUIT else 0)
    assert time.monotonic() - began < seconds


@pytest.mark.skipif(not _may_unshare(), reason="needs the right to make a PID namespace")
def test_process_1_hears_a_signal_while_an_apps_settings_are_read(project: Any, sqs: Any) -> None:
    (project.folder / "slowapp.py").write_text("import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(600)\n")
    command = [sys.executable, "-m", "pyqs", "worker", "-A", "slowapp", "-Q", "jobs", "-c", "1"]
    running = project._launch([*UNSHARE, *command], None, {})
    running.wait_until((project.folder / "loading").exists)
    ((worker, _),) = _children(running.pid)
    os.kill(worker, signal.SIGTERM)
    assert running.wait_exit() == 0, running.log()
    assert running.lines("told to stop")
