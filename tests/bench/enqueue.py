"""How fast calls are sent: ``.delay`` one by one, and in bulk, beside bare boto3 and the others.

Owns: the kinds that are compared. Runs in the benchmark's main thread; each sender is a process of its own with one thread, on
its own library. Never compares a bulk with single calls.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import count
from typing import Any

from kit import peers
from kit.bodies import NOOP, bodies
from kit.near import Near
from kit.options import Options
from kit.peers import APPS, Peer, environment
from kit.results import record
from kit.rounds import turns
from kit.servers import Site, available, site
from kit.summary import show

_queues = count(1)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to send, as ``apps/enqueue.py`` knows it."""

    name: str
    of: Peer


ONE_BY_ONE = (
    Kind("pyqs", peers.PYQS),
    Kind("pyqs native", peers.NATIVE),
    Kind("boto3", peers.BOTO3_2),
    Kind("celery", peers.CELERY),
    Kind("PyQS 1.0.1", peers.PYQS_1),
    Kind("dramatiq", peers.DRAMATIQ),
)
BULK = (
    Kind("pyqs bulk", peers.PYQS),
    Kind("pyqs native bulk", peers.NATIVE),
    Kind("boto3 bulk", peers.BOTO3_2),
    Kind("celery bulk", peers.CELERY),
)


def send(kind: Kind, at: Site, seconds: float, bulk: int, folder: str) -> dict[str, Any] | str:
    """Calls a second, CPU a call; or how it failed."""
    queue = f"send-{next(_queues)}"
    near = Near(at.endpoint)
    url = near.create(queue)
    env = environment(kind.of, at, queue, url, BENCH_BODY=bodies("celery", NOOP, queue, 1)[0])
    cpu = at.cpu()
    assert kind.of.python is not None
    done = subprocess.run(
        [kind.of.python, str(APPS / "enqueue.py"), kind.name, str(seconds), str(bulk)],
        env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    cpu = at.cpu() - cpu
    near.delete(url)
    if done.returncode:
        return f"it ended with {done.returncode}: {done.stderr[-1500:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    sent = found["sent"]
    return {"rate": sent / found["seconds"], "cpu_ms": found["cpu"] / sent * 1000, "server_cpu_ms": cpu / sent * 1000}


def main(options: Options) -> None:
    """Each server and distance, single calls and bulk."""
    for server in options.servers:
        if missing := available(server):
            print(f"enqueue on {server} is left out: {missing}")
            continue
        for round_trip in options.round_trips:
            for case, kinds in (("one by one", ONE_BY_ONE), ("bulk", BULK)):
                if options.wants(case):
                    with site(server, round_trip) as at:
                        _compare([kind for kind in kinds if kind.of.python is not None], at, case, options)


def _compare(kinds: list[Kind], at: Site, case: str, options: Options) -> None:
    print(f"\nenqueue {case}: {at.name}")
    lines, out = [], set[str]()
    with tempfile.TemporaryDirectory(prefix="pyqs-bench-") as folder:
        for number, kind in turns(kinds, options.rounds):
            if kind.name in out:
                continue
            figures = send(kind, at, 0.5 if options.short else 2.0, 100 if options.short else 1000, folder)
            if isinstance(figures, str):
                out.add(kind.name)
                print(f"  {kind.name}: left out: {figures}", flush=True)
                continue
            lines.append(record("enqueue", case=case, site=at.name, peer=kind.name, round=number, **figures))
            print(
                f"  {number} {kind.name:18} {figures['rate']:8,.0f} calls/s  CPU {figures['cpu_ms']:.3f} ms a call", flush=True
            )
    ours = next(
        (name for name in ("pyqs", "pyqs bulk", "pyqs native bulk") if any(x["peer"] == name for x in lines)), "boto3 bulk"
    )
    show(lines, "rate", "calls/s", also=("cpu_ms", "server_cpu_ms"), ours=ours)
