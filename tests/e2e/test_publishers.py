"""Publishing from the processes that users have: preforking servers, threads, the end of the interpreter, an SQS that is away.

Each is a real process that talks to an SQS on loopback over HTTP.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from processes import environment
from pyqs.local.server import LocalServer
from pyqs.sqs import Sqs

APP = """
    import atexit, os, sys, threading, time
    from pyqs_celery_compat import Celery

    app = Celery("web", broker="sqs://k:s@" + sys.argv[1], broker_transport_options={"region": "us-east-1"})

    @app.task(name="t")
    def task(n): ...
"""


def run(tmp_path: Path, endpoint: str, source: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    (tmp_path / "web.py").write_text(textwrap.dedent(APP) + textwrap.dedent(source))
    command = [sys.executable, "web.py", endpoint.removeprefix("http://")]
    return subprocess.run(command, cwd=tmp_path, env=environment(endpoint), capture_output=True, text=True, timeout=timeout)


def count(sqs: Sqs, queue: str = "celery") -> int:
    name = "ApproximateNumberOfMessages"
    return int(sqs.queue_attributes(sqs.queue_url(queue), (name,))[name])


#: As gunicorn's and uwsgi's with preloading: the parent has published, and may be publishing, when it forks.
PREFORK = """
    task.delay(0)
    {before}
    children = []
    for number in range(4):
        pid = os.fork()
        if not pid:
            threads = [threading.Thread(target=lambda: [task.delay(n) for n in range(5)]) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join(20)
            with app.producer_or_acquire() as producer:
                task.apply_async((1,), producer=producer)
            os._exit(sum(thread.is_alive() for thread in threads))
        children.append(pid)
    {after}
    print([os.waitpid(pid, 0)[1] for pid in children])
    task.delay(0)
"""
BUSY = """\
over = threading.Event()
    def publish():
        while not over.is_set(): app.send_task("other", queue="busy")
    busy = threading.Thread(target=publish); busy.start(); time.sleep(0.1)"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        (BUSY, "over.set(); busy.join(); app.send_task('other', queue='busy')"),
        ("held = app.pool.acquire(block=True); producers = app.producer_pool", "held.release()"),
    ],
    ids=["idle", "while another thread publishes", "with a connection borrowed"],
)
def test_a_parent_and_its_children_publish_without_sharing_anything(
    tmp_path: Path, server: LocalServer, sqs: Sqs, before: str, after: str
) -> None:
    ended = run(tmp_path, server.endpoint_url, PREFORK.format(before=before, after=after))
    assert (ended.returncode, ended.stdout.strip()) == (0, "[0, 0, 0, 0]"), ended.stderr
    assert count(sqs) == 4 * (3 * 5 + 1) + 2


@pytest.mark.parametrize(
    "source",
    [
        "atexit.register(task.delay, 1)",
        "task.delay(0); app.conf.update(task_default_queue='celery'); atexit.register(task.apply_async, (1,), priority=3)",
        "threading.Thread(target=lambda: (time.sleep(0.3), task.delay(1))).start()",
    ],
    ids=["first of all", "as one of several", "from a thread that outlives the main one"],
)
def test_at_the_end_of_the_interpreter(tmp_path: Path, server: LocalServer, sqs: Sqs, source: str) -> None:
    ended = run(tmp_path, server.endpoint_url, source)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert count(sqs) == source.count("task.delay") + source.count("task.apply_async")


def test_where_nobody_listens_a_call_fails_soon_and_says_where_it_went(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    started = time.monotonic()
    ended = run(
        tmp_path,
        endpoint,
        """
        from kombu.exceptions import OperationalError
        try:
            task.delay(1)
        except OperationalError as exc:
            print(exc)
        """,
    )
    assert endpoint in ended.stdout
    assert time.monotonic() - started < 20
