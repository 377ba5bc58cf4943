"""How fast a backlog of tasks is drained: every peer on the same SQS, in turn, several rounds.

Owns: the cases and what is measured of one drain. Runs in the benchmark's main thread; peers and servers are processes of their
own. Never counts a worker's start: a window opens when the first message is gone, and closes after some seconds or when the
queue is empty.

===========  =====================================================================================================
noop         no-op tasks, two executors, each server at each distance
tls          the same through TLS
sleep        tasks of 10 ms, eight executors, against the rate that eight executors can give at most
wait         tasks of 100 ms that only wait, 100 at a time: coroutines in one executor, and threads
backlog      no-op tasks, a backlog of 1,000 against 10,000 and 100,000
===========  =====================================================================================================
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from kit import peers
from kit.bodies import NOOP, SLEEP, bodies
from kit.near import Near, fill
from kit.options import Options
from kit.peers import Peer, running
from kit.procfs import cpu_seconds
from kit.results import record
from kit.rounds import turns
from kit.servers import Site, actual_round_trip, available, site
from kit.summary import show

_START = 60.0  # seconds in which a worker must have done its first task
_queues = count(1)


@dataclass(frozen=True, slots=True)
class Case:
    """What is drained.

    Parameters:
        backlog: messages; None leaves it to each peer.
        window: seconds at most.
    """

    name: str
    task: str = NOOP
    argument: float = 1
    concurrency: int = 2
    backlog: int | None = None
    window: float = 5.0


def drain(peer: Peer, at: Site, case: Case, folder: Path) -> dict[str, Any]:
    """One drain: tasks a second, and CPU milliseconds a task of the peer's whole tree and of the server and relay."""
    queue = f"bench-{next(_queues)}"
    url = Near(at.endpoint).create(queue) if at.ca_bundle is None else Near(at.near).create(queue)
    reached = url if at.ca_bundle is None else f"{at.endpoint}/{url.split('/', 3)[3]}"
    near, total = Near(at.near), case.backlog or peer.backlog
    fill(at.near, url, bodies(peer.form, case.task, queue, case.argument), total)
    log = folder / f"{queue}.log"
    with running(peer, at, queue, reached, log, concurrency=case.concurrency) as process:
        began = time.monotonic()
        try:
            left = _first_gone(near, url, total, process)
        except RuntimeError as exc:
            raise RuntimeError(f"{peer.name} on {at.name}: {exc}\n{log.read_text()[-2000:]}") from None
        opened, first = time.monotonic(), left
        cpu, server = cpu_seconds(process.pid), at.cpu()
        pause = 0.01 if total <= 2000 else 0.05
        while left and time.monotonic() - opened < case.window:
            time.sleep(pause)
            left = near.left(url)
        seconds = time.monotonic() - opened
        cpu, server = cpu_seconds(process.pid) - cpu, at.cpu() - server
    near.delete(url)
    done = first - left
    return {
        "rate": done / seconds,
        "cpu_ms": cpu / done * 1000 if done else 0.0,
        "server_cpu_ms": server / done * 1000 if done else 0.0,
        "tasks": done,
        "seconds": seconds,
        "start": opened - began,
    }


def _first_gone(near: Near, url: str, total: int, process: Any) -> int:
    """Wait for the first message to be gone; how many are left then."""
    deadline = time.monotonic() + _START
    while (left := near.left(url)) >= total:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}")
        if time.monotonic() >= deadline:
            raise RuntimeError(f"no task done in {_START:.0f} s")
        time.sleep(0.005)
    return left


def compare(field: Sequence[Peer], at: Site, case: Case, rounds: int, label: str = "") -> None:
    """All peers in turn, some rounds; each figure is recorded, the comparison printed. A peer that fails is out."""
    away = actual_round_trip(at.near if at.ca_bundle else at.endpoint)
    print(f"\ndrain {case.name}{label}: {at.name}, a call takes {away:.1f} ms")
    lines, out = [], set[str]()
    with tempfile.TemporaryDirectory(prefix="pyqs-bench-") as name:
        for number, peer in turns(field, rounds):
            if peer.name in out:
                continue
            try:
                figures = drain(peer, at, case, Path(name))
            except RuntimeError as exc:
                out.add(peer.name)
                print(f"  {peer.name}: out: {exc}", flush=True)
                continue
            lines.append(record("drain", case=case.name + label, site=at.name, peer=peer.name, round=number, **figures))
            print(
                f"  {number} {peer.name:28} {figures['rate']:8,.0f} tasks/s  CPU {figures['cpu_ms']:6.3f} ms a task,"
                f" server {figures['server_cpu_ms']:6.3f}  ({figures['tasks']} in {figures['seconds']:.1f} s,"
                f" first after {figures['start']:.1f} s)",
                flush=True,
            )
    show(lines, "rate", "tasks/s", also=("cpu_ms", "server_cpu_ms"))


def main(options: Options) -> None:
    """All cases that were asked for."""
    field = options.choose(peers.ALL)
    for server in options.servers:
        if missing := available(server):
            print(f"drain on {server} is left out: {missing}")
            continue
        for round_trip in options.round_trips:
            if options.wants("noop"):
                with site(server, round_trip) as at:
                    warm_up(at)
                    compare(peers.at_hand(field), at, Case("noop", window=options.window), options.rounds)
        if options.wants("tls"):
            with site(server, tls=True) as at:
                warm_up(at)
                compare(peers.at_hand(field, tls=True), at, Case("tls", window=options.window), options.rounds)
        if options.wants("sleep"):
            _sleep(server, options)
        if options.wants("wait"):
            _wait(server, options)
        if options.wants("backlog"):
            _backlog(server, options)


def warm_up(at: Site) -> None:
    """The server has run its code before anything is measured: fauxqs's is compiled while it runs."""
    with tempfile.TemporaryDirectory() as name:
        drain(peers.BOTO3_2, at, Case("warm-up", backlog=500, window=2.0), Path(name))


def _sleep(server: str, options: Options) -> None:
    case = Case("sleep 10 ms, 8 executors", SLEEP, 0.01, 8, 200 if options.short else 5_000, options.window)
    with site(server) as at:
        warm_up(at)
        compare(peers.at_hand(options.choose((peers.PYQS, peers.CELERY_50))), at, case, options.rounds)
    print("  eight executors with tasks of 10 ms give 800 tasks/s at most, less what time.sleep oversleeps")


def _wait(server: str, options: Options) -> None:
    case = Case("wait 100 ms, 100 at a time", SLEEP, 0.1, 100, 500 if options.short else 10_000, options.window)
    with site(server) as at:
        warm_up(at)
        field = options.choose((peers.PYQS_SLOTS, peers.PYQS_THREADS, peers.CELERY_THREADS))
        compare(peers.at_hand(field), at, case, options.rounds)
    print("  a hundred tasks of 100 ms at a time give 1,000 tasks/s at most")


def _backlog(server: str, options: Options) -> None:
    sizes = (200, 400) if options.short else (1_000, 10_000, 100_000)
    field = peers.at_hand(options.choose((peers.PYQS, peers.OWN_8)))
    with site(server) as at:
        warm_up(at)
        for size in sizes:
            compare(field, at, Case("backlog", backlog=size, window=options.window), options.rounds, f" {size}")
