"""A small parent for real executors: it starts forkserver children, speaks frames with them, and leaves none behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.executor import main, preload
from pyqs.message import Delivery, ReceivedMessage
from pyqs.start_note import StartNote, memory
from pyqs.wire import Frame, FrameReader, Ready, Run, encode

#: Seconds in which anything here must have happened.
PATIENCE = 20.0
F = TypeVar("F")


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that nobody reaps has)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def wait_until(happened: Callable[[], bool], timeout: float = PATIENCE) -> float:
    """Look every 10 ms until it has happened; the seconds it took."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < timeout, f"not within {timeout} s"
        time.sleep(0.01)
    return time.monotonic() - began


@dataclass
class Child:
    """One executor and the worker's end of its pipe; ``note`` if it notes what it starts, instead of telling."""

    process: Any
    channel: socket.socket
    lifeline: Any
    note: StartNote | None = None
    inbox: list[Frame] = field(default_factory=list)
    reader: FrameReader = field(default_factory=FrameReader)
    last_id: int = 0

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def send(self, *frames: Frame) -> None:
        self.channel.settimeout(PATIENCE)
        self.channel.sendall(b"".join(map(encode, frames)))

    def run(self, task: str, *args: Any, start_in: float = 600.0, body: str | None = None, **kwargs: Any) -> int:
        """Send one native call; its delivery id."""
        self.last_id += 1
        text = json.dumps({"task": task, "args": args, "kwargs": kwargs}) if body is None else body
        message = ReceivedMessage(f"m-{self.last_id}", f"handle-{self.last_id}", text, {"ApproximateReceiveCount": "1"})
        delivery = Delivery(self.last_id, "email", "http://sqs/1/email", message, boottime(), time.time(), 120)
        self.send(Run(delivery, boottime() + start_in))
        return self.last_id

    def next(self, timeout: float = PATIENCE) -> Frame | None:
        """The next frame; None at the end of the stream. Fails when nothing comes."""
        deadline = time.monotonic() + timeout
        while not self.inbox:
            self.channel.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.channel.recv(1 << 20)
            if not data:
                return None
            self.inbox += self.reader.feed(data)
        return self.inbox.pop(0)

    def expect(self, kind: type[F], timeout: float = PATIENCE) -> F:
        """The next frame, which must be of this kind."""
        frame = self.next(timeout)
        assert isinstance(frame, kind), frame
        return frame

    def silent(self, seconds: float) -> bool:
        """Whether no frame comes for this long."""
        try:
            self.inbox.insert(0, self.next(seconds))  # type: ignore[arg-type]
        except TimeoutError:
            return True
        return False

    def exit_code(self) -> int:
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None
        return int(self.process.exitcode)


class Parent:
    """Starts executors for one project folder.

    Parameters:
        folder: the working directory of its tasks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []
        self.context = multiprocessing.get_context("forkserver")
        self.serving = False

    def write(self, name: str, code: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code), encoding="utf-8")

    def config(self, **settings: Any) -> RuntimeConfig:
        return RuntimeConfig(**{"include": ("tasks",), "working_directory": str(self.folder), **settings})

    def serve(self, config: RuntimeConfig, *, preloading: bool) -> None:
        """Start the forkserver."""
        self.context.set_forkserver_preload([preload.__name__])
        entries = preload.environment(config) if preloading else {}
        os.environ.update(entries)
        try:
            forkserver.ensure_running()
        finally:
            for name in entries:
                del os.environ[name]
        self.serving = True

    @property
    def server_pid(self) -> int:
        return int(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]

    def start(self, *, preloading: bool = True, ready: bool = True, noting: bool = False, **settings: Any) -> Child:
        """One executor; with ``ready`` its Ready frame is read, too."""
        config = self.config(**settings)
        if not self.serving:
            self.serve(config, preloading=preloading)
        ours, theirs = socket.socketpair()
        read_end, write_end = self.context.Pipe(duplex=False)
        note_end = Connection(memory())
        args = (theirs, read_end, config, *((note_end,) if noting else ()))
        process = self.context.Process(target=main.run, args=args, daemon=False)
        process.start()
        theirs.close()
        read_end.close()
        child = Child(process, ours, write_end, StartNote(note_end.fileno()) if noting else None)
        note_end.close()
        self.children.append(child)
        if ready:
            child.expect(Ready)
        return child

    def close(self) -> None:
        """End everything, by the pids that were started here."""
        for child in self.children:
            for kill in (os.killpg, os.kill):
                try:
                    kill(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            child.channel.close()
            child.lifeline.close()
            child.process.join(PATIENCE)
        if self.serving:
            forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    folder = tmp_path / "project"
    folder.mkdir()
    running = Parent(folder)
    yield running
    running.close()


@pytest.fixture(params=["preload", "own"])
def preloading(request: pytest.FixtureRequest) -> bool:
    """Both ways in which an executor gets its tasks."""
    return bool(request.param == "preload")


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    return gone


@pytest.fixture
def until() -> Callable[..., float]:
    return wait_until
