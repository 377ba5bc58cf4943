"""``pyqs worker -A`` and an app that imports ``celery``: each of its processes has the alias, unless told not to."""

from __future__ import annotations

from typing import Any

APP = """
    import os
    import celery
    from celery import Celery, current_task, shared_task
    from celery.exceptions import Retry
    from celery.signals import task_failure, worker_init, worker_process_init
    from celery.utils.log import get_task_logger
    from ledger import ran

    app = Celery("proj", broker=os.environ["BROKER"], task_default_queue="jobs")
    app.conf.broker_transport_options = {"region": "us-east-1"}
    logger = get_task_logger(__name__)

    @shared_task(bind=True)
    def add(self, a, b):
        import celery.app.task
        assert isinstance(self, celery.app.task.Task) and current_task == self
        ran(f"{celery.__name__} {a + b}")

    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def again(self):
        try:
            raise KeyError("x")
        except KeyError as exc:
            try:
                self.retry(exc=exc)
            except Retry:
                ran("retry")
                raise
            except KeyError:
                ran("gave up")

    @worker_init.connect
    def begin(**kw):
        ran(f"worker_init {celery.__name__}")

    @worker_process_init.connect
    def process(**kw):
        ran(f"worker_process_init {celery.__name__}")
"""
#: Instrumentation as it is hung on Celery's processes: a module that wraps what it finds there, before the app is imported.
PROBE = """
    from celery.concurrency import prefork
    from celery.app import trace
    from billiard.pool import Worker
    from ledger import ran

    def around(owner, name, say):
        inner = getattr(owner, name)
        def wrapper(*args, **kwargs):
            ran(say)
            return inner(*args, **kwargs)
        setattr(owner, name, wrapper)

    around(prefork, "process_initializer", "process begins")
    around(Worker, "workloop", "process ends")
    around(trace, "build_tracer", "tracer built")
"""


def prepare(project: Any, server: Any, app: str = APP) -> dict[str, str]:
    project.write("proj.py", app)
    return {"BROKER": "sqs://test:test@" + server.endpoint_url.removeprefix("http://")}


def publish(project: Any, calls: str, env: dict[str, str]) -> None:
    """From a process that imports the app under Celery's name."""
    done = project.python(f"from pyqs_celery_compat import install_as_celery\ninstall_as_celery()\nimport proj\n{calls}", **env)
    assert done.returncode == 0, done.stderr


def test_an_app_of_celerys_imports_runs_unchanged(project: Any, server: Any, queues: Any) -> None:
    env = prepare(project, server)
    queues.create("jobs")
    publish(project, "proj.add.delay(1, 2)\nproj.again.delay()", env)
    done = project.run("worker", "-A", "proj", "-Q", "jobs", "--burst", "-c", "1", **env)
    assert done.returncode == 0, done.stderr
    ours = "pyqs_celery_compat"
    assert set(project.ran()) == {f"{ours} 3", "retry", "gave up", f"worker_init {ours}", f"worker_process_init {ours}"}
    assert queues.left("jobs") == 0


def test_what_libraries_hang_on_celerys_processes_runs_in_executors(project: Any, server: Any, queues: Any) -> None:
    env = prepare(project, server, "    import probe\n" + APP)
    project.write("probe.py", PROBE)
    queues.create("jobs")
    publish(project, "proj.add.delay(1, 2)", env)
    done = project.run("worker", "-A", "proj", "-Q", "jobs", "--burst", "-c", "1", **env)
    assert done.returncode == 0, done.stderr
    assert {"process begins", "process ends", "tracer built"} <= set(project.ran())


def test_told_not_to_celery_is_what_is_installed(project: Any, server: Any, queues: Any) -> None:
    env = prepare(project, server)
    genuine = "class Celery:\n    pass\n"
    project.write("celery/__init__.py", "").write_text("from celery.app.base import Celery\n")
    project.write("celery/app/__init__.py", "")
    project.write("celery/app/base.py", "").write_text(genuine)
    project.write("proj.py", "from celery import Celery\napp = Celery()\n")
    for arguments, variable in ((["--no-alias"], {}), ([], {"PYQS_AS_CELERY": "0"})):
        done = project.run("worker", "-A", "proj", "-Q", "jobs", *arguments, **env, **variable)
        assert done.returncode == 2
        assert "-A proj: that is a celery.app.base.Celery, not an app of pyqs_celery_compat; it is Celery's own" in done.stderr
        assert "PYQS_AS_CELERY=0 (or --no-alias) leaves `import celery` to it" in done.stderr
    project.write("proj.py", "from pyqs_celery_compat import Celery\nimport celery.app.base\napp = Celery(broker='sqs://')\n")
    queues.create("jobs")
    done = project.run("worker", "-A", "proj", "-Q", "jobs", "--no-alias", "--burst", **env)
    assert done.returncode == 0, done.stderr


def test_genuine_celery_imported_before_the_app_stops_the_worker_with_a_sentence(
    project: Any, server: Any, queues: Any
) -> None:
    env = prepare(project, server)
    project.write("celery/__init__.py", "")
    project.write("sitecustomize.py", "import sys, os\nsys.path.insert(0, os.getcwd())\nimport celery\n")
    path = f"{project.folder}:{project.env['PYTHONPATH']}"
    done = project.run("worker", "-A", "proj", "-Q", "jobs", **env, PYTHONPATH=path)
    assert done.returncode == 2
    assert "install_as_celery() comes too late" in done.stderr
    assert "set PYQS_AS_CELERY=1, which is earlier" in done.stderr
    assert "Traceback" not in done.stderr
