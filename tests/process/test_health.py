"""Probes of a real worker: while it starts, works, cannot reach SQS, was stopped for a while, drains, has crashed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from probe import Probe

#: A worker whose discovery crashes as soon as the file ``crash`` is there.
CRASHING = """
import os, sys
from pyqs.cli import main
from pyqs.worker import discovery

look = discovery.Discovery._look

def crash(self):
    if os.path.exists("crash"):
        raise RuntimeError("on purpose")
    look(self)
    return 0.1

discovery.Discovery._look = crash

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def test_an_import_that_takes_long_is_alive_and_not_ready(project: Any, sqs: Any) -> None:
    sqs.create("jobs")
    tasks = project.folder / "tasks.py"
    waiting = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.05)\n"
    tasks.write_text(
        waiting + tasks.read_text() + "\nfrom pyqs_celery_compat import Celery\napp = Celery('app', broker='sqs://')\n"
    )
    options = ("--health", "0", "--heartbeat-file", "alive", "--shutdown-timeout", "3")
    worker = project.start("-A", "tasks", "-Q", "jobs", "-c", "1", *options, ready=None)
    probe = Probe(worker)
    assert probe.get("/healthz") == (200, "alive\n")
    assert probe.get("/readyz") == (503, "starting: the settings are read\n")
    first = (project.folder / "alive").stat().st_mtime
    worker.wait_until(lambda: (project.folder / "alive").stat().st_mtime > first)
    worker.touch("go")
    probe.wait("/readyz", 200)
    worker.terminate()
    assert not (project.folder / "alive").exists()


def test_sqs_down_is_alive(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "noop", 1)
    worker = start_worker("-Q", "jobs", "-c", "1", "--health", "0")
    probe = Probe(worker)
    worker.wait_ran("noop")
    probe.wait("/readyz", 200)
    worker.wait_until(lambda: probe.figures().get(("pyqs_tasks_ended_total", "jobs", "succeeded")) == 1)
    assert probe.figures()["pyqs_queue_up", "jobs"] == 1
    sqs.store.faults.add("error=503")
    sqs.native("jobs", "noop", 2)  # wakes the open poll
    worker.wait_until(lambda: probe.figures()["pyqs_queue_up", "jobs"] == 0)
    assert probe.get("/healthz") == (200, "alive\n")
    assert probe.figures()["pyqs_calls_failing", "receive"] == 1
    sqs.store.faults.clear()
    worker.wait_until(lambda: probe.figures()["pyqs_queue_up", "jobs"] == 1)
    text = probe.get("/metrics")[1]
    assert "127.0.0.1" not in text
    assert "noop" not in text
    assert probe.get("/")[0] == probe.get("/metrics/x")[0] == 404


def test_a_worker_that_was_stopped_for_a_while_is_alive_at_once(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", "--health", "0", "--heartbeat-file", "alive")
    probe = Probe(worker)
    probe.wait("/readyz", 200)
    worker.send_signal(signal.SIGSTOP)
    host, port = probe.base.removeprefix("http://").split(":")
    time.sleep(33)  # longer than any thread of it may be silent
    assert age(project.folder / "alive") > 30, "the file says that nothing moves"
    with socket.create_connection((host, int(port)), timeout=20) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")  # there before anything else of it runs again
        worker.send_signal(signal.SIGCONT)
        assert early.recv(100).startswith(b"HTTP/1.1 200 ")
    assert probe.get("/healthz") == (200, "alive\n")
    worker.wait_until(lambda: age(project.folder / "alive") < 5)
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")


def test_draining_is_alive_and_not_ready(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "gate", "open")
    worker = start_worker("-Q", "jobs", "-c", "1", "--health", "0", "--heartbeat-file", "alive", "--shutdown-timeout", "none")
    probe = Probe(worker)
    worker.wait_ran("gate  begins")
    probe.wait("/readyz", 200)
    worker.wait_until(lambda: probe.figures()["pyqs_oldest_running_task_seconds",] > 0)
    worker.send_signal(signal.SIGTERM)
    probe.wait("/readyz", 503, "stopping")
    assert probe.get("/healthz") == (200, "alive\n")
    first = (project.folder / "alive").stat().st_mtime
    worker.wait_until(lambda: (project.folder / "alive").stat().st_mtime > first)
    worker.touch("open")
    assert worker.wait_exit() == 0
    assert not (project.folder / "alive").exists()


def test_a_crash_is_no_longer_alive(project: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "gate", "open")
    (project.folder / "crashing.py").write_text(CRASHING)
    worker = project._launch(
        [sys.executable, "crashing.py", "worker", "--include", "tasks", "-Q", "jobs", "-c", "1", "--health", "0",
         "--heartbeat-file", "alive"], "consuming", {},
    )  # fmt: skip
    probe = Probe(worker)
    worker.wait_ran("gate  begins")
    assert probe.get("/healthz") == (200, "alive\n")
    worker.touch("crash")
    probe.wait("/healthz", 503, "discovery crashed")
    worker.touch("open")
    assert worker.wait_exit() == 1
    assert (project.folder / "alive").exists(), "its age goes on"


def test_a_port_that_is_taken(project: Any, sqs: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        worker = project.start("-Q", "jobs", "--health", address.rpartition(":")[2], ready=None)
        assert worker.wait_exit() == 2
    assert worker.log().splitlines() == [f"pyqs: error: --health: cannot listen on {address}: Address already in use"]


def test_a_heartbeat_file_that_cannot_be_written(project: Any, sqs: Any) -> None:
    worker = project.start("-Q", "jobs", "--heartbeat-file", "missing/alive", ready=None)
    assert worker.wait_exit() == 2
    assert worker.log().splitlines() == [
        "pyqs: error: --heartbeat-file: missing/alive cannot be written: No such file or directory"
    ]


def test_the_command_for_probes_that_the_documentation_shows(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    start_worker("-Q", "jobs", "-c", "1", "--heartbeat-file", "alive")
    docs = (Path(__file__).parents[2] / "docs" / "health.md").read_text()
    (command,) = re.findall(r"test \$\(\(.*?-lt 30", docs)
    command = command.replace("/tmp/pyqs-alive", "alive")
    assert subprocess.run(["sh", "-c", command], cwd=project.folder, check=False).returncode == 0
    os.utime(project.folder / "alive", (1, 1))
    workers_file = project.folder / "alive"
    stale = subprocess.run(["sh", "-c", command], cwd=project.folder, check=False).returncode
    assert stale == 1 or age(workers_file) < 30, "unless it was renewed in between"
    assert subprocess.run(["sh", "-c", command.replace("alive", "none")], cwd=project.folder, check=False).returncode != 0
