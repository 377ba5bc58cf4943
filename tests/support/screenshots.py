"""The pictures in docs: ``python tests/support/screenshots.py`` takes them anew, of real runs on the embedded SQS.

Owns: ``docs/pyqs-stats.svg`` and ``docs/pyqs-demo.svg``. Needs a checkout and nothing else.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from processes import environment, wait_until
from pyqs.commands.stats_client import Answer, ask
from pyqs.commands.stats_view import view
from pyqs.demo.report import Screen, columns
from pyqs.demo.run import run
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage

DOCS = Path(__file__).parents[2] / "docs"
TASKS = """
import time
from pyqs import task

@task
def send(number):
    time.sleep(0.02)

@task
def report(seconds):
    kept = bytearray(64 << 20)
    time.sleep(seconds)

@task
def sync(seconds):
    time.sleep(seconds)
"""


def recorder(width: int) -> Console:
    return Console(record=True, width=width, file=io.StringIO(), force_terminal=True, highlight=False, markup=False)


def save(console: Console, name: str) -> None:
    console.save_svg(str(DOCS / f"{name}.svg"), title=name.replace("-", " "), unique_id=name)


class Picture(Screen):
    """The demo's screen, with the progress bar as it is at its end: a picture does not move."""

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[int], None]]:
        bar = Progress(*columns(), console=self.console)
        task = bar.add_task("tasks run", total=total)
        yield lambda done: bar.update(task, completed=done)
        self.console.print(bar.get_renderable())


def demo() -> None:
    """``pyqs demo``."""
    console = recorder(120)
    console.print("$ pyqs demo")
    assert run(Picture(console)) == 0
    save(console, "pyqs-demo")


def stats() -> None:
    """``pyqs stats`` of a worker with four executors, of which three are busy for a while."""
    with tempfile.TemporaryDirectory() as folder, closing(Store()) as store, LocalServer(store) as server:
        (Path(folder) / "tasks.py").write_text(textwrap.dedent(TASKS))
        for queue in ("email-send", "reports"):
            store.create_queue(queue)

        def send(queue: str, task: str, argument: float) -> None:
            store.send(queue, OutgoingMessage(json.dumps({"task": f"tasks.{task}", "args": [argument]})))

        for seconds in (40, 41):
            send("reports", "report", seconds)
        send("reports", "sync", 42)
        command = ["worker", "-Q", "email-send", "-Q", "reports", "--include", "tasks", "-c", "4", "--health", "0"]
        log = Path(folder) / "log"
        with log.open("wb") as sink:
            env = environment(server.endpoint_url)
            worker = subprocess.Popen([sys.executable, "-m", "pyqs", *command], cwd=folder, env=env, stderr=sink)
        try:
            address = wait_until(lambda: re.search(r"health: http://(\S+)/healthz", log.read_text()))[1]
            for number in range(400):
                send("email-send", "send", number)
            answer = wait_until(lambda: _worth_a_picture(ask(address)))
        finally:
            worker.kill()
            worker.wait()
    console = recorder(160)
    console.print("$ pyqs stats")
    console.print(view([Answer("127.0.0.1:8080", answer.stats)]))
    save(console, "pyqs-stats")


def _worth_a_picture(answer: Answer) -> Answer | None:
    """Once the long tasks have run for some seconds beside the short ones."""
    stats = answer.stats or {}
    seconds = [task["seconds"] for one in stats.get("executors", ()) for task in one["tasks"]]
    return answer if len([one for one in seconds if one > 8]) == 3 else None


if __name__ == "__main__":
    stats()
    demo()
