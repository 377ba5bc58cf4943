"""What the engine tests share: a worker's threads against an SQS in this process, with executors that are played by the test.

No child process: an executor is the other end of a socket pair, and the test decides what it says and when.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig, WorkerConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import Delete, Delivery, OutgoingMessage, ReceivedMessage, Verdict
from pyqs.start_note import StartNote, memory
from pyqs.wire import Done, Frame, FrameReader, HandedBack, Ready, Run, Started, Stop, encode
from pyqs.worker.health import Health
from pyqs.worker.slot import Slot
from pyqs.worker.worker import Worker

PATIENCE = 30.0
F = TypeVar("F")


class Actor:
    """An executor as the worker sees it. By default it answers nothing by itself.

    Parameters:
        note: where it notes what it starts; without it, it tells.
    """

    def __init__(self, number: int, channel: socket.socket, *, auto: bool, note: StartNote | None = None) -> None:
        self.number = number
        self._note = note
        self.frames: queue.Queue[Frame] = queue.Queue()
        self.gone = threading.Event()
        self._channel = channel
        self._auto = auto
        self._running: set[int] = set()
        self._stopping = False
        #: It does not leave when it is told to stop.
        self.stays = False
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, *frames: Frame) -> None:
        self._channel.sendall(b"".join(map(encode, frames)))

    def ready(self) -> None:
        self.say(Ready(1000 + self.number, 999, ("tasks.a", "tasks.b"), 1))

    def expect(self, kind: type[F], timeout: float = PATIENCE) -> F:
        """The next frame, which must be of this kind."""
        frame = self.frames.get(timeout=timeout)
        assert isinstance(frame, kind), frame
        return frame

    def started(self, run: Run, **fields: Any) -> None:
        frame = Started(run.delivery.id, "tasks.a", "call", **fields)
        if self._note is None or not self._note.write(frame):
            self.say(frame)

    def done(self, run: Run, verdict: Verdict | None = None, status: str = "succeeded", **fields: Any) -> None:
        self.say(Done(run.delivery.id, verdict or Delete(), status=status, task="tasks.a", call_id="call", **fields))
        self._running.discard(run.delivery.id)
        self._leave()

    def hand_back(self, *runs: Run) -> None:
        self.say(HandedBack(tuple(run.delivery.id for run in runs)))

    def die(self) -> None:
        self._channel.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        reader = FrameReader()
        while data := self._recv():
            for frame in reader.feed(data):
                self._take(frame)
        self.gone.set()

    def _recv(self) -> bytes:
        try:
            return self._channel.recv(65536)
        except OSError:
            return b""

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Run):
            self._running.add(frame.delivery.id)
        self._stopping = self._stopping or isinstance(frame, Stop)
        self.frames.put(frame)
        if self._auto and isinstance(frame, Run):
            self.started(frame)
            self.done(frame)
        self._leave()

    def _leave(self) -> None:
        if self._stopping and not self._running and not self.stays:
            self.die()


@dataclass
class Stage:
    """Makes actors when the pool asks for executors."""

    auto: bool = False
    make_ready: bool = True
    #: Executors note their starts, as real ones do.
    notes: bool = True
    #: How many deliveries each runs at a time; with more than one it tells of each start.
    lanes: int = 1
    actors: queue.Queue[Actor] = field(default_factory=queue.Queue)
    hosts: queue.Queue[Actor] = field(default_factory=queue.Queue)
    without: list[int] = field(default_factory=list)
    news: bool = True
    #: Why no executor can be made, and how often that was said.
    refusal: Exception | None = None
    refused: int = 0

    def request(self, number: int, arrived: Callable[[Slot], None], failed: Callable[[int, Exception], None]) -> None:
        if self.refusal is not None:
            self.refused += 1
            failed(number, self.refusal)
            return
        ours, theirs = socket.socketpair()
        note = _both_sides() if self.notes and self.lanes == 1 else (None, None)
        actor = Actor(number, theirs, auto=self.auto, note=note[0])
        arrived(Slot(number, ours, note=note[1], lanes=self.lanes))
        if self.make_ready:
            actor.ready()
        self.actors.put(actor)

    def request_host(self, arrived: Callable[[Slot], None], failed: Callable[[int, Exception], None]) -> None:
        ours, theirs = socket.socketpair()
        host = Actor(-1, theirs, auto=False)
        arrived(Slot(-1, ours, name="the host"))
        if self.make_ready:
            host.ready()
        self.hosts.put(host)

    def without_preload(self, forkserver_pid: int) -> bool:
        self.without.append(forkserver_pid)
        news, self.news = self.news, False
        return news

    def cancel(self) -> None:
        """Nothing is ever on its way here."""

    def next(self) -> Actor:
        return self.actors.get(timeout=PATIENCE)

    def next_host(self) -> Actor:
        return self.hosts.get(timeout=PATIENCE)


def _both_sides() -> tuple[StartNote, StartNote]:
    fd = memory()
    try:
        return StartNote(fd), StartNote(fd)
    finally:
        os.close(fd)


@dataclass
class Running:
    """A worker whose main thread is a thread of the test."""

    worker: Worker
    thread: threading.Thread
    codes: list[int]

    def exit_code(self, timeout: float = 15.0) -> int:
        self.thread.join(timeout)
        assert self.codes, "the worker has not ended"
        return self.codes[0]


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.close()


@pytest.fixture
def sqs(store: Store) -> InProcessSqs:
    return InProcessSqs(store)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def start(sqs: InProcessSqs, stage: Stage) -> Iterator[Callable[..., Running]]:
    """Start a worker on ``jobs`` (or other queues) with played executors."""
    everyone: list[Running] = []

    def start(*queues: str, wait_ready: bool = True, health: Health | None = None, **settings: Any) -> Running:
        settings = {"runtime": RuntimeConfig(), "wait": 1, "concurrency": 1, "shutdown_timeout": 5.0, **settings}
        config = WorkerConfig(queues or ("jobs",), **settings)
        worker = Worker(config, sqs, spawner=stage, health=health)
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(worker.run()), daemon=True)
        running = Running(worker, thread, codes)
        everyone.append(running)
        thread.start()
        if wait_ready:
            assert worker.wait_ready(PATIENCE)
        return running

    yield start
    for running in everyone:
        if running.thread.is_alive():
            running.worker.stop()
            running.worker.stop()
            running.thread.join(15)


@pytest.fixture
def send(sqs: InProcessSqs) -> Callable[..., str]:
    """Send one message; its id."""

    def send(name: str, body: str = "{}", **fields: Any) -> str:
        return sqs.send(sqs.queue_url(name), OutgoingMessage(body, **fields)).message_id

    return send


@pytest.fixture
def counts(store: Store) -> Callable[[str], tuple[int, int, int]]:
    """(visible, hidden, delayed) of a queue."""

    def counts(name: str) -> tuple[int, int, int]:
        found = store.queue_attributes(name)
        kinds = ("", "NotVisible", "Delayed")
        visible, hidden, delayed = (int(found[f"ApproximateNumberOfMessages{kind}"]) for kind in kinds)
        return visible, hidden, delayed

    return counts


@pytest.fixture
def until() -> Callable[..., None]:
    """Look until it is true."""

    def until(happened: Callable[[], Any], timeout: float = PATIENCE) -> None:
        deadline = boottime() + timeout
        pause = threading.Event()
        while not happened():
            assert boottime() < deadline, f"not within {timeout} s"
            pause.wait(0.01)

    return until


@pytest.fixture
def deliver() -> Callable[..., Delivery]:
    """A delivery that was received just now, or at ``at``."""
    numbers = iter(range(1, 1_000_000))

    def deliver(
        queue: str = "jobs", *, at: float | None = None, visibility: int = 120, count: int = 1, group: str | None = None,
        handle: str | None = None, message_id: str | None = None, body: str = "{}", url: str | None = None,
    ) -> Delivery:  # fmt: skip
        number = next(numbers)
        attributes = {"ApproximateReceiveCount": str(count)} | ({"MessageGroupId": group} if group else {})
        message = ReceivedMessage(message_id or f"m{number}", handle or f"h{number}", body, attributes)
        received_at = boottime() if at is None else at
        return Delivery(number, queue, url or f"http://sqs/1/{queue}", message, received_at, 0.0, visibility)

    return deliver
