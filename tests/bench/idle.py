"""What a worker costs that waits on 500 empty queues, found by one glob, and how soon a message in any of them starts.

Owns: what is measured of it. Runs in the benchmark's main thread. Never runs a peer: none finds queues by a pattern and polls
them all at once.
"""

from __future__ import annotations

import random
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from kit import peers, procfs
from kit.bodies import bodies
from kit.near import Near
from kit.notes import Notes
from kit.options import Options
from kit.peers import PYQS, running
from kit.results import record
from kit.rounds import percentile, spread
from kit.servers import Site, available, site

_PATIENCE = 120.0
#: Seconds that are waited for one task; one that has not started then counts as so long.
_LONGEST = 25.0
_runs = count(1)


def wait_on(queues: int, watched: float, messages: int, at: Site, folder: Path) -> dict[str, Any]:
    """Memory, CPU and threads of the idle worker; milliseconds from a send to its task's start, in queues drawn by lot."""
    run = next(_runs)
    near = Near(at.endpoint)
    urls = [near.create(f"idle{run}-{number}") for number in range(queues)]
    notes, log = Notes(folder / f"{run}.notes"), folder / f"{run}.log"
    times = []
    with running(PYQS, at, f"idle{run}-*", urls[0], log, BENCH_NOTES=str(notes.path)) as process:
        try:
            opened = _all_polled(process.pid, queues)
            cpu, server, began = procfs.cpu_seconds(process.pid), at.cpu(), time.monotonic()
            time.sleep(watched)
            seconds = time.monotonic() - began
            cpu, server = (procfs.cpu_seconds(process.pid) - cpu) / seconds, (at.cpu() - server) / seconds
            memory = procfs.memory(process.pid)
            sockets = procfs.socket_count(process.pid)
            given_up = time.monotonic() + _PATIENCE
            for number in range(messages):
                time.sleep(random.uniform(0.1, 0.4))
                sent = time.monotonic()
                near.send_batch(random.choice(urls), bodies("celery", "note", "idle", number)[:1])
                found = notes.find(number, _LONGEST)
                times.append(_LONGEST * 1000 if found is None else (found.at - sent) * 1000)
                if time.monotonic() > given_up:  # some have taken very long, which is an answer, too
                    break
        except RuntimeError as exc:
            raise RuntimeError(f"{exc}\n{log.read_text()[-2000:]}") from None
    for url in urls:
        near.delete(url)
    return {
        "rss_mb": memory.rss_of_root,
        "pss_mb": memory.pss,
        "threads": opened,
        "sockets": sockets,
        "cpu_percent": cpu * 100,
        "server_cpu_percent": server * 100,
        "wake_ms": spread(times).median,
        "wake_p95_ms": percentile(times, 0.95),
        "wake_worst_ms": max(times),
    }


def _all_polled(pid: int, queues: int) -> int:
    """Wait until the parent has a thread a queue, or as many as it is going to have; how many it has."""
    deadline, last, since = time.monotonic() + _PATIENCE, 0, time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = procfs.thread_count(pid)
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > (3.0 if now >= queues else 15.0):
            return now
    raise RuntimeError(f"still {last} threads and changing after {_PATIENCE:.0f} s")


def main(options: Options) -> None:
    """Each server, no distance."""
    queues, watched, messages = (20, 2.0, 5) if options.short else (500, 20.0, 40)
    for server in options.servers:
        if missing := available(server):
            print(f"idle on {server} is left out: {missing}")
            continue
        print(f"\nidle: {queues} empty queues on {server}")
        with site(server) as at, tempfile.TemporaryDirectory(prefix="pyqs-bench-") as name:
            for number in range(min(options.rounds, 3)):
                try:
                    figures = wait_on(queues, watched, messages, at, Path(name))
                except RuntimeError as exc:
                    print(f"  out: {exc}", flush=True)
                    break
                record("idle", case=f"{queues} queues", site=at.name, peer=peers.PYQS.name, round=number, **figures)
                print(
                    f"  {number} RSS of the parent {figures['rss_mb']:.0f} MB, PSS of all {figures['pss_mb']:.0f} MB,"
                    f" {figures['threads']} threads, {figures['sockets']} sockets, CPU {figures['cpu_percent']:.1f} % of a core"
                    f" (server {figures['server_cpu_percent']:.1f} %); a message starts after {figures['wake_ms']:.0f} ms"
                    f" (p95 {figures['wake_p95_ms']:.0f}, worst {figures['wake_worst_ms']:.0f})",
                    flush=True,
                )
