"""The thread that makes executors and the host: every request is answered, also when the thread is at its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs.config import RuntimeConfig, WorkerConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.worker.spawner import ForkserverSpawner
from pyqs.worker.worker import Worker

PATIENCE = 30.0


class Answers:
    """What became of each request, in order."""

    def __init__(self) -> None:
        self.all: queue.Queue[tuple[Any, ...]] = queue.Queue()

    def arrived(self, slot: Any) -> None:
        self.all.put(("arrived", slot))

    def failed(self, number: int, exc: BaseException) -> None:
        self.all.put(("failed", number, type(exc)))

    def next(self) -> tuple[Any, ...]:
        return self.all.get(timeout=PATIENCE)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def spawner() -> Iterator[ForkserverSpawner]:
    """Without a forkserver: tests say what is made."""
    crashes: list[BaseException] = []
    spawner = ForkserverSpawner(RuntimeConfig(), lambda _, exc: crashes.append(exc))
    spawner.crashes = crashes  # type: ignore[attr-defined]
    yield spawner
    spawner.stop()
    assert spawner.join(PATIENCE)


def test_a_crash_answers_what_was_asked_and_what_is_asked_later(
    spawner: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner, "_spawn", lambda number: 1 / 0)
    for number in range(2):
        spawner.request(number, answers.arrived, answers.failed)
    spawner.request_host(answers.arrived, answers.failed)
    spawner.start()
    assert answers.next() == ("failed", 0, ZeroDivisionError)
    assert answers.next() == ("failed", 1, EOFError)
    assert answers.next() == ("failed", -1, EOFError)
    assert spawner.join(PATIENCE)
    assert [type(exc) for exc in spawner.crashes] == [ZeroDivisionError]
    spawner.request(2, answers.arrived, answers.failed)
    assert answers.next() == ("failed", 2, EOFError)


def test_the_host_can_be_made_when_executors_are_wanted_no_more(
    spawner: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def spawn(number: int | None) -> str:
        begun.set()
        assert go_on.wait(PATIENCE)
        return "host" if number is None else "executor"

    monkeypatch.setattr(spawner, "_spawn", spawn)
    killed: list[bool] = []
    monkeypatch.setattr(spawner, "_kill_server", lambda: killed.append(True))
    spawner.request_host(answers.arrived, answers.failed)
    spawner.start()
    assert begun.wait(PATIENCE)
    spawner.request(0, answers.arrived, answers.failed)
    spawner.cancel()
    assert answers.next() == ("failed", 0, EOFError), "it does not wait for the host"
    assert not killed
    go_on.set()
    assert answers.next() == ("arrived", "host")
    spawner.request(1, answers.arrived, answers.failed)
    assert answers.next() == ("failed", 1, EOFError)
    spawner.request_host(answers.arrived, answers.failed)
    assert answers.next() == ("arrived", "host")


def test_an_executor_that_is_being_made_is_given_up_by_the_end_of_its_forkserver(
    spawner: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, begun = threading.Event(), threading.Event()

    def spawn(number: int | None) -> None:
        begun.set()
        assert dead.wait(PATIENCE)
        raise EOFError

    monkeypatch.setattr(spawner, "_spawn", spawn)
    monkeypatch.setattr(spawner, "_kill_server", dead.set)
    spawner.request(0, answers.arrived, answers.failed)
    spawner.start()
    assert begun.wait(PATIENCE)
    spawner.cancel()
    assert answers.next() == ("failed", 0, EOFError)


@pytest.mark.parametrize("app", [None, "proj"])
def test_a_worker_whose_spawner_crashes_ends_with_1(monkeypatch: pytest.MonkeyPatch, app: str | None) -> None:
    store = Store()
    sqs = InProcessSqs(store)
    sqs.create_queue("jobs")
    monkeypatch.setattr(ForkserverSpawner, "prepare", lambda self: None)
    monkeypatch.setattr(ForkserverSpawner, "_spawn", lambda self, number: 1 / 0)
    config = WorkerConfig(("jobs",), runtime=RuntimeConfig(app=app), wait=1, concurrency=2, shutdown_timeout=5.0)
    codes: list[int] = []
    worker = Worker(config, sqs)
    thread = threading.Thread(target=lambda: codes.append(worker.run()), daemon=True)
    thread.start()
    thread.join(30)
    assert codes == [1]
    store.close()
