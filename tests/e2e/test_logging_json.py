"""``--log-format json``: every process of a worker writes one JSON object a line, and an app's own logging goes before it."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

TASKS = """
    import logging
    import warnings
    from pyqs import task

    logging.getLogger("imported").warning("seen at import")
    warnings.warn("old", FutureWarning)

    @task
    def work(n):
        logging.getLogger("mine").info("at work %s", n, extra={"order": n, "level": "high"})
        if n == 2:
            raise ValueError("on purpose\\nwith a line")
"""
APP = """
    import logging
    import os
    import sys
    from pyqs_celery_compat import Celery, signals
    from pyqs_celery_compat.utils.log import get_task_logger

    app = Celery("proj", broker=os.environ["BROKER"], task_default_queue="jobs", worker_log_format="celerys %(message)s",
                 worker_task_log_format="celerys task %(message)s")
    app.conf.broker_transport_options = {"region": "us-east-1"}
    logger = get_task_logger(__name__)
    logging.getLogger("imported").warning("seen at import")

    @app.task(name="work")
    def work(n):
        logger.info("at work %s", n, extra={"order": n})
        print(f"printed {n}")

    def own_handler(text="own %(name)s %(message)s"):
        handler = logging.StreamHandler(sys.__stderr__)
        handler.setFormatter(logging.Formatter(text))
        return handler
"""


def read(stderr: str) -> list[dict[str, Any]]:
    """Every line is an object with the fields of every line."""
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert all({"time", "level", "logger", "message", "pid"} <= line.keys() for line in lines)
    return lines


def of(lines: list[dict[str, Any]], logger: str, words: str = "") -> list[dict[str, Any]]:
    return [line for line in lines if line["logger"] == logger and words in line["message"]]


@pytest.fixture
def env(server: Any) -> dict[str, str]:
    return {"BROKER": "sqs://test:test@" + server.endpoint_url.removeprefix("http://")}


def burst(project: Any, env: dict[str, str], *more: str) -> str:
    done = project.run("worker", "-A", "proj", "-Q", "jobs", "--burst", "-c", "1", "--log-format", "json", *more, **env)
    assert done.returncode == 0, done.stderr
    stderr: str = done.stderr
    return stderr


def sent(project: Any, queues: Any, env: dict[str, str], more: str = "") -> None:
    queues.create("jobs")
    project.write("proj.py", APP + more)
    done = project.python("import proj\nproj.work.delay(1)", **env)
    assert done.returncode == 0, done.stderr


def test_parent_forkserver_and_executors_without_an_app(project: Any, queues: Any) -> None:
    queues.create("jobs")
    project.write("tasks.py", TASKS)
    ids = queues.send("jobs", *(json.dumps({"task": "tasks.work", "args": [n], "kwargs": {}}) for n in (1, 2)))
    running = project.start("worker", "-Q", "jobs", "--include", "tasks", "-c", "1", PYQS_LOG_FORMAT="json")
    running.wait_for('"status":"failed"')
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    lines = read(running.stderr)
    parent = of(lines, "pyqs.worker.worker", "ready")[0]["pid"]
    assert parent == running.process.pid
    (at_import,) = of(lines, "imported")
    (warning,) = of(lines, "py.warnings")
    assert at_import["pid"] == warning["pid"] != parent, "the forkserver imports"
    assert warning["message"].endswith("FutureWarning: old")
    for n, message_id in zip((1, 2), ids, strict=True):
        (line,) = of(lines, "mine", f"at work {n}")
        assert line["pid"] not in (parent, at_import["pid"])
        known = {"queue": "jobs", "message_id": message_id, "task": "tasks.work", "task_id": message_id}
        assert line | known | {"order": n, "level": "INFO", "extra_level": "high"} == line
        (end,) = [line for line in of(lines, "pyqs.worker.report") if line["message_id"] == message_id]
        assert end | known | {"pid": parent, "status": ("succeeded", "failed")[n - 1]} == end
        assert 0 <= end["seconds"] < 30
    (failed,) = [line for line in lines if "exception" in line]
    assert failed["exception"].endswith("ValueError: on purpose\nwith a line")
    assert failed["message_id"] == ids[1]


def test_what_is_wrong_with_the_command_line_is_an_object_too(project: Any) -> None:
    done = project.run("worker", "-Q", "jobs", "--log-format", "json", "--heartbeat-file", "missing/alive")
    assert done.returncode == 2
    (line,) = read(done.stderr)
    assert line["level"] == "CRITICAL"
    assert line["message"] == "error: --heartbeat-file: missing/alive cannot be written: No such file or directory"


def test_an_app_that_does_not_import_is_an_object_too(project: Any, env: dict[str, str]) -> None:
    project.write("proj.py", "1 / 0")
    done = project.run("worker", "-A", "proj", "-Q", "jobs", "--log-format", "json", **env)
    assert done.returncode == 2
    (line,) = read(done.stderr)
    assert "ZeroDivisionError" in line["message"]


def test_with_an_app_json_goes_before_celerys_formats(project: Any, queues: Any, env: dict[str, str]) -> None:
    sent(project, queues, env)
    stderr = burst(project, env)
    lines = read(stderr)
    assert "celerys" not in stderr
    (work,) = of(lines, "proj", "at work 1")
    assert (work["task"], work["queue"], work["order"]) == ("work", "jobs", 1)
    known = {name: work[name] for name in ("task", "task_id", "message_id", "queue")}
    (printed,) = of(lines, "celery.redirected", "printed 1")
    (succeeded,) = of(lines, "celery.app.trace", "succeeded")
    (end,) = of(lines, "pyqs.worker.report")
    assert printed | known == printed
    assert succeeded | known == succeeded
    assert end | known == end, "a line of the parent that the host has written"
    assert end["pid"] not in (work["pid"], at_import(lines))
    always = {"time", "level", "logger", "message", "pid"}
    assert end.keys() == always | known.keys() | {"status", "seconds"}
    assert succeeded.keys() == always | known.keys()


def at_import(lines: list[dict[str, Any]]) -> int:
    """The forkserver; the process that reads the app's settings imports it, too."""
    found = of(lines, "imported", "seen at import")
    assert len(found) == 2
    pid: int = found[-1]["pid"]
    return pid


def test_receivers_of_setup_logging_go_before_json(project: Any, queues: Any, env: dict[str, str]) -> None:
    sent(project, queues, env, """
    @signals.setup_logging.connect
    def own(loglevel, **kwargs):
        logging.basicConfig(level=loglevel, handlers=[own_handler()], force=True)
    """)  # fmt: skip
    lines = burst(project, env).splitlines()
    assert "own proj at work 1" in lines
    assert any(line.startswith("own pyqs.worker.report delivery 1 ") for line in lines)
    assert json.loads(lines[-1])["message"].startswith("stopped: "), "what the parent writes itself is JSON still"


def test_receivers_of_after_setup_logger_may_change_it(project: Any, queues: Any, env: dict[str, str]) -> None:
    sent(project, queues, env, """
    @signals.after_setup_task_logger.connect
    def own(logger, **kwargs):
        logger.handlers = [own_handler()]
    """)  # fmt: skip
    lines = burst(project, env).splitlines()
    assert "own proj at work 1" in lines
    assert of(read("\n".join(line for line in lines if not line.startswith("own "))), "celery.redirected", "printed 1")


def test_root_handlers_that_are_not_hijacked_keep_their_format(project: Any, queues: Any, env: dict[str, str]) -> None:
    sent(project, queues, env, """
    app.conf.worker_hijack_root_logger = False
    logging.getLogger().addHandler(own_handler())
    """)  # fmt: skip
    stderr = burst(project, env)
    assert any(line.startswith("own pyqs.worker.report delivery 1 ") for line in stderr.splitlines())
    objects = read("\n".join(line for line in stderr.splitlines() if not line.startswith("own ")))
    assert of(objects, "proj", "at work 1"), "the handler of task loggers is ours"
