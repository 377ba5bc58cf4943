"""How soon a task begins on an idle queue: from the ``.delay`` to its first line, beside a bare receive on the same server.

Owns: the pairs. Runs in the benchmark's main thread. In each pair one sender sends a task to the worker's idle queue, and the
same sender sends one to a queue on which a plain boto3 long poll waits; what differs is the worker's. Never measures a first
message: client and connection are made by then.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from kit import peers
from kit.near import Near
from kit.notes import Notes
from kit.options import Options
from kit.peers import APPS, Peer, environment, running
from kit.results import record
from kit.rounds import percentile, spread, turns
from kit.servers import Site, available, site
from kit.summary import show

_WAIT = 30.0
_RECEIVER = Peer("bare receive", "", "celery", ("{apps}/bare_receiver.py",), 0)
_queues = count(1)


@dataclass
class Line:
    """A queue, who waits there, and what it has noted."""

    queue: str
    notes: Notes
    seen: int = 0

    def next(self, sender: Sender) -> float:
        """Send one and wait for it: seconds from before the call to its start."""
        began, _ = sender.send(self.queue, self.seen)
        self.seen += 1
        return self.notes.wait(self.seen, _WAIT)[-1].at - began


class Sender:
    """The process that calls ``.apply_async``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, queue: str, number: int) -> tuple[float, float]:
        """When the call began and returned. Raises RuntimeError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{queue} {number}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 2:
            raise RuntimeError("the sender has ended")
        return float(answer[0]), float(answer[1])


def measure(peer: Peer, at: Site, pairs: int, folder: Path) -> dict[str, Any]:
    """Milliseconds: the worker's, the bare receive's, and what lies between those of one pair."""
    number = next(_queues)
    near, mine = Near(at.endpoint), Line(f"idle-{number}", Notes(folder / f"task-{number}"))
    bare = Line(f"bare-{number}", Notes(folder / f"bare-{number}"))
    urls = [near.create(line.queue) for line in (mine, bare)]
    log = folder / f"{number}.log"
    with (
        running(peer, at, mine.queue, urls[0], log, BENCH_NOTES=str(mine.notes.path)),
        running(_RECEIVER, at, bare.queue, urls[1], log, BENCH_NOTES=str(bare.notes.path)),
        sending(peer, at, mine.queue, urls[0], log) as sender,
    ):
        tasks, receives = [], []
        try:
            for pair in range(-3, pairs):  # the first ones warm everything up
                took = {}
                for line in (mine, bare) if pair % 2 else (bare, mine):
                    time.sleep(random.uniform(0.05, 0.2))
                    took[line.queue] = line.next(sender) * 1000
                if pair >= 0:
                    tasks.append(took[mine.queue])
                    receives.append(took[bare.queue])
        except RuntimeError as exc:
            raise RuntimeError(f"{peer.name} on {at.name}: {exc}\n{log.read_text()[-2000:]}") from None
    for url in urls:
        near.delete(url)
    apart = [task - receive for task, receive in zip(tasks, receives, strict=True)]
    return {
        "task_ms": spread(tasks).median,
        "bare_ms": spread(receives).median,
        "difference_ms": spread(apart).median,
        "difference_p95_ms": percentile(apart, 0.95),
        "task_p95_ms": percentile(tasks, 0.95),
        "pairs": pairs,
    }


@contextmanager
def sending(peer: Peer, at: Site, queue: str, url: str, log: Path) -> Iterator[Sender]:
    """The sender's process, on the peer's own library."""
    assert peer.python is not None
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [peer.python, str(APPS / "sender.py")], env=environment(peer, at, queue, url), cwd=log.parent, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        yield Sender(process)
    finally:
        process.kill()
        process.wait()


def main(options: Options) -> None:
    """Each server, each distance."""
    field = peers.at_hand(options.choose((peers.PYQS, peers.CELERY)))
    for server in options.servers:
        if missing := available(server):
            print(f"latency on {server} is left out: {missing}")
            continue
        for round_trip in options.round_trips:
            with site(server, round_trip) as at:
                _compare(field, at, options)


def _compare(field: list[Peer], at: Site, options: Options) -> None:
    print(f"\nlatency on an idle queue: {at.name}")
    lines = []
    with tempfile.TemporaryDirectory(prefix="pyqs-bench-") as name:
        for number, peer in turns(field, options.rounds):
            try:
                figures = measure(peer, at, 5 if options.short else 40, Path(name))
            except RuntimeError as exc:
                print(f"  {peer.name}: out: {exc}", flush=True)
                continue
            lines.append(record("latency", case="idle queue", site=at.name, peer=peer.name, round=number, **figures))
            print(
                f"  {number} {peer.name:12} {figures['task_ms']:6.1f} ms to the task, {figures['bare_ms']:6.1f} to a bare"
                f" receive, apart {figures['difference_ms']:6.1f} (p95 {figures['difference_p95_ms']:.1f})",
                flush=True,
            )
    show(lines, "difference_ms", "ms over a bare receive", digits=1, also=("task_ms", "difference_p95_ms"))
