"""Revoke in real workers with a real Redis: what was revoked does not run, what runs is killed, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import real_redis
from processes import RunningWorker
from pyqs_celery_compat import Celery
from pyqs_celery_compat import _state as state
from pyqs_celery_compat.outgoing import as_task_v2, seal_task

PROJ = """
import os, time
from pyqs_celery_compat import Celery, signals

app = Celery("proj", broker="sqs://", backend=os.environ["STORE"], task_default_queue="jobs",
             broker_transport_options={"region": "us-east-1", "revoke_store": os.environ.get("REVOKE", "result-backend")})

def note(line):
    with open("heard.txt", "a") as out:
        out.write(f"{line} {os.getpid()}\\n")

def wait(tag):
    note(f"begins {tag}")
    while not os.path.exists(f"end-{tag}"):
        time.sleep(0.01)
    note(f"ends {tag}")

@app.task(name="early")
def early(tag):
    wait(tag)

@app.task(name="late", acks_late=True)
def late(tag):
    wait(tag)

@app.task(name="warm")
def warm(tag):
    note("warm")

@app.task(name="work")
def work(tag):
    note(f"works {tag}")

@signals.task_revoked.connect
def revoked(sender, request, terminated, signum, expired, **_):
    note(f"revoked {sender.name} {request.id} {terminated} {signum and signum.name} {expired}")

@signals.task_failure.connect
def failed(sender, task_id, exception, **_):
    note(f"failed {task_id} {exception!r}")
"""


class Stand:
    """A Redis, workers of the app above, and the same app in this process."""

    def __init__(self, project: Any, sqs: Any, redis: real_redis.RealRedis) -> None:
        self.project, self.sqs, self.redis, self.env = project, sqs, redis, {"STORE": redis.url}
        self.app = Celery("proj", broker="sqs://", backend=redis.url, set_as_current=False)
        self.heard = project.folder / "heard.txt"

    def start(self, *args: str, **options: Any) -> RunningWorker:
        worker: RunningWorker = self.project.start(
            "-A", "proj", "-Q", "jobs", *args, env={**self.env, **options.pop("env", {})}, **options
        )
        return worker

    def start_watching(self) -> RunningWorker:
        """A worker that has read what was revoked before: nothing starts before that."""
        worker = self.start("-c", "1")
        self.send("warm", "", "warm")
        self.wait("warm", worker)
        return worker

    def lines(self, start: str) -> list[str]:
        if not self.heard.exists():
            return []
        return [line.rpartition(" ")[0] for line in self.heard.read_text().splitlines() if line.startswith(start)]

    def wait(self, start: str, worker: RunningWorker, count: int = 1) -> list[str]:
        try:
            worker.wait_until(lambda: len(self.lines(start)) >= count)
        except TimeoutError:
            raise AssertionError(f"no {count} x {start!r}: {self.lines('')}\n{worker.log()[-4000:]}") from None
        return self.lines(start)

    def send(self, task: str, tag: str, call_id: str) -> None:
        self.sqs.send("jobs", seal_task(as_task_v2(call_id, task, (tag,), {}), routing_key="jobs"))

    def end(self, tag: str) -> None:
        (self.project.folder / f"end-{tag}").touch()


@pytest.fixture
def stand(project: Any, sqs: Any, tmp_path: Path) -> Iterator[Stand]:
    (project.folder / "proj.py").write_text(textwrap.dedent(PROJ))
    sqs.create("jobs")
    with real_redis.running(tmp_path) as redis:
        made = Stand(project, sqs, redis)
        yield made
        state.deregister_app(made.app)


def test_what_is_revoked_before_it_comes_is_discarded_and_the_rest_runs(stand: Stand) -> None:
    """Log lines, state and signal as seen with Celery 5.7 on Redis."""
    stand.app.control.revoke("id-of-work")
    worker = stand.start("-c", "1")
    stand.send("work", "a", "id-of-work")
    stand.sqs.wait_counts("jobs")
    assert stand.wait("revoked", worker) == ["revoked work id-of-work False None False"]
    worker.wait_log(r"Task work\[id-of-work\] received")
    worker.wait_log(r"Discarding revoked task: work\[id-of-work\]")
    worker.wait_log(r"work\[id-of-work\] revoked in")
    result = stand.app.AsyncResult("id-of-work")
    assert (result.state, repr(result.result)) == ("REVOKED", "TaskRevokedError('revoked')")
    stand.send("work", "b", "another")
    assert stand.wait("works", worker) == ["works b"]
    assert worker.terminate(signal.SIGINT) < 15


def test_a_worker_that_runs_hears_of_it_while_messages_wait(stand: Stand) -> None:
    worker = stand.start_watching()
    stand.send("late", "first", "first")
    stand.wait("begins first", worker)
    stand.send("work", "second", "second")
    stand.app.AsyncResult("second").revoke()
    worker.wait_log("Tasks flagged as revoked: second")
    stand.end("first")
    assert stand.wait("revoked", worker) == ["revoked work second False None False"]
    stand.sqs.wait_counts("jobs")
    assert stand.lines("ends") == ["ends first"]
    assert not stand.lines("works")


@pytest.mark.parametrize("task", ["early", "late"])
def test_terminate_kills_what_runs_and_nothing_else(stand: Stand, task: str) -> None:
    worker = stand.start("-c", "2")
    for tag in ("one", "two"):
        stand.send(task, tag, tag)
        stand.wait(f"begins {tag}", worker)
    before = set(worker.executors)
    stand.app.control.revoke("one", terminate=True)
    assert stand.wait("revoked", worker) == [f"revoked {task} one True SIGTERM False"]
    worker.wait_log(r"Terminating one \(15\)")
    worker.wait_log(rf"{task}\[one\] revoked in")
    worker.wait_until(lambda: len(set(worker.executors) - before) == 1)
    assert len(set(worker.executors) & before) == 1
    result = stand.app.AsyncResult("one")
    assert (result.state, repr(result.result)) == ("REVOKED", "TaskRevokedError('terminated')")
    stand.end("two")
    assert stand.wait("ends", worker) == ["ends two"]
    stand.sqs.wait_counts("jobs")
    worker.wait_until(lambda: stand.app.AsyncResult("two").state == "SUCCESS")  # of an early ack, the message went before
    assert (stand.lines("failed"), len(stand.lines("begins"))) == ([], 2)


def test_a_database_is_a_store_too(stand: Stand, tmp_path: Path) -> None:
    url = f"db+sqlite:///{tmp_path}/revoked.db"
    stand.env |= {"REVOKE": url}
    stand.app.conf.broker_transport_options = {"revoke_store": url}
    stand.app.control.revoke("before")
    worker = stand.start("-c", "1")
    stand.send("work", "a", "before")
    assert stand.wait("revoked", worker) == ["revoked work before False None False"]
    stand.send("late", "one", "one")
    stand.wait("begins one", worker)
    stand.app.control.terminate("one")
    assert stand.wait("revoked", worker, 2)[-1] == "revoked late one True SIGTERM False"
    stand.sqs.wait_counts("jobs")


def test_a_worker_that_is_killed_in_between_discards_it_when_it_is_back(stand: Stand) -> None:
    worker = stand.start("-c", "1")
    stand.send("late", "one", "one")
    stand.wait("begins one", worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.process.wait()
    stand.app.control.revoke("one")
    stand.sqs.wait_counts("jobs", hidden=1)
    again = stand.start("-c", "1")
    stand.sqs.advance_until(lambda: stand.lines("revoked"))
    stand.sqs.wait_counts("jobs")
    assert stand.lines("revoked") == ["revoked late one False None False"]
    assert len(stand.lines("begins")) == 1
    assert again.terminate(signal.SIGINT) < 15


def test_without_its_store_a_worker_goes_on_with_what_it_knows_and_comes_back(stand: Stand) -> None:
    worker = stand.start_watching()
    stand.app.control.revoke("known")
    worker.wait_log("Tasks flagged as revoked: known")
    stand.redis.stop()
    worker.wait_log("cannot read which calls are revoked")
    stand.redis.start()
    worker.wait_log("which calls are revoked can be read again")
    assert len(worker.lines("cannot read")) == 1
    stand.send("work", "a", "known")
    stand.wait("revoked work known", worker)
    stand.app.control.revoke("new")
    worker.wait_log("Tasks flagged as revoked: new")
    stand.send("work", "a", "new")
    stand.wait("revoked work new", worker)
    stand.sqs.wait_counts("jobs")
    assert not stand.lines("works")


def test_a_worker_starts_without_its_store_and_says_so(stand: Stand) -> None:
    stand.redis.stop()
    worker = stand.start("-c", "1", env={"CELERY_RESULT_BACKEND": "disabled://", "REVOKE": stand.redis.url})
    worker.wait_log("cannot read which calls are revoked")
    stand.send("work", "a", "id-of-work")
    assert stand.wait("works", worker) == ["works a"]


def test_a_host_that_is_killed_comes_back_and_watches(stand: Stand) -> None:
    worker = stand.start_watching()
    stand.app.control.revoke("one")
    worker.wait_log("Tasks flagged as revoked: one")
    (host,) = worker.hosts
    os.kill(host, signal.SIGKILL)
    worker.wait_until(lambda: worker.hosts not in ([], [host]))
    stand.send("late", "two", "two")
    stand.wait("begins two", worker)
    stand.app.control.revoke("two", terminate=True, signal="SIGKILL")
    assert stand.wait("revoked", worker) == ["revoked late two True SIGKILL False"]
    stand.sqs.wait_counts("jobs")


def test_a_new_executor_knows_what_was_revoked_before_it_came(stand: Stand) -> None:
    worker = stand.start_watching()
    stand.app.control.revoke("one")
    worker.wait_log("Tasks flagged as revoked: one")
    (first,) = worker.executors
    os.kill(first, signal.SIGKILL)
    worker.wait_until(lambda: worker.executors not in ([], [first]))
    stand.send("work", "a", "one")
    assert stand.wait("revoked", worker) == ["revoked work one False None False"]
    stand.sqs.wait_counts("jobs")
    assert not stand.lines("works")
