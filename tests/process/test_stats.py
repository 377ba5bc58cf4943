"""``/stats`` of a real worker, and ``pyqs stats`` that asks for it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from processes import PATIENCE, children_of, free_port

LISTENING = r"health: http://127\.0\.0\.1:(\d+)/healthz"


def address_of(worker: Any) -> str:
    found = re.search(LISTENING, worker.wait_log(LISTENING))
    assert found
    return found[1]


def stats(project: Any, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyqs", "stats", *args], cwd=project.folder, env=project.env, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
    )  # fmt: skip


def document(project: Any, address: str) -> dict[str, Any]:
    done = stats(project, address, "--once", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["workers"][0]["stats"]
    return found


def test_a_running_task_with_its_message_its_lease_and_its_memory(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    ids = [sqs.native("jobs", "noop", n) for n in range(3)]
    worker = start_worker("-Q", "jobs", "-c", "2", "--health", "0", "--lease", "60")
    address = address_of(worker)
    worker.wait_ran("noop", 3)
    message = sqs.native("jobs", "gate", "open", "SECRET-ARGUMENT")
    worker.wait_ran("gate")
    worker.wait_until(lambda: any(one["tasks"] for one in document(project, address)["executors"]))
    found = document(project, address)
    assert (found["pid"], found["state"], found["concurrency"]) == (worker.pid, "running", 2)
    assert found["totals"]["received"] == found["totals"]["started"] == 4
    assert found["totals"]["ended"] == {"succeeded": 3}
    assert [one["name"] for one in found["queues"]] == ["jobs"]
    assert found["queues"][0]["up"]
    assert sorted(one["state"] for one in found["executors"]) == ["busy", "idle"]
    assert {one["pid"] for one in found["executors"]} == set(worker.executors)
    busy = next(one for one in found["executors"] if one["state"] == "busy")
    (task,) = busy["tasks"]
    assert (task["name"], task["queue"], task["message_id"], task["receives"]) == ("tasks.gate", "jobs", message, 1)
    assert 0 < task["lease_left"] <= 60
    assert 0 <= task["seconds"] <= task["held"]
    assert busy["memory"]["rss"] >= busy["memory"]["pss"] > 1 << 20
    text = stats(project, address, "--once").stdout
    for words in ("tasks.gate", message, "1 busy, 1 idle (of 2)", "jobs"):
        assert words in text
    everything = json.dumps(found) + text
    assert "SECRET-ARGUMENT" not in everything
    assert sqs.server.endpoint_url not in everything
    assert not any(one in everything for one in ids)
    worker.touch("open")
    worker.terminate(end_polls=sqs.store.end_polls)


def test_rates_are_those_of_the_last_seconds(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2", "--health", "0")
    address = address_of(worker)
    sqs.many("jobs", range(50))
    worker.wait_ran("noop", 50)
    worker.wait_until(lambda: document(project, address)["totals"]["ended"].get("succeeded") == 50)
    rates = document(project, address)["rates"]
    assert rates["received"] * rates["seconds"] == pytest.approx(50, abs=1)
    assert rates["ended"]["succeeded"] * rates["seconds"] == pytest.approx(50, abs=1)


def test_an_import_that_takes_long_is_seen_as_a_worker_that_starts(project: Any, sqs: Any) -> None:
    sqs.create("jobs")
    tasks = project.folder / "tasks.py"
    waiting = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.05)\n"
    app = "\nfrom pyqs_celery_compat import Celery\napp = Celery('app', broker='sqs://')\n"
    tasks.write_text(waiting + tasks.read_text() + app)
    worker = project.start("-A", "tasks", "-Q", "jobs", "-c", "1", "--health", "0", ready=None)
    found = document(project, address_of(worker))
    assert found["state"] == "starting"
    assert "starting" in stats(project, address_of(worker), "--once").stdout
    worker.touch("go")
    worker.wait_log("consuming")
    assert document(project, address_of(worker))["state"] == "running"


def test_several_workers_and_one_that_is_not_there(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", "--health", "0")
    missing = f"127.0.0.1:{free_port()}"
    done = stats(project, f"http://127.0.0.1:{address_of(worker)}", missing, "--once")
    assert done.returncode == 0
    assert f"pid {worker.pid}" in done.stdout
    assert "Connection refused; does a worker run there, with --health?" in done.stdout
    done = stats(project, missing, "--once", "--json")
    assert done.returncode == 2
    assert "Connection refused" in json.loads(done.stdout)["workers"][0]["error"]
    assert stats(project, "no:such:thing").returncode == 2


def test_json_without_once_is_a_line_for_each_time(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", "--health", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "pyqs", "stats", address_of(worker), "--json", "--interval", "0.1"],
        cwd=project.folder, env=project.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    finally:
        process.kill()
        process.wait()
    assert [line["workers"][0]["stats"]["pid"] for line in lines] == [worker.pid] * 3
    assert lines[0]["time"] < lines[1]["time"] < lines[2]["time"]


def test_on_a_terminal_it_goes_on_in_place_until_ctrl_c(start_worker: Any, sqs: Any, project: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "gate", "open")
    worker = start_worker("-Q", "jobs", "-c", "1", "--health", "0")
    worker.wait_ran("gate")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pyqs", "stats", address_of(worker), "--interval", "0.1"], cwd=project.folder,
        env=project.env | {"TERM": "xterm", "COLUMNS": "140", "LINES": "40"}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        shown = b""
        while shown.count(b"tasks.gate") < 3:
            shown += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the other end is closed
            while more := os.read(ours, 1 << 16):
                shown += more
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Traceback" not in shown
    assert shown.rstrip().endswith((b"\x1b[?1049l", b"\x1b[?25h")), "the terminal is as it was"
    worker.touch("open")


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Something else that answers at /stats."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "no worker of pyqs"),
        (b"[]", "no worker of pyqs"),
        (b'{"pyqs": "9", "state": "running", "rates": 5}', "cannot be read"),
        (b'{"pyqs": "\\u001b[31m", "state": "x", "pid": 1}', "\\x1b[31m"),
    ],
)
def test_what_is_no_worker_breaks_nothing(project: Any, body: bytes, words: str) -> None:
    with answering(body) as address:
        done = stats(project, address, "--once")
    assert words in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_the_page_reads_memory_when_it_is_asked_for_and_not_otherwise(start_worker: Any, sqs: Any, project: Any) -> None:
    """Nothing of it runs beside the worker: no further process, and a worker that nobody asks is as it was."""
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", "--health", "0")
    before = children_of(worker.pid)
    document(project, address_of(worker))
    assert children_of(worker.pid) == before
