"""A project's own processes: one enqueues, a real worker runs it, and a Lambda function does, too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedded import Clock, Sqs
from lambdas import event_of
from processes import environment
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.server import LocalServer
from pyqs.local.store import Store

pytest.importorskip("django.tasks", reason="needs Django 6.0 or newer (nox -s django)")

SUPPORT = Path(__file__).parents[1] / "support"
SETTINGS = """
SECRET_KEY = "-"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "pyqs_celery_compat.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
TASKS = {"default": {"BACKEND": "pyqs.django.SqsBackend", "QUEUES": ["default", "mail"], "OPTIONS": {"max_deliveries": 3}}}
"""
TASKS = """
import asyncio
from django.contrib.contenttypes.models import ContentType
from django.tasks import task

def ran(line):
    with open("ran", "a") as out:
        out.write(line + "\\n")

@task
def add(x, y):
    ran(f"add {x + y}")

@task(takes_context=True)
async def counts(context):
    await asyncio.sleep(0)
    ran(f"counts {await ContentType.objects.acount()} attempt {context.attempt}")

@task(queue_name="mail")
def fails():
    ran("fails")
    raise ValueError("on purpose")

def plain():
    ran("plain")
"""
MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
LAMBDA = """
import json, sys
from lambdas import Context
from pyqs.aws_lambda import lambda_handler
print(json.dumps(lambda_handler(json.load(open("event")), Context(30.0))))
"""


@dataclass
class Project:
    """A folder with a Django project, and an SQS for its processes."""

    folder: Path
    sqs: Sqs
    env: dict[str, str]

    def python(self, *args: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, *args],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def enqueue(self, call: str) -> None:
        self.python("manage.py", "shell", "-v", "0", "-c", f"from project import tasks\ntasks.{call}")

    @property
    def ran(self) -> list[str]:
        path = self.folder / "ran"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "shop"
    (folder / "project").mkdir(parents=True)
    for name, text in {"__init__": "", "settings": SETTINGS, "tasks": TASKS}.items():
        (folder / "project" / f"{name}.py").write_text(text)
    (folder / "manage.py").write_text(MANAGE)
    clock = Clock()
    store = Store(clock=clock)
    with LocalServer(store) as server:
        sqs = Sqs(store, server, clock)
        sqs.create("default", "mail")
        env = environment(server.endpoint_url)
        made = Project(folder, sqs, env | {"DJANGO_SETTINGS_MODULE": "project.settings"})
        made.python("manage.py", "migrate", "-v", "0")
        yield made


@pytest.mark.parametrize("include", [("--include", "project.tasks"), ()], ids=["included", "named-by-the-message"])
def test_what_one_process_enqueues_a_worker_runs(project: Project, include: tuple[str, ...]) -> None:
    project.enqueue("add.enqueue(1, y=2)")
    project.enqueue("counts.enqueue()")
    project.sqs.native("default", "x")  # of tasks.x, which is none
    log = project.python("-m", "pyqs", "worker", "-Q", "default", "-c", "1", "--burst", *include)
    assert sorted(project.ran) == ["add 3", "counts 1 attempt 1"]
    assert "Task id=" in log  # Django's own line
    assert project.sqs.counts("default").total == 1


def test_manage_py_has_the_worker_and_failures_come_back(project: Project) -> None:
    project.enqueue("fails.enqueue()")
    log = project.python("manage.py", "pyqs", "worker", "-Q", "mail", "-c", "1", "--burst")
    assert project.ran == ["fails"]
    assert "on purpose" in log
    counts = project.sqs.counts("mail")
    assert (counts.hidden, counts.total) == (1, 1)


def test_a_lambda_function_runs_them(project: Project) -> None:
    project.enqueue("add.enqueue(2, y=2)")
    project.enqueue("counts.enqueue()")
    sqs = InProcessSqs(project.sqs.store)
    messages: list[Any] = sqs.receive(sqs.queue_url("default"), wait=0, max_messages=10)
    (project.folder / "event").write_text(json.dumps(event_of("default", messages)))
    path = f"{SUPPORT}:{project.env.get('PYTHONPATH', '')}"
    out = project.python("-c", LAMBDA, PYTHONPATH=path, PYQS_INCLUDE="project.tasks", AWS_REGION="us-east-1")
    assert '{"batchItemFailures": []}' in out
    assert sorted(project.ran) == ["add 4", "counts 1 attempt 1"]
