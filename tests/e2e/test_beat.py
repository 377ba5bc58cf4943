"""``pyqs beat`` and ``pyqs worker -B`` as processes: what is sent runs, signals end them, kills lose nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from processes import children_of, name_of
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs_celery_compat import schedule_file

APP = """
    from ledger import ran
    from pyqs_celery_compat import Celery

    app = Celery("proj", broker="sqs://")
    app.conf.beat_schedule = {"often": {"task": "proj.note", "schedule": 0.5, "args": ("tick",)}}

    @app.task(bind=True)
    def note(self, what):
        ran(f"{what} {self.request.id}")
"""


@pytest.fixture
def project(project: Any) -> Any:
    project.write("proj.py", APP)
    return project


def ticks(project: Any) -> list[str]:
    return [line.split()[1] for line in project.ran() if line.startswith("tick")]


def remembered(project: Any) -> Any:
    shelf = schedule_file.open(str(project.folder / "celerybeat-schedule"))
    try:
        return shelf["entries"]
    finally:
        shelf.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_periodic_task_runs_and_a_signal_ends_beat_with_its_schedule_written(project: Any, number: int) -> None:
    worker = project.start("worker", "-A", "proj", "-c", "1")
    beat = project.start("beat", "-A", "proj")
    project.wait_until(lambda: len(ticks(project)) >= 3)
    beat.signal(number)
    assert beat.wait() == 0, beat.stderr
    assert "beat: Starting..." in beat.stderr
    sent = beat.stderr.count("Sending due task often (proj.note)")
    assert remembered(project)["often"].total_run_count == sent
    project.wait_until(lambda: len(ticks(project)) == sent)
    assert len(set(ticks(project))) == sent
    worker.signal(signal.SIGINT)
    worker.wait()


def test_killed_again_and_again_it_goes_on_where_it_was(project: Any) -> None:
    worker = project.start("worker", "-A", "proj", "-c", "1")
    kills = 4
    for _ in range(kills):
        seen = len(ticks(project))
        beat = project.start("beat", "-A", "proj")
        project.wait_until(lambda seen=seen: len(ticks(project)) > seen)
        beat.signal(signal.SIGKILL)
        beat.process.wait()
    last = project.start("beat", "-A", "proj")
    last.wait_for("Sending due task")
    last.signal()
    assert last.wait() == 0
    assert "cannot be read" not in last.stderr
    count = remembered(project)["often"].total_run_count
    project.wait_until(lambda: len(set(ticks(project))) >= count)
    # What a kill came between, the message and the note of it, is sent again under its id, or noted never.
    assert len(ticks(project)) - len(set(ticks(project))) <= kills
    assert count + kills >= len(set(ticks(project)))
    worker.signal(signal.SIGINT)
    worker.wait()


def test_a_second_beat_says_that_there_is_one_and_exits_with_2(project: Any) -> None:
    first = project.start("beat", "-A", "proj")
    first.wait_for("Sending due task")
    second = project.run("beat", "-A", "proj")
    assert second.returncode == 2
    assert f"another beat (process {first.process.pid}) has the schedule file celerybeat-schedule" in second.stderr
    assert "Traceback" not in second.stderr
    assert project.run("beat", "-A", "proj", "-s", "other", "--pidfile", "nowhere/pid").returncode == 2
    first.signal()
    assert first.wait() == 0


def test_a_pidfile_lets_one_beat_run(project: Any) -> None:
    first = project.start("beat", "-A", "proj", "--pidfile", "beat.pid")
    first.wait_for("Sending due task")
    assert (project.folder / "beat.pid").read_text() == f"{first.process.pid}\n"
    second = project.run("beat", "-A", "proj", "--pidfile", "beat.pid", "-s", "other")
    assert second.returncode == 2
    assert "Pidfile (beat.pid) already exists" in second.stderr
    first.signal()
    assert first.wait() == 0
    assert not (project.folder / "beat.pid").exists()


def test_while_sqs_is_down_nothing_is_lost_and_one_line_says_so(project: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "queues.db")
    with LocalServer(store) as server:
        port = int(server.endpoint_url.rpartition(":")[2])
    project.write("proj.py", APP.replace('"schedule": 0.5', '"schedule": 2'))
    url = {"PYQS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    beat = project.start("beat", "-A", "proj", **url)
    beat.wait_for("SQS does not take 'often'")
    with LocalServer(store, port=port):
        beat.wait_for("entry 'often' is sent, after")
        beat.signal()
        assert beat.wait() == 0
    store.close()
    assert beat.stderr.count("SQS does not take") == 1
    assert remembered(project)["often"].total_run_count >= 1


BROKEN = [
    ("'soon'", "schedule is a number of seconds"),
    ("None", "it has no 'schedule'"),
    ("5, 'queue': 'q'", "there is no 'queue' in an entry; call options such as queue go into 'options'"),
    ("5, 'args': 'x'", "'args' is a tuple or list, not 'x'"),
    ("__import__('pyqs_celery_compat.schedules').schedules.crontab(hour=24)", "crontab: hour 24"),
]


@pytest.mark.parametrize(("schedule", "says"), BROKEN)
@pytest.mark.parametrize("command", [["beat"], ["worker", "-B"]])
def test_a_schedule_that_is_none_is_one_clear_error(project: Any, schedule: str, says: str, command: list[str]) -> None:
    project.write("proj.py", APP.replace('0.5, "args": ("tick",)', schedule))
    done = project.run(*command, "-A", "proj")
    assert done.returncode == 2
    assert says in done.stderr
    assert not list(project.folder.glob("celerybeat-schedule*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["beat"], "whose tasks? give -A proj"),
        (["beat", "-A", "nowhere"], "there is no module nowhere"),
        (["beat", "-A", "proj", "-s", "no/where/schedule"], "the schedule file no/where/schedule.lock cannot be used"),
        (["beat", "-A", "proj", "--max-interval", "0"], "--max-interval"),
        (["worker", "-B", "-Q", "x"], "it needs -A, and not --burst"),
        (["worker", "-B", "-A", "proj", "--burst"], "it needs -A, and not --burst"),
    ],
)
def test_wrong_usage_is_said(project: Any, arguments: list[str], says: str) -> None:
    done = project.run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_an_app_that_does_not_import_is_shown(project: Any) -> None:
    project.write("proj.py", "import sys\nsys.exit(7)\n")
    done = project.run("beat", "-A", "proj")
    assert done.returncode == 2
    assert "the app 'proj' does not load: SystemExit: 7" in done.stderr
    assert "proj.py" in done.stderr


def test_a_scheduler_that_does_not_import_is_shown(project: Any) -> None:
    done = project.run("beat", "-A", "proj", "-S", "nowhere:Scheduler")
    assert done.returncode == 2
    assert "No module named 'nowhere'" in done.stderr


def test_a_corrupt_schedule_file_is_kept_and_said(project: Any) -> None:
    (project.folder / "celerybeat-schedule").write_text("nonsense")
    beat = project.start("beat", "-A", "proj")
    said = beat.wait_for("cannot be read")
    assert "all entries begin anew" in said
    beat.wait_for("Sending due task")
    beat.signal()
    assert beat.wait() == 0
    (kept,) = project.folder.glob("*.unreadable-*")
    assert kept.read_text() == "nonsense"


def test_a_scheduler_of_somebody_else_that_crashes_is_exit_code_1(project: Any) -> None:
    project.write(
        "mine.py",
        """
        from celery.beat import Scheduler
        class Mine(Scheduler):
            def tick(self):
                raise RuntimeError("my database is gone")
        """,
    )
    done = project.run("beat", "-A", "proj", "-S", "mine:Mine")
    assert done.returncode == 1
    assert "my database is gone" in done.stderr


def test_it_can_be_told_to_stop_while_its_app_is_imported(project: Any) -> None:
    project.write("proj.py", "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n")
    beat = project.start("beat", "-A", "proj")
    beat.wait_for("importing")
    beat.signal()
    assert beat.wait() == 0
    assert "Traceback" not in beat.stderr


def test_it_logs_into_a_file_and_prints_nothing(project: Any) -> None:
    beat = project.start("beat", "-A", "proj", "-q", "-f", "beat.log", PYQS_BEAT_SCHEDULE="elsewhere")
    project.wait_until(lambda: "Sending" in "".join(log.read_text() for log in project.folder.glob("beat.log")))
    beat.signal()
    assert beat.wait() == 0
    assert "beat:" not in beat.stderr
    assert list(project.folder.glob("elsewhere*"))


# -- in a worker ----------------------------------------------------------------------------------------------------------
def host_of(worker: Any) -> int:
    found = [pid for child in children_of(worker.process.pid) for pid in children_of(child) if name_of(pid) == "pyqs-host"]
    return found[0] if found else 0


def test_a_worker_with_beat_sends_and_runs_and_stops_it_first(project: Any, store: Any) -> None:
    worker = project.start("worker", "-A", "proj", "-c", "1", "-B")
    project.wait_until(lambda: len(ticks(project)) >= 3)
    assert worker.stop(store) == 0, worker.stderr
    lines = worker.lines
    ends = next(number for number, line in enumerate(lines) if "beat: Shutting down" in line)
    assert not any("Sending due task" in line for line in lines[ends:])
    assert remembered(project)["often"].total_run_count == worker.stderr.count("Sending due task often")


def test_when_the_host_is_killed_another_one_takes_over_its_beat(project: Any, store: Any) -> None:
    worker = project.start("worker", "-A", "proj", "-c", "1", "-B")
    worker.wait_for("Sending due task")
    before = host_of(worker)
    subprocess.run([sys.executable, "-c", f"import os; os.kill({before}, 9)"], check=True)
    worker.wait_for("beat: Starting")
    worker.wait_for("Sending due task")
    assert host_of(worker) not in (0, before)
    assert worker.stop(store) == 0, worker.stderr


def test_a_second_worker_with_beat_waits_and_takes_over(project: Any) -> None:
    first = project.start("worker", "-A", "proj", "-c", "1", "-B")
    first.wait_for("Sending due task")
    second = project.start("worker", "-A", "proj", "-c", "1", "-B")
    second.wait_for("the worker's beat waits until the other one has ended")
    first.signal()
    second.wait_for("Sending due task")
    assert first.wait() == 0
    second.signal(signal.SIGINT)
    assert second.wait() == 0


def test_a_hosted_beat_that_crashes_begins_again(project: Any, store: Any) -> None:
    project.write(
        "mine.py",
        """
        import os
        from celery.beat import PersistentScheduler
        class Mine(PersistentScheduler):
            def tick(self):
                if not os.path.exists("crashed"):
                    open("crashed", "w").close()
                    raise RuntimeError("my database is gone")
                return super().tick()
        """,
    )
    worker = project.start("worker", "-A", "proj", "-c", "1", "-B", "--scheduler", "mine:Mine")
    worker.wait_for("the worker's beat has crashed; it begins again")
    worker.wait_for("Sending due task")
    assert worker.stop(store) == 0, worker.stderr
