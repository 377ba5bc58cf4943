"""What an executor holds and has not started goes back when it should, in order, once, and never after it started."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pyqs.wire import Done, HandedBack, Recall, Started, Stop

TASKS = """
    import time
    from pathlib import Path
    from pyqs import task

    HERE = Path(__file__).parent

    @task
    def good(): ...

    @task
    def wait(name):
        while not (HERE / name).exists(): time.sleep(0.01)
"""

#: A runtime whose calls wait for a wall-clock moment, as compat's do with an eta.
RUNTIME = """
    from dataclasses import replace
    from pyqs.native import NativeRuntime

    class Runtime(NativeRuntime):
        def prepare(self, delivery):
            call = super().prepare(delivery)
            return replace(call, start_at=call.call.kwargs.pop("at", None))
"""


@pytest.fixture
def child(parent: Any) -> Any:
    parent.write("tasks.py", TASKS)
    return parent.start()


@pytest.fixture
def release(parent: Any) -> Any:
    """Lets a waiting task end."""
    return lambda name="go": (parent.folder / name).touch()


def test_short_tasks_run_in_the_order_in_which_they_came(child: Any) -> None:
    ids = [child.run("tasks.good") for _ in range(50)]
    frames = [child.next() for _ in range(100)]
    assert [f.delivery_id for f in frames if isinstance(f, Started)] == ids
    assert [f.delivery_id for f in frames if isinstance(f, Done)] == ids


def test_what_waits_behind_a_long_task_goes_back_after_half_a_second(child: Any, release: Any) -> None:
    first = child.run("tasks.wait", "go")
    child.expect(Started)
    began = time.monotonic()
    behind = [child.run("tasks.good") for _ in range(3)]
    assert child.expect(HandedBack) == HandedBack(tuple(behind))
    assert 0.3 < time.monotonic() - began < 5.0
    late = child.run("tasks.good")
    began = time.monotonic()
    assert child.expect(HandedBack) == HandedBack((late,))
    assert time.monotonic() - began < 5.0, "behind a long task nothing is held"
    release()
    assert child.expect(Done).delivery_id == first
    after = child.run("tasks.good")
    assert child.expect(Started).delivery_id == after


def test_a_recall_brings_back_what_has_not_started(child: Any, release: Any) -> None:
    first = child.run("tasks.wait", "go")
    child.expect(Started)
    behind = [child.run("tasks.good"), child.run("tasks.good")]
    child.send(Recall())
    assert child.expect(HandedBack) == HandedBack(tuple(behind))
    release()
    assert child.expect(Done).delivery_id == first
    child.run("tasks.good")
    child.expect(Started)


def test_a_recall_of_nothing_changes_nothing(child: Any) -> None:
    child.send(Recall())
    child.run("tasks.good")
    child.expect(Started)
    child.expect(Done)


def test_stop_lets_the_running_one_end_and_gives_back_the_rest(child: Any, release: Any) -> None:
    first = child.run("tasks.wait", "go")
    child.expect(Started)
    behind = child.run("tasks.good")
    child.send(Stop())
    assert child.expect(HandedBack) == HandedBack((behind,))
    late = child.run("tasks.good")
    assert child.expect(HandedBack) == HandedBack((late,))
    release()
    assert child.expect(Done).delivery_id == first
    assert child.next() is None
    assert child.exit_code() == 0


def test_what_comes_too_late_is_not_started(child: Any) -> None:
    late = child.run("tasks.good", start_in=-1.0)
    assert child.expect(HandedBack) == HandedBack((late,))


def test_what_gets_too_late_while_it_is_held_goes_back_then(child: Any, release: Any) -> None:
    child.run("tasks.wait", "go")
    child.expect(Started)
    soon, other = child.run("tasks.good", start_in=0.15), child.run("tasks.good")
    assert child.expect(HandedBack) == HandedBack((soon,))
    assert child.expect(HandedBack) == HandedBack((other,))
    release()
    child.expect(Done)


@pytest.fixture
def waiting(parent: Any) -> Any:
    parent.write("tasks.py", TASKS)
    parent.write("eta_runtime.py", RUNTIME)
    return parent.start(runtime="eta_runtime:Runtime")


def test_a_call_that_is_not_due_starts_when_it_is(waiting: Any) -> None:
    due = time.time() + 0.8
    number = waiting.run("tasks.good", at=due)
    assert waiting.expect(Started).delivery_id == number
    assert due <= time.time() < due + 5.0
    waiting.expect(Done)


@pytest.mark.parametrize("frame", [Recall(), Stop()])
def test_a_call_that_waits_for_its_moment_has_not_started(waiting: Any, frame: Any) -> None:
    number = waiting.run("tasks.good", at=time.time() + 30)
    assert waiting.silent(0.3)
    waiting.send(frame)
    assert waiting.expect(HandedBack) == HandedBack((number,))


def test_a_call_whose_moment_is_after_its_lease_goes_back(waiting: Any) -> None:
    number = waiting.run("tasks.good", at=time.time() + 30, start_in=0.3)
    assert waiting.expect(HandedBack) == HandedBack((number,))


def test_what_waits_behind_a_waiting_call_goes_back(waiting: Any) -> None:
    waiting.run("tasks.good", at=time.time() + 1.5)
    behind = waiting.run("tasks.good")
    assert waiting.expect(HandedBack) == HandedBack((behind,))
    waiting.expect(Started)


def test_an_executor_is_ready_for_more_before_it_says_that_it_is(child: Any, release: Any) -> None:
    """What is sent on a Done of a long task must not be handed back as if that task still ran."""
    for round_ in range(3):
        child.run("tasks.wait", f"go{round_}")
        child.expect(Started)
        time.sleep(0.6)
        release(f"go{round_}")
        child.expect(Done)
        child.run("tasks.good")
        child.expect(Started)
        child.expect(Done)
