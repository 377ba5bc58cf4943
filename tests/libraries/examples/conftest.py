"""What the examples have: an SQS, a Redis, and a worker of whichever side is measured. All on this machine, all ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import real_redis
from processes import wait_until
from sides import SIDE

HERE = Path(__file__).parent
COMMANDS = {
    "celery": ("celery", "-A", "{app}", "worker", "-c", "1", "-l", "INFO", "--without-gossip", "--without-mingle",
               "--without-heartbeat"),
    "alias": ("pyqs", "worker", "-A", "{app}", "-c", "1", "-l", "INFO"),
}  # fmt: skip


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


@pytest.fixture
def work(folder: Path, sqs: str) -> Iterator[Callable[..., Path]]:
    """``work("app_module", *wrapper, **env)`` starts a worker; its log."""
    started: list[subprocess.Popen[bytes]] = []

    def start(app: str, *wrapped: str, **env: str) -> Path:
        log = folder / f"{app}.log"
        program, *arguments = (part.format(app=app) for part in COMMANDS[SIDE])
        command = [*wrapped, str(Path(sys.executable).parent / program), *arguments]
        path = os.pathsep.join([str(HERE), os.environ["PYTHONPATH"], str(HERE.parents[2])])
        side = {"PYQS_AS_CELERY": "1" if SIDE == "alias" else "0"}
        with log.open("wb") as out:
            started.append(
                subprocess.Popen(
                    command, cwd=folder, env={**os.environ, **side, **env, "PYTHONPATH": path}, stdout=out, stderr=out,
                    start_new_session=True,
                )
            )  # fmt: skip
        return log

    yield start
    for process in started:
        process.send_signal(signal.SIGINT if SIDE == "alias" else signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
