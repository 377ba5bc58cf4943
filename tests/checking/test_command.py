"""``pyqs check`` as its users run it: exit codes, the forms of the output, what is left out, ``-A``, ``--aws``, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processes import environment
from pyqs.config import ConnectionConfig
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.sqs import connect

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

FINE = """
from celery import shared_task

@shared_task
def fine():
    fine.delay()
"""
NOT_SUPPORTED = "from celery.concurrency.prefork import TaskPool\n"
DIFFERENT = "from celery.signals import worker_ready\n\n@worker_ready.connect\ndef ready(**_):\n    pass\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {**environment("http://127.0.0.1:1"), "PYTHONPATH": str(ROOT), **variables}
        command = [sys.executable, "-m", "pyqs", "check", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)

    return start


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def parsed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# -- exit codes -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "fail_on", "code"),
    [
        (FINE, "not-supported", 0),
        (FINE, "difference", 0),
        (DIFFERENT, "not-supported", 0),
        (DIFFERENT, "difference", 1),
        (NOT_SUPPORTED, "not-supported", 1),
        (NOT_SUPPORTED, "difference", 1),
        (NOT_SUPPORTED, "never", 0),
        ("x = (\nimport celery\n", "not-supported", 0),
        ("x = (\nimport celery\n", "difference", 1),
    ],
)
def test_the_exit_code_is_what_ci_asked_for(run: Run, tmp_path: Path, text: str, fail_on: str, code: int) -> None:
    write(tmp_path, "app.py", text)
    done = run("--fail-on", fail_on)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""


def test_a_path_that_is_not_there_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    done = run("nowhere")
    assert done.returncode == 2
    assert done.stderr == "pyqs: error: there is no 'nowhere'\n"


def test_no_python_file_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "empty/readme.txt", "celery -A proj worker")
    write(tmp_path, "empty/.venv/lib/x.py", NOT_SUPPORTED)
    done = run("empty")
    assert done.returncode == 2
    assert done.stderr == "pyqs: error: there is no Python file in empty\n"


# -- the forms --------------------------------------------------------------------------------------------------------------
def test_the_text_groups_by_verdict_and_leaves_out_what_works(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "fine.py", FINE)
    write(tmp_path, "proj/bad.py", NOT_SUPPORTED)
    write(tmp_path, "proj/other.py", DIFFERENT)
    done = run()
    lines = done.stdout.splitlines()
    assert lines[0] == "not supported, do this instead (1)"
    assert "    proj/bad.py:1  celery.concurrency.prefork.TaskPool" in lines
    assert lines.index("works, with this difference (1)") < lines.index("    proj/other.py:3  worker_ready.connect")
    assert "fine.py" not in done.stdout
    assert "3 Python files: 1 not supported, 1 different, 0 to look at, 4 the same" in lines
    everything = run("-v").stdout
    assert "works the same (4)" in everything
    assert "    fine.py:4  @shared_task" in everything


def test_the_json_has_what_the_document_says(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "app.py", NOT_SUPPORTED + FINE)
    found = parsed(run("--json"))
    assert found == parsed(run("--format", "json"))
    assert list(found) == ["version", "files", "findings", "notes", "summary"]
    assert found["version"] == 1
    assert found["summary"] == {"not-supported": 1, "difference": 0, "look": 0, "same": 3}
    assert found["findings"][0] == {
        "file": "app.py", "line": 1, "column": 40, "rule": "import", "use": "celery.concurrency.prefork.TaskPool",
        "verdict": "not-supported", "note": "tasks run in executors, which are processes; other pools cannot be made",
    }  # fmt: skip
    assert [one["line"] for one in found["findings"]] == [1, 3, 5, 7]


def test_annotations_of_a_workflow(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "a,b.py", NOT_SUPPORTED)
    write(tmp_path, "other.py", DIFFERENT + FINE)
    done = run("--format", "github")
    assert done.stdout.splitlines() == [
        "::error file=a%2Cb.py,line=1,col=40,title=celery.concurrency.prefork.TaskPool%3A not supported%2C do this instead::"
        "tasks run in executors, which are processes; other pools cannot be made",
        "::notice file=other.py,line=3,col=2,title=worker_ready.connect%3A works%2C with this difference::"
        "sent in a process of its own, which runs no task: what is set there no task sees; worker_process_init is for that",
    ]


# -- what is looked at ------------------------------------------------------------------------------------------------------
def test_what_is_nobodys_own_code_is_left_out(run: Run, tmp_path: Path) -> None:
    for folder in (".venv/lib", "node_modules/x", "proj/migrations", "venv", ".git"):
        write(tmp_path, f"{folder}/bad.py", NOT_SUPPORTED)
    write(tmp_path, "proj/legacy/bad.py", NOT_SUPPORTED)
    write(tmp_path, "proj/generated_pb2.py", NOT_SUPPORTED)
    write(tmp_path, "proj/good.py", FINE)
    assert run("--exclude", "proj/legacy", "--exclude", "*_pb2.py").returncode == 0
    assert run(PYQS_CHECK_EXCLUDE="legacy,*_pb2.py").returncode == 0
    named = {one["file"] for one in parsed(run("--json"))["findings"] if one["verdict"] != "same"}
    assert named == {"proj/legacy/bad.py", "proj/generated_pb2.py"}


def test_links_in_a_circle_end(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "proj/good.py", FINE)
    (tmp_path / "proj" / "again").symlink_to(tmp_path / "proj", target_is_directory=True)
    (tmp_path / "proj" / "broken.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "proj" / "self.py").symlink_to(tmp_path / "proj" / "self.py")
    os.mkfifo(tmp_path / "proj" / "pipe.py")
    assert parsed(run("--json"))["files"] == 1


@pytest.mark.parametrize("where", [".", "shop", "shop/orders", "shop/orders/tasks.py"])
def test_a_module_has_its_name_wherever_the_check_begins(run: Run, tmp_path: Path, where: str) -> None:
    write(tmp_path, "shop/__init__.py", "")
    write(tmp_path, "shop/orders/__init__.py", "")
    entries = "{'a': {'task': 'shop.orders.tasks.fine'}, 'b': {'task': 'shop.orders.tasks.gone'}}"
    write(tmp_path, "shop/orders/tasks.py", f"{FINE}\nCELERY_BEAT_SCHEDULE = {entries}\n")
    named = [one["use"] for one in parsed(run(where, "--json"))["findings"] if one["rule"] == "unknown-task"]
    assert named == ["shop.orders.tasks.gone"]


def test_one_file_alone(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "proj/bad.py", NOT_SUPPORTED)
    write(tmp_path, "proj/good.py", FINE)
    assert run("proj/good.py").returncode == 0
    assert run("proj/bad.py", "proj/good.py").returncode == 1


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"import celery\nx = (\n", 2, "was never closed"),
        (b"import celery\n\0\n", 1, "null bytes"),
        (b"import celery  # \xff\n", 1, "encoding"),
        (b"# coding: no-such-coding\nimport celery\n", 1, "encoding"),
        (b"import celery\nx = " + b"(" * 5000 + b")" * 5000, 2, "too many nested parentheses"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding(run: Run, tmp_path: Path, content: bytes, line: int, reason: str) -> None:
    (tmp_path / "bad.py").write_bytes(content)
    write(tmp_path, "good.py", FINE)
    (finding,) = (one for one in parsed(run("--json"))["findings"] if one["verdict"] != "same")
    assert (finding["file"], finding["rule"], finding["verdict"]) == ("bad.py", "syntax", "look")
    assert reason in finding["note"]
    assert finding["line"] in (line, 1)


def test_what_nobody_writes_is_read(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "settings.py", (Path(__file__).parent / "odd_constructs.txt").read_text())
    found = parsed(run("--json"))
    assert len(found["findings"]) > 40
    assert not any(one["rule"] == "syntax" for one in found["findings"])


def test_an_expression_without_end_is_a_finding(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "long.py", "import celery\nx = " + " + ".join(["celery"] * 20_000) + "\n")
    write(tmp_path, "good.py", FINE)
    found = parsed(run("--json"))["findings"]
    assert {one["rule"] for one in found if one["file"] == "long.py"} >= {"syntax"}
    assert any(one["file"] == "good.py" for one in found)


def test_a_line_says_that_it_is_right(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "app.py", NOT_SUPPORTED.rstrip() + "  # pyqs: ok, never run\n" + NOT_SUPPORTED)
    assert [one["line"] for one in parsed(run("--json"))["findings"]] == [2]


def test_two_thousand_files_of_which_a_tenth_is_parsed(run: Run, tmp_path: Path) -> None:
    for number in range(2000):  # what mentions nothing of Celery's is not parsed, so that it cannot be wrong either
        text = FINE if number % 10 == 0 else "import os\n" + "def nothing():\n    return os.sep\n" * 30 + "x = (\n"
        write(tmp_path, f"proj/part{number % 40}/module{number}.py", text)
    found = parsed(run("--json"))
    assert found["files"] == 2000
    assert found["summary"] == {"not-supported": 0, "difference": 0, "look": 0, "same": 600}


def test_nothing_of_the_codebase_is_run(run: Run, tmp_path: Path) -> None:
    bomb = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    write(tmp_path, "proj/__init__.py", bomb + FINE)
    write(tmp_path, "celery.py", bomb + FINE)
    write(tmp_path, "sitecustomize.py", "")
    write(tmp_path, "conftest.py", bomb + "pytest_plugins = ['celery.contrib.pytest']\n")
    write(tmp_path, "setup.py", bomb + FINE)
    assert run().returncode == 0
    assert not (tmp_path / "ran").exists()


def test_no_value_of_a_setting_is_shown(run: Run, tmp_path: Path) -> None:
    write(
        tmp_path,
        "settings.py",
        """
        CELERY_BROKER_URL = "amqp://admin:hunter2@rabbit/"
        CELERY_RESULT_BACKEND = "hunter2"
        CELERY_SECURITY_KEY = "hunter2"
        CELERY_BROKER_TRANSPORT = "hunter2"
        CELERY_TASK_SERIALIZER = "hunter2"
        CELERY_TASK_DEFAULT_RATE_LIMIT = -1
        """,
    )
    write(tmp_path, "compose.yml", "CELERY_BROKER_URL: amqp://admin:hunter2@rabbit/\n")
    for form in ("text", "json", "github"):
        done = run("--format", form, "-v")
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr


# -- what several places say together ---------------------------------------------------------------------------------------
def test_tasks_that_end_later_than_the_platform_waits(run: Run, tmp_path: Path) -> None:
    write(
        tmp_path,
        "app.py",
        """
        import time
        from celery import shared_task

        @shared_task(soft_time_limit=600, time_limit=660)
        def limited(): ...

        @shared_task(time_limit=660, acks_late=True)
        def late(): ...

        @shared_task
        def sleeps():
            time.sleep(2 * 60)

        @shared_task(time_limit=5)
        def short(): ...

        @shared_task
        def nobody_knows(): ...
        """,
    )

    def early(*arguments: str) -> list[int]:
        return [one["line"] for one in parsed(run("--json", *arguments))["findings"] if one["rule"] == "early-ack"]

    assert early() == []
    assert early("--grace", "30") == [5, 11]
    assert early("--grace", "300") == [5]
    write(tmp_path, "settings.py", "CELERY_TASK_TIME_LIMIT = 60\n")
    assert early("--grace", "30") == [5, 11, 18]
    write(tmp_path, "settings.py", "CELERY_TASK_ACKS_LATE = True\n")
    assert early("--grace", "30") == []


def test_a_chord_needs_a_result_backend(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "app.py", "from celery import chord\n\nchord([])()\n")
    assert [one["line"] for one in parsed(run("--json"))["findings"] if one["rule"] == "chord"] == [3]
    write(tmp_path, "settings.py", "CELERY_RESULT_BACKEND = 'redis://'\n")
    assert run().returncode == 0
    write(tmp_path, "settings.py", "import os\nCELERY_RESULT_BACKEND = os.environ['X']\n")
    assert run().returncode == 0


# -- with the app -----------------------------------------------------------------------------------------------------------
APP = """
import os
from celery import Celery
print("noise")
app = Celery("shop", broker=os.environ["WHERE"])
app.conf.update(
    result_backend="rpc://", worker_direct=True, task_default_queue="main",
    beat_schedule={"a": {"task": "shop.made", "schedule": 1}, "b": {"task": "shop.gone", "schedule": 1}},
)

@app.task(name="".join(["shop", ".made"]))
def made(): ...
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write(tmp_path, "shop/__init__.py", "")
    write(tmp_path, "shop/celery.py", APP)
    return tmp_path


def test_the_app_tells_its_real_settings_and_tasks(run: Run, shop: Path) -> None:
    alone = parsed(run("--json"))
    assert {one["use"] for one in alone["findings"] if one["verdict"] == "look"} == {"broker_url"}
    both = run(".", "-A", "shop", "--json", WHERE="amqp://user:hush@host")
    assert both.returncode == 1
    assert "hush" not in both.stdout + both.stderr
    assert "noise" in both.stderr
    told = [one for one in parsed(both)["findings"] if one["file"] == "-A shop"]
    assert {(one["rule"], one["use"], one["verdict"]) for one in told if one["verdict"] != "same"} == {
        ("setting", "a worker would not start", "not-supported"),
        ("setting", "broker_url", "not-supported"),
        ("setting", "result_backend", "not-supported"),
        ("setting", "worker_direct", "not-supported"),
        ("unknown-task", "shop.gone", "look"),
    }
    assert not [one for one in parsed(both)["findings"] if one["verdict"] == "look" and one["use"] == "broker_url"]


def test_the_app_alone(run: Run, shop: Path) -> None:
    found = parsed(run("-A", "shop", "--json", WHERE="sqs://"))
    assert found["files"] == 0
    assert {one["file"] for one in found["findings"]} == {"-A shop"}


def test_an_app_that_does_not_import_is_wrong_usage(run: Run, shop: Path) -> None:
    done = run("-A", "shop")
    assert done.returncode == 2
    assert "KeyError" in done.stderr
    assert done.stdout == ""


# -- with SQS ---------------------------------------------------------------------------------------------------------------
def test_queues_without_a_dead_letter_queue(run: Run, tmp_path: Path) -> None:
    write(
        tmp_path,
        "tasks.py",
        """
        from celery import shared_task

        @shared_task(queue="safe.mail")
        def safe(): ...

        @shared_task(queue="bare")
        def bare():
            bare.apply_async(queue="missing")
            bare.apply_async(queue="safe-dead")
        """,
    )
    with LocalServer(Store(None)) as server:
        sqs = connect(ConnectionConfig("us-east-1", server.endpoint_url, "test", "test"))
        try:
            dead = sqs.queue_attributes(sqs.create_queue("safe-dead"))["QueueArn"]
            policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 3})
            sqs.create_queue("safe-mail", {"RedrivePolicy": policy})
            sqs.create_queue("bare")
        finally:
            sqs.close()
        found = parsed(run("--json", "--aws", PYQS_ENDPOINT_URL=server.endpoint_url, AWS_ENDPOINT_URL_SQS=server.endpoint_url))
    redrive = [one for one in found["findings"] if one["rule"] == "redrive"]
    assert [(one["use"], one["line"], one["verdict"]) for one in redrive] == [("queue bare", 7, "difference")]
    assert any("'missing' was not asked for" in note for note in found["notes"])
    assert any("--aws" in note for note in parsed(run("--json"))["notes"])
