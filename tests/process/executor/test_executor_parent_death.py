"""The worker is killed without a chance to say so: executors, busy ones too, and the forkserver are gone within two seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyqs

ROOT = str(Path(pyqs.__file__).resolve().parents[1])
CONFTEST = Path(__file__).with_name("conftest.py")

#: A worker of two executors and one task each; it prints what it has started and waits.
PROGRAM = """
import importlib.util, json, sys, time
from pathlib import Path

if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("parent_for_executors", sys.argv[1])
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from pyqs.wire import Started
    task, preloading = sys.argv[2], sys.argv[3] == "preload"
    parent = module.Parent(Path.cwd())
    children = [parent.start(preloading=preloading) for _ in range(2)]
    if task:
        for child in children:
            child.run("tasks." + task)
            child.expect(Started)
    print(json.dumps([parent.server_pid, *(child.pid for child in children)]), flush=True)
    time.sleep(60)
"""

TASKS = """
import ctypes, os, signal, subprocess, sys, threading, time
from pathlib import Path
from pyqs import task

@task
def sleep(): time.sleep(60)

@task
def compute():
    while True: sum(range(1000))

@task
def hold_the_gil():
    ctypes.PyDLL(None).sleep(60)

@task
def handle_everything():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    while True: sum(range(1000))

@task
def fork():
    if os.fork() == 0:
        while True: time.sleep(1)
    time.sleep(60)

@task
def start():
    process = subprocess.Popen(["sleep", "60"], close_fds=False)
    Path("started").write_text(str(process.pid))
    process.wait()
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., tuple[int, list[int]]]]:
    """Start the program with a task; answers its pid, and those of the forkserver and the executors."""
    running: list[subprocess.Popen[str]] = []
    pids: list[int] = []

    def start(task: str, mode: str, tasks: str = TASKS) -> tuple[int, list[int]]:
        (tmp_path / "tasks.py").write_text(tasks)
        (tmp_path / "program.py").write_text(PROGRAM)
        process = subprocess.Popen(
            [sys.executable, "program.py", str(CONFTEST), task, mode],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        pids.extend(json.loads(process.stdout.readline()))
        return process.pid, pids

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.mark.parametrize("mode", ["preload", "own"])
@pytest.mark.parametrize("task", ["", "sleep", "compute", "hold_the_gil", "handle_everything"])
def test_all_are_gone(worker: Any, until: Any, is_gone: Any, task: str, mode: str) -> None:
    parent, pids = worker(task, mode)
    assert not any(map(is_gone, pids))
    os.kill(parent, signal.SIGKILL)
    assert until(lambda: all(map(is_gone, pids))) < 2.0


def test_a_process_that_a_task_forked_keeps_nobody(worker: Any, until: Any, is_gone: Any) -> None:
    parent, pids = worker("fork", "preload")
    os.kill(parent, signal.SIGKILL)
    assert until(lambda: all(map(is_gone, pids))) < 2.0


def test_what_a_task_started_goes_with_it(worker: Any, until: Any, is_gone: Any, tmp_path: Path) -> None:
    parent, pids = worker("start", "preload")
    until(lambda: (tmp_path / "started").exists() and (tmp_path / "started").read_text())
    started = int((tmp_path / "started").read_text())
    os.kill(parent, signal.SIGKILL)
    assert until(lambda: all(map(is_gone, [*pids, started]))) < 2.0


def test_a_forkserver_whose_import_hangs_goes_as_well(tmp_path: Path, until: Any, is_gone: Any) -> None:
    (tmp_path / "tasks.py").write_text(
        "import os, time, pathlib\npathlib.Path('pid.part').write_text(str(os.getpid()))\n"
        "os.rename('pid.part', 'pid')\ntime.sleep(60)\n"
    )
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, "program.py", str(CONFTEST), "", "preload"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT}
    )
    until((tmp_path / "pid").exists)
    server = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    assert until(lambda: is_gone(server)) < 2.0
