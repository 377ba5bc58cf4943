"""``--async-slots``: a real executor that runs several deliveries at a time, coroutines in a loop, plain tasks in threads."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from pyqs.message import CalledOff, Delete, Hide
from pyqs.wire import Admitted, CallOff, Done, HandedBack, Leaving, MayStart, Postponed, Recall, Started, Stop

TASKS = """
    import asyncio, contextvars, logging, os, signal, sys, threading, time
    from pathlib import Path
    from pyqs import ShutdownRequested, SoftTimeLimitExceeded, interruptible, should_stop, task

    HERE = Path(__file__).parent
    variable = contextvars.ContextVar("variable", default="fresh")
    log = logging.getLogger("the.tasks")

    def note(text):
        with (HERE / "notes").open("a") as out:
            out.write(f"{text}\\n")

    def released(name):
        return (HERE / name).exists()

    @task
    async def good(*args): await asyncio.sleep(0)

    @task
    def plain(*args): ...

    together = {}

    @task
    async def meet(key, number):
        here = together.setdefault(key, [])
        here.append(asyncio.get_running_loop())
        while len(here) < number: await asyncio.sleep(0.001)
        note(f"{threading.current_thread().name} {len(set(map(id, here)))}")

    barriers = {}

    @task
    def meet_in_threads(number):
        barriers.setdefault(number, threading.Barrier(number)).wait(20)
        note(threading.current_thread().name)

    @task
    async def hears_the_plain():
        hears_the_plain.heard = asyncio.Event()
        hears_the_plain.loop = asyncio.get_running_loop()
        note("listens")
        await asyncio.wait_for(hears_the_plain.heard.wait(), 20)

    @task
    def speaks():
        hears_the_plain.loop.call_soon_threadsafe(hears_the_plain.heard.set)

    @task
    async def waits_for(name):
        note("begins")
        while not released(name): await asyncio.sleep(0.005)

    @task
    def plainly_waits_for(name):
        note("begins")
        while not released(name): time.sleep(0.005)

    @task
    async def fails(): raise ValueError("on purpose")

    @task
    async def leaves(): sys.exit(3)

    @task
    async def child_leaves():
        async def child(): sys.exit(3)
        child_leaves.left = asyncio.create_task(child())
        await asyncio.sleep(60)

    @task
    async def callback_leaves():
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.sleep(0.02)

    @task
    async def stops_the_loop():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.02)

    @task
    async def sets(value):
        note(f"{variable.get()} in {value}")
        variable.set(value)
        await asyncio.sleep(0.02)
        assert variable.get() == value

    @task
    def plainly_sets(value):
        note(f"{variable.get()} in {value}")
        variable.set(value)

    @task(soft_time_limit=0.4)
    async def limited():
        try:
            await asyncio.sleep(60)
        except SoftTimeLimitExceeded:
            note("limited")
            await asyncio.sleep(0.02)
            raise

    @task(soft_time_limit=0.4)
    async def computes():
        while True: sum(range(1000))

    @task(soft_time_limit=0.4)
    def plainly_computes():
        while True: sum(range(1000))

    @task(soft_time_limit=0.4)
    async def calls_asyncio():
        while True:
            asyncio.get_running_loop().time()

    @task(soft_time_limit=0.4)
    async def starts_what_computes():
        async def child():
            until = time.monotonic() + 1
            while time.monotonic() < until: sum(range(1000))
            note("child ended")
            await asyncio.sleep(60)
        await asyncio.create_task(child())

    @task
    async def interrupted(key):
        try:
            with interruptible():
                note("begins")
                await asyncio.sleep(60)
        except Exception:
            note("swallowed")

    @task
    def plainly_interrupted(key):
        with interruptible():
            note("begins")
            while True: time.sleep(0.005)

    @task
    async def asks():
        note("begins")
        while not should_stop(): await asyncio.sleep(0.005)
        assert await asyncio.to_thread(should_stop)

    @task
    def plainly_asks():
        note("begins")
        seen = []
        def in_thread():
            while not should_stop(): time.sleep(0.005)
            seen.append(True)
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        assert seen and should_stop()

    @task
    async def where_it_cannot():
        def block():
            with interruptible(): pass
        async def child(): block()
        with interruptible(): pass
        for one in (asyncio.create_task(child()), asyncio.to_thread(block)):
            try:
                await one
            except RuntimeError as exc:
                note(exc)

    @task
    def plainly_where_it_cannot():
        with interruptible(): pass
        def block():
            try:
                with interruptible(): pass
            except RuntimeError as exc:
                note(exc)
        thread = threading.Thread(target=block)
        thread.start()
        thread.join()

    @task
    async def forgets(key):
        async def child():
            try:
                await asyncio.sleep(60)
            finally:
                note(f"{key} cancelled")
        async def grandchild():
            forgets.left = asyncio.create_task(child())
            await asyncio.sleep(60)
        forgets.also = asyncio.create_task(grandchild())
        await asyncio.sleep(0.01)

    @task
    async def has_children(name):
        async def child():
            while not released(name): await asyncio.sleep(0.005)
            return 1
        note("begins")
        assert await asyncio.gather(child(), child()) == [1, 1]
        note("undisturbed")

    @task
    async def stubborn():
        async def child():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    note("no")
        stubborn.left = asyncio.create_task(child())
        await asyncio.sleep(0)

    @task
    async def logs(name, key):
        log.warning("first of %s", key)
        while not released(name): await asyncio.sleep(0.005)
        await asyncio.to_thread(log.warning, "thread of %s", key)
        log.warning("last of %s", key)

    @task
    def plainly_logs(name, key):
        log.warning("first of %s", key)
        while not released(name): time.sleep(0.005)
        log.warning("last of %s", key)

    @task
    async def fork(how):
        await asyncio.sleep(0)
        pid = os.fork()
        if pid == 0:
            if how == "return": return
            if how == "raise": raise ValueError
            if how == "exit": sys.exit(3)
            if how == "await": await asyncio.sleep(0)
            os._exit(4)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        note(f"{how} {os.waitstatus_to_exitcode(status)}")

    @task
    async def child_forks():
        async def child():
            pid = os.fork()
            if pid: note(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        await asyncio.create_task(child())

    @task
    async def forks_first_in_each_turn():
        if released("opaque"):  # as in a loop of C code, whose next callbacks are out of reach
            from pyqs.executor import shared_loop
            ready = asyncio.get_running_loop()._ready
            shared_loop._Nothing = lambda: ready
        while not released("fork"): await asyncio.sleep(0)
        pid = os.fork()
        if pid == 0:
            await asyncio.sleep(0)
            os._exit(4)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        note(os.waitstatus_to_exitcode(status))

    @task
    def plainly_fork(how):
        async def good(): return 7
        pid = os.fork()
        if pid == 0:
            if how == "return": return
            if how == "raise": raise ValueError
            if how == "coroutine":
                from pyqs import coroutines
                os._exit(coroutines.run(good(), "good"))
            os._exit(4)
        _, status = os.waitpid(pid, 0)
        note(f"{how} {os.waitstatus_to_exitcode(status)}")

    ticks = []

    @task
    async def ticks_until(name):
        while not released(name):
            (HERE / "ticks" / str(os.getpid())).touch()
            await asyncio.sleep(0.001 if name == "go" else 0)

    @task
    async def signals():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

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

    @task
    async def to_threads(number):
        barrier = threading.Barrier(number)
        await asyncio.gather(*(asyncio.to_thread(barrier.wait, 20) for _ in range(number)))

    @task
    def has_its_own():
        async def inner(): return threading.current_thread().name
        assert asyncio.run(inner()) == threading.current_thread().name
"""

RUNTIME = """
    from dataclasses import replace
    from pyqs.native import NativeRuntime

    class Runtime(NativeRuntime):
        def prepare(self, delivery):
            prepared = super().prepare(delivery)
            return replace(prepared, rate_key="a", rate=1.0)

        def call_off(self, calls):
            from tasks import note
            note("called off " + " ".join(call.call_id for call in calls))
"""


def started(parent: Any, **settings: Any) -> Any:
    """In the test itself where its lines are read: a forkserver writes to what was standard error when it began."""
    parent.write("tasks.py", TASKS)
    (parent.folder / "ticks").mkdir()
    return parent.start(**{"async_slots": 4, **settings})


@pytest.fixture
def child(parent: Any) -> Any:
    return started(parent)


def notes(parent: Any) -> list[str]:
    path = parent.folder / "notes"
    return path.read_text().splitlines() if path.exists() else []


def ends(child: Any, number: int) -> dict[int, Done]:
    """The next so many Done, by their deliveries; what started meanwhile is left out."""
    found: dict[int, Done] = {}
    while len(found) < number:
        frame = child.next()
        assert isinstance(frame, Started | Done), frame
        if isinstance(frame, Done):
            found[frame.delivery_id] = frame
    return found


def ran(child: Any, name: str, *args: Any) -> Done:
    number = child.run(f"tasks.{name}", *args)
    return ends(child, 1)[number]


def release(parent: Any, name: str) -> None:
    (parent.folder / name).touch()


def begun(parent: Any, until: Any, number: int) -> None:
    until(lambda: notes(parent).count("begins") == number)


# -- several at a time ----------------------------------------------------------------------------------------------------


def test_coroutines_run_at_a_time_in_one_loop_in_the_main_thread(parent: Any, child: Any) -> None:
    for _ in range(4):
        child.run("tasks.meet", "key", 4)
    done = ends(child, 4)
    assert {one.status for one in done.values()} == {"succeeded"}
    assert {one.verdict for one in done.values()} == {Delete()}
    assert notes(parent) == ["MainThread 1"] * 4


def test_plain_tasks_run_at_a_time_in_threads(parent: Any, child: Any) -> None:
    for _ in range(4):
        child.run("tasks.meet_in_threads", 4)
    ends(child, 4)
    assert sorted(notes(parent)) == [f"pyqs-lane-{number}" for number in range(1, 5)]


def test_a_plain_task_and_a_coroutine_run_at_a_time(parent: Any, child: Any, until: Any) -> None:
    listens = child.run("tasks.hears_the_plain")
    until(lambda: notes(parent) == ["listens"])
    speaks = child.run("tasks.speaks")
    assert {number: one.status for number, one in ends(child, 2).items()} == {listens: "succeeded", speaks: "succeeded"}


def test_one_thread_does_for_one_after_the_other(parent: Any, child: Any) -> None:
    for _ in range(5):
        ran(child, "meet_in_threads", 1)
    assert notes(parent) == ["pyqs-lane-1"] * 5


def test_each_end_names_its_own_delivery(parent: Any, child: Any, until: Any) -> None:
    waits = child.run("tasks.waits_for", "go")
    begun(parent, until, 1)
    for name, status, reason in (
        ("fails", "failed", "ValueError"),
        ("leaves", "failed", "SystemExit"),
        ("good", "succeeded", ""),
    ):
        done = ran(child, name)
        assert (done.status, done.reason, done.task) == (status, reason, f"tasks.{name}")
        assert isinstance(done.verdict, Delete if status == "succeeded" else Hide)
    release(parent, "go")
    assert ends(child, 1)[waits].seconds > 0


def test_many_short_ones_each_end_once(child: Any) -> None:
    sent = {child.run(f"tasks.{'good' if number % 2 else 'plain'}") for number in range(4)}
    seen: list[int] = []
    while len(seen) < 400:
        for number in ends(child, 1):
            seen.append(number)
            if len(sent) < 400:
                sent.add(child.run(f"tasks.{'good' if number % 2 else 'plain'}"))
    assert sorted(seen) == sorted(sent)


@pytest.mark.parametrize(
    ("name", "status"),
    [("child_leaves", "failed"), ("callback_leaves", "succeeded"), ("stops_the_loop", "succeeded")],
)
def test_what_ends_an_event_loop_does_not_end_this_one(parent: Any, child: Any, until: Any, name: str, status: str) -> None:
    waits = child.run("tasks.waits_for", "go")
    begun(parent, until, 1)
    assert ran(child, name).status == status
    release(parent, "go")
    assert ends(child, 1)[waits].status == "succeeded"


def test_no_context_variable_is_seen_by_another_task(parent: Any, child: Any) -> None:
    for name in ("sets", "plainly_sets") * 4:
        child.run(f"tasks.{name}", name)
        if child.last_id >= 4:
            ends(child, 1)
    ends(child, 3)
    assert {line.partition(" ")[0] for line in notes(parent)} == {"fresh"}


def test_a_plain_task_has_asyncio_run_for_itself(child: Any) -> None:
    assert ran(child, "has_its_own").status == "succeeded"


def test_each_task_may_have_its_threads_beside(child: Any) -> None:
    for _ in range(3):
        child.run("tasks.to_threads", 3)
    assert {one.status for one in ends(child, 3).values()} == {"succeeded"}


# -- soft limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["limited", "computes", "calls_asyncio", "starts_what_computes", "plainly_computes"])
def test_a_soft_limit_ends_its_task_and_no_other(parent: Any, child: Any, until: Any, name: str) -> None:
    others = [child.run("tasks.waits_for", "go"), child.run("tasks.plainly_waits_for", "go")]
    begun(parent, until, 2)
    done = ran(child, name)
    assert (done.status, done.reason) == ("failed", "SoftTimeLimitExceeded")
    assert done.seconds >= 0.4
    assert ran(child, "good").status == "succeeded"
    release(parent, "go")
    assert {number: one.status for number, one in ends(child, 2).items()} == dict.fromkeys(others, "succeeded")


def test_several_soft_limits_at_a_time(parent: Any, child: Any) -> None:
    for _ in range(3):
        child.run("tasks.limited")
    child.run("tasks.plainly_computes")
    assert {one.reason for one in ends(child, 4).values()} == {"SoftTimeLimitExceeded"}
    assert notes(parent) == ["limited"] * 3


# -- stops ----------------------------------------------------------------------------------------------------------------


def test_a_stop_interrupts_those_that_let_it(parent: Any, child: Any, until: Any) -> None:
    numbers = {
        child.run("tasks.interrupted", "a"): "stopped",
        child.run("tasks.plainly_interrupted", "b"): "stopped",
        child.run("tasks.asks"): "succeeded",
        child.run("tasks.plainly_asks"): "succeeded",
    }
    begun(parent, until, 4)
    child.send(Recall())
    assert {number: one.status for number, one in ends(child, 4).items()} == numbers
    assert notes(parent) == ["begins"] * 4


def test_a_stop_leaves_the_others_alone(parent: Any, child: Any, until: Any) -> None:
    stopped = child.run("tasks.interrupted", "a")
    others = [child.run("tasks.waits_for", "go"), child.run("tasks.plainly_waits_for", "go")]
    begun(parent, until, 3)
    child.send(Recall())
    assert ends(child, 1)[stopped].status == "stopped"
    release(parent, "go")
    assert {number: one.status for number, one in ends(child, 2).items()} == dict.fromkeys(others, "succeeded")
    late = child.run("tasks.interrupted", "a lane that is made after it")  # what is sent after this still runs
    assert ends(child, 1)[late].status == "stopped"


def test_where_a_task_cannot_be_interrupted_it_is_told(parent: Any, child: Any) -> None:
    assert ran(child, "where_it_cannot").status == "succeeded"
    assert ran(child, "plainly_where_it_cannot").status == "succeeded"
    coroutine, thread, plain = notes(parent)
    assert "not for one that it has started" in coroutine
    assert "not for one that it has started" in thread
    assert "for the thread" in plain


def test_stop_waits_for_what_runs_and_then_the_process_ends(parent: Any, child: Any, until: Any) -> None:
    ran(child, "keeps_a_resource")
    running = [child.run("tasks.waits_for", "go"), child.run("tasks.plainly_waits_for", "go")]
    begun(parent, until, 2)
    child.send(Stop())
    for _ in running:
        child.expect(Started)
    assert child.silent(0.2)
    release(parent, "go")
    assert set(ends(child, 2)) == set(running)
    assert child.exit_code() == 0
    assert notes(parent)[-1] == "finished"  # its generator


@pytest.mark.parametrize("used", [True, False])
def test_stop_ends_an_idle_one(child: Any, used: bool) -> None:
    if used:
        ran(child, "good")
    child.send(Stop())
    assert child.exit_code() == 0


def test_no_worker_ends_it_with_all_that_runs(parent: Any, child: Any, until: Any, is_gone: Any) -> None:
    child.run("tasks.waits_for", "never")
    child.run("tasks.plainly_waits_for", "never")
    begun(parent, until, 2)
    child.channel.close()
    until(lambda: is_gone(child.pid))


# -- what has not started -------------------------------------------------------------------------------------------------


@pytest.fixture
def rated(parent: Any) -> Any:
    parent.write("tasks.py", TASKS)
    parent.write("rated.py", RUNTIME)
    return parent.start(async_slots=4, runtime="rated:Runtime")


def test_several_ask_at_a_time_and_each_gets_its_answer(rated: Any) -> None:
    numbers = [rated.run("tasks.good") for _ in range(4)]
    assert {rated.expect(MayStart).delivery_id for _ in numbers} == set(numbers)
    first, second, third, fourth = numbers
    rated.send(Admitted(fourth, 0.0))
    assert ends(rated, 1)[fourth].status == "succeeded"
    rated.send(Postponed(second, 30))
    assert ends(rated, 1)[second].status == "postponed"
    rated.send(Admitted(third, 0.3), Admitted(first, 0.0), Admitted(4711, 0.0))
    assert list(ends(rated, 2)) == [first, third]


@pytest.mark.parametrize("frame", [Recall(), Stop()])
def test_what_has_not_started_goes_back(parent: Any, rated: Any, until: Any, frame: Any) -> None:
    runs = rated.run("tasks.waits_for", "go")
    assert rated.expect(MayStart).delivery_id == runs
    rated.send(Admitted(runs, 0.0))
    rated.expect(Started)
    waiting = {rated.run("tasks.good") for _ in range(3)}
    for _ in waiting:
        rated.expect(MayStart)
    rated.send(frame)
    back: set[int] = set()
    while back != waiting:
        back.update(rated.expect(HandedBack).delivery_ids)
    release(parent, "go")
    assert ends(rated, 1)[runs].status == "succeeded"


def test_what_cannot_start_in_time_goes_back_and_leaves_room(rated: Any) -> None:
    late = rated.run("tasks.good", start_in=0.3)
    rated.expect(MayStart)
    assert rated.expect(HandedBack).delivery_ids == (late,)
    numbers = {rated.run("tasks.good") for _ in range(4)}
    assert {rated.expect(MayStart).delivery_id for _ in numbers} == numbers


def test_one_too_many_goes_back_at_once_where_nothing_runs(rated: Any) -> None:
    for _ in range(4):
        rated.run("tasks.good")
        rated.expect(MayStart)
    number = rated.run("tasks.good")
    assert rated.expect(HandedBack).delivery_ids == (number,)


def test_one_too_many_goes_back_soon_or_is_run(parent: Any, child: Any, until: Any) -> None:
    for _ in range(4):
        child.run("tasks.waits_for", "go")
    begun(parent, until, 4)
    for _ in range(4):
        child.expect(Started)
    number = child.run("tasks.good")
    assert child.expect(HandedBack).delivery_ids == (number,)
    release(parent, "go")
    ends(child, 4)
    assert ran(child, "good").status == "succeeded"


def test_calls_are_called_off_once_for_all(parent: Any, rated: Any, until: Any) -> None:
    rated.send(CallOff((CalledOff("a", time.time() + 60),)))
    until(lambda: notes(parent) == ["called off a"])


# -- coroutines that tasks have started -----------------------------------------------------------------------------------


def test_what_a_task_leaves_running_is_cancelled_and_nothing_else(parent: Any, until: Any, capfd: Any) -> None:
    child = started(parent)
    other = child.run("tasks.has_children", "go")
    begun(parent, until, 1)
    assert ran(child, "forgets", "a").status == "succeeded"
    assert notes(parent) == ["begins", "a cancelled"]
    release(parent, "go")
    assert ends(child, 1)[other].status == "succeeded"
    assert notes(parent)[-1] == "undisturbed"
    lines = [line for line in capfd.readouterr().err.splitlines() if "left" in line]
    assert len(lines) == 1, lines
    assert "tasks.forgets has ended and left 2 coroutine(s) running, which are cancelled" in lines[0]


def test_what_does_not_end_is_named_and_the_loop_goes_on(parent: Any, capfd: Any) -> None:
    child = started(parent)
    stubborn = child.run("tasks.stubborn")
    while notes(parent) != ["no"]:
        ran(child, "good")
    assert ends(child, 1)[stubborn].status == "succeeded"
    assert ran(child, "good").status == "succeeded"
    assert "tasks.stubborn: 1 of them do not end within 5 s and go on: stubborn.<locals>.child" in capfd.readouterr().err


# -- log lines ------------------------------------------------------------------------------------------------------------


def test_each_line_has_the_fields_of_its_own_task(parent: Any, until: Any, capfd: Any) -> None:
    child = started(parent, log_format="json")
    names = ("logs", "plainly_logs", "logs", "plainly_logs")
    keys = {f"k{child.run(f'tasks.{name}', 'go', f'k{number}')}": name for number, name in enumerate(names, 1)}
    text: list[str] = []

    def lines() -> list[dict[str, Any]]:
        text.append(capfd.readouterr().err)
        return json_lines("".join(text))

    until(lambda: len(lines()) == 4)
    release(parent, "go")
    ends(child, 4)
    until(lambda: len(lines()) == 10)
    for line in lines():
        key = line["message"].rpartition(" ")[2]
        assert (line["message_id"], line["task_id"]) == (f"m-{key[1:]}",) * 2
        assert line["task"] == f"tasks.{keys[key]}"


def json_lines(text: str) -> list[dict[str, Any]]:
    """Those that are complete."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]


# -- the process ----------------------------------------------------------------------------------------------------------


def test_all_lanes_count_for_max_tasks_and_one_goodbye_is_said(parent: Any, until: Any) -> None:
    """The last one has not to end first, nor has what runs beside it."""
    child = started(parent, max_tasks_per_child=5)
    others = {child.run("tasks.waits_for", "go"), child.run("tasks.plainly_waits_for", "go")}
    begun(parent, until, 2)
    for _ in range(2):
        ran(child, "good")
    last = child.run("tasks.plainly_waits_for", "go")
    assert "it has run 5 tasks" in child.expect(Leaving).reason
    assert child.expect(Started).delivery_id == last
    for _ in range(2):
        number = child.run("tasks.good")
        assert child.expect(HandedBack).delivery_ids == (number,)
    release(parent, "go")
    assert set(ends(child, 3)) == {*others, last}
    assert child.silent(0.2)
    child.send(Stop())
    assert child.exit_code() == 0


def test_signals_are_taken_back_from_a_coroutine(child: Any) -> None:
    ran(child, "signals")
    os.kill(child.pid, signal.SIGTERM)
    assert ran(child, "good").status == "succeeded"


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 1), ("exit", 3), ("end", 4), ("await", 1)])
def test_a_process_that_a_coroutine_forks_is_no_executor(parent: Any, child: Any, until: Any, how: str, code: int) -> None:
    other = child.run("tasks.ticks_until", "go")
    until(lambda: list((parent.folder / "ticks").iterdir()))
    assert ran(child, "fork", how).status == "succeeded"
    assert notes(parent) == [f"{how} {code}"]
    release(parent, "go")
    assert ends(child, 1)[other].status == "succeeded"
    assert [path.name for path in (parent.folder / "ticks").iterdir()] == [str(child.pid)]  # it went on here alone


def test_a_process_that_a_coroutines_child_forks_ends_with_that_step(parent: Any, child: Any, until: Any) -> None:
    other = child.run("tasks.ticks_until", "go")
    until(lambda: list((parent.folder / "ticks").iterdir()))
    assert ran(child, "child_forks").status == "succeeded"
    assert notes(parent) == ["1"]
    release(parent, "go")
    assert ends(child, 1)[other].status == "succeeded"
    assert [path.name for path in (parent.folder / "ticks").iterdir()] == [str(child.pid)]


@pytest.mark.parametrize("opaque", [False, True])
def test_no_other_coroutine_makes_a_step_in_a_process_that_one_forks(parent: Any, child: Any, until: Any, opaque: bool) -> None:
    if opaque:
        release(parent, "opaque")
    child.run("tasks.forks_first_in_each_turn")
    other = child.run("tasks.ticks_until", "the end")
    until(lambda: list((parent.folder / "ticks").iterdir()))
    release(parent, "fork")
    until(lambda: notes(parent))
    assert notes(parent) == ["1"]
    release(parent, "the end")
    assert ends(child, 2)[other].status == "succeeded"
    assert [path.name for path in (parent.folder / "ticks").iterdir()] == [str(child.pid)]


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 1), ("end", 4), ("coroutine", 7)])
def test_a_process_that_a_plain_task_forks_is_no_executor(parent: Any, child: Any, how: str, code: int) -> None:
    ran(child, "good")
    assert ran(child, "plainly_fork", how).status == "succeeded"
    assert notes(parent) == [f"{how} {code}"]
    assert ran(child, "good").status == "succeeded"


BROKEN = """
    from pyqs.native import NativeRuntime

    class Runtime(NativeRuntime):
        def boot(self):
            report = super().boot()
            from pyqs.executor.lanes import Lane
            Lane._clean_up = lambda self: 1 / 0
            return report
"""


def test_a_fault_in_a_lanes_own_code_ends_the_process(parent: Any, capfd: Any) -> None:
    parent.write("broken.py", BROKEN)
    child = started(parent, runtime="broken:Runtime")
    child.run("tasks.good")
    assert child.exit_code() == 70
    assert "lane 1 of executor" in capfd.readouterr().err


NO_THREADS = """
    from threading import Thread
    from pyqs.native import NativeRuntime

    class Runtime(NativeRuntime):
        def boot(self):
            report, start = super().boot(), Thread.start

            def start_or_not(thread):
                if thread.name == "pyqs-lane-2": raise RuntimeError("can't start new thread")
                start(thread)

            Thread.start = start_or_not
            return report
"""


def test_where_the_system_has_no_more_threads_it_leaves(parent: Any, until: Any) -> None:
    parent.write("poor.py", NO_THREADS)
    child = started(parent, runtime="poor:Runtime")
    first = child.run("tasks.waits_for", "go")
    begun(parent, until, 1)
    child.expect(Started)
    second = child.run("tasks.good")
    assert "it cannot start thread 2 of 4 (--async-slots): can't start new thread" in child.expect(Leaving).reason
    assert child.expect(HandedBack).delivery_ids == (second,)
    release(parent, "go")
    assert ends(child, 1)[first].status == "succeeded"
    child.send(Stop())
    assert child.exit_code() == 0


HOOKED = """
    from pyqs.native import NativeRuntime

    class Runtime(NativeRuntime):
        def after_fork(self):
            super().after_fork()
            from tasks import variable
            variable.set("hooked")
"""


def test_what_hooks_have_set_in_their_context_every_task_sees(parent: Any) -> None:
    parent.write("hooked.py", HOOKED)
    child = started(parent, runtime="hooked:Runtime")
    for name in ("sets", "plainly_sets") * 2:
        ran(child, name, name)
    assert {line.partition(" ")[0] for line in notes(parent)} == {"hooked"}


def test_a_frame_for_somebody_else_ends_the_process(child: Any) -> None:
    child.send(Leaving("no"))
    assert child.exit_code() == 70
