"""``interruptible`` and ``should_stop``: where the exception comes, where it does not, and that none is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pyqs import ShutdownRequested, interruptible, interruption, should_stop
from pyqs.executor.limits import STOP_SIGNAL, serve_interruptions


@pytest.fixture
def shutdown(monkeypatch: pytest.MonkeyPatch) -> Iterator[interruption.Shutdown]:
    """This process is an executor, for one test."""
    before = signal.getsignal(STOP_SIGNAL)
    fresh = interruption.Shutdown()
    monkeypatch.setattr(interruption, "shutdown", fresh)
    monkeypatch.setattr("pyqs.executor.limits.shutdown", fresh)
    serve_interruptions()
    yield fresh
    signal.signal(STOP_SIGNAL, before or signal.SIG_DFL)


def test_outside_a_worker_nothing_happens() -> None:
    assert not should_stop()
    with interruptible():
        pass
    code = (
        "import threading, pyqs\nassert not pyqs.should_stop()\n"
        "def run():\n    with pyqs.interruptible(): print('ran')\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "ran\n"


def test_a_stop_breaks_the_block_off(shutdown: interruption.Shutdown) -> None:
    threading.Timer(0.05, shutdown.begin).start()
    with pytest.raises(ShutdownRequested), interruptible():
        threading.Event().wait(30)
    assert should_stop()


def test_a_stop_that_has_begun_does_not_let_it_begin(shutdown: interruption.Shutdown) -> None:
    shutdown.begin()
    with pytest.raises(ShutdownRequested), interruptible():
        pytest.fail("it began")
    shutdown.strike()  # and nothing is left of it


def test_outside_the_block_nothing_is_raised(shutdown: interruption.Shutdown) -> None:
    with interruptible():
        pass
    shutdown.begin()
    signal.raise_signal(STOP_SIGNAL)
    assert should_stop()


def test_a_signal_that_comes_late_hits_nothing(shutdown: interruption.Shutdown) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {STOP_SIGNAL})
    try:
        with interruptible():
            shutdown.begin()  # sent, and not delivered yet
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {STOP_SIGNAL})
    assert should_stop()


def test_it_is_no_exception_that_a_task_swallows(shutdown: interruption.Shutdown) -> None:
    swallowed: list[Exception] = []

    def task() -> None:
        try:
            shutdown.begin()
        except Exception as exc:
            swallowed.append(exc)

    with pytest.raises(ShutdownRequested), interruptible():
        task()
    assert not swallowed


def test_a_block_in_a_block_is_broken_off_once(shutdown: interruption.Shutdown) -> None:
    with interruptible():
        with pytest.raises(ShutdownRequested), interruptible():
            shutdown.begin()
        cleaned_up = True
        shutdown.strike()  # the outer block had its exception
    assert cleaned_up
    with pytest.raises(ShutdownRequested), interruptible():
        pass


def test_the_end_of_an_inner_block_leaves_the_outer_one(shutdown: interruption.Shutdown) -> None:
    def task() -> None:
        with interruptible():
            pass
        shutdown.begin()

    with pytest.raises(ShutdownRequested), interruptible():
        task()


def test_no_block_outlives_its_task(shutdown: interruption.Shutdown) -> None:
    def forgotten() -> Iterator[int]:
        with interruptible():
            yield 1

    generator = forgotten()
    next(generator)
    shutdown.task_ended()
    shutdown.begin()
    signal.raise_signal(STOP_SIGNAL)
    generator.close()
    assert shutdown.depth == 0


def test_another_thread_of_an_executor_is_told_that_it_cannot(shutdown: interruption.Shutdown) -> None:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            with interruptible():
                pass
        except BaseException as exc:
            caught.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert isinstance(caught[0], RuntimeError)


def test_a_storm_of_signals_at_the_edges_raises_inside_or_not_at_all(shutdown: interruption.Shutdown) -> None:
    """Whatever statement the signal comes between, the depth is right and nothing escapes the with statement."""
    for _ in range(300):
        shutdown.begun = False
        start = threading.Event()

        def begin(start: threading.Event = start) -> None:
            start.wait()
            shutdown.begin()

        thread = threading.Thread(target=begin)
        thread.start()
        start.set()
        try:
            for _ in range(20):
                with interruptible():
                    pass
        except ShutdownRequested:
            pass
        thread.join()
        assert shutdown.depth == 0
