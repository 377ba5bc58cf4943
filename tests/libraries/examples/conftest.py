"""What the examples have: an SQS, a Redis, and a worker of whichever side is measured. All on this machine, all ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sides import SIDE

import real_redis
from processes import wait_until

HERE = Path(__file__).parent
COMMANDS = {
    "celery": ("celery", "-A", "{app}", "worker", "-c", "1", "-l", "INFO", "--without-gossip", "--without-mingle",
               "--without-heartbeat"),
    "alias": ("pyqs", "worker", "-A", "{app}", "-c", "1", "-l", "INFO"),
}  # fmt: skip
BEATS = {
    "celery": ("celery", "-A", "{app}", "beat", "-l", "INFO", "-S", "{scheduler}"),
    "alias": ("pyqs", "beat", "-A", "{app}", "-l", "INFO", "-S", "{scheduler}"),
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers and workers write."""
    return tmp_path_factory.mktemp("example")


@pytest.fixture(scope="session")
def redis_url(folder: Path) -> Iterator[str]:
    """A Redis, as Celery spells its address; there is none where redis-server is not installed."""
    with real_redis.running(folder) as server:
        yield server.url


@pytest.fixture(scope="session")
def sqs(folder: Path) -> Iterator[str]:
    """The endpoint of the embedded SQS, which both sides use; apps of this process find it in the environment."""
    log = folder / "sqs.log"
    with log.open("wb") as out:
        server = subprocess.Popen([sys.executable, "-m", "pyqs", "local", "--memory", "--port", "0"], stdout=out, stderr=out)
    try:
        found = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWS_ENDPOINT_URL_SQS", found.group())
            yield found.group()
    finally:
        server.kill()
        server.wait()


@dataclass
class Worker:
    """A worker of the side that is measured."""

    process: subprocess.Popen[bytes]
    log: Path

    def end(self) -> None:
        """Warm for both: after SIGTERM ours waits for its open polls."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT if SIDE == "alias" else signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def work(folder: Path, sqs: str) -> Iterator[Callable[..., Worker]]:
    """``work("app_module", *wrapper, **env)`` starts a worker, which ends with the test."""
    started: list[Worker] = []

    def start(app: str, *wrapper: str, **env: str) -> Worker:
        log = folder / f"{app}.log"
        program, *arguments = (part.format(app=app) for part in COMMANDS[SIDE])
        command = [*wrapper, str(Path(sys.executable).parent / program), *arguments]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=folder, env=environment(**env), stdout=out, stderr=out, start_new_session=True
            )  # fmt: skip
        started.append(Worker(process, log))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def beat(folder: Path, sqs: str) -> Iterator[Callable[..., Worker]]:
    """``beat("app_module", "path:Scheduler", **env)`` starts a beat, which ends with the test."""
    started: list[Worker] = []

    def start(app: str, scheduler: str, **env: str) -> Worker:
        log = folder / f"{app}-beat{len(started)}.log"
        program, *arguments = (part.format(app=app, scheduler=scheduler) for part in BEATS[SIDE])
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / program), *arguments], cwd=folder, env=environment(**env), stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip
        started.append(Worker(process, log))
        return started[-1]

    yield start
    for one in started:
        one.end()


def environment(**env: str) -> dict[str, str]:
    """For a process of the side that is measured, which finds the modules here."""
    path = os.pathsep.join([str(HERE), os.environ["PYTHONPATH"], str(HERE.parents[2])])
    return {**os.environ, **env, "PYTHONPATH": path, "PYQS_AS_CELERY": "1" if SIDE == "alias" else "0"}
