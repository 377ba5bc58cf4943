"""Publishing from the servers that users have: gunicorn with each of its workers, uWSGI, an ASGI server.

Real servers on loopback, which the nox session ``servers`` installs. Where the server loads the app before it forks, the app
has published by then, so that a child that shared anything of its parent's would be found out.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from processes import free_port
from pyqs.local.server import LocalServer
from pyqs.sqs import Sqs

PATIENCE = 45.0
REQUESTS = 24

#: Publishes when it is loaded, and in each request; answers the process that did.
WEB = """
import os, sys
from pyqs_celery_compat import Celery

app = Celery("web", broker="sqs://")

@app.task(name="t")
def task(where): ...

task.delay("loaded")

def wsgi(environ, start_response):
    task.delay("request")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    task.delay("request")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--graceful-timeout", "5", "--no-control-socket"]
UVICORN = ["uvicorn", "web:asgi", "--host", "127.0.0.1", "--port", "{port}"]
UWSGI = ["uwsgi", "--http-socket", "127.0.0.1:{port}", "--master", "--processes", "2", "--module", "web:wsgi", "--die-on-term"]
#: How each is started, what must be installed for it, and how often it loads the app: before its forks, or in each child.
SERVERS = {
    "gunicorn sync": ([*GUNICORN, "web:wsgi"], "gunicorn", 2),
    "gunicorn sync, preloaded": ([*GUNICORN, "--preload", "web:wsgi"], "gunicorn", 1),
    "gunicorn gthread": ([*GUNICORN, "--worker-class", "gthread", "--threads", "4", "web:wsgi"], "gunicorn", 2),
    "gunicorn gthread, preloaded": ([*GUNICORN, "--preload", "--worker-class", "gthread", "--threads", "4", "web:wsgi"],
                                    "gunicorn", 1),
    "gunicorn gevent": ([*GUNICORN, "--worker-class", "gevent", "web:wsgi"], "gevent", 2),
    "uwsgi": ([*UWSGI, "--lazy-apps"], "pyuwsgi", 2),
    "uwsgi, preforked": (UWSGI, "pyuwsgi", 1),
    "uwsgi with threads, preforked": ([*UWSGI, "--enable-threads", "--threads", "2"], "pyuwsgi", 1),
    "uvicorn": (UVICORN, "uvicorn", 1),
    "uvicorn with workers": ([*UVICORN, "--workers", "2"], "uvicorn", 2),
}  # fmt: skip


@pytest.fixture
def serve(tmp_path: Path, project: Any) -> Iterator[Callable[[list[str]], str]]:
    """Starts a server; answers its address once somebody listens there."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> str:
        port = free_port()
        program, *args = (word.format(port=port) for word in command)
        with open(tmp_path / "server.log", "wb") as log:
            servers.append(
                subprocess.Popen(
                    [str(Path(sys.executable).parent / program), *args], cwd=project.folder, env=project.env,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip
        # A SIGTERM that comes while one of uWSGI's workers loads its app is lost, whatever the app: it would never end.
        apps = 2 if "--lazy-apps" in args else 1 if program == "uwsgi" else 0
        deadline = time.monotonic() + PATIENCE
        while not (listens(port) and (tmp_path / "server.log").read_text().count("WSGI app 0") >= apps):
            assert servers[-1].poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.05)
        return f"http://127.0.0.1:{port}/"

    yield start
    for server in servers:
        server.terminate()
        try:
            server.wait(15)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, 9)
                server.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def messages(sqs: Sqs) -> int:
    name = "ApproximateNumberOfMessages"
    return int(sqs.queue_attributes(sqs.queue_url("celery"), (name,))[name])


@pytest.mark.parametrize("name", SERVERS)
def test_each_request_publishes_its_message(
    serve: Callable[[list[str]], str], project: Any, queues: Any, server: LocalServer, sqs: Sqs, tmp_path: Path, name: str
) -> None:
    command, needs, loads = SERVERS[name]
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed (nox -s servers)")
    queues.create("celery")
    project.write("web.py", WEB)
    address = serve(command)

    def get(_: int) -> str:
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as exc:
            raise AssertionError((tmp_path / "server.log").read_text()) from exc

    with ThreadPoolExecutor(6) as pool:
        processes = Counter(pool.map(get, range(REQUESTS)))
    assert sum(processes.values()) == REQUESTS
    if loads == 1:
        assert messages(sqs) == REQUESTS + 1
    else:  # a child may load it after the last request was answered by the other
        assert messages(sqs) in range(REQUESTS + 1, REQUESTS + 4)
