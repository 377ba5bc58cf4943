"""The soft limit interrupts the run that it was armed for, wherever that is, and no other."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pyqs.wire import Done, Started

TASKS = """
    import time, threading
    from pathlib import Path
    from pyqs import task
    from limited import Late

    HERE = Path(__file__).parent

    @task
    def compute(limit):
        while True: sum(range(1000))

    @task
    def sleep(limit): time.sleep(60)

    @task
    def lock(limit):
        threading.Event().wait(60)

    @task
    def catch(limit):
        try:
            time.sleep(60)
        except Late:
            (HERE / "caught").touch()
            time.sleep(0.5)
        (HERE / "cleaned-up").touch()

    @task
    def quick(limit): ...
"""

RUNTIME = """
    from dataclasses import replace
    from pyqs.native import NativeRuntime
    from pyqs.task_options import TaskOptions

    class Late(Exception): ...

    class Runtime(NativeRuntime):
        def prepare(self, delivery):
            call = super().prepare(delivery)
            options = TaskOptions(soft_time_limit=call.call.kwargs["limit"])
            return replace(call, options=options, soft_limit_error=Late)
"""


@pytest.fixture
def child(parent: Any) -> Any:
    parent.write("limited.py", RUNTIME)
    parent.write("tasks.py", TASKS)
    return parent.start(runtime="limited:Runtime")


@pytest.mark.parametrize("task", ["compute", "sleep", "lock"])
def test_it_interrupts(child: Any, task: str) -> None:
    began = time.monotonic()
    child.run(f"tasks.{task}", limit=0.4)
    assert child.expect(Started).soft_time_limit == 0.4
    done = child.expect(Done)
    assert (done.status, done.reason) == ("failed", "Late")
    assert 0.4 <= time.monotonic() - began < 10.0
    child.run("tasks.quick", limit=None)
    child.expect(Started)
    assert child.expect(Done).status == "succeeded"


def test_a_task_may_catch_it_and_is_not_interrupted_again(parent: Any, child: Any) -> None:
    child.run("tasks.catch", limit=0.2)
    child.expect(Started)
    assert child.expect(Done).status == "succeeded"
    assert (parent.folder / "caught").exists()
    assert (parent.folder / "cleaned-up").exists()


def test_a_limit_belongs_to_one_run(child: Any) -> None:
    for _ in range(20):
        child.run("tasks.quick", limit=0.05)
    child.run("tasks.compute", limit=1.0)
    for _ in range(20):
        began = time.monotonic()
        child.expect(Started)
        assert child.expect(Done).status == "succeeded"
    child.expect(Started)
    child.expect(Done)
    assert time.monotonic() - began > 0.8


def test_a_limit_that_has_passed_at_once_still_ends_as_one_done(child: Any) -> None:
    for _ in range(30):
        number = child.run("tasks.quick", limit=0.0)
        child.expect(Started)
        assert child.expect(Done).delivery_id == number
