"""What the process tests share: a real worker in a session of its own, an SQS whose store and faults can be looked into.

The worker is ``python -m pyqs worker``, its executors real children. The store lives in the test's process, and its clock can
be moved, so that a message hidden for ten seconds comes back at once. Everything is waited for by a file, a log line or the
store, never by a guess.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedded import Clock, EndablePolls, Sqs
from processes import Project, RunningWorker, environment
from pyqs.local.server import LocalServer

TASKS = '''
import ctypes, os, signal, subprocess, sys, threading, time
from pyqs import task
from pyqs_celery_compat import shared_task
from pyqs_celery_compat.exceptions import SoftTimeLimitExceeded

def ran(line):
    with open("ran.txt", "a") as ledger:
        ledger.write(f"{line}\\n")

def until(name):
    while not os.path.exists(name):
        time.sleep(0.01)

@task
def noop(n):
    ran(f"noop {n}")

@task
def big(n, blob):
    ran(f"big {n} {len(blob)}")

@task
def nap(seconds, tag=""):
    ran(f"nap {tag} begins")
    time.sleep(seconds)
    ran(f"nap {tag} ends")

@task
def gate(name, tag=""):
    ran(f"gate {tag} begins")
    until(name)
    ran(f"gate {tag} ends")

@task
def meet(mine, other):
    """Ends only if another task runs beside it."""
    ran(f"meet {mine}")
    open(mine, "w").close()
    until(other)
    ran(f"met {other}")

@task
def with_child(seconds):
    child = subprocess.Popen(["sleep", str(seconds)])
    ran(f"child {child.pid}")
    child.wait()

@task
def spin():
    ran("spin begins")
    while True:
        pass

@task
def hold_gil(seconds):
    ran("hold_gil begins")
    ctypes.PyDLL(None).sleep(seconds)

@task
def crash(how, tag=""):
    """Takes its process down, unless the file ``calm`` is there."""
    if os.path.exists("calm"):
        ran(f"calm {how} {tag}")
        return
    ran(f"crash {how} {tag}")
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

@task
def fail(tag=""):
    """Fails, unless the file ``calm`` is there."""
    calm = os.path.exists("calm")
    ran(f"{'calm' if calm else 'fail'} {tag}")
    if not calm:
        raise ValueError("on purpose")

@shared_task(name="early.gate")
def early_gate(name, tag=""):
    ran(f"early {tag} begins")
    until(name)
    ran(f"early {tag} ends")

@shared_task(name="early.nap")
def early_nap(seconds):
    ran("early nap begins")
    time.sleep(seconds)
    ran("early nap ends")

@shared_task(name="timed.hard", acks_late=True, time_limit=1)
def hard():
    child = subprocess.Popen(["sleep", "60"])
    ran(f"child {child.pid}")
    time.sleep(60)
    ran("hard ends")

@shared_task(name="timed.soft", soft_time_limit=1)
def soft():
    ran("soft begins")
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        ran("soft limit")

@shared_task(name="dated")
def dated(tag):
    ran(f"dated {tag} {time.time()}")

@shared_task(name="again", bind=True)
def again(self, tag):
    ran(f"again {self.request.retries} {tag}")
    if not self.request.retries:
        raise self.retry(countdown=0)

@shared_task(name="slow.link")
def slow_link(seconds):
    ran("link begins")
    time.sleep(seconds)
    return "done"

@shared_task(name="next.link")
def next_link(value):
    ran(f"next {value}")
    return value
'''

#: Runs a worker whose settings have no option: ``python custom.py '{"refresh": 1}'`` with the usual environment.
CUSTOM = """
import json, os, sys
from pyqs import cli, logs
from pyqs.config import ConnectionConfig, RuntimeConfig, WorkerConfig

def main():
    logs.configure("INFO")
    connection = ConnectionConfig.from_environment()
    runtime = RuntimeConfig(cli.COMPAT_RUNTIME, include=("tasks",), connection=connection, working_directory=os.getcwd())
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(sys.argv[1]).items()}
    return cli.run_worker(WorkerConfig(runtime=runtime, connection=connection, **settings))

if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sqs(clock: Clock) -> Iterator[Sqs]:
    store = EndablePolls(None, clock=clock)
    with LocalServer(store) as server:
        yield Sqs(store, server, clock)
    store.close()


@pytest.fixture
def project(tmp_path: Path, sqs: Sqs) -> Iterator[Project]:
    """A folder with the tasks above; its workers talk to ``sqs``."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tasks.py").write_text(textwrap.dedent(TASKS))
    (folder / "custom.py").write_text(textwrap.dedent(CUSTOM))
    project = Project(folder, environment(sqs.server.endpoint_url))
    yield project
    project.end()


@pytest.fixture
def start_worker(project: Project) -> Callable[..., RunningWorker]:
    """Starts ``pyqs worker --include tasks ...``."""
    return project.start
