"""A coroutine run to its end: its loop, what it leaves behind, and what is thrown into it from outside."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyqs import coroutines
from pyqs.interruption import ShutdownRequested

SIGNAL = signal.SIGRTMIN + 9


class Late(Exception):
    pass


@pytest.fixture(autouse=True)
def _no_loop_of_another_test() -> Iterator[None]:
    coroutines.close()
    yield
    coroutines.close()


@pytest.fixture
def strike_in() -> Iterator[Callable[..., list[str]]]:
    """Strikes with an error after so many seconds, by a signal, as an executor does."""
    before = signal.getsignal(SIGNAL)
    timers: list[threading.Timer] = []
    asked: list[str] = []
    main = threading.get_ident()

    def strike(seconds: float, error: BaseException | None) -> list[str]:
        def take() -> BaseException | None:
            asked.append("asked")
            return error

        signal.signal(SIGNAL, lambda _signum, frame: coroutines.strike(frame, take))
        timers.append(threading.Timer(seconds, lambda: signal.pthread_kill(main, SIGNAL)))
        timers[-1].start()
        return asked

    yield strike
    for timer in timers:
        timer.join()
    signal.signal(SIGNAL, before or signal.SIG_DFL)


def run(function: Callable[[], Any], **options: Any) -> Any:
    return coroutines.run(function(), "t", **options)


async def loop_now() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_its_answer_and_what_it_raises() -> None:
    async def answers() -> int:
        await asyncio.sleep(0)
        return 7

    async def fails() -> None:
        await asyncio.sleep(0)
        raise Late("no")

    assert run(answers) == 7
    with pytest.raises(Late, match="no"):
        run(fails)
    assert run(answers) == 7


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, ShutdownRequested, asyncio.CancelledError])
def test_what_is_no_exception_is_raised_too_and_the_loop_lives_on(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def leaves() -> None:
        await asyncio.sleep(0)
        raise error

    before = run(loop_now)
    with pytest.raises(error):
        run(leaves)
    assert run(loop_now) is before
    assert caplog.records == []


def test_the_loop_is_kept_until_it_is_closed() -> None:
    first = run(loop_now)
    assert run(loop_now) is first
    assert coroutines.in_use()
    coroutines.close()
    assert first.is_closed()
    assert not coroutines.in_use()
    assert run(loop_now) is not first


def test_a_loop_of_its_own_is_closed_at_its_end() -> None:
    first = run(loop_now, keep=False)
    assert first.is_closed()
    assert not coroutines.in_use()


def test_inside_of_a_running_loop_it_has_a_thread_and_the_callers_context() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def inner() -> tuple[int, asyncio.AbstractEventLoop, threading.Thread]:
        await asyncio.sleep(0)
        return variable.get(), asyncio.get_running_loop(), threading.current_thread()

    async def outer() -> None:
        variable.set(5)
        value, loop, thread = coroutines.run(inner(), "t")
        assert value == 5
        assert loop is not asyncio.get_running_loop()
        assert loop.is_closed()
        assert thread is not threading.current_thread()
        with pytest.raises(Late):
            coroutines.run(fails(), "t")

    async def fails() -> None:
        raise Late

    asyncio.run(outer())


def test_each_has_a_context_of_its_own() -> None:
    variable = contextvars.ContextVar("variable", default="fresh")

    async def sets() -> str:
        found = variable.get()
        variable.set("used")
        return found

    assert [run(sets), run(sets), variable.get()] == ["fresh"] * 3


def test_what_it_leaves_running_is_cancelled_and_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ends.append("cancelled")

    async def starts() -> None:
        for _ in range(2):
            starts.left = asyncio.create_task(forever())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING):
        run(starts)
    (record,) = caplog.records
    assert "t has ended and left 2 coroutine(s) running" in record.getMessage()
    assert "forever" in record.getMessage()
    assert ends == ["cancelled"] * 2


def test_what_ends_at_once_is_not_left_running(caplog: pytest.LogCaptureFixture) -> None:
    async def short() -> None:
        await asyncio.sleep(0)

    async def starts() -> None:
        starts.left = asyncio.create_task(short())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run(starts)
    assert caplog.records == []


def test_what_does_not_end_costs_the_loop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(coroutines, "PATIENCE", 0.05)

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    async def starts() -> asyncio.AbstractEventLoop:
        starts.left = asyncio.create_task(stubborn())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    first = run(starts)
    assert "given up" in caplog.text
    assert first.is_closed()
    assert run(loop_now) is not first


def test_a_strike_reaches_it_where_it_waits(strike_in: Any) -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        except Late:
            seen.append("inner")
            raise

    async def outer() -> str:
        try:
            await inner()
        except Late:
            seen.append("outer")
        await asyncio.sleep(0.01)  # not a cancellation that goes on
        return "cleaned up"

    asked = strike_in(0.05, Late())
    assert run(outer) == "cleaned up"
    assert (seen, asked) == (["inner", "outer"], ["asked"])


def test_a_strike_reaches_it_where_it_computes(strike_in: Any) -> None:
    async def computes() -> None:
        while True:
            sum(range(1000))

    strike_in(0.05, Late())
    with pytest.raises(Late):
        run(computes)


def test_a_strike_reaches_it_where_it_blocks(strike_in: Any) -> None:
    async def blocks() -> None:
        time.sleep(60)

    strike_in(0.05, Late())
    with pytest.raises(Late):
        run(blocks)


def test_a_strike_cancels_what_it_waits_for(strike_in: Any) -> None:
    seen: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(60)
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise

    async def waits() -> None:
        await asyncio.gather(child(), child())

    strike_in(0.05, Late())
    with pytest.raises(Late):
        run(waits)
    assert seen == ["CancelledError"] * 2


def test_a_strike_while_a_child_computes_is_the_parents(strike_in: Any) -> None:
    seen: list[str] = []

    async def child() -> None:
        try:
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                sum(range(100))
            await asyncio.sleep(60)
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise

    async def waits() -> None:
        await asyncio.create_task(child())

    strike_in(0.1, Late())
    with pytest.raises(Late):
        run(waits)
    assert seen == ["CancelledError"]


def test_a_child_that_swallows_its_cancellation_does_not_swallow_the_strike(strike_in: Any) -> None:
    async def child() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        return "all the same"

    async def waits() -> str:
        return await asyncio.create_task(child())

    strike_in(0.05, Late())
    with pytest.raises(Late):
        run(waits)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with 3.11")
def test_to_asyncios_timeouts_a_strike_is_no_cancellation(strike_in: Any) -> None:
    async def waits() -> str:
        try:
            async with asyncio.timeout(60):
                await asyncio.sleep(60)
        except Late:
            pass
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            return "a timeout as ever"
        return "no timeout"

    strike_in(0.05, Late())
    assert run(waits) == "a timeout as ever"


def test_a_strike_that_comes_too_late_is_nothing(strike_in: Any) -> None:
    async def waits() -> str:
        await asyncio.sleep(0.2)
        return "undisturbed"

    asked = strike_in(0.05, None)
    assert run(waits) == "undisturbed"
    assert asked == ["asked"]


def test_without_a_coroutine_it_is_raised_where_it_comes(strike_in: Any) -> None:
    strike_in(0.05, Late())
    with pytest.raises(Late):
        time.sleep(60)


def test_a_strike_ends_what_a_coroutine_has_run_in_place(strike_in: Any) -> None:
    ends: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ends.append("cancelled")

    async def outer() -> None:
        coroutines.run(inner(), "inner")

    strike_in(0.1, Late())
    with pytest.raises(Late):
        run(outer)
    assert ends == ["cancelled"]


def test_its_generators_are_finished_when_the_loop_is_closed() -> None:
    ends: list[str] = []

    async def numbers() -> Any:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            ends.append("finished")

    kept = numbers()

    async def takes_one() -> None:
        await kept.__anext__()

    run(takes_one)
    assert ends == []
    coroutines.close()
    assert ends == ["finished"]


def test_a_storm_of_strikes_at_the_edges_reaches_a_coroutine_or_nothing(strike_in: Any) -> None:
    """Whatever step the signal comes between: it is raised by ``run``, or not at all, and the next one runs undisturbed."""

    async def short() -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0.0005)
        return "ended"

    async def next_one() -> str:
        await asyncio.sleep(0)
        return "next"

    run(next_one)
    for number in range(150):
        over = False
        main, struck = threading.get_ident(), threading.Event()

        def take() -> BaseException | None:
            return None if over else Late()  # noqa: B023 - as disarm() does it

        signal.signal(SIGNAL, lambda _signum, frame: coroutines.strike(frame, take))

        def hit(delay: float = number * 1e-5) -> None:
            time.sleep(delay)
            signal.pthread_kill(main, SIGNAL)  # noqa: B023
            struck.set()  # noqa: B023

        thread = threading.Thread(target=hit)
        try:
            try:
                thread.start()
                assert run(short) == "ended"
            finally:
                over = True
        except Late:
            pass
        assert run(next_one) == "next"
        struck.wait()
        thread.join()


def test_asyncio_is_loaded_when_it_is_needed() -> None:
    code = "import sys, pyqs.coroutines, pyqs.native; print('asyncio' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
