"""Signals that are meant for the worker pass an executor by, and its task's own processes stay killable."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from pyqs.wire import Done, Started

TASKS = """
    import os, signal, subprocess, time
    from pathlib import Path
    from pyqs import task

    HERE = Path(__file__).parent

    @task
    def good(): ...

    @task
    def wait():
        while not (HERE / "go").exists(): time.sleep(0.01)

    @task
    def end_a_process(number):
        process = subprocess.Popen(["sleep", "60"])
        process.send_signal(number)
        (HERE / "code").write_text(str(process.wait(10)))

    @task
    def start_a_process():
        process = subprocess.Popen(["sleep", "60"])
        (HERE / "pid.part").write_text(str(process.pid))
        (HERE / "pid.part").rename(HERE / "pid")
        process.wait()
"""


@pytest.fixture
def child(parent: Any, preloading: bool) -> Any:
    parent.write("tasks.py", TASKS)
    return parent.start(preloading=preloading)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_executor_and_the_forkserver_take_no_notice(parent: Any, child: Any, number: int) -> None:
    for pid in (child.pid, parent.server_pid):
        os.kill(pid, number)
    child.run("tasks.good")
    child.expect(Started)
    assert child.expect(Done).status == "succeeded"
    parent.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_task_takes_no_notice(parent: Any, child: Any, number: int) -> None:
    child.run("tasks.wait")
    child.expect(Started)
    os.killpg(child.pid, number)
    assert child.silent(0.2)
    (parent.folder / "go").touch()
    assert child.expect(Done).status == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_a_task_starts_can_be_ended(parent: Any, child: Any, number: int) -> None:
    child.run("tasks.end_a_process", int(number))
    child.expect(Started)
    assert child.expect(Done).status == "succeeded"
    assert (parent.folder / "code").read_text() == str(-number)


def test_killing_the_group_takes_what_the_task_started(parent: Any, child: Any, until: Any, is_gone: Any) -> None:
    child.run("tasks.start_a_process")
    child.expect(Started)
    until((parent.folder / "pid").exists)
    started = int((parent.folder / "pid").read_text())
    os.killpg(child.pid, signal.SIGKILL)
    until(lambda: is_gone(child.pid) and is_gone(started))


def test_a_closed_pipe_ends_a_busy_executor_and_what_its_task_started(
    parent: Any, child: Any, until: Any, is_gone: Any
) -> None:
    child.run("tasks.start_a_process")
    child.expect(Started)
    until((parent.folder / "pid").exists)
    started = int((parent.folder / "pid").read_text())
    child.channel.close()
    assert until(lambda: is_gone(child.pid) and is_gone(started)) < 2.0


def test_a_closed_pipe_ends_an_idle_executor(child: Any) -> None:
    child.channel.close()
    assert child.exit_code() == 0


def test_a_stream_that_is_not_ours_ends_it(child: Any, capfd: Any) -> None:
    child.channel.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
    assert child.exit_code() == 70
