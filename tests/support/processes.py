"""Worker processes as tests start, watch and end them.

Owns: ``RunningWorker`` and ``Project`` (a folder with tasks from which workers start), looking at ``/proc``, and the one way
to wait. Runs in the test's process. Never starts anything that is not ended with its project.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyqs

#: Seconds in which anything here must have happened, on a machine with other things to do.
PATIENCE = 30.0
_LOOK = 0.02


def wait_until(happened: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Look until it answers something true, and answer that. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while not (found := happened()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {timeout} s")
        time.sleep(_LOOK)
    return found


def free_port() -> int:
    """A port of the loopback that nobody had a moment ago, for servers of others that must be told one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


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


def without_settings() -> dict[str, str]:
    """Our variables without the settings of the person who runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYQS_", "CELERY_", "DJANGO_"))}


def environment(endpoint_url: str) -> dict[str, str]:
    """Variables for a worker on the embedded SQS."""
    home = str(Path(pyqs.__file__).resolve().parents[1])
    return without_settings() | {
        "PYQS_ENDPOINT_URL": endpoint_url,
        "PYQS_REGION": "us-east-1",
        "PYQS_ACCESS_KEY_ID": "test",
        "PYQS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": home if "site-packages" not in home else "",
        "PYTHONUNBUFFERED": "1",
    }


def name_of(pid: int) -> str:
    """What ``ps`` calls the process; "" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


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
        return sorted(pid for pid in children_of(self.forkserver) if name_of(pid) != "pyqs-host")

    @property
    def hosts(self) -> list[int]:
        """The host, if there is one."""
        return [pid for pid in children_of(self.forkserver) if name_of(pid) == "pyqs-host"]

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

    def terminate(
        self,
        number: int = signal.SIGTERM,
        timeout: float = PATIENCE,
        code: int = 0,
        end_polls: Callable[[], None] | None = None,
    ) -> float:
        """Signal it, see it leave with this exit code; seconds that took. ``end_polls`` answers the open poll it waits for."""
        began = time.monotonic()
        self.send_signal(number)
        if end_polls is not None:
            self.wait_log("stopping")
            end_polls()
        assert self.wait_exit(timeout) == code, self.log()[-5000:]
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
