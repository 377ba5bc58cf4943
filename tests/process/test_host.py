"""The host in real workers: who hears of killed tasks, and of the worker itself, in which process, and how often."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from typing import Any

import pytest

from pyqs.message import OutgoingMessage

PROJ = """
import os, signal, time
from pyqs_celery_compat import Celery, Task, signals

app = Celery("proj", broker="sqs://", broker_transport_options={"region": "us-east-1"}, task_default_queue="jobs")
ran_here = []

def note(line):
    with open("heard.txt", "a") as out:
        out.write(f"{line} {'executor' if ran_here else 'elsewhere'} {os.getpid()}\\n")

class Told(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note(f"on_failure {type(exc).__name__} {task_id}")
        if os.path.exists("hang"):
            time.sleep(600)
        if os.path.exists("die"):
            os._exit(1)

def define(name, **options):
    @app.task(name=name, base=Told, **options)
    def body(end):
        ran_here.append(1)
        note(f"run {name}")
        if os.path.exists("calm"):
            return
        if end == "exit":
            os._exit(3)
        if end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)

define("late", acks_late=True)
define("again", acks_late=True, reject_on_worker_lost=True)
define("early")

@app.task(name="errback")
def errback(task_id):
    note(f"errback {task_id}")

@app.task(name="work")
def work():
    ran_here.append(1)
    note("work")

@signals.task_failure.connect
def failed(sender, task_id, exception, **named):
    note(f"task_failure {type(exception).__name__} {task_id}")

def listen(name):
    @getattr(signals, name).connect(weak=False)
    def heard(sender=None, **named):
        note(f"{name} {named.get('sig', '')}/{named.get('how', '')}")
        if os.path.exists("raise"):
            raise ValueError("on purpose")
        if os.path.exists("hang-" + name):
            time.sleep(600)

for name in ("celeryd_init", "celeryd_after_setup", "worker_init", "worker_ready", "worker_shutting_down", "worker_shutdown",
             "worker_process_init", "heartbeat_sent"):
    listen(name)
"""
SIGNALS = ["celeryd_init", "worker_init", "celeryd_after_setup", "worker_ready", "worker_shutting_down", "worker_shutdown"]
ERRBACK = {
    "task": "errback",
    "args": [],
    "kwargs": {},
    "options": {"queue": "errbacks"},
    "subtask_type": None,
    "immutable": False,
}


class Heard:
    """What the project has written down."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.file = worker.ledger.parent / "heard.txt"

    def lines(self, start: str = "") -> list[str]:
        if not self.file.exists():
            return []
        return [line for line in self.file.read_text().splitlines() if line.startswith(start)]

    def wait(self, start: str, count: int = 1) -> list[str]:
        try:
            self.worker.wait_until(lambda: len(self.lines(start)) >= count)
        except TimeoutError:
            raise AssertionError(f"no {count} x {start!r}: {self.lines()}\n{self.worker.log()[-4000:]}") from None
        return self.lines(start)


@pytest.fixture
def start(project: Any, sqs: Any) -> Any:
    """A worker with the app above on ``jobs``."""
    (project.folder / "proj.py").write_text(textwrap.dedent(PROJ))
    sqs.create("jobs", "errbacks")

    def start(*args: str, app: bool = True, **options: Any) -> tuple[Any, Heard]:
        worker = project.start(*(("-A", "proj") if app else ("--include", "proj")), "-Q", "jobs", "-c", "1", *args, **options)
        return worker, Heard(worker)

    return start


def call(sqs: Any, task: str, end: str, **options: Any) -> None:
    sqs.celery("jobs", task, end, errbacks=[ERRBACK], **options)


def test_a_hard_time_limit_with_an_errback(start: Any, sqs: Any) -> None:
    worker, heard = start()
    call(sqs, "late", "sleep", time_limit=1)
    sqs.wait_counts("jobs")
    sqs.wait_counts("errbacks", visible=1)
    (line,) = heard.lines("on_failure")
    assert line.startswith("on_failure TimeLimitExceeded id-of-late elsewhere")
    assert len(heard.wait("task_failure")) == 1
    assert int(line.split()[-1]) in worker.hosts
    worker.wait_log(r"late\[id-of-late\] timed-out in 1\.\d+ s")


def test_the_message_stays_until_its_errback_was_accepted(start: Any, sqs: Any) -> None:
    worker, heard = start()
    sqs.store.faults.add("access-denied:action=SendMessage*:queue=errbacks")
    call(sqs, "late", "exit")
    heard.wait("task_failure")
    worker.wait_log("a follow-up to", timeout=90)  # half a minute it is tried again
    sqs.wait_counts("jobs", hidden=1)
    sqs.store.faults.clear()
    sqs.advance_until(lambda: sqs.counts("errbacks").visible == 1)
    sqs.wait_counts("jobs")


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_task_that_takes_its_process_down_has_failed(start: Any, sqs: Any, end: str) -> None:
    _, heard = start()
    call(sqs, "late", end)
    sqs.wait_counts("jobs")
    sqs.wait_counts("errbacks", visible=1)
    assert [line.split()[1] for line in heard.wait("task_failure")] == ["WorkerLostError"]
    assert not heard.lines("on_failure"), "Celery calls no handler then"
    sqs.celery("jobs", "work")
    heard.wait("work")


def test_reject_on_worker_lost_runs_it_again_and_tells_nobody(start: Any, sqs: Any) -> None:
    worker, heard = start()
    call(sqs, "again", "kill")
    heard.wait("run again")
    sqs.wait_counts("jobs", hidden=1)
    (worker.ledger.parent / "calm").touch()
    sqs.advance_until(lambda: len(heard.lines("run again")) == 2)
    sqs.wait_counts("jobs")
    sqs.wait_counts("errbacks")
    assert not heard.lines("task_failure")


def test_an_early_acked_task_that_is_killed_tells_its_errback(start: Any, sqs: Any) -> None:
    worker, heard = start()
    call(sqs, "early", "sleep")
    heard.wait("run early")
    sqs.wait_counts("jobs")
    os.kill(worker.executors[0], signal.SIGKILL)
    sqs.wait_counts("errbacks", visible=1)
    assert len(heard.wait("task_failure WorkerLostError id-of-early elsewhere")) == 1
    sqs.wait_counts("jobs")


def test_without_an_app_a_host_comes_when_it_is_needed(start: Any, sqs: Any) -> None:
    worker, heard = start(app=False)
    assert worker.hosts == []
    call(sqs, "late", "exit")
    sqs.wait_counts("errbacks", visible=1)
    sqs.wait_counts("jobs")
    assert len(worker.hosts) == 1
    assert not heard.lines("celeryd_init")
    assert worker.terminate(end_polls=sqs.store.end_polls) < 25


def test_a_host_that_is_killed_is_replaced_when_it_is_needed(start: Any, sqs: Any) -> None:
    worker, heard = start()
    heard.wait("worker_ready")
    (first,) = worker.hosts
    os.kill(first, signal.SIGKILL)
    worker.wait_log("the host .*SIGKILL.*started again when it is needed")
    call(sqs, "late", "exit")
    sqs.wait_counts("errbacks", visible=1)
    sqs.wait_counts("jobs")
    assert worker.hosts != [first]
    assert len(heard.lines("worker_init")) == 1


def test_a_host_that_dies_while_it_is_asked_loses_no_message(start: Any, sqs: Any) -> None:
    worker, heard = start()
    (worker.ledger.parent / "die").touch()
    call(sqs, "late", "sleep", time_limit=1)
    heard.wait("on_failure")
    sqs.wait_counts("jobs", hidden=1)
    sqs.wait_counts("errbacks")
    (worker.ledger.parent / "die").unlink()
    (worker.ledger.parent / "calm").touch()
    sqs.advance_until(lambda: len(heard.lines("run late")) == 2)
    sqs.wait_counts("jobs")


@pytest.mark.slow
def test_a_host_that_hangs_is_killed_and_the_worker_goes_on(start: Any, sqs: Any) -> None:
    worker, heard = start()
    (worker.ledger.parent / "hang").touch()
    call(sqs, "late", "sleep", time_limit=1)
    heard.wait("on_failure")
    sqs.celery("jobs", "work")
    heard.wait("work")
    worker.wait_log("the host .*it does not answer", timeout=45)
    sqs.wait_counts("jobs", hidden=1)
    (worker.ledger.parent / "hang").unlink()
    sqs.advance_until(lambda: len(heard.lines("on_failure")) == 2)
    sqs.wait_counts("jobs")


def test_the_workers_signals_come_once_and_in_no_executor(start: Any, sqs: Any) -> None:
    worker, heard = start("-c", "2")
    heard.wait("worker_ready")  # told by the host
    (host,) = worker.hosts
    assert len(heard.wait("worker_process_init", 2)) == 2
    sqs.celery("jobs", "work")
    heard.wait("work")
    worker.terminate(signal.SIGINT)
    told = [line.split() for line in heard.lines() if line.split()[0] in SIGNALS]
    assert [words[0] for words in told] == SIGNALS
    assert {int(words[-1]) for words in told} == {host}
    assert ["worker_shutting_down", "SIGINT/Warm", "elsewhere", str(host)] in told


def test_the_host_hears_every_two_seconds_that_the_worker_is_alive(start: Any, sqs: Any) -> None:
    """As seen under Celery 5.7 on SQS: ``heartbeat_sent`` in the main process, and none after the end."""
    worker, heard = start()
    heard.wait("worker_ready")
    began = time.monotonic()
    beats = heard.wait("heartbeat_sent", 3)
    assert time.monotonic() - began > 3, "the first at once, then two seconds each"
    assert {int(line.split()[-1]) for line in beats} == set(worker.hosts)
    named = [line.split()[0] for line in heard.lines()]
    assert named.index("worker_ready") < named.index("heartbeat_sent")
    worker.terminate(signal.SIGINT)
    assert heard.lines()[-1].startswith("worker_shutdown")


def test_a_handler_of_the_heartbeat_that_hangs_holds_up_no_task(start: Any, sqs: Any, project: Any) -> None:
    (project.folder / "hang-heartbeat_sent").touch()
    worker, heard = start("--shutdown-timeout", "2")
    heard.wait("heartbeat_sent")
    sqs.celery("jobs", "work")
    heard.wait("work")
    assert worker.terminate(signal.SIGINT) < 10
    assert len(heard.lines("heartbeat_sent")) == 1


def test_a_signal_handler_that_raises_is_logged(start: Any, sqs: Any, project: Any) -> None:
    (project.folder / "raise").touch()
    worker, heard = start()
    heard.wait("worker_ready")
    worker.terminate(signal.SIGINT)
    assert [line.split()[0] for line in heard.lines() if line.split()[0] in SIGNALS] == SIGNALS
    assert "on purpose" in worker.log()


def test_handlers_that_hang_hold_up_neither_start_nor_stop(start: Any, sqs: Any, project: Any) -> None:
    (project.folder / "hang-worker_init").touch()
    worker, heard = start("--shutdown-timeout", "2")
    sqs.celery("jobs", "work")
    heard.wait("work")
    assert worker.terminate(signal.SIGINT) < 10
    worker.wait_log("the host .*does not leave")


def test_the_host_ends_with_a_worker_that_is_killed(start: Any, sqs: Any) -> None:
    worker, heard = start()
    heard.wait("worker_ready")
    everyone = worker.everyone()
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait_until(lambda: not worker.alive(everyone[1:]))


def test_a_native_message_is_no_business_of_the_host(start: Any, sqs: Any) -> None:
    worker, _ = start(app=False)
    sqs.store.send("jobs", OutgoingMessage('{"task": "tasks.crash", "args": ["kill"], "kwargs": {}}'))
    worker.wait_ran("crash kill")
    sqs.wait_counts("jobs", hidden=1)
    assert worker.hosts == []
