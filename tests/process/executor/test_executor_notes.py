"""An executor notes what it starts in shared memory, before it does so, and tells of nothing but the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.wire import Done, Started

TASKS = """
import os, signal, time
from pathlib import Path
from pyqs import task

HERE = Path(__file__).parent

@task
def good(): pass

@task
def wait(name):
    (HERE / "begun").touch()
    while not (HERE / name).exists(): time.sleep(0.01)

@task
def crash(): os.kill(os.getpid(), signal.SIGKILL)

def long_name(): pass
long_name.__name__ = long_name.__qualname__ = "n" * 5000
long_name = task(long_name)

@task
def close_everything():
    os.closerange(3, 256)
"""


@pytest.fixture
def child(parent: Any, preloading: bool) -> Any:
    parent.write("tasks.py", TASKS)
    return parent.start(preloading=preloading, noting=True)


def test_only_ends_are_told(child: Any) -> None:
    ids = [child.run("tasks.good") for _ in range(20)]
    for number in ids:
        done = child.expect(Done)
        assert done.delivery_id == number
        assert done.seconds is not None
    assert child.note.read().delivery_id == ids[-1]


def test_the_note_says_what_runs(child: Any, parent: Any, until: Any) -> None:
    before = boottime()
    number = child.run("tasks.wait", "go")
    until((parent.folder / "begun").exists)
    noted = child.note.read()
    assert (noted.delivery_id, noted.task) == (number, "tasks.wait")
    assert before <= noted.at <= boottime()
    (parent.folder / "go").touch()
    assert child.expect(Done).seconds > 0


def test_the_note_outlives_its_executor(child: Any) -> None:
    child.run("tasks.good")
    number = child.run("tasks.crash")
    child.expect(Done)
    assert child.next() is None
    assert child.note.read().delivery_id == number


def test_a_note_that_is_too_long_is_told(child: Any) -> None:
    number = child.run("tasks." + "n" * 5000)
    assert child.expect(Started).delivery_id == number
    assert child.expect(Done).delivery_id == number


def test_what_never_starts_is_said_to_have_run_for_no_time(child: Any) -> None:
    child.run("tasks.unheard_of")
    assert child.expect(Done).seconds is None
    assert child.note.read() is None


def test_a_task_that_closes_every_descriptor_changes_nothing(child: Any, parent: Any) -> None:
    child.run("tasks.close_everything")
    child.expect(Done)
    number = child.run("tasks.good")
    child.expect(Done)
    assert child.note.read().delivery_id == number


def test_the_pages_are_let_go(child: Any) -> None:
    maps = Path(f"/proc/{child.pid}/maps").read_text()
    assert maps.count("pyqs-start-note") == 1
