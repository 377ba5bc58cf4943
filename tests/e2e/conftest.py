"""What the end-to-end tests share: an SQS on loopback, a folder with an application, and the command line as a process."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embedded import EndablePolls
from processes import environment
from pyqs.config import ConnectionConfig
from pyqs.local.server import LocalServer
from pyqs.message import OutgoingMessage
from pyqs.sqs import Sqs, connect

#: Seconds in which anything here must have happened.
PATIENCE = 45.0
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


@pytest.fixture
def store() -> Iterator[EndablePolls]:
    store = EndablePolls()
    yield store
    store.close()


@pytest.fixture
def server(store: EndablePolls) -> Iterator[LocalServer]:
    with LocalServer(store) as running:
        yield running


@pytest.fixture
def sqs(server: LocalServer) -> Iterator[Sqs]:
    client = connect(ConnectionConfig("us-east-1", server.endpoint_url, "test", "test"))
    yield client
    client.close()


@dataclass
class Running:
    """A ``pyqs`` process whose stderr can be waited on line by line."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _arrived: queue.Queue[str | None] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._arrived.put(line)
        self._arrived.put(None)

    def wait_for(self, text: str, timeout: float = PATIENCE) -> str:
        """The first line from here on that holds ``text``."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._arrived.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} within {timeout} s:\n{''.join(self.lines)}") from None
            if line is None:
                raise AssertionError(f"ended without a line with {text!r}:\n{''.join(self.lines)}")
            self.lines.append(line)
            if text in line:
                return line

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code."""
        code = self.process.wait(timeout)
        while (line := self._arrived.get(timeout=5)) is not None:
            self.lines.append(line)
        return code

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def stop(self, store: EndablePolls) -> int:
        """Send a worker SIGTERM and answer the poll that it then waits for; the exit code."""
        self.signal()
        self.wait_for("stopping")
        store.end_polls()
        return self.wait()

    @property
    def stderr(self) -> str:
        return "".join(self.lines)


@dataclass
class Project:
    """A folder with an application, and the command line in it."""

    folder: Path
    env: dict[str, str]
    started: list[Running] = field(default_factory=list)

    def write(self, name: str, source: str) -> Path:
        """Write one file of the application."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "pyqs", *args]

    def run(self, *args: str, timeout: float = PATIENCE, given: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``pyqs *args`` to its end; ``given`` stands on its standard input."""
        return subprocess.run(
            self.command(*args),
            cwd=self.folder,
            env=self.env | env,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def python(self, code: str, timeout: float = PATIENCE, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in the folder, as the application's own process."""
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], cwd=self.folder, env=self.env | env, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def start(self, *args: str, program: list[str] | None = None, **env: str) -> Running:
        """Start ``pyqs *args`` (or another program) and go on."""
        process = subprocess.Popen(
            program or self.command(*args), cwd=self.folder, env=self.env | env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        running = Running(process)
        self.started.append(running)
        return running

    def ran(self) -> list[str]:
        """What the application's tasks left in ``ran.txt``, sorted."""
        path = self.folder / "ran.txt"
        return sorted(path.read_text(encoding="utf-8").splitlines()) if path.exists() else []

    def wait_until(self, happened: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Look every 50 ms until it has happened."""
        deadline = time.monotonic() + timeout
        while not happened():
            assert time.monotonic() < deadline, f"not within {timeout} s; ran: {self.ran()}"
            time.sleep(0.05)


@pytest.fixture
def project(tmp_path: Path, server: LocalServer) -> Iterator[Project]:
    """An empty application folder; its processes talk to ``server``."""
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, environment(server.endpoint_url))
    project.write(
        "ledger.py",
        """
        def ran(line):
            with open("ran.txt", "a") as ledger:
                ledger.write(f"{line}\\n")
        """,
    )
    yield project
    for running in project.started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@dataclass
class Queues:
    """Short names for what a test does with queues."""

    sqs: Sqs

    def create(self, name: str, **attributes: str) -> str:
        return self.sqs.create_queue(name, attributes)

    def send(self, name: str, *bodies: str) -> list[str]:
        """Send bodies as they are; the message ids."""
        url = self.sqs.queue_url(name)
        return [self.sqs.send(url, OutgoingMessage(body)).message_id for body in bodies]

    def left(self, name: str) -> int:
        """How many messages the queue holds, hidden and delayed ones counted in."""
        counts = self.sqs.queue_attributes(self.sqs.queue_url(name), _COUNTS)
        return sum(int(counts[one]) for one in _COUNTS)

    def hidden(self, name: str) -> int:
        counts = self.sqs.queue_attributes(self.sqs.queue_url(name), _COUNTS)
        return int(counts["ApproximateNumberOfMessagesNotVisible"])


@pytest.fixture
def queues(sqs: Sqs) -> Queues:
    return Queues(sqs)
