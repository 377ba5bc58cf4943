"""A worker as a process, for a test: started as a user starts it, and told apart from what it logs.

Owns: ``WorkerProcess``. Runs in tests. Never leaves its process behind: one that does not end is killed. What waits for
something raises RuntimeError, with the worker's last lines, when it takes too long or the worker has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

READY, STOPPED, DRAINED = 60.0, 30.0, 60.0
#: Seconds between two looks.
_PAUSE = 0.02
#: Characters of its log that an error shows.
_TAIL = 4000


class WorkerProcess:
    """``pyqs worker`` with these options.

    Parameters:
        options: as on the command line.
        endpoint_url: of the SQS.
        directory: where it is started.
        log: the file with all that it writes.
        left: answers what is on the queues.
    """

    def __init__(
        self, options: Sequence[str], endpoint_url: str, directory: str, log: Path, left: Callable[[], dict[str, int]]
    ) -> None:
        self._log = log
        self._left = left
        secrets = dict.fromkeys(("PYQS_ACCESS_KEY_ID", "PYQS_SECRET_ACCESS_KEY"), "test")
        env = {**os.environ, **secrets, "PYQS_ENDPOINT_URL": endpoint_url, "PYQS_REGION": "us-east-1", "PYTHONUNBUFFERED": "1"}
        with open(log, "wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pyqs", "worker", *options], cwd=directory, env=env, stdout=out, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """Of the worker's process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, timeout: float = READY) -> None:
        """Wait until it receives. Raises RuntimeError with its last lines if it does not."""
        self._wait(lambda: " ready: " in self.output, timeout, lambda: "is not ready")

    def wait_drained(self, timeout: float = DRAINED) -> None:
        """Wait until nothing is left on any queue, delayed and hidden messages included."""
        self._wait(lambda: not self._left(), timeout, lambda: f"has left {self._left()}")

    def wait_until(self, happened: Callable[[], object], timeout: float = DRAINED) -> None:
        """Wait until this is true, while the worker works."""
        self._wait(happened, timeout, lambda: "has not brought about what is waited for")

    def stop(self, timeout: float = STOPPED) -> None:
        """Stop it as Ctrl-C does, and wait. Raises RuntimeError if it had ended before, or does not end in order."""
        early = self._process.poll()
        if early is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise self._error(f"has not stopped within {timeout:g} s and was killed") from None
        if self._process.returncode:
            raise self._error(f"ended with {self._process.returncode}")

    def kill(self) -> None:
        """End it now, as a crash would."""
        self._process.kill()
        self._process.wait()

    def _wait(self, happened: Callable[[], object], timeout: float, problem: Callable[[], str]) -> None:
        deadline = time.monotonic() + timeout
        while not happened():
            if self._process.poll() is not None:
                raise self._error(f"ended with {self._process.returncode}")
            if time.monotonic() >= deadline:
                raise self._error(f"{problem()} after {timeout:g} s")
            time.sleep(_PAUSE)

    def _error(self, what: str) -> RuntimeError:
        return RuntimeError(f"pyqs worker {what}; it wrote:\n{self.output[-_TAIL:]}")
