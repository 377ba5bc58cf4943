"""``pyqs demo`` and ``pyqs local`` as processes, and the program's face: version, help, mistyped words."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from typing import Any

import pytest


def test_the_demo_shows_what_it_promises(project: Any) -> None:
    # somewhere that is no checkout, with settings that must not reach it
    before = sorted(os.listdir(project.folder))
    began = time.monotonic()
    done = project.run("demo", PYQS_QUEUES="other", AWS_PROFILE="nobody", DJANGO_SETTINGS_MODULE="nothing.settings")
    took = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    assert took < 30
    for word in (
        "Celery 5.7",
        "Celery 4.4",
        "Celery 3.1",
        "shared_task.delay",
        "pyqs task.delay",
        "PyQS 1.0.1",
        "by hand",
        "chain",
    ):
        assert word in done.stdout, word
    row = next(line for line in done.stdout.splitlines() if "by hand" in line)
    assert [int(number) for number in re.findall(r"\b\d+\b", row)] == [1, 0, 1]
    assert "still on its queue" in done.stdout
    assert "posix.system" in done.stdout
    assert sorted(os.listdir(project.folder)) == before


def test_local_prints_what_to_export_and_answers(project: Any) -> None:
    process = subprocess.Popen(
        project.command("local", "--port", "0", "--memory"),
        cwd=project.folder,
        env=project.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        exported = {}
        while "AWS_ENDPOINT_URL_SQS" not in exported:
            line = process.stdout.readline()
            assert line, "ended"
            for name, value in re.findall(r"(\w+)=(\S+)", line.partition("export ")[2]):
                exported[name] = value
        request = urllib.request.Request(
            exported["AWS_ENDPOINT_URL_SQS"],
            b"{}",
            {"X-Amz-Target": "AmazonSQS.ListQueues", "Content-Type": "application/x-amz-json-1.0"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer).get("QueueUrls", []) == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_local_names_a_wrong_fault(project: Any) -> None:
    done = project.run("local", "--port", "0", "--fault", "gremlins")
    assert done.returncode == 2
    assert "gremlins" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [("--version",), ("--help",), ("worker", "--help"), ("email.*", "--help")])
def test_help_and_version_answer_at_once(project: Any, args: tuple[str, ...]) -> None:
    done = project.run(*args)
    assert done.returncode == 0, done.stderr
    assert "pyqs" in done.stdout


def test_a_mistyped_command_is_not_consumed_as_a_queue(project: Any) -> None:
    done = project.run("wroker", "-Q", "email")
    assert done.returncode == 2
    assert "did you mean 'pyqs worker'?" in done.stderr
    assert "Traceback" not in done.stderr
