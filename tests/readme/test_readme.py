"""README.md is true: its commands are run as they stand there, its code is executed, its sessions exist."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyqs.config import ConnectionConfig
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.sqs import connect

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(block: str) -> list[str]:
    """The command of each line, without the remark behind it."""
    return [line.split(" #")[0].strip() for line in block.splitlines() if line.strip()]


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(Store(None)) as server:
        yield server


@pytest.fixture
def env(server: LocalServer) -> dict[str, str]:
    return {**os.environ, "PYQS_ENDPOINT_URL": server.endpoint_url, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def left(server: LocalServer) -> int:
    """Messages in any state, in any queue."""
    sqs = connect(ConnectionConfig(endpoint_url=server.endpoint_url, region="us-east-1"))
    counts = [sqs.queue_attributes(url) for url in sqs.list_queues()]
    return sum(int(n) for found in counts for name, n in found.items() if name.startswith("ApproximateNumberOfMessages"))


def worker_drains(
    command: str, folder: Path, server: LocalServer, env: dict[str, str], ran: Callable[[], bool] = lambda: True
) -> None:
    """Start the command as it stands, wait until the queues are empty and all of it ran, end it as a supervisor would."""
    words = shlex.split(command)
    program = {"pyqs": [sys.executable, "-m", "pyqs"], "python": [sys.executable]}[words[0]]
    worker = subprocess.Popen([*program, *words[1:]], cwd=folder, env=env)
    try:
        while left(server) > 0 or not ran():
            assert worker.poll() is None, "the worker ended"
        worker.send_signal(signal.SIGINT)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.timeout(300)
def test_the_first_command_installs_and_shows_the_demo(tmp_path: Path) -> None:
    first = commands(blocks("sh")[0])
    assert first == ["pip install . && pyqs demo"]
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env["PATH"] = f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{env['PATH']}"
    done = subprocess.run(first[0], shell=True, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_second_command_runs_lint_types_and_tests() -> None:
    assert commands(blocks("sh")[1]) == ["pip install nox && nox"]
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    defaults = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "nox.options.sessions"
    )
    assert defaults == ["lint", "types", "tests"]


def test_every_session_is_listed_and_every_listed_session_exists() -> None:
    existing = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if ast.unparse(decorator).startswith("nox.session"):
                    named = [k.value for k in getattr(decorator, "keywords", []) if k.arg == "name"]
                    existing.add(ast.literal_eval(named[0]) if named else node.name)
    assert existing - {"lint", "types", "tests"} == set(re.findall(r"`nox -s ([a-z-]+)`", TEXT))


def test_the_celery_example_runs(tmp_path: Path, server: LocalServer, env: dict[str, str]) -> None:
    code = blocks("python")[0]
    assert "from pyqs_celery_compat import shared_task" in code
    app = "from pyqs_celery_compat import Celery\napp = Celery('proj', broker='sqs://')\n"
    (tmp_path / "proj.py").write_text(app + code.replace("send_email.delay", "def call(): send_email.delay"))
    subprocess.run([sys.executable, "-c", "import proj; proj.call()"], cwd=tmp_path, env=env, check=True)
    assert left(server) == 1
    worker_drains(commands(blocks("sh")[2])[0], tmp_path, server, env)


def test_the_django_command_works_in_the_example(tmp_path: Path, server: LocalServer, env: dict[str, str]) -> None:
    pytest.importorskip("django")
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "tests/examples/django_project", folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))
    env["SHOP_SQS"] = server.endpoint_url.removeprefix("http://")

    def run(*args: str) -> str:
        return subprocess.run([sys.executable, *args], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout

    run("manage.py", "migrate", "--verbosity", "0")
    run("manage.py", "shell", "-c", "from django.test import Client; Client().get('/orders/')")
    assert left(server) == 1
    mailed = "from orders.models import Order; print(Order.objects.filter(paid=True, mailed=True).count())"
    worker_drains(
        commands(blocks("sh")[3])[0], folder, server, env, lambda: run("manage.py", "shell", "-c", mailed).split()[-1] == "1"
    )


def test_the_native_example_runs(tmp_path: Path, server: LocalServer, env: dict[str, str]) -> None:
    code = blocks("python")[1].replace("_delay_seconds=60", "_delay_seconds=1")
    head, call = code.rsplit("\n\n", 1)
    (tmp_path / "tasks.py").write_text(head + "\n\ndef call():\n" + textwrap.indent(call, "    "))
    subprocess.run([sys.executable, "-c", "import tasks; tasks.call()"], cwd=tmp_path, env=env, check=True)
    assert left(server) == 3, "one by .delay, two by .send_many"
    worker_drains(commands(blocks("sh")[4])[0], tmp_path, server, env)


def test_the_example_of_a_long_task_runs() -> None:
    code = "def compute(year, month): print(month)\n" + blocks("python")[2] + "\nreport(2026)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(month) for month in range(1, 13)]


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`pyqs ([a-z-]+)", TEXT))))
def test_commands_that_are_named_exist(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyqs", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert command in done.stdout
