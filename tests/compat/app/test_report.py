"""``pyqs report``: what became of each setting, for people and for programs; and ``-A`` that leads nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

APP = """
from pyqs_celery_compat import Celery
print("noise")
app = Celery("shop", broker="sqs://AK:hush@localhost:9324", my_token="hush", my_list=[1])
app.conf.update(worker_concurrency=4, broker_heartbeat=5, worker_direct=True, task_routes={"a.*": "q"}, task_acks_late=False)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text(APP)
    return tmp_path


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyqs", "report", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def test_json_tells_every_setting_that_was_set(project: Path) -> None:
    done = run(project, "-A", "shop", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)  # what the app prints goes elsewhere
    assert "noise" in done.stderr
    settings = {one["name"]: one for one in found["settings"]}
    assert {name: one["fate"] for name, one in settings.items()} == {
        "broker_heartbeat": "no effect", "broker_url": "honoured", "task_routes": "honoured", "worker_concurrency": "honoured",
        "worker_direct": "not yet", "my_list": None, "my_token": None,
    }  # fmt: skip
    assert settings["worker_concurrency"]["value"] == 4
    assert settings["broker_url"]["value"] == "sqs://********@localhost:9324"
    assert settings["task_routes"]["value"] == "{'a.*': 'q'}"
    assert found["app"]["name"] == "shop"
    assert found["versions"]["Python"] == sys.version.split()[0]
    assert {"pyqs", "boto3", "kombu"} <= set(found["versions"])
    assert found["errors"] == []
    assert len(found["remarks"]) == 1
    assert "hush" not in done.stdout + done.stderr


def test_the_text_says_the_same(project: Path) -> None:
    done = run(project, "-A", "shop")
    assert done.returncode == 0
    assert "  broker_heartbeat = 5\n      no effect: connections to SQS" in done.stdout
    assert "  my_token = '********'\n" in done.stdout
    assert "a worker would say:\n  worker_direct is not kept yet" in done.stdout
    assert "hush" not in done.stdout


def test_settings_with_which_no_worker_starts_are_told_and_are_exit_code_2(project: Path) -> None:
    (project / "shop" / "celery.py").write_text(APP + "app.conf.worker_concurrency = 'four'\napp.conf.task_acks_late = 'no'\n")
    done = run(project, "-A", "shop")
    assert done.returncode == 2
    assert "a worker would not start:\n  these settings cannot be honoured:\n  task_acks_late = 'no': text" in done.stdout


def test_names_of_both_kinds_are_told(project: Path) -> None:
    (project / "shop" / "celery.py").write_text(APP + "app.config_from_object({'CELERY_TRACK_STARTED': 1})\n")
    done = run(project, "-A", "shop", "--json")
    assert done.returncode == 2
    (error,) = json.loads(done.stdout)["errors"]
    assert "mixes" in error
    assert "CELERY_TRACK_STARTED" in error


def test_it_talks_to_nobody_and_loads_no_sdk(project: Path) -> None:
    (project / "shop" / "celery.py").write_text(
        APP
        + textwrap.dedent("""
        import atexit, os, socket, sys
        def refused(*args, **kwargs): os._exit(9)
        socket.socket.connect = refused
        from pyqs_celery_compat import app_report
        was = app_report.report
        def report(app):
            found = was(app)
            found["loaded"] = sorted(name for name in sys.modules if name in ("boto3", "botocore"))
            return found
        app_report.report = report
        """)
    )
    done = run(project, "-A", "shop", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["loaded"] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shpo", "there is no module shpo in {} nor among what is installed; did you mean shop?"),
        ("shop.celry", "module shop has neither a module nor an attribute 'celry'; did you mean shop.celery?"),
        ("shop.celery:ap", "module shop.celery has no 'ap'; did you mean app?"),
        ("shop.celery.ap", "module shop.celery has neither a module nor an attribute 'ap'; did you mean shop.celery.app?"),
        ("shop.empty", "module shop.empty holds no Celery app (looked for 'app' and 'celery')"),
        ("shop.celery.app.x", "there is no module"),
    ],
)
def test_an_app_that_is_not_there_is_one_line_with_what_is_near(project: Path, name: str, said: str) -> None:
    (project / "shop" / "empty.py").write_text("")
    done = run(project, "-A", name)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line != "noise")
    assert line.startswith(f"pyqs: error: -A {name}: ")
    assert said.format(project) in line


def test_a_circular_import_is_shown_as_what_it_is(project: Path) -> None:
    (project / "shop" / "celery.py").write_text("from shop.tasks import add\n" + APP)
    (project / "shop" / "tasks.py").write_text("from shop.celery import app\n@app.task\ndef add(): ...\n")
    done = run(project, "-A", "shop")
    assert done.returncode == 2
    assert "circular import" in done.stderr.splitlines()[-1]
    assert "shop/tasks.py" in done.stderr


def test_without_an_app_it_says_how(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "give -A proj" in done.stderr
