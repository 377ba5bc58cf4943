"""Who is measured: each worker, or bare loop, by its command, the Python it runs on, and the format it drains.

Owns: ``Peer``, the list of them, and starting and ending one. Runs in the benchmark's main thread. Never installs anything:
the nox session does, and hands over each peer's python as ``PYQS_BENCH_<NAME>``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kit.bodies import Format
from kit.procfs import kill_tree
from kit.servers import HERE, Site

APPS = HERE / "apps"


@dataclass(frozen=True)
class Peer:
    """One way to run tasks.

    Parameters:
        name: in tables.
        home: whose environment it runs in: "" is the benchmark's own, with pyqs and boto3.
        form: of the messages it drains.
        words: its command behind ``python``; ``{c}`` is the number of executors, ``{queue}`` the queue's name.
        backlog: messages that are more than it drains in a window, so that filling does not take the most time.
        tls: whether it can be told to trust a certificate of ours.
        settings: variables that its app reads.
    """

    name: str
    home: str
    form: Format
    words: tuple[str, ...]
    backlog: int
    tls: bool = True
    settings: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def python(self) -> str | None:
        """The interpreter, or None where it is not installed."""
        return os.environ.get(f"PYQS_BENCH_{self.home.upper()}") if self.home else sys.executable

    def command(self, *, queue: str, concurrency: int) -> list[str]:
        """Raises RuntimeError where it is not installed."""
        if self.python is None:
            raise RuntimeError(f"{self.name} is not installed: PYQS_BENCH_{self.home.upper()} is not set")
        return [self.python, *(word.format(c=concurrency, queue=queue, apps=APPS) for word in self.words)]


_CELERY = (
    "-m", "celery", "-A", "bench_app", "worker", "-Q", "{queue}", "-c", "{c}", "-l", "WARNING",
    "--without-gossip", "--without-mingle", "--without-heartbeat",
)  # fmt: skip
_PYQS = ("-m", "pyqs", "worker", "-Q", "{queue}", "-c", "{c}", "-l", "warning")

PYQS = Peer("pyqs", "", "celery", (*_PYQS, "-A", "bench_app"), 20_000)
#: Coroutines, all in one executor.
PYQS_SLOTS = Peer(
    "pyqs", "", "celery",
    ("-m", "pyqs", "worker", "-Q", "{queue}", "-c", "1", "--async-slots", "{c}", "-l", "warning", "-A", "bench_app"),
    20_000, settings=(("BENCH_ASYNC", "1"),),
)  # fmt: skip
PYQS_THREADS = replace(PYQS_SLOTS, name="pyqs, plain tasks in threads", settings=())
NATIVE = Peer("pyqs native", "", "native", (*_PYQS, "--include", "bench_tasks"), 20_000)
# kombu's curl client cannot be told, by Celery's settings or the environment, to trust a certificate of ours
CELERY = Peer("celery", "celery57", "celery", _CELERY, 3_000, tls=False)
CELERY_50 = Peer("celery prefetch 50", "celery57", "celery", (*_CELERY, "--prefetch-multiplier", "50"), 6_000, tls=False)
CELERY_THREADS = replace(CELERY, name="celery threads", words=(*_CELERY, "-P", "threads"))
# kombu 5.7 waits its polling_interval, a second, each time that it holds as much as it may, not only when a queue is empty
CELERY_TUNED = replace(CELERY_50, name="celery prefetch 50, no pause", settings=(("BENCH_POLLING_INTERVAL", "0.01"),))
_PYQS_1 = ("-c", "from pyqs.main import main; main()", "{queue}", "--concurrency", "{c}")
PYQS_1 = Peer("PyQS 1.0.1", "pyqs1", "native", _PYQS_1, 3_000)
DRAMATIQ = Peer("dramatiq", "dramatiq", "dramatiq", ("-m", "dramatiq", "dramatiq_app", "-p", "{c}", "-t", "4"), 8_000)
FANFERRO = Peer("fanferro", "fanferro", "json", ("{apps}/fanferro_app.py", "1"), 20_000)
FANFERRO_16 = Peer("fanferro 16 pollers", "fanferro", "json", ("{apps}/fanferro_app.py", "16"), 20_000)
BOTO3_2 = Peer("bare boto3 2 threads", "", "celery", ("{apps}/bare_boto3.py", "2"), 20_000)
BOTO3_16 = Peer("bare boto3 16 threads", "", "celery", ("{apps}/bare_boto3.py", "16"), 20_000)
OWN_8 = Peer("bare pyqs client 8 threads", "", "celery", ("{apps}/bare_pyqs.py", "8"), 20_000)
OWN_32 = Peer("bare pyqs client 32 threads", "", "celery", ("{apps}/bare_pyqs.py", "32"), 20_000)

ALL = (PYQS, CELERY, CELERY_50, CELERY_TUNED, PYQS_1, DRAMATIQ, FANFERRO, FANFERRO_16, BOTO3_2, BOTO3_16, OWN_8, OWN_32)


def at_hand(peers: Sequence[Peer], *, tls: bool = False) -> list[Peer]:
    """Those that can run here; says which cannot."""
    found = []
    for peer in peers:
        if peer.python is None:
            print(f"  {peer.name}: left out, not installed (PYQS_BENCH_{peer.home.upper()} names its python)", flush=True)
        elif tls and not peer.tls:
            print(f"  {peer.name}: left out, it cannot be told to trust our certificate", flush=True)
        else:
            found.append(peer)
    return found


def environment(peer: Peer, site: Site, queue: str, url: str, **more: str) -> dict[str, str]:
    """The peer's variables: where SQS is, and what its app must know."""
    env = site.environment() | {"BENCH_QUEUE": queue, "BENCH_QUEUE_URL": url, "PYTHONPATH": str(APPS)} | dict(peer.settings)
    return env | {"BENCH_PEER": "celery" if peer.home.startswith("celery") else "pyqs"} | more


@contextmanager
def running(
    peer: Peer, site: Site, queue: str, url: str, log: Path, *, concurrency: int = 2, args: Sequence[str] = (), **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The peer's process while it runs; at the end all of it is killed. Its output goes to ``log``."""
    env = environment(peer, site, queue, url, **more)
    command = [*peer.command(queue=queue, concurrency=concurrency), *args]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=env, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        kill_tree(process.pid)
        process.wait()
