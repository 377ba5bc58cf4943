"""``python -m pyqs_celery_compat`` as a Dockerfile has it: Celery's argv, on real processes, and workers started from code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJ = """
    import time
    from pyqs_celery_compat import Celery
    from ledger import ran
    app = Celery("proj", broker="sqs://", backend="file://results")
    app.conf.task_default_queue = "work"

    @app.task(bind=True)
    def note(self, word, sleep=0):
        ran(f"{word} {self.request.hostname} {self.request.timelimit}")
        time.sleep(sleep)
        return word * 2

    @app.task
    def fail():
        raise ValueError("no")

    @app.task(acks_late=True)
    def forever():
        ran("began")
        time.sleep(600)
"""
QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--heartbeat-interval", "5", "-E", "-O", "fair"]


@pytest.fixture
def proj(project: Any, queues: Any, tmp_path: Path) -> Any:
    project.write("proj.py", PROJ)
    (project.folder / "results").mkdir()
    queues.create("work", VisibilityTimeout="1800")
    project.env["TMPDIR"] = str(tmp_path)  # where heartbeat files of workers of this name are
    return project


def celery(*args: str) -> list[str]:
    return [sys.executable, "-m", "pyqs_celery_compat", *args]


def run(project: Any, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        celery(*args), cwd=project.folder, env=project.env | env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_line_of_a_dockerfile_runs_and_is_probed_from_its_start_to_its_end(proj: Any, store: Any) -> None:
    line = ["-A", "proj", "-q", "worker", "-l", "info", "-c", "1", "-P", "prefork", "-Q", "work", "-X", "other", *QUIET]
    files = ["--pidfile", "%n.pid", "--umask", "077", "-S", "state.db", "--executable", "/usr/bin/python3"]
    limits = ["--time-limit", "300", "--soft-time-limit", "200", "--max-tasks-per-child", "50", "--prefetch-multiplier", "1"]
    worker = proj.start(program=celery(*line, *files, *limits, "-n", "w1@box"))
    for name in ("--quiet", "--without-gossip", "--task-events", "--statedb", "--executable"):
        worker.wait_for(f"{name}")
    worker.wait_for("ready:")
    assert (proj.folder / "w1.pid").read_text().strip() == str(worker.process.pid)
    assert run(proj, "-A", "proj", "call", "proj.note", "-a", '["a"]', "-k", '{"sleep": 0}').returncode == 0
    proj.wait_until(lambda: proj.ran() == ["a w1@box [None, None]"])
    assert oct((proj.folder / "ran.txt").stat().st_mode & 0o777) == "0o600"

    alive = run(proj, "-A", "proj", "inspect", "ping", "-d", "w1@box", "-t", "5")
    assert (alive.returncode, alive.stdout) == (0, "->  w1@box: OK\n        pong\n\n1 node online.\n"), alive.stderr
    assert json.loads(run(proj, "-A", "proj", "status", "--json").stdout) == {"w1@box": {"ok": "pong"}}
    assert run(proj, "-A", "proj", "status", "-d", "w2@box").returncode == 1
    second = run(proj, *line, "--pidfile", "%n.pid", "-n", "w1@box")
    assert second.returncode == 2
    assert f"has the pid {worker.process.pid}, and that process lives" in second.stderr

    assert worker.stop(store) == 0, worker.stderr
    assert not (proj.folder / "w1.pid").exists()
    gone = run(proj, "-A", "proj", "inspect", "ping")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "no worker was found on this machine" in gone.stderr


def test_a_stopped_process_is_no_living_worker(proj: Any) -> None:
    worker = proj.start("worker", "-A", "proj", "-c", "1", "--health", "0")
    port = worker.wait_for("health: http").rsplit(":", 1)[1].split("/")[0]
    worker.wait_for("ready:")
    assert proj.run("status", "--health", port).returncode == 0
    assert proj.run("inspect", "ping", PYQS_HEALTH=port).stdout.startswith(f"->  127.0.0.1:{port}: OK\n        pong")
    worker.process.kill()
    worker.wait()
    gone = proj.run("status", "--health", port)
    assert gone.returncode == 1
    assert "no answer" in gone.stderr


def test_an_old_heartbeat_file_is_no_living_worker(project: Any) -> None:
    path = project.write("alive", "1\n")
    assert project.run("status", "--heartbeat-file", "alive").returncode == 0
    os.utime(path, (1.0, 1.0))
    assert project.run("status", "--heartbeat-file", "alive").returncode == 1
    assert project.run("status", "--heartbeat-file", "nothing").returncode == 1


def test_variables_stand_for_options_before_the_command(proj: Any) -> None:
    worker = proj.start(
        program=celery("worker", "-c", "1", "-n", "w%n@%h", "--pidfile=", "--logfile="),
        APP="proj",
        BROKER_URL="sqs://",
        NO_COLOR="1",
    )
    worker.wait_for("ready:")
    assert run(proj, "call", "proj.note", "-a", '["b"]', APP="proj").returncode == 0
    proj.wait_until(lambda: len(proj.ran()) == 1)
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0


def test_the_broker_and_the_result_backend_of_the_command_line(proj: Any) -> None:
    (proj.folder / "elsewhere").mkdir()
    there = ["-A", "proj", "--result-backend", "file://elsewhere"]
    sent = run(proj, *there, "call", "proj.note", "-a", '["c"]', "--expires", "300", "--queue", "work")
    assert proj.run("worker", *there, "--burst", "-c", "1").returncode == 0
    assert os.listdir(proj.folder / "elsewhere")
    assert run(proj, *there, "result", sent.stdout.strip()).stdout == "cc\n"
    refused = run(proj, "-A", "proj", "-b", "redis://:secret@127.0.0.1", "call", "proj.note")
    assert refused.returncode == 2
    assert "secret" not in refused.stderr


def test_call_and_result(proj: Any) -> None:
    ids = [run(proj, "-A", "proj", "call", name).stdout.strip() for name in ("proj.fail", "proj.note")]
    later = run(proj, "-A", "proj", "call", "proj.note", "-a", '["d"]', "--countdown", "0.5", "--serializer", "json")
    assert later.returncode == 0
    assert proj.run("worker", "-A", "proj", "--burst", "-c", "1").returncode == 0
    failed = run(proj, "-A", "proj", "result", ids[0])
    assert failed.returncode == 1
    assert failed.stderr == f"pyqs: the call {ids[0]} has failed: ValueError: no\n"
    assert "ValueError: no" in run(proj, "-A", "proj", "result", ids[0], "--traceback").stdout
    assert run(proj, "-A", "proj", "result", "-t", "proj.note", later.stdout.strip()).stdout == "dd\n"
    for wrong, says in (
        (["call", "proj.note", "--eta", "soon"], "--eta: 'soon' is not ISO 8601"),
        (["call", "proj.note", "--args", "{}"], "'{}' is not an array"),
        (["call"], "Missing argument 'NAME'"),
        (["result", "-t", "proj.nothing", "x"], "there is no such task in the app"),
    ):
        done = run(proj, "-A", "proj", *wrong)
        assert done.returncode == 2
        assert says in done.stderr
    broken = run(proj, "-A", "nothing", "call", "x")
    assert (broken.returncode, "there is no module nothing" in broken.stderr) == (2, True)


def test_a_shell_has_the_app_and_its_tasks(proj: Any) -> None:
    done = subprocess.run(
        celery("-A", "proj", "shell", "--python"), cwd=proj.folder, env=proj.env, capture_output=True, text=True, check=False,
        input="print(app.main, note.name, chain(note.s(1)).tasks)\n", timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert "proj proj.note (proj.note(1),)" in done.stdout, done.stdout + done.stderr


def test_a_stop_at_once_is_exit_code_1_and_one_at_the_deadline_0(proj: Any) -> None:
    for signals, timeout, code in (
        ([signal.SIGQUIT], "600", 1),
        ([signal.SIGTERM, signal.SIGTERM], "600", 1),
        ([signal.SIGTERM], "1", 0),
    ):
        (proj.folder / "ran.txt").unlink(missing_ok=True)
        worker = proj.start("worker", "-A", "proj", "-c", "1", "--shutdown-timeout", timeout, "--lease", "10")
        worker.wait_for("ready:")
        assert run(proj, "-A", "proj", "call", "proj.forever").returncode == 0
        proj.wait_until(lambda: "began" in proj.ran())
        for number, says in zip(signals, ("stopping", "told to stop at once"), strict=False):
            worker.signal(number)
            worker.wait_for(says)
        assert worker.wait() == code, worker.stderr


def test_the_log_goes_to_a_file(proj: Any) -> None:
    done = proj.run("worker", "-A", "proj", "--burst", "-c", "1", "-f", "%n-%h.log", "-n", "w2@box")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "ready: 1 queues" in (proj.folder / "w2-box.log").read_text()
    refused = proj.run("worker", "-A", "proj", "--burst", "-f", "no/such/folder.log")
    assert refused.returncode == 2
    assert "--logfile: no/such/folder.log cannot be written: No such file or directory" in refused.stderr


SCRIPT = """
    import sys
    from ledger import ran
    from proj import app as theirs
    from pyqs_celery_compat import Celery
    ran(f"imported as {__name__}")
    app = Celery("script", broker="sqs://", task_default_queue="work")

    @app.task
    def mine():
        ran(f"mine {__name__}")

    if __name__ == "__main__":
        how = sys.argv.pop(1)
        if how == "send":
            app.send_task("script.mine")
        elif how == "worker_main":
            code = app.worker_main(["worker", "-c", "1", "--burst", "-l", "info"])
            ran(f"after {code}")
        elif how == "no worker":
            app.worker_main(["report"])
        elif how == "start":
            ran(f"start {app.start(['-A', 'proj', 'report'])}")
        elif how == "Worker":
            worker = app.Worker(concurrency=1, queues=["work"], loglevel="INFO", time_limit=5, quiet=True)
            import threading
            threading.Timer(5.0, worker.stop).start()
            worker.start()
            ran(f"after {worker.exitcode}")
        elif how == "bad":
            app.worker_main(["worker", "-P", "gevent"])
"""


@pytest.mark.parametrize("how", ["worker_main", "Worker"])
def test_a_worker_from_code_runs_the_scripts_own_tasks(proj: Any, store: Any, how: str) -> None:
    proj.write("script.py", SCRIPT)
    assert proj.start(program=[sys.executable, "script.py", "send"]).wait() == 0
    running = proj.start(program=[sys.executable, "script.py", how])
    if how == "Worker":
        running.wait_for("stopping")
        store.end_polls()
    assert running.wait() == 0, running.stderr
    ran = proj.ran()
    assert "mine script" in ran, running.stderr
    assert "after 0" in ran
    assert "imported as __mp_main__" not in ran


def test_from_code_what_cannot_be_is_an_error(proj: Any) -> None:
    proj.write("script.py", SCRIPT)
    for word, code, says in (
        ("no worker", 1, "ValueError: worker_main() runs a worker"),
        ("bad", 2, "-P gevent is not there"),
        ("start", 0, ""),
    ):
        done = subprocess.run(
            [sys.executable, "script.py", word],
            cwd=proj.folder,
            env=proj.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        assert says in done.stderr
    assert "start 0" in proj.ran()
    nameless = "from pyqs_celery_compat import Celery\nCelery('x', broker='sqs://').worker_main(['worker'])"
    done = proj.python(nameless)
    assert done.returncode == 1
    assert "no module holds <Celery x>" in done.stderr
