"""A soft limit or a stop reaches the one task that it is for, in its thread or in the shared loop, and each once."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyqs import coroutines
from pyqs.called_off import CalledOffCalls
from pyqs.executor.lane_interrupts import LaneInterrupts
from pyqs.executor.limits import SOFT_LIMIT_SIGNAL
from pyqs.executor.shared_loop import SharedLoop, SharedRun
from pyqs.interruption import GivenUp, ShutdownRequested, have_own, interruptible, should_stop


class Late(Exception):
    """A soft limit."""


class TheLane:
    """A thread with a limit of its own, whose coroutines are run in the loop."""

    def __init__(self, loop: SharedLoop) -> None:
        self.loop = loop
        self.limit = LaneInterrupts(CalledOffCalls())
        self.in_use = False

    def run(self, body: Any, name: str) -> Any:
        """As a lane does it."""
        return self.limit.wait_for(self.loop, body, name)

    def task(self, body: Callable[[], Any], seconds: float | None = None) -> Any:
        """What a task answers, or what it raises."""
        self.limit.settle_in()
        coroutines.run_at(self)
        try:
            self.limit.arm(seconds, Late)
            try:
                return contextvars.copy_context().run(self._in_context, body)
            finally:
                self.limit.disarm()
                self.limit.shutdown.task_ended()
        except BaseException as exc:
            return type(exc)

    def _in_context(self, body: Callable[[], Any]) -> Any:
        have_own(self.limit.shutdown)
        return body()


@pytest.fixture
def loop() -> Iterator[SharedLoop]:
    before = signal.getsignal(SOFT_LIMIT_SIGNAL)
    loop = SharedLoop(4)
    yield loop
    loop.close()
    signal.signal(SOFT_LIMIT_SIGNAL, before or signal.SIG_DFL)


def in_threads(loop: SharedLoop, *works: Callable[[], Any]) -> list[Any]:
    """Run these in a thread each, while the loop is served here; what they answer."""
    answers: dict[int, Any] = {}

    def work(number: int) -> None:
        answers[number] = works[number]()
        if len(answers) == len(works):
            loop.end()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(works))]
    for thread in threads:
        thread.start()
    loop.serve()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(works))]


async def short() -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0.0005)
    return "ended"


def coroutine() -> Any:
    return coroutines.run(short(), "short")


async def groups() -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(short())
        group.create_task(short())
    return "ended"


def group() -> Any:
    try:
        return coroutines.run(groups(), "groups")
    except Exception as exc:  # raised before it waits for the group it comes in one
        raise (exc if isinstance(exc, Late) else exc.exceptions[0]) from None  # type: ignore[attr-defined]


def plain() -> str:
    until = time.monotonic() + 0.0005
    while time.monotonic() < until:
        time.sleep(0)  # others have their turn
    return "ended"


def both() -> str:
    for _ in range(4):
        plain()
        coroutine()
    return "ended"


#: asyncio's own groups are of Python 3.11.
BODIES = [coroutine, plain, both] + ([group] if sys.version_info >= (3, 11) else [])


def storm(loop: SharedLoop, attempt: Callable[[TheLane, int], Any]) -> tuple[list[Any], set[tuple[Any, bool]]]:
    """What 200 attempts in one lane have given while its limit fires all the time; how the tasks of another lane ended, and
    whether one was given up."""
    lane, other = TheLane(loop), TheLane(loop)
    over = threading.Event()
    outcomes: list[Any] = []
    others: list[tuple[Any, bool]] = []

    def fires() -> None:
        while not over.is_set():
            lane.limit.fire()
            time.sleep(0.0001)

    def runs() -> None:
        try:
            outcomes.extend(attempt(lane, number) for number in range(200))
        finally:
            over.set()

    def is_beside() -> None:
        while not over.is_set():
            others.append((other.task(both), other.limit.was_given_up))

    in_threads(loop, runs, is_beside, fires)
    return outcomes, set(others)


@pytest.mark.parametrize("body", BODIES)
def test_a_storm_at_the_edges_reaches_its_task_or_nothing(loop: SharedLoop, body: Callable[[], Any]) -> None:
    """Whatever step it comes between: it is raised in the task, or not at all, and others run undisturbed."""
    outcomes, others = storm(loop, lambda lane, number: lane.task(body, number * 2e-5))
    assert set(outcomes) <= {"ended", Late}
    assert Late in outcomes
    assert others == {("ended", False)}


@pytest.mark.parametrize("body", [coroutine, plain, both])
def test_a_storm_of_hard_limits_gives_up_what_it_has_ended_and_nothing_else(loop: SharedLoop, body: Callable[[], Any]) -> None:
    def attempt(lane: TheLane, number: int) -> tuple[Any, bool]:
        lane.limit.expect("", number * 2e-5)
        return lane.task(body), lane.limit.was_given_up

    outcomes, others = storm(loop, attempt)
    assert {("ended" if end == "ended" else issubclass(end, GivenUp), given_up) for end, given_up in outcomes} <= {
        ("ended", False),
        (True, True),
        (True, False),  # raised at its very end: it has ended
    }
    assert any(given_up for _, given_up in outcomes)
    assert others == {("ended", False)}


def test_a_limit_that_has_passed_is_raised_once_wherever_the_task_is(loop: SharedLoop) -> None:
    lane = TheLane(loop)
    seen: list[str] = []
    over = threading.Event()

    def stubborn() -> str:
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            try:
                both()
            except Late:
                seen.append("late")
        return "ended"

    def fires() -> None:
        while not over.wait(0.0001):
            lane.limit.fire()

    def runs() -> list[Any]:
        try:
            return [lane.task(stubborn, 0.001 * number) for number in range(1, 16)]
        finally:
            over.set()

    answers, _ = in_threads(loop, runs, fires)
    assert answers == ["ended"] * 15
    assert seen == ["late"] * 15


def blocks() -> str:
    for _ in range(10):
        with interruptible():
            plain()
    return "ended"


def coroutine_of_blocks() -> Any:
    async def blocks() -> str:
        for _ in range(5):
            with interruptible():
                await short()
            plain()
        return "ended"

    return coroutines.run(blocks(), "blocks")


def blocks_in_blocks() -> str:
    for _ in range(5):
        with interruptible():
            plain()
            with interruptible():
                plain()
            plain()
    return "ended"


@pytest.mark.parametrize("body", [blocks, blocks_in_blocks, coroutine_of_blocks])
def test_a_storm_of_stops_ends_a_block_and_leaves_no_depth(loop: SharedLoop, body: Callable[[], Any]) -> None:
    lane, other = TheLane(loop), TheLane(loop)
    begins = [threading.Event() for _ in range(100)]
    over = threading.Event()
    outcomes: list[Any] = []

    def stops() -> None:
        for number, begin in enumerate(begins):
            begin.wait()
            time.sleep(number * 2e-5)
            lane.limit.shutdown.begin()

    def runs() -> None:
        for begin in begins:
            lane.limit.shutdown.begun = False
            begin.set()
            outcomes.append(lane.task(body))
            assert lane.limit.shutdown.depth == 0
        over.set()

    def is_beside() -> list[Any]:
        seen = []
        while not over.is_set():
            seen.append(other.task(body))
        return [*seen, should_stop()]

    _, seen, _ = in_threads(loop, runs, is_beside, stops)
    assert set(outcomes) <= {"ended", ShutdownRequested}
    assert ShutdownRequested in outcomes
    assert set(seen) == {"ended", False}


def test_what_is_thrown_into_a_plain_task_does_not_reach_the_coroutine_that_it_runs_next(loop: SharedLoop) -> None:
    lane = TheLane(loop)
    began: list[str] = []

    async def never() -> None:
        began.append("began")

    def body() -> None:
        deadline = time.monotonic() + 10
        lane.limit.throw(Late)  # as the reader does, which is thrown here after the next step
        assert time.monotonic() < deadline
        coroutines.run(never(), "never")

    assert in_threads(loop, lambda: lane.task(body)) == [Late]
    assert began == []


def test_a_limit_before_the_first_step_ends_it_unstarted(loop: SharedLoop) -> None:
    lane = TheLane(loop)

    async def never() -> None:
        pytest.fail("it began")

    def body() -> Any:
        run = SharedRun(loop, never(), "never", Late)
        run.strike()
        return run.to_its_end()

    assert in_threads(loop, lambda: lane.task(body)) == [Late]


def test_soft_limit_and_stop_at_once_come_one_after_the_other(loop: SharedLoop) -> None:
    lane = TheLane(loop)
    seen: list[str] = []

    async def waits() -> str:
        with interruptible():
            try:
                await asyncio.sleep(60)
            except Late:
                seen.append("late")
            await asyncio.sleep(60)
        return "never"

    def stops() -> None:
        while not lane.limit.shutdown.depth:
            time.sleep(0.001)
        lane.limit.fire()
        lane.limit.shutdown.begin()

    assert in_threads(loop, lambda: lane.task(lambda: coroutines.run(waits(), "waits"), 0.0), stops)[0] is ShutdownRequested
    assert seen == ["late"]


def test_nothing_is_raised_in_asyncios_own_code(loop: SharedLoop) -> None:
    """A strike that finds the coroutine there comes again."""
    lane = TheLane(loop)
    over = threading.Event()
    where: list[str] = []

    async def calls() -> None:
        try:
            while True:
                asyncio.get_running_loop().time()
        except Late as exc:
            frame = exc.__traceback__
            while frame is not None:
                where.append(frame.tb_frame.f_globals["__name__"])
                frame = frame.tb_next
            raise

    def fires() -> None:
        while not over.wait(0.001):
            lane.limit.fire()

    def runs() -> list[Any]:
        try:
            return [lane.task(lambda: coroutines.run(calls(), "calls"), 0.01) for _ in range(10)]
        finally:
            over.set()

    assert in_threads(loop, runs, fires)[0] == [Late] * 10
    assert not any(name.startswith("asyncio") for name in where)


def test_a_process_that_is_forked_in_a_block_waits_for_no_lock(loop: SharedLoop) -> None:
    lane = TheLane(loop)

    def body() -> int:
        with lane.limit._lock:  # as the reader may have it
            pid = os.fork()
        if pid == 0:
            lane.limit._lock.acquire(blocking=False)
            with interruptible():
                pass
            lane.limit.disarm()
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_threads(loop, lambda: lane.task(body)) == [7]
