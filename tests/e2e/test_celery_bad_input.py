"""What people get wrong in a Celery app: each is one clear error, and no message is lost over it.

Real publishers and workers on an SQS on loopback. Unless said otherwise, what comes out is what genuine Celery 5.7 (prefork, on
Redis) was seen to do.
"""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

APP = """
    from ledger import ran
    from pyqs_celery_compat import Celery, signals

    app = Celery("proj", broker="sqs://", task_default_queue="email", {settings})

    @app.task
    def send(number):
        ran(f"send {{number}}")
"""


@pytest.fixture
def proj(project: Any, queues: Any) -> Any:
    """Writes proj.py: the app with these settings, then more code. Its queue is there."""
    queues.create("email")

    def write(settings: str = "", more: str = "") -> None:
        project.write("proj.py", textwrap.dedent(APP).format(settings=settings) + textwrap.dedent(more))

    return write


def call(project: Any, code: str = "proj.send.delay(1)") -> None:
    done = project.python(f"import proj; {code}")
    assert done.returncode == 0, done.stderr


def burst(project: Any, *more: str) -> Any:
    return project.run("worker", "-A", "proj", "-Q", "email", "--burst", "-c", "1", *more)


def told(stderr: str, text: str) -> str:
    """The one line that says it."""
    (line,) = (line for line in stderr.splitlines() if text in line)
    return line


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ("task_acks_late='maybe', worker_concurrency='many'", ["task_acks_late = 'maybe': ", "worker_concurrency = 'many': "]),
        ("task_serializer='nope'", ["task_serializer = 'nope': 'nope' is no serializer that is known here; json, "]),
        ("accept_content=['nope']", ["accept_content = ['nope']: 'nope' is no serializer that is known here; json, "]),
        ("timezone='Europe/Pargue'", ["timezone = 'Europe/Pargue': "]),
    ],
)
def test_values_of_settings_stop_a_worker_and_no_message(
    project: Any, queues: Any, proj: Any, settings: str, lines: list[str]
) -> None:
    """Celery starts with them and fails task by task (docs/differences.md)."""
    proj()
    call(project)
    proj(settings)
    done = burst(project)
    assert done.returncode == 2
    for line in lines:
        told(done.stderr, line)
    assert "Traceback" not in done.stderr
    assert queues.left("email") == 1


def test_a_name_that_is_no_setting_is_said_once_and_the_worker_works(project: Any, queues: Any, proj: Any) -> None:
    proj("task_ack_late=True")
    call(project)
    done = burst(project)
    assert (done.returncode, project.ran(), queues.left("email")) == (0, ["send 1"], 0)
    assert "there is no setting of this name; did you mean task_acks_late?" in told(done.stderr, "task_ack_late:")


def test_old_and_new_names_mixed_stop_publisher_and_worker(project: Any, queues: Any, proj: Any) -> None:
    proj()
    call(project)
    proj(more="app.config_from_object({'CELERY_ACKS_LATE': True, 'worker_concurrency': 2})")
    done = project.python("import proj; proj.send.delay(2)")
    assert done.returncode == 1
    assert "ImproperlyConfigured" in done.stderr
    told(done.stderr, "CELERY_ACKS_LATE")
    done = burst(project)
    assert done.returncode == 2
    assert "-> task_acks_late" in told(done.stderr, "CELERY_ACKS_LATE")
    assert "Traceback" not in done.stderr
    assert queues.left("email") == 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("app.conf.task_serializer = 'nope'", "proj.send.delay(1)"),
        ("send.serializer = 'nope'", "proj.send.delay(1)"),
        ("", "proj.send.apply_async((1,), serializer='nope')"),
        ("", "proj.app.send_task('proj.send', (1,), serializer='nope')"),
    ],
    ids=["setting", "task", "call", "send_task"],
)
def test_a_serializer_that_nobody_registered_is_an_error_at_the_call(
    project: Any, queues: Any, proj: Any, more: str, code: str
) -> None:
    proj(more=more)
    done = project.python(f"""
        import kombu.exceptions, proj
        try:
            {code}
        except kombu.exceptions.SerializerNotInstalled as exc:
            print(exc)
    """)
    assert done.stdout == "unknown serializer 'nope'; known: json, yaml, msgpack, pickle, or what kombu has registered\n"
    assert queues.left("email") == 0


def test_of_two_tasks_of_one_name_the_first_is_run_and_the_second_named(project: Any, queues: Any, proj: Any) -> None:
    proj(
        more="""
        @app.task(name="proj.send")
        def sms(number):
            ran(f"sms {number}")
    """
    )
    call(project)
    done = burst(project)
    assert (done.returncode, project.ran(), queues.left("email")) == (0, ["send 1"], 0)
    line = told(done.stderr, "DuplicateTaskNameWarning")
    assert "task name 'proj.send' is used by two functions: proj.send (" in line
    assert "proj.sms (" in line


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("porj", "there is no module porj in {} nor among what is installed; did you mean proj?"),
        ("proj:ap", "module proj has no 'ap'; did you mean app?"),
        ("ledger", "module ledger holds no Celery app (looked for 'app' and 'celery')"),
    ],
)
def test_an_app_that_is_not_there(project: Any, queues: Any, proj: Any, app: str, said: str) -> None:
    proj()
    call(project)
    done = project.run("worker", "-A", app, "-Q", "email", "--burst")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"pyqs: error: -A {app}: {said.format(project.folder)}"]
    assert queues.left("email") == 1


def test_a_circular_import_in_a_task_module(project: Any, queues: Any, proj: Any) -> None:
    proj(more="app.conf.imports = ['tasks']")
    call(project)
    project.write("tasks.py", "from helpers import help\nfrom proj import app\n\n@app.task\ndef work(): help()\n")
    project.write("helpers.py", "from tasks import work\ndef help(): ...\n")
    done = burst(project)
    assert done.returncode == 2
    assert "circular import" in done.stderr.splitlines()[-1]
    assert "helpers.py" in done.stderr
    assert queues.left("email") == 1


def test_arguments_that_do_not_fit(project: Any, queues: Any, proj: Any) -> None:
    """The caller is told; a message from one who was not asked (``typing=False``, another program) fails, as in Celery."""
    proj()
    done = project.python("import proj; proj.send.delay()")
    assert done.stderr.splitlines()[-1] == "TypeError: send() missing 1 required positional argument: 'number'"
    assert queues.left("email") == 0
    call(project, "proj.app.send_task('proj.send', (1, 2))")
    call(project)
    done = burst(project)
    assert (done.returncode, project.ran()) == (0, ["send 1"])
    line = told(done.stderr, "raised unexpected")
    assert "TypeError('send() takes 1 positional argument but 2 were given')" in line
    assert "1 succeeded" in done.stderr


RECEIVERS = """
    def bad(signal, **more):
        raise ValueError(f"receiver of {signal.name}")

    for name in %r:
        getattr(signals, name).connect(bad)
"""


def test_receivers_that_raise_are_logged_and_harm_no_task(project: Any, queues: Any, proj: Any) -> None:
    callers = ["before_task_publish", "after_task_publish"]
    tasks = ["task_received", "task_prerun", "task_success", "task_postrun"]
    workers = ["celeryd_init", "worker_init", "worker_process_init", "worker_ready", "worker_shutdown"]
    proj(more=RECEIVERS % (callers + tasks + workers))
    done = project.python("import proj; proj.send.delay(1)")
    assert done.returncode == 0
    for name in callers:
        assert "Signal handler <function bad" in told(done.stderr, f"raised: ValueError('receiver of {name}')")
    done = burst(project)
    assert (done.returncode, project.ran(), queues.left("email")) == (0, ["send 1"], 0)
    for name in tasks + workers:
        assert "Signal handler <function bad" in told(done.stderr, f"raised: ValueError('receiver of {name}')"), name


@pytest.mark.parametrize("late", [False, True])
def test_a_before_start_that_raises_is_the_tasks_failure(project: Any, queues: Any, proj: Any, late: bool) -> None:
    """Of which on_failure hears. What it raises is not the body's, so ``autoretry_for`` does not retry it."""
    proj(
        more=f"""
        class Checked(app.Task):
            def before_start(self, task_id, args, kwargs):
                raise RuntimeError("no licence")

            def on_failure(self, exc, task_id, args, kwargs, einfo):
                ran(f"on_failure {{exc}}")

        @app.task(base=Checked, acks_late={late}, autoretry_for=(RuntimeError,), default_retry_delay=0)
        def licensed():
            ran("licensed")
    """
    )
    call(project, "proj.licensed.delay()")
    call(project)
    done = burst(project)
    assert (done.returncode, project.ran(), queues.left("email")) == (0, ["on_failure no licence", "send 1"], 0)
    assert "RuntimeError('no licence')" in told(done.stderr, "raised unexpected")
