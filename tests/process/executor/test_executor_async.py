"""``async def`` tasks in a real executor: one event loop from task to task, limits and stops inside of coroutines."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from pyqs.message import Delete, Hide
from pyqs.wire import Done, Recall, Started, Stop

TASKS = """
    import asyncio, contextvars, os, sys, threading, time
    from pathlib import Path
    from pyqs import ShutdownRequested, SoftTimeLimitExceeded, interruptible, should_stop, task

    HERE = Path(__file__).parent
    variable = contextvars.ContextVar("variable", default="fresh")

    def note(text):
        with (HERE / "notes").open("a") as out:
            out.write(text + "\\n")

    @task
    async def good(*args, **kwargs):
        await asyncio.sleep(0.01)
        note(f"{args} {kwargs} in {threading.current_thread().name}")

    @task
    async def fail():
        await asyncio.sleep(0)
        raise ValueError("on purpose")

    @task
    async def leave(code):
        await asyncio.sleep(0)
        sys.exit(code)

    @task
    async def loop():
        note(f"{id(asyncio.get_running_loop())} {variable.get()}")
        variable.set("used")

    @task
    async def forgets():
        forgets.left = asyncio.create_task(asyncio.sleep(60))

    @task
    async def background():
        note(str(len(asyncio.all_tasks())))

    @task
    def plain_with_its_own():
        async def inner():
            await asyncio.sleep(0)
            note("inner")
        asyncio.run(inner())

    @task
    async def fork(how):
        pid = os.fork()
        if pid == 0:
            if how == "return": return
            if how == "raise": raise ValueError
            os._exit(4)
        _, status = os.waitpid(pid, 0)
        await asyncio.sleep(0.01)
        note(f"{how} {os.waitstatus_to_exitcode(status)}")

    @task(soft_time_limit=0.3)
    async def waits():
        await asyncio.sleep(60)

    @task(soft_time_limit=0.3)
    async def computes():
        while True: sum(range(1000))

    @task(soft_time_limit=0.3)
    async def cleans_up():
        try:
            await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))
        except SoftTimeLimitExceeded:
            note("caught")
            await asyncio.sleep(0.4)
        note("cleaned up")

    @task(soft_time_limit=0.2)
    async def groups():
        async def child(number):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)
                note(f"child {number} ends")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(2): group.create_task(child(number))
        except SoftTimeLimitExceeded:
            note("caught")
            assert not asyncio.current_task().cancelling()
            await asyncio.sleep(0.1)
        note("cleaned up")

    @task
    async def interrupted():
        try:
            with interruptible():
                note("begins")
                await asyncio.sleep(60)
        except Exception:
            note("swallowed")

    @task
    async def asks():
        note("begins")
        while not should_stop():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        note("ends")

    @task
    async def child_interrupted():
        async def child():
            with interruptible():
                await asyncio.sleep(60)
        try:
            await asyncio.create_task(child())
        except RuntimeError as exc:
            note(str(exc))

    @task
    async def keeps_a_resource():
        async def numbers():
            try:
                while True: yield 1
            finally:
                await asyncio.sleep(0)
                note("finished")
        keeps_a_resource.kept = numbers()
        await keeps_a_resource.kept.__anext__()
"""


@pytest.fixture
def child(parent: Any) -> Any:
    parent.write("tasks.py", TASKS)
    return parent.start()


def notes(parent: Any) -> list[str]:
    path = parent.folder / "notes"
    return path.read_text().splitlines() if path.exists() else []


def ran(child: Any, name: str, *args: Any, **kwargs: Any) -> Done:
    child.run(f"tasks.{name}", *args, **kwargs)
    child.expect(Started)
    done = child.expect(Done)
    assert isinstance(done, Done)
    return done


def test_it_runs_to_its_end_in_the_main_thread(parent: Any, child: Any) -> None:
    done = ran(child, "good", 1, key="value")
    assert (done.status, done.verdict) == ("succeeded", Delete())
    assert done.seconds is not None
    assert done.seconds >= 0.01
    assert notes(parent) == ["(1,) {'key': 'value'} in MainThread"]


@pytest.mark.parametrize(("name", "args", "reason"), [("fail", (), "ValueError"), ("leave", (3,), "SystemExit")])
def test_what_it_raises_is_its_failure(child: Any, name: str, args: Any, reason: str) -> None:
    done = ran(child, name, *args)
    assert (done.status, done.reason) == ("failed", reason)
    assert isinstance(done.verdict, Hide)
    assert ran(child, "good").status == "succeeded"


def test_the_loop_is_kept_and_the_context_is_fresh(parent: Any, child: Any) -> None:
    for _ in range(3):
        ran(child, "loop")
        ran(child, "plain_with_its_own")  # what asyncio.run() does to the thread's loop is not about ours
    loops = [line.split() for line in notes(parent) if line != "inner"]
    assert len({number for number, _ in loops}) == 1
    assert [value for _, value in loops] == ["fresh"] * 3


def test_what_a_task_leaves_running_does_not_meet_the_next(parent: Any, child: Any, capfd: Any) -> None:
    assert ran(child, "forgets").status == "succeeded"
    ran(child, "background")
    assert notes(parent) == ["1"]


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 1), ("end", 4)])
def test_a_process_that_it_forks_is_no_executor(parent: Any, child: Any, how: str, code: int) -> None:
    assert ran(child, "fork", how).status == "succeeded"
    assert notes(parent) == [f"{how} {code}"]
    assert ran(child, "good").status == "succeeded"


@pytest.mark.parametrize("name", ["waits", "computes"])
def test_a_soft_limit_is_raised_inside_of_it(child: Any, name: str) -> None:
    began = time.monotonic()
    done = ran(child, name)
    assert (done.status, done.reason) == ("failed", "SoftTimeLimitExceeded")
    assert time.monotonic() - began < 30
    assert ran(child, "good").status == "succeeded"


def test_it_may_catch_its_soft_limit_and_await_more(parent: Any, child: Any) -> None:
    assert ran(child, "cleans_up").status == "succeeded"
    assert notes(parent) == ["caught", "cleaned up"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio's own groups are of Python 3.11")
def test_a_group_that_it_waits_for_has_ended_when_its_soft_limit_is_raised(parent: Any, child: Any) -> None:
    assert ran(child, "groups").status == "succeeded"
    assert notes(parent) == ["child 0 ends", "child 1 ends", "caught", "cleaned up"]


@pytest.mark.parametrize(("name", "status", "noted"), [("interrupted", "stopped", []), ("asks", "succeeded", ["ends"])])
def test_it_hears_of_a_stop(parent: Any, child: Any, until: Any, name: str, status: str, noted: list[str]) -> None:
    child.run(f"tasks.{name}")
    child.expect(Started)
    until(lambda: notes(parent) == ["begins"])
    child.send(Recall())
    assert child.expect(Done).status == status
    assert notes(parent) == ["begins", *noted]


def test_a_coroutine_that_it_has_started_is_told_that_it_cannot_be_interrupted(parent: Any, child: Any) -> None:
    assert ran(child, "child_interrupted").status == "succeeded"
    (line,) = notes(parent)
    assert "not for one that it has started" in line


def test_the_loop_is_closed_when_the_executor_leaves(parent: Any, child: Any) -> None:
    ran(child, "keeps_a_resource")
    assert notes(parent) == []
    child.send(Stop())
    assert child.exit_code() == 0
    assert notes(parent) == ["finished"]
