"""How soon ``get()`` returns after its task's end, on Redis and on SQLite; on how many connections a thousand are awaited.

Owns: the stores and the rounds. Runs in the benchmark's main thread, with a worker and a caller of each peer as processes. The
task sleeps a tenth of a second, so that whoever calls it is waiting when it ends. Never measures a first result.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from kit import peers
from kit.near import Near
from kit.options import Options
from kit.peers import APPS, Peer, environment, running
from kit.results import record
from kit.rounds import percentile, turns
from kit.servers import Site, site
from kit.summary import show

_queues = count(1)


@contextmanager
def store(kind: str, folder: Path) -> Iterator[tuple[str, Any]]:
    """The URL of an empty one, and what tells how many connections it has."""
    if kind == "sqlite":
        yield f"db+sqlite:///{folder}/results-{time.monotonic_ns()}.db", lambda: 0
        return
    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"redis+socket://{socket}", lambda: _connections(socket)
    finally:
        process.kill()
        process.wait()
        socket.unlink(missing_ok=True)


def _connections(socket: Path) -> int:
    command = ["redis-cli", "-s", str(socket), "client", "list"]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()) - 1  # its own


def measure(peer: Peer, at: Site, kind: str, folder: Path, *, pairs: int, many: int) -> dict[str, Any]:
    """Milliseconds from the end of a task to the return of ``get()``. Raises RuntimeError."""
    queue = f"results-{next(_queues)}"
    url = Near(at.endpoint).create(queue)
    log = folder / f"{queue}.log"
    with store(kind, folder) as (backend, connections), running(peer, at, queue, url, log, BENCH_BACKEND=backend):
        env = environment(peer, at, queue, url, BENCH_BACKEND=backend)
        command = [str(peer.python), str(APPS / "waiter.py"), str(pairs), str(many)]
        with log.open("ab") as output:
            caller = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=output, text=True)
            most = 0
            while caller.poll() is None:
                most = max(most, connections())
                time.sleep(0.1)
        assert caller.stdout is not None
        said = caller.stdout.read()
        if caller.returncode:
            raise RuntimeError(f"the caller ended with {caller.returncode}: {log.read_text()[-500:]}")
    found = json.loads(said)
    waits = sorted(found["waits_ms"])
    return {
        "wake_ms": percentile(waits, 0.5),
        "wake_p95_ms": percentile(waits, 0.95),
        "wake_worst_ms": waits[-1],
        "many_s": found["many_s"],
        "connections": most,
    }


def main(options: Options) -> None:
    """Each store, each peer in turn."""
    field = peers.at_hand(options.choose((peers.PYQS, peers.CELERY)))
    with site("embedded", 0.0) as at:
        for kind in ("redis", "sqlite"):
            if kind == "redis" and shutil.which("redis-server") is None:
                print("results on redis are left out: there is no redis-server")
            elif options.wants(kind):
                _compare(field, at, kind, options)


def _compare(field: list[Peer], at: Site, kind: str, options: Options) -> None:
    print(f"\nresults on {kind}")
    lines = []
    with tempfile.TemporaryDirectory(prefix="pyqs-bench-") as name:
        for number, peer in turns(field, options.rounds):
            size = {"pairs": 3, "many": 20} if options.short else {"pairs": 40, "many": 1000}
            try:
                figures = measure(peer, at, kind, Path(name), **size)
            except RuntimeError as exc:
                print(f"  {peer.name}: out: {exc}", flush=True)
                continue
            lines.append(record("waiting", case=kind, site=at.name, peer=peer.name, round=number, **figures))
            print(
                f"  {number} {peer.name:12} {figures['wake_ms']:6.1f} ms (p95 {figures['wake_p95_ms']:.1f}, worst"
                f" {figures['wake_worst_ms']:.1f}); many in {figures['many_s']:.1f} s, {figures['connections']} connections",
                flush=True,
            )
    show(lines, "wake_ms", "ms from a task's end to get()", digits=1, also=("wake_p95_ms",))
