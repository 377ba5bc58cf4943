"""``--async-slots``: a task that has passed its hard limit, or was called off, ends alone, and how it ends does not count."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from embedded import Sqs
from pyqs.config import ConnectionConfig
from pyqs.message import CalledOff, Delete
from pyqs.wire import CallOff, Cancelled, Done, Started, Stop
from pyqs_celery_compat.outgoing import as_task_v2, seal_task

APP = """
    import asyncio, time
    from pathlib import Path
    from pyqs_celery_compat import Celery, signals
    from pyqs_celery_compat.exceptions import SoftTimeLimitExceeded

    HERE = Path(__file__).parent
    app = Celery("slots", broker="sqs://", backend=f"file://{HERE / 'results'}")
    app.conf.task_acks_late = True

    def note(line):
        with (HERE / "notes").open("a") as out:
            out.write(line + "\\n")

    def released(name):
        return (HERE / name).exists()

    @app.task
    async def waits(name):
        note("begins")
        while not released(name): await asyncio.sleep(0.005)
        return name

    @app.task
    def plainly_waits(name):
        note("begins")
        while not released(name): time.sleep(0.005)

    @app.task
    async def computes(name):
        note("begins")
        while not released(name): sum(range(1000))

    @app.task(time_limit=0.4)
    async def cleans_up():
        try:
            await asyncio.sleep(60)
        except Exception:
            note("an Exception")
        finally:
            await asyncio.sleep(0.02)
            note("cleaned up")

    @app.task(time_limit=0.4)
    async def swallows():
        try:
            await asyncio.sleep(60)
        except BaseException:
            return "all is well"

    @app.task(time_limit=0.4)
    def plainly_hangs():
        try:
            while True: time.sleep(0.005)
        finally:
            note("cleaned up")

    @app.task(soft_time_limit=0.2, time_limit=0.6)
    async def shrugs():
        while True:
            try:
                await asyncio.sleep(60)
            except SoftTimeLimitExceeded:
                note("soft")

    @app.task(time_limit=0.4)
    async def in_time(name):
        await asyncio.sleep(0.3)
        return name

    @signals.task_failure.connect
    def failed(task_id, **_): note(f"failed {task_id}")

    @signals.task_postrun.connect
    def over(task_id, state, **_): note(f"over {task_id} {state}")
"""


@pytest.fixture
def child(parent: Any, sqs: Sqs) -> Any:
    parent.write("shop.py", APP)
    (parent.folder / "results").mkdir()
    sqs.create("celery")
    connection = ConnectionConfig("us-east-1", sqs.server.endpoint_url, "a", "b")
    runtime = "pyqs_celery_compat.runtime:CeleryRuntime"
    return parent.start(preloading=False, include=(), app="shop", runtime=runtime, async_slots=4, connection=connection)


def send(child: Any, task: str, *args: Any, id: str = "one") -> int:
    text = seal_task(as_task_v2(id, f"shop.{task}", args, {}), routing_key="celery")
    return int(child.run("", body=text))


def end(child: Any) -> Done | Cancelled:
    """The next; what started meanwhile is left out."""
    while isinstance(frame := child.next(), Started):
        pass
    assert isinstance(frame, Done | Cancelled), frame
    return frame


def end_of(child: Any, number: int) -> Done:
    done = end(child)
    assert isinstance(done, Done)
    assert done.delivery_id == number
    return done


def notes(parent: Any) -> list[str]:
    path = parent.folder / "notes"
    return path.read_text().splitlines() if path.exists() else []


def kept(parent: Any) -> list[str]:
    """Ids of results that are in the store."""
    return sorted(path.name.removeprefix("celery-task-meta-") for path in Path(parent.folder, "results").iterdir())


@pytest.mark.parametrize("task", ["cleans_up", "plainly_hangs"])
def test_a_hard_limit_ends_its_task_alone(parent: Any, child: Any, until: Any, task: str) -> None:
    other = send(child, "waits", "go", id="other")
    until(lambda: notes(parent) == ["begins"])
    given_up = send(child, task)
    assert end(child) == Cancelled(given_up)
    assert "cleaned up" in notes(parent)
    assert not [line for line in notes(parent) if "Exception" in line or line.startswith("failed")], "the host tells of it"
    assert kept(parent) == []
    assert end_of(child, send(child, "in_time", "again", id="again")).status == "succeeded"
    (parent.folder / "go").touch()
    assert end_of(child, other).verdict == Delete()


def test_what_it_answers_then_does_not_count(parent: Any, child: Any) -> None:
    number = send(child, "swallows")
    assert end(child) == Cancelled(number)


def test_a_soft_limit_comes_first(parent: Any, child: Any) -> None:
    number = send(child, "shrugs")
    assert end(child) == Cancelled(number)
    assert notes(parent)[0] == "soft"


def test_who_ends_in_time_has_ended(parent: Any, child: Any) -> None:
    for n in range(5):
        assert end_of(child, send(child, "in_time", n, id=f"id-{n}")).status == "succeeded"
    assert len(kept(parent)) == 5


@pytest.mark.parametrize("task", ["waits", "plainly_waits", "computes"])
def test_what_is_called_off_by_a_signal_ends_alone(parent: Any, child: Any, until: Any, task: str) -> None:
    other = send(child, "plainly_waits", "go", id="other")
    until(lambda: notes(parent) == ["begins"])
    number = send(child, task, "never")
    until(lambda: notes(parent) == ["begins", "begins"])
    child.send(CallOff((CalledOff("one", time.time() + 60, 15), CalledOff("nobody", time.time() + 60, 15))))
    assert end(child) == Cancelled(number)
    assert kept(parent) == []
    (parent.folder / "go").touch()
    assert end_of(child, other).status == "succeeded"


def test_what_is_called_off_without_a_signal_goes_on(parent: Any, child: Any, until: Any) -> None:
    number = send(child, "waits", "go")
    until(lambda: notes(parent) == ["begins"])
    child.send(CallOff((CalledOff("one", time.time() + 60),)))
    assert end_of(child, send(child, "in_time", 1, id="beside")).status == "succeeded"
    (parent.folder / "go").touch()
    assert end_of(child, number).status == "succeeded"


def test_one_that_was_given_up_leaves_its_lane_as_it_was(parent: Any, child: Any) -> None:
    for _ in range(3):
        number = send(child, "cleans_up")
        assert end(child) == Cancelled(number)
        assert end_of(child, send(child, "in_time", 1)).status == "succeeded"
    child.send(Stop())
    assert child.exit_code() == 0
