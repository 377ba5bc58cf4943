"""docs/migrating.md is true: its commands are run in order, as they stand there, on a project that knows only Celery."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import environment, free_port, wait_until
from pyqs.config import ConnectionConfig
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.sqs import Sqs, connect

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "migrating.md").read_text()
COMMANDS = [
    re.sub(r"\s+#.*", "", line).strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]
PROJ = """
    from celery import Celery
    app = Celery("proj", broker="sqs://", backend="file://results")
    app.conf.task_default_queue = "email"

    @app.task(acks_late=True)
    def send(number):
        with open("ran.txt", "a") as ledger:
            ledger.write(f"{number}\\n")
"""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(Store(None)) as server:
        yield server


@pytest.fixture
def sqs(server: LocalServer) -> Iterator[Sqs]:
    client = connect(ConnectionConfig("us-east-1", server.endpoint_url, "test", "test"))
    yield client
    client.close()


@pytest.fixture
def proj(tmp_path: Path, sqs: Sqs) -> Path:
    (tmp_path / "proj.py").write_text(textwrap.dedent(PROJ))
    (tmp_path / "results").mkdir()
    arn = sqs.queue_attributes(sqs.create_queue("email-dlq", {}), ("QueueArn",))["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "5"}}'
    sqs.create_queue("email", {"VisibilityTimeout": "1800", "RedrivePolicy": policy})
    return tmp_path


class Runbook:
    """The commands, one after the other."""

    def __init__(self, folder: Path, server: LocalServer) -> None:
        self.folder = folder
        self.env = environment(server.endpoint_url) | {"TMPDIR": str(folder), "AWS_ENDPOINT_URL_SQS": server.endpoint_url}
        self.port = free_port()
        self.rest = list(COMMANDS)

    def take(self, beginning: str) -> tuple[list[str], dict[str, str]]:
        """The next command, which must begin so: its words for this machine, and its variables."""
        line = self.rest.pop(0)
        assert line.startswith(beginning), f"{line!r} comes where the test has {beginning!r}"
        words = shlex.split(line.replace("8080", str(self.port)))
        env = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            env[name] = value
        if words[0] == "pyqs":
            words[:1] = [sys.executable, "-m", "pyqs"]
        elif words[0] == "celery":  # its console script does this; the variable acts where an installed pyqs has its .pth
            install = (
                "from pyqs_celery_compat.alias import install_at_start; install_at_start();"
                if env != {"PYQS_AS_CELERY": "0"}
                else ""
            )
            words[:1] = [sys.executable, "-c", f"{install}import sys; from celery.__main__ import main; sys.exit(main())"]
        elif words[0] == "python":
            words[0] = sys.executable
        return words, self.env | env

    def run(self, beginning: str) -> str:
        """Its output; it must end with 0."""
        words, env = self.take(beginning)
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, beginning: str) -> subprocess.Popen[str]:
        words, env = self.take(beginning)
        log = open(self.folder / "worker.log", "w")  # noqa: SIM115 - the process's
        return subprocess.Popen(words, cwd=self.folder, env=env, stdout=log, stderr=log, text=True)

    def send(self, first: int, count: int) -> None:
        """Calls, as a producer that has moved to nothing."""
        code = f"from proj import send\nfor n in range({first}, {first + count}): send.delay(n)"
        words = [sys.executable, "-c", f"from pyqs_celery_compat import install_as_celery; install_as_celery()\n{code}"]
        subprocess.run(words, cwd=self.folder, env=self.env, check=True, timeout=60)

    def ran(self) -> int:
        path = self.folder / "ran.txt"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def stop(self, worker: subprocess.Popen[str]) -> None:
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 0, (self.folder / "worker.log").read_text()


@pytest.mark.timeout(300)
def test_the_runbook(proj: Path, server: LocalServer) -> None:
    book = Runbook(proj, server)
    assert book.take("pip install pyqs")
    assert "0 not supported" in book.run("pyqs check . -A proj")
    assert "task_default_queue = 'email'" in book.run("pyqs report -A proj")
    assert "email" in book.run("pyqs queues -A proj")

    book.send(0, 130)
    assert "it has run 100 tasks" in book.run("pyqs worker -A proj -Q email -c 2 --max-tasks 100")
    assert book.ran() == 100

    beside = book.start("pyqs worker -A proj -Q email -c 4 --health")
    wait_until(lambda: book.ran() == 130, 60)
    assert "email" in book.run("pyqs stats --once")
    assert "email-dlq" in book.run("pyqs queues -A proj")
    book.run("pyqs dlq list email-dlq")
    book.stop(beside)

    ours = book.start("PYQS_AS_CELERY=1 celery -A proj worker -Q email")
    book.send(130, 10)
    wait_until(lambda: book.ran() == 140, 60)
    assert "pong" in book.run("PYQS_AS_CELERY=1 celery -A proj inspect ping")
    book.stop(ours)
    again = book.start("python -m pyqs_celery_compat -A proj worker -Q email")
    book.send(140, 10)
    wait_until(lambda: book.ran() == 150, 60)
    book.stop(again)
    back(book)
    assert not book.rest


def back(book: Runbook) -> None:
    """Celery's own worker, where there is one."""
    python = os.environ.get("PYQS_INTEROP_CELERY57")
    if not python:
        book.take("PYQS_AS_CELERY=0 celery -A proj worker -Q email")
        return
    words, env = book.take("PYQS_AS_CELERY=0 celery -A proj worker -Q email")
    env = env | {
        "PYTHONPATH": "",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    celery = subprocess.Popen([python, *words[1:]], cwd=book.folder, env=env)
    book.send(150, 10)
    wait_until(lambda: book.ran() == 160, 60)
    celery.terminate()
    celery.wait(60)
