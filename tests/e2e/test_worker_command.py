"""``pyqs worker`` and PyQS's form as processes: tasks run, hooks are called, signals end it, ``--burst`` drains."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TASKS = """
    import os, time
    from ledger import ran
    from pyqs import task

    @task(queue="email-send")
    def send(number, word="x"):
        ran(f"send {number} {word}")

    @task
    def no_queue(number):
        ran(f"no_queue {number}")

    @task(queue="email-slow")
    def slow(seconds):
        ran("slow begins")
        time.sleep(seconds)
        ran("slow ends")

    @task(queue="email-send")
    def fail():
        ran("fail")
        raise ValueError("on purpose")
"""


def native(name: str, *args: Any) -> str:
    return json.dumps({"task": name, "args": list(args), "kwargs": {}})


def write(project: Any, code: str) -> None:
    done = project.python(code)
    assert done.returncode == 0, done.stderr


def test_native_tasks_from_delay_to_done(project: Any, queues: Any) -> None:
    project.write("tasks.py", TASKS)
    write(project, "import tasks\nfor n in range(5): tasks.send.delay(n, word='ü')\ntasks.no_queue.delay(7)")
    done = project.run("worker", "-Q", "email.*", "-Q", "tasks.no_queue", "--include", "tasks", "--burst", "-c", "2")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["no_queue 7", *(f"send {n} ü" for n in range(5))]
    assert queues.left("email-send") == 0
    assert queues.left("tasks-no_queue") == 0


@pytest.mark.parametrize(
    "args", [("email-send",), ("email.*",), ("email-slow,email-send",), ("email-send", "--concurrency", "2")]
)
def test_pyqs_form_imports_tasks_of_the_working_directory(project: Any, queues: Any, args: tuple[str, ...]) -> None:
    project.write("tasks.py", TASKS)
    queues.create("email-slow")
    write(project, "import tasks\nfor n in range(3): tasks.send.delay(n)")
    done = project.run(*args, "--burst")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["send 0 x", "send 1 x", "send 2 x"]
    assert queues.left("email-send") == 0


def test_burst_does_not_wait_for_delayed_hidden_and_failed_messages(project: Any, queues: Any) -> None:
    project.write("tasks.py", TASKS)
    write(project, "import tasks\ntasks.send.delay(1)\ntasks.send.delay(2, _delay_seconds=600)\ntasks.fail.delay()")
    done = project.run("worker", "-Q", "email-send", "--include", "tasks", "--burst")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["fail", "send 1 x"]
    assert queues.left("email-send") == 2
    assert "on purpose" in done.stderr


def test_burst_of_nothing_is_quick(project: Any, queues: Any) -> None:
    queues.create("email")
    began = time.monotonic()
    done = project.run("worker", "-Q", "email", "--burst")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 15


def test_create_queues_creates_names_and_no_globs(project: Any, queues: Any, sqs: Any) -> None:
    done = project.run("worker", "-Q", "email.send", "-Q", "sms.*", "--create-queues", "--burst")
    assert done.returncode == 0, done.stderr
    assert [url.rpartition("/")[2] for url in sqs.list_queues()] == ["email-send"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_task_end(project: Any, queues: Any, number: int) -> None:
    project.write("tasks.py", TASKS)
    write(project, "import tasks\ntasks.slow.delay(2)")
    running = project.start("worker", "-Q", "email-slow", "--include", "tasks", "-c", "1")
    project.wait_until(lambda: "slow begins" in project.ran())
    running.signal(number)
    assert running.wait() == 0
    assert project.ran() == ["slow begins", "slow ends"]
    assert queues.left("email-slow") == 0


def test_ctrl_c_ends_an_idle_worker_within_a_second(project: Any, queues: Any) -> None:
    queues.create("email")
    running = project.start("worker", "-Q", "email", "-c", "1")
    running.wait_for("ready")
    began = time.monotonic()
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    assert time.monotonic() - began < 15.0


def test_the_deadline_ends_a_long_task_and_releases_its_message(project: Any, queues: Any) -> None:
    project.write("tasks.py", TASKS)
    write(project, "import tasks\ntasks.slow.delay(600)")
    running = project.start("worker", "-Q", "email-slow", "--include", "tasks", "-c", "1", "--shutdown-timeout", "1")
    project.wait_until(lambda: "slow begins" in project.ran())
    began = time.monotonic()
    running.signal()
    running.wait()
    assert time.monotonic() - began < 25
    assert queues.left("email-slow") == 1
    assert queues.hidden("email-slow") == 0


MAIN = """
    import hooks
    from pyqs import events, main

    if __name__ == "__main__":
        {register}
        main._main(queue_prefixes=["email.*"], concurrency=1, interval=1, logging_level="INFO")
"""

HOOKS = """
    from ledger import ran

    def before(context):
        assert {"message_id", "task_name", "args", "kwargs", "full_task_path", "fetch_time", "queue_url", "timeout",
                "receipt_handle"} <= set(context)
        ran(f"before {context['full_task_path']} {context['args']}")

    def after(context):
        ran(f"after {context['status']} {type(context.get('exception')).__name__}")
"""


def test_hooks_registered_before_main_reach_the_executors(project: Any, queues: Any) -> None:
    project.write("tasks.py", TASKS)
    project.write("hooks.py", HOOKS)
    register = 'events.register_event("pre_process", hooks.before); events.register_event("post_process", hooks.after)'
    project.write("manage.py", MAIN.format(register=register))
    write(project, "import tasks\ntasks.send.delay(1)")
    running = project.start(program=[sys.executable, "manage.py"])
    project.wait_until(lambda: len(project.ran()) == 3)
    running.signal(signal.SIGINT)
    assert running.wait() == 0, running.stderr
    assert project.ran() == ["after success NoneType", "before tasks.send [1]", "send 1 x"]


def test_main_called_from_another_directory_finds_the_programs_tasks(project: Any, queues: Any, tmp_path: Path) -> None:
    # As systemd starts it: cd / && python /srv/site/manage.py
    project.write("tasks.py", TASKS)
    project.write("hooks.py", HOOKS)
    project.write("manage.py", MAIN.format(register="pass"))
    write(project, "import tasks\ntasks.send.delay(1)")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["sh", "-c", f"cd {elsewhere} && exec {sys.executable} {project.folder / 'manage.py'}"]
    running = project.start(program=words)
    project.wait_until(lambda: (elsewhere / "ran.txt").exists() or project.ran() != [])
    running.signal(signal.SIGINT)
    assert running.wait() == 0, running.stderr
    project.wait_until(lambda: queues.left("email-send") == 0)


def test_a_lambda_as_hook_is_an_error_that_says_so(project: Any, queues: Any) -> None:
    queues.create("email-send")
    project.write("hooks.py", HOOKS)
    project.write("manage.py", MAIN.format(register='events.register_event("pre_process", lambda context: None)'))
    running = project.start(program=[sys.executable, "manage.py"])
    assert running.wait() == 2
    assert "lambda" in running.stderr
    assert "Traceback" not in running.stderr


def test_django_is_set_up_before_tasks_are_imported(project: Any, queues: Any) -> None:
    pytest.importorskip("django")
    project.write("settings.py", 'INSTALLED_APPS = ["django.contrib.contenttypes"]\nSECRET_KEY = "x"\nUSE_TZ = True')
    project.write(
        "tasks.py",
        """
        from django.contrib.contenttypes.models import ContentType
        from ledger import ran
        from pyqs import task

        @task(queue="email-send")
        def send():
            ran(ContentType.__name__)
        """,
    )
    queues.create("email-send")
    queues.send("email-send", native("tasks.send"))
    done = project.run("email-send", "--burst", DJANGO_SETTINGS_MODULE="settings")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["ContentType"]


def test_django_stand_in_is_set_up_before_tasks_are_imported(project: Any, queues: Any) -> None:
    project.write(
        "django/__init__.py", "import os\nready = []\ndef setup():\n    ready.append(os.environ['DJANGO_SETTINGS_MODULE'])"
    )
    project.write(
        "tasks.py",
        """
        import django
        from ledger import ran
        from pyqs import task

        assert django.ready, "imported before django.setup()"

        @task(queue="email-send")
        def send():
            ran(f"{django.ready}")
        """,
    )
    queues.create("email-send")
    queues.send("email-send", native("tasks.send"))
    done = project.run("email-send", "--burst", DJANGO_SETTINGS_MODULE="shop.settings")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["['shop.settings']"]


def test_an_app_names_its_queues_and_its_sqs(project: Any, queues: Any, server: Any) -> None:
    host = server.endpoint_url.partition("//")[2]
    project.write(
        "proj/celery.py",
        f"""
        from pyqs_celery_compat import Celery

        app = Celery("proj", broker="sqs://test:test@{host}", include=["proj.tasks"])
        app.conf.broker_transport_options = {{"region": "us-east-1", "queue_name_prefix": "prod-"}}
        app.conf.task_default_queue = "email"
        """,
    )
    project.write("proj/__init__.py", "")
    project.write(
        "proj/tasks.py",
        """
        from ledger import ran
        from proj.celery import app

        @app.task(bind=True)
        def add(self, x, y):
            ran(f"add {x + y} {self.request.retries}")
        """,
    )
    for name in ("PYQS_ENDPOINT_URL", "PYQS_ACCESS_KEY_ID", "PYQS_SECRET_ACCESS_KEY", "PYQS_REGION"):
        project.env.pop(name)
    write(project, "from proj.tasks import add\nadd.delay(1, 2)\nadd.apply_async((3, 4), countdown=0)")
    assert queues.left("prod-email") == 2
    done = project.run("worker", "-A", "proj", "--burst")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["add 3 0", "add 7 0"]
    assert queues.left("prod-email") == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_worker_whose_standard_streams_are_closed_runs_its_tasks(project: Any, queues: Any, closed: str) -> None:
    project.write("tasks.py", TASKS)
    write(project, "import tasks\ntasks.send.delay(1)")
    command = shlex.join(project.command("worker", "-Q", "email-send", "--include", "tasks", "--burst", "-c", "1"))
    shell = project.start(program=["sh", "-c", f"{command} {closed}"])
    assert shell.process.wait(45) == 0
    assert project.ran() == ["send 1 x"]


def test_queues_prints_what_a_worker_would_consume(project: Any, queues: Any) -> None:
    for name in ("email-send", "email-read", "sms", "email-dlq"):
        queues.create(name)
    queues.create("email.fifo", FifoQueue="true")
    done = project.run("queues", "-Q", "email.*:weight=3:max=2", "-Q", "sms,email-send:max=9", "-X", "email-read")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [["email-send", "email.*, email-send"], ["sms", "sms"]]
    assert rows[0][2].endswith("/email-send")
    assert [row[3] for row in rows] == ["weight=3 max=2", ""]
    assert "'email-send:max=9' does not count for it, because 'email.*:weight=3:max=2' is given first" in done.stderr
    for name in ("email-dlq", "email-read", "email.fifo"):
        assert name in done.stderr


def test_queues_exits_2_for_a_name_that_does_not_exist(project: Any, queues: Any) -> None:
    queues.create("email-send")
    done = project.run("queues", "-Q", "email-sned")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean email-send?" in done.stderr


def test_queues_exits_2_when_nothing_matches(project: Any) -> None:
    done = project.run("queues", "-Q", "email.*")
    assert done.returncode == 2
    assert "no queue matches 'email.*'" in done.stderr


def test_secrets_are_never_printed(project: Any, queues: Any) -> None:
    queues.create("email")
    done = project.run("worker", "-Q", "email", "--burst", "-l", "debug", PYQS_SECRET_ACCESS_KEY="wJalrXUtnFEMIK7MDENG")
    assert done.returncode == 0, done.stderr
    assert "wJalrXUtnFEMIK7MDENG" not in done.stderr + done.stdout
