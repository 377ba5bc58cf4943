"""What the process tests share: a real worker in a session of its own, an SQS whose store and faults can be looked into.

The worker is ``python -m pyqs worker``, its executors real children. The store lives in the test's process, and its clock can
be moved, so that a message hidden for ten seconds comes back at once. Everything is waited for by a file, a log line or the
store, never by a guess.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import pyqs
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage
from pyqs_celery_compat.outgoing import as_task_v2, seal_task

#: Seconds in which anything here must have happened, on a machine with other things to do.
PATIENCE = 30.0
_LOOK = 0.02

TASKS = '''
import ctypes, os, signal, subprocess, sys, threading, time
from pyqs import task
from pyqs_celery_compat import shared_task
from pyqs_celery_compat.exceptions import SoftTimeLimitExceeded

def ran(line):
    with open("ran.txt", "a") as ledger:
        ledger.write(f"{line}\\n")

def until(name):
    while not os.path.exists(name):
        time.sleep(0.01)

@task
def noop(n):
    ran(f"noop {n}")

@task
def big(n, blob):
    ran(f"big {n} {len(blob)}")

@task
def nap(seconds, tag=""):
    ran(f"nap {tag} begins")
    time.sleep(seconds)
    ran(f"nap {tag} ends")

@task
def gate(name, tag=""):
    ran(f"gate {tag} begins")
    until(name)
    ran(f"gate {tag} ends")

@task
def meet(mine, other):
    """Ends only if another task runs beside it."""
    ran(f"meet {mine}")
    open(mine, "w").close()
    until(other)
    ran(f"met {other}")

@task
def with_child(seconds):
    child = subprocess.Popen(["sleep", str(seconds)])
    ran(f"child {child.pid}")
    child.wait()

@task
def spin():
    ran("spin begins")
    while True:
        pass

@task
def hold_gil(seconds):
    ran("hold_gil begins")
    ctypes.PyDLL(None).sleep(seconds)

@task
def crash(how, tag=""):
    """Takes its process down, unless the file ``calm`` is there."""
    if os.path.exists("calm"):
        ran(f"calm {how} {tag}")
        return
    ran(f"crash {how} {tag}")
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

@task
def fail(tag=""):
    """Fails, unless the file ``calm`` is there."""
    calm = os.path.exists("calm")
    ran(f"{'calm' if calm else 'fail'} {tag}")
    if not calm:
        raise ValueError("on purpose")

@shared_task(name="early.gate")
def early_gate(name, tag=""):
    ran(f"early {tag} begins")
    until(name)
    ran(f"early {tag} ends")

@shared_task(name="early.nap")
def early_nap(seconds):
    ran("early nap begins")
    time.sleep(seconds)
    ran("early nap ends")

@shared_task(name="timed.hard", acks_late=True, time_limit=1)
def hard():
    child = subprocess.Popen(["sleep", "60"])
    ran(f"child {child.pid}")
    time.sleep(60)
    ran("hard ends")

@shared_task(name="timed.soft", soft_time_limit=1)
def soft():
    ran("soft begins")
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        ran("soft limit")

@shared_task(name="dated")
def dated(tag):
    ran(f"dated {tag} {time.time()}")

@shared_task(name="slow.link")
def slow_link(seconds):
    ran("link begins")
    time.sleep(seconds)
    return "done"

@shared_task(name="next.link")
def next_link(value):
    ran(f"next {value}")
    return value
'''

#: Runs a worker whose settings have no option: ``python custom.py '{"refresh": 1}'`` with the usual environment.
CUSTOM = """
import json, os, sys
from pyqs import cli, logs
from pyqs.config import ConnectionConfig, RuntimeConfig, WorkerConfig

def main():
    logs.configure("INFO")
    connection = ConnectionConfig.from_environment()
    runtime = RuntimeConfig(cli.COMPAT_RUNTIME, include=("tasks",), connection=connection, working_directory=os.getcwd())
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(sys.argv[1]).items()}
    return cli.run_worker(WorkerConfig(runtime=runtime, connection=connection, **settings))

if __name__ == "__main__":
    sys.exit(main())
"""


@dataclass
class Clock:
    """The store's wall clock, which a test can move."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(frozen=True)
class Counts:
    """What a queue holds."""

    visible: int
    hidden: int
    delayed: int

    @property
    def total(self) -> int:
        return self.visible + self.hidden + self.delayed


@dataclass
class Sqs:
    """The store and its server, with short names for what a test does."""

    store: Store
    server: LocalServer
    clock: Clock

    def create(self, *names: str, **attributes: str) -> None:
        for name in names:
            fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
            self.store.create_queue(name, fifo | attributes)

    def native(self, queue: str, task: str, *args: Any, group: str | None = None, delay: int | None = None) -> str:
        """Send a native message; its id."""
        return self.send(queue, json.dumps({"task": f"tasks.{task}", "args": args, "kwargs": {}}), group=group, delay=delay)

    def celery(self, queue: str, task: str, *args: Any, **options: Any) -> str:
        """Send what Celery would have written; its body. ``eta_in`` is seconds from now."""
        eta_in = options.pop("eta_in", None)
        if eta_in is not None:
            options["eta"] = datetime.now(timezone.utc) + timedelta(seconds=eta_in)
        body = seal_task(as_task_v2(f"id-of-{task}", task, args, {}, **options), routing_key=queue)
        self.send(queue, body)
        return body

    def send(self, queue: str, body: str, *, group: str | None = None, delay: int | None = None) -> str:
        dedup = os.urandom(8).hex() if queue.endswith(".fifo") else None
        return self.store.send(queue, OutgoingMessage(body, delay, group_id=group, dedup_id=dedup)).message_id

    def many(self, queue: str, numbers: range) -> None:
        """Send ``noop`` with each number, in batches."""
        bodies = [json.dumps({"task": "tasks.noop", "args": [n], "kwargs": {}}) for n in numbers]
        for start in range(0, len(bodies), 10):
            self.store.send_batch(queue, [OutgoingMessage(body) for body in bodies[start : start + 10]])

    def counts(self, queue: str) -> Counts:
        found = self.store.queue_attributes(queue)
        return Counts(
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
            int(found["ApproximateNumberOfMessagesDelayed"]),
        )

    def wait_counts(
        self, queue: str, *, visible: int = 0, hidden: int = 0, delayed: int = 0, timeout: float = PATIENCE
    ) -> None:
        """Wait until the queue holds exactly this."""
        wanted = Counts(visible, hidden, delayed)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.counts(queue) == wanted, timeout)
        assert self.counts(queue) == wanted

    def advance(self, seconds: float) -> None:
        """Move the store's clock: what is hidden or delayed for less comes back now."""
        self.clock.ahead += seconds
        self.store.wake()

    def advance_until(self, happened: Callable[[], Any], *, step: float = 20.0, timeout: float = PATIENCE) -> None:
        """Move the clock again and again: a hide may arrive after the first move, and counts from then."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.advance(step)
            with contextlib.suppress(TimeoutError):
                wait_until(happened, 0.5)
                return
        raise TimeoutError(f"not within {timeout} s")

    def receive(self, queue: str) -> list[Any]:
        """Receive what is visible, as somebody else would."""
        return self.store.receive(queue, max_messages=10, wait=0, visibility=30)


def wait_until(happened: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Look until it answers something true, and answer that. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while not (found := happened()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {timeout} s")
        time.sleep(_LOOK)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie that nobody has collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    """Its child processes that are alive."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid and is_alive(int(entry)):
                    found.append(int(entry))
    return found


@dataclass
class RunningWorker:
    """One worker process."""

    process: subprocess.Popen[bytes]
    log_file: Path
    ledger: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def lines(self, pattern: str) -> list[str]:
        """The log lines that match."""
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def wait_log(self, pattern: str, timeout: float = PATIENCE) -> str:
        """The first log line that matches."""
        try:
            return str(wait_until(lambda: self.lines(pattern), timeout)[0])
        except TimeoutError:
            raise AssertionError(f"no line {pattern!r} within {timeout} s in:\n{self.log()}") from None

    def ran(self, start: str = "") -> list[str]:
        """What tasks have noted, in order."""
        if not self.ledger.exists():
            return []
        return [line for line in self.ledger.read_text().splitlines() if line.startswith(start)]

    def wait_ran(self, start: str, count: int = 1, timeout: float = PATIENCE) -> list[str]:
        """Wait for that many notes that start so."""
        try:
            wait_until(lambda: len(self.ran(start)) >= count, timeout)
        except TimeoutError:
            raise AssertionError(
                f"{len(self.ran(start))} of {count} notes {start!r} in {timeout} s\n{self.ran()[-20:]}\n{self.log()[-5000:]}"
            ) from None
        return self.ran(start)

    def touch(self, name: str) -> None:
        """Make the file that a task waits for."""
        (self.ledger.parent / name).touch()

    @property
    def forkserver(self) -> int:
        for pid in children_of(self.pid):
            if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise AssertionError("the worker has no forkserver")

    @property
    def executors(self) -> list[int]:
        return sorted(children_of(self.forkserver))

    def everyone(self) -> list[int]:
        """The worker, its children and theirs."""
        pids = [self.pid]
        for pid in pids:
            pids += children_of(pid)
        return pids

    @staticmethod
    def alive(pids: list[int]) -> list[int]:
        """Those that still run."""
        return [pid for pid in pids if is_alive(pid)]

    @staticmethod
    def wait_until(happened: Callable[[], Any], timeout: float = PATIENCE) -> Any:
        """Look until it answers something true, and answer that."""
        return wait_until(happened, timeout)

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        """The exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended within {timeout} s:\n{self.log()[-5000:]}") from None

    def terminate(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> float:
        """Signal it, see it leave with 0; seconds that took."""
        began = time.monotonic()
        self.send_signal(number)
        assert self.wait_exit(timeout) == 0, self.log()[-5000:]
        return time.monotonic() - began


@dataclass
class Project:
    """A folder with a tasks module, from which workers are started."""

    folder: Path
    env: dict[str, str]
    workers: list[RunningWorker] = field(default_factory=list)

    def start(self, *args: str, ready: str | None = "consuming", env: dict[str, str] | None = None) -> RunningWorker:
        """``pyqs worker --include tasks *args``; waits for a log line."""
        return self._launch([sys.executable, "-m", "pyqs", "worker", "--include", "tasks", *args], ready, env or {})

    def start_custom(self, *, ready: str | None = "consuming", **settings: Any) -> RunningWorker:
        """A worker with settings that have no option."""
        return self._launch([sys.executable, "custom.py", json.dumps(settings)], ready, {})

    def _launch(self, command: list[str], ready: str | None, env: dict[str, str]) -> RunningWorker:
        log_file = self.folder / f"worker-{len(self.workers)}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.env | env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        worker = RunningWorker(process, log_file, self.folder / "ran.txt")
        self.workers.append(worker)
        if ready is not None:
            worker.wait_log(ready)
        return worker

    def end(self) -> None:
        """Kill what still runs; nothing may be left behind."""
        for worker in self.workers:
            if worker.process.poll() is None:
                everyone = worker.everyone()
                for pid in everyone:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                worker.process.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sqs(clock: Clock) -> Iterator[Sqs]:
    store = Store(None, clock=clock)
    with LocalServer(store) as server:
        yield Sqs(store, server, clock)
    store.close()


@pytest.fixture
def project(tmp_path: Path, sqs: Sqs) -> Iterator[Project]:
    """A folder with the tasks above; its workers talk to ``sqs``."""
    home = str(Path(pyqs.__file__).resolve().parents[1])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYQS_", "CELERY_", "DJANGO_"))}
    env |= {
        "PYQS_ENDPOINT_URL": sqs.server.endpoint_url,
        "PYQS_REGION": "us-east-1",
        "PYQS_ACCESS_KEY_ID": "test",
        "PYQS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": home if "site-packages" not in home else "",
        "PYTHONUNBUFFERED": "1",
    }
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tasks.py").write_text(textwrap.dedent(TASKS))
    (folder / "custom.py").write_text(textwrap.dedent(CUSTOM))
    project = Project(folder, env)
    yield project
    project.end()


@pytest.fixture
def start_worker(project: Project) -> Callable[..., RunningWorker]:
    """Starts ``pyqs worker --include tasks ...``."""
    return project.start
