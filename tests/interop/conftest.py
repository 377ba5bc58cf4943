"""Peers as processes over HTTP: the embedded SQS, our worker, and real Celery and PyQS where a variable names their Python."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def peer(variable: str) -> str:
    """The Python that a variable names; skips the test without one."""
    python = os.environ.get(variable)
    if not python or not Path(python).exists():
        pytest.skip(f"{variable} names no Python with that peer (see the interop session of noxfile.py)")
    return python


class Interop:
    """One embedded SQS and the processes of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory / "ran"
        self.out.touch()
        self.processes: list[subprocess.Popen[bytes]] = []
        base = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PYQS_", "CELERY_"))}
        self.env = {**base, "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT)])}
        server = self.start("local", [sys.executable, "-m", "pyqs", "local", "--memory", "--port", "0"])
        port = self.wait_for(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", self.log("local")), server).group(1)
        self.env.update(
            INTEROP_PORT=port,
            C_FORCE_ROOT="1",  # Celery, which runs pickles as root only when told so
            INTEROP_OUT=str(self.out),
            AWS_ENDPOINT_URL_SQS=f"http://127.0.0.1:{port}",
            AWS_ACCESS_KEY_ID="k",
            AWS_SECRET_ACCESS_KEY="s",
            AWS_DEFAULT_REGION="us-east-1",
        )

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def environment(self, foreign: bool, **more: str) -> dict[str, str]:
        """A peer must not find our package; we must."""
        return {**self.env, **({"PYTHONPATH": str(HERE), "INTEROP_PEER": "celery"} if foreign else {}), **more}

    def start(self, name: str, command: list[str], *, foreign: bool = False) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.directory, env=self.environment(foreign)
            )
        self.processes.append(process)
        return process

    def write(self, python: str, script: str, count: Any, *, foreign: bool, timeout: float = 100) -> list[str]:
        """Run a writer to its end; the lines that its calls must leave."""
        done = subprocess.run(
            [python, str(HERE / script), str(count)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env=self.environment(foreign),
            timeout=timeout,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        lines: list[str] = json.loads(done.stdout.splitlines()[-1])["lines"]
        return lines

    def ran(self) -> list[str]:
        return self.out.read_text(encoding="utf-8").splitlines()

    def wait_for(self, ready: Callable[[], Any], process: subprocess.Popen[bytes], seconds: float = 100) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = ready()
            if found:
                return found
            assert process.poll() is None, f"ended early: {self.logs()}"
            time.sleep(0.1)
        pytest.fail(f"not within {seconds} s; {len(self.ran())} lines: {self.logs()}")

    def drain(self, worker: subprocess.Popen[bytes], expected: list[str]) -> None:
        """Wait until all lines are there, stop the worker, and hold that each came once."""
        self.wait_for(lambda: len(self.ran()) >= len(expected), worker)
        ours = worker.args[0] == sys.executable  # type: ignore[index]
        # An idle worker of ours ends at once on SIGINT, at the end of its long poll on SIGTERM.
        worker.send_signal(signal.SIGINT if ours else signal.SIGTERM)
        worker.wait(60)
        assert Counter(self.ran()) == Counter(expected), self.logs()

    def left(self, queue: str) -> int:
        """Messages still on a queue, hidden ones and delayed ones counted."""
        from pyqs.config import ConnectionConfig
        from pyqs.sqs import connect

        sqs = connect(ConnectionConfig(endpoint_url=self.env["AWS_ENDPOINT_URL_SQS"], region="us-east-1"))
        found = sqs.queue_attributes(sqs.queue_url(queue))
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
        return sum(int(found[name]) for name in names)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.directory.glob("*.log"))

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def interop(tmp_path: Path) -> Iterator[Interop]:
    made = Interop(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def find_peer() -> Callable[[str], str]:
    return peer
