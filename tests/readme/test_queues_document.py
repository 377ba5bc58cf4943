"""docs/queues.md is true: its commands are run as they stand there, one after the other, on queues as it describes them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import EndablePolls
from processes import free_port, wait_until
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, OutgoingMessage

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "queues.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
TASKS = """
from pyqs import task

@task(queue="email.send")
def send(address, subject=""):
    with open("ran.txt", "a") as ledger:
        ledger.write(f"{address} {subject}\\n")
"""


@pytest.fixture
def store() -> Iterator[EndablePolls]:
    """A queue with a dead-letter queue, in which lie messages of each kind that the document speaks of."""
    store = EndablePolls()
    store.create_queue("email-send-dlq")
    arn = store.queue_attributes("email-send-dlq")["QueueArn"]
    policy = {"deadLetterTargetArn": arn, "maxReceiveCount": 5}
    store.create_queue("email-send", {"RedrivePolicy": json.dumps({**policy, "maxReceiveCount": 1})})

    def send(queue: str, task: str, reason: str = "") -> None:
        attributes = {"pyqs.reason": reason, "pyqs.queue": "email-send"} if reason else {}
        typed = {name: MessageAttribute("String", value) for name, value in attributes.items()}
        store.send(queue, OutgoingMessage(json.dumps({"task": task, "args": ["x"]}), message_attributes=typed))

    send("email-send", "other.task")
    for _ in range(2):  # SQS moves it
        for message in store.receive("email-send", max_messages=10, wait=0, visibility=30):
            store.change_visibility_batch("email-send", [(message.receipt_handle, 0)])
    store.set_queue_attributes("email-send", {"RedrivePolicy": json.dumps(policy)})
    send("email-send-dlq", "email_tasks.send", "email_tasks.send was received 6 times")
    send("email-send-dlq", "gone.task", "unknown: gone.task")
    send("email-send", "email_tasks.send")
    yield store
    store.close()


def visible(store: Store, queue: str) -> int:
    return int(store.queue_attributes(queue)["ApproximateNumberOfMessages"])


class Shell:
    """Runs blocks of the document."""

    def __init__(self, folder: Path, endpoint_url: str) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "email_tasks.py").write_text(TASKS)
        calls = [{"args": ["b@example.com"]}, {"args": ["c@example.com"], "kwargs": {"subject": "x"}}]
        (folder / "calls.jsonl").write_text("".join(json.dumps(call) + "\n" for call in calls))
        (folder / "body.json").write_text('{"task": "email_tasks.send", "args": ["d@example.com"]}')
        program = folder / "bin" / "pyqs"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pyqs "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": path, "PYQS_ENDPOINT_URL": endpoint_url, "PYTHONPATH": str(ROOT)}

    def run(self, block: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-c", self._own(block)], cwd=self.folder, env=self.env, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, block: str, log: Path) -> subprocess.Popen[Any]:
        with log.open("wb") as out:
            return subprocess.Popen(["sh", "-c", f"exec {self._own(block)}"], cwd=self.folder, env=self.env, stderr=out)

    def _own(self, block: str) -> str:
        return block.replace("8080", str(self.port))


@pytest.mark.timeout(180)
def test_the_commands_of_the_document_do_what_it_says(tmp_path: Path, store: EndablePolls) -> None:
    queues, peek, dlq, send, purge, worker, stats = BLOCKS
    with LocalServer(store) as server:
        shell = Shell(tmp_path, server.endpoint_url)
        assert "email-send-dlq holds 3 messages" in shell.run(queues)
        assert "email_tasks.send" in shell.run(peek)
        assert visible(store, "email-send") == 1
        out = shell.run(dlq)
        for words in ("received too often", "unknown: gone.task", "1 sent back", "completed: 1 of 1"):
            assert words in out, out
        assert (visible(store, "email-send"), visible(store, "email-send-dlq")) == (4, 0)
        shell.run(purge)
        assert visible(store, "email-send") == 0
        shell.run(send)
        assert visible(store, "email-send") == 4
        log = tmp_path / "worker.log"
        running = shell.start(worker, log)
        try:
            wait_until(lambda: (tmp_path / "ran.txt").exists() and len((tmp_path / "ran.txt").read_text().splitlines()) == 4)
            assert "4 succeeded" in wait_until(lambda: "4 succeeded" in (shown := shell.run(stats)) and shown)
            running.send_signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in log.read_text())
            store.end_polls()
            assert running.wait(30) == 0, log.read_text()
        finally:
            running.kill()
            running.wait()
    ran = sorted((tmp_path / "ran.txt").read_text().splitlines())
    assert ran == ["a@example.com hello", "b@example.com ", "c@example.com x", "d@example.com "]


def test_every_command_of_the_program_that_looks_into_queues_is_in_the_document() -> None:
    dlq = ("dlq list", "dlq show", "dlq retry", "dlq redrive")
    for command in ("queues", "stats", "peek", *dlq, "send", "purge", "iam-policy --operator"):
        assert f"pyqs {command}" in TEXT or f"`{command}" in TEXT, command


@pytest.mark.parametrize(("name", "words"), [("pyqs-stats", ("tasks.report", "busy")), ("pyqs-demo", ("Celery", "exactly"))])
def test_the_screenshots_are_pictures_of_runs(name: str, words: tuple[str, ...]) -> None:
    path = ROOT / "docs" / f"{name}.svg"
    text = "".join(ElementTree.parse(path).getroot().itertext())
    for word in words:
        assert word in text, f"python tests/support/screenshots.py makes {path} anew"
