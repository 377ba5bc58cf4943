"""Logging of a worker with an app: Celery's formats and settings, and an app's own handlers for every line of the worker."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

APP = """
    import os
    import sys
    from pyqs_celery_compat import Celery, signals
    from pyqs_celery_compat.utils.log import get_task_logger

    app = Celery("proj", broker=os.environ["BROKER"], task_default_queue="jobs")
    app.conf.broker_transport_options = {"region": "us-east-1"}
    logger = get_task_logger(__name__)

    @app.task(name="work")
    def work(n):
        logger.info("at work %s", n)
        print(f"printed {n}")
"""
JSON_LINES = """
    import json
    import logging

    class AsJson(logging.Formatter):
        def format(self, record):
            return json.dumps({
                "logger": record.name, "level": record.levelname, "text": record.getMessage(), "process": record.processName,
                "trace": record.exc_text,
            })

    def json_handler():
        handler = logging.StreamHandler(sys.__stderr__)
        handler.setFormatter(AsJson())
        return handler
"""
#: worker_log_format and worker_task_log_format of Celery 5.7.
LINE = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: (DEBUG|INFO|WARNING|ERROR)/(?P<process>[\w-]+)\] (?P<text>.*)$"


def prepare(project: Any, server: Any, queues: Any, more: str = "") -> dict[str, str]:
    queues.create("jobs")
    project.write("proj.py", APP + more)
    env = {"BROKER": "sqs://test:test@" + server.endpoint_url.removeprefix("http://")}
    done = project.python("import proj\nproj.work.delay(1)", **env)
    assert done.returncode == 0, done.stderr
    return env


def burst(project: Any, env: dict[str, str], code: int = 0) -> list[str]:
    done = project.run("worker", "-A", "proj", "-Q", "jobs", "--burst", "-c", "1", "-l", "info", **env)
    assert done.returncode == code, done.stderr
    lines: list[str] = done.stderr.splitlines()
    return lines


def test_lines_have_celerys_format_and_what_is_printed_is_a_warning(project: Any, server: Any, queues: Any) -> None:
    env = prepare(project, server, queues)
    lines = burst(project, env)
    found = [match.groupdict() for line in lines if (match := re.match(LINE, line))]
    by_text = {one["text"]: one["process"] for one in found}
    assert [text for text in by_text if re.match(r"Task work\[[0-9a-f-]{36}\] received$", text)]
    assert [text for text in by_text if re.match(r"Task work\[[0-9a-f-]{36}\] succeeded in [0-9.e-]+s: None$", text)]
    (inside,) = [text for text in by_text if text.endswith(": at work 1")]
    assert re.match(r"work\[[0-9a-f-]{36}\]: at work 1$", inside)
    assert by_text[inside] == "pyqs-executor-0"
    assert any(re.match(LINE.replace("DEBUG|INFO|WARNING|ERROR", "WARNING"), line) for line in lines if "printed 1" in line)
    assert any("consuming" in text and process == "MainProcess" for text, process in by_text.items())


def test_handlers_of_setup_logging_get_every_line_of_the_worker(project: Any, server: Any, queues: Any) -> None:
    env = prepare(
        project, server, queues, JSON_LINES + """
    @signals.setup_logging.connect
    def own(loglevel, **kwargs):
        logging.basicConfig(level=loglevel, handlers=[json_handler()], force=True)
    """)  # fmt: skip
    *lines, last = burst(project, env)
    records = [json.loads(line) for line in lines]
    assert "stopped: 1 received, 1 succeeded" in last, "the host has gone by then"
    seen = {(one["logger"], one["process"]) for one in records}
    assert {("proj", "pyqs-executor-0"), ("celery.app.trace", "pyqs-executor-0"), ("pyqs.worker.report", "MainProcess")} <= seen
    assert any(one["text"] == "at work 1" for one in records)
    assert not any("printed" in one["text"] for one in records), "standard output is the app's business then, as under Celery"


def test_handlers_of_after_setup_logger_get_them_beside_celerys(project: Any, server: Any, queues: Any) -> None:
    env = prepare(
        project, server, queues, JSON_LINES + """
    @signals.after_setup_logger.connect
    @signals.after_setup_task_logger.connect
    def add(logger, **kwargs):
        logger.addHandler(json_handler())
    """)  # fmt: skip
    lines = burst(project, env)
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"proj", "celery.redirected", "pyqs.worker.report"} <= {one["logger"] for one in records}
    assert any(re.match(LINE, line) and line.endswith(": at work 1") for line in lines)


def test_an_apps_own_root_handlers_stay_where_they_are_not_to_be_hijacked(project: Any, server: Any, queues: Any) -> None:
    env = prepare(
        project, server, queues, JSON_LINES + """
    app.conf.worker_hijack_root_logger = False
    app.conf.worker_redirect_stdouts = False
    logging.getLogger().addHandler(json_handler())
    """)  # fmt: skip
    lines = burst(project, env)
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"celery.worker.strategy", "pyqs.worker.report"} <= {one["logger"] for one in records}
    assert any(re.match(LINE, line) and line.endswith(": at work 1") for line in lines), (
        "task loggers have a handler of their own"
    )


def test_a_receiver_that_fails_is_why_the_worker_does_not_start(project: Any, server: Any, queues: Any) -> None:
    env = prepare(
        project, server, queues, """
    @signals.setup_logging.connect
    def own(**kwargs):
        raise KeyError("no such handler")
    """)  # fmt: skip
    lines = burst(project, env, code=2)
    assert "the worker cannot go on" in "\n".join(lines)
    assert "no such handler" in "\n".join(lines)
    assert queues.left("jobs") == 1


def test_no_line_is_lost_without_a_host(project: Any, server: Any, queues: Any) -> None:
    env = prepare(project, server, queues)
    worker = project.start("worker", "-A", "proj", "-Q", "jobs", "-c", "1", "-l", "info", **env)
    worker.wait_for("succeeded in")
    host = next(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_host_of(pid, worker.process.pid))
    os.kill(host, signal.SIGKILL)
    worker.wait_for("it is started again when it is needed")
    done = project.python("import proj\nproj.work.delay(2)", **env)
    assert done.returncode == 0, done.stderr
    assert re.search(r"INFO +pyqs.worker.report: delivery 2 ", worker.wait_for("delivery 2 from jobs"))
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0


def _is_host_of(pid: int, worker: int) -> bool:
    try:
        stat = open(f"/proc/{pid}/stat").read()  # noqa: SIM115
        name, (_, parent) = stat.partition("(")[2].rpartition(")")[0], stat.rpartition(")")[2].split()[:2]
        grandparent = open(f"/proc/{parent}/stat").read().rpartition(")")[2].split()[1]  # noqa: SIM115
    except OSError:
        return False
    return name == "pyqs-host" and int(grandparent) == worker
