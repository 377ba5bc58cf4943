"""What an import costs: ``import pyqs``, a shared task of the compat package, Celery with one task, and the commands' help.

Owns: the lines that are run, each in a process of its own, in turn. Runs in the benchmark's main thread; needs no SQS. Never
subtracts the bare interpreter's start: it has a line of its own.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from kit import peers
from kit.options import Options
from kit.peers import Peer
from kit.results import record
from kit.rounds import turns
from kit.summary import show

#: Runs of each line in one round; their middle is the round's figure.
_RUNS = 7


@dataclass(frozen=True, slots=True)
class Start:
    """One line.

    Parameters:
        of: whose Python runs it.
    """

    name: str
    of: Peer
    words: tuple[str, ...]


_SHARED = "from pyqs_celery_compat import shared_task\n@shared_task\ndef noop(): pass"
_CELERY = "from celery import Celery\napp = Celery()\n@app.task\ndef noop(): pass"
STARTS = (
    Start("python", peers.PYQS, ("-c", "pass")),
    Start("import pyqs", peers.PYQS, ("-c", "import pyqs")),
    Start("compat shared_task", peers.PYQS, ("-c", _SHARED)),
    Start("celery task", peers.CELERY, ("-c", _CELERY)),
    Start("import boto3", peers.PYQS, ("-c", "import boto3")),
    Start("import dramatiq", peers.DRAMATIQ, ("-c", "import dramatiq")),
    Start("pyqs --help", peers.PYQS, ("-m", "pyqs", "--help")),
    Start("celery --help", peers.CELERY, ("-m", "celery", "--help")),
)


def measure(start: Start, folder: str, runs: int) -> dict[str, Any]:
    """The middle of some runs: wall and CPU milliseconds."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYQS_", "AWS_"))}
    walls, cpus = [], []
    for _ in range(runs):
        began = time.perf_counter()
        assert start.of.python is not None
        process = subprocess.Popen([start.of.python, *start.words], cwd=folder, env=env, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        walls.append((time.perf_counter() - began) * 1000)
        cpus.append((used.ru_utime + used.ru_stime) * 1000)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{start.name} ended with {process.returncode}")
    return {"wall_ms": sorted(walls)[runs // 2], "cpu_ms": sorted(cpus)[runs // 2]}


def main(options: Options) -> None:
    """All lines in turn."""
    print("\nimports")
    starts = [start for start in STARTS if start.of.python is not None]
    lines = []
    with tempfile.TemporaryDirectory(prefix="pyqs-bench-") as folder:
        for start in starts:
            measure(start, folder, 2)  # bytecode and page cache are there
        for number, start in turns(starts, options.rounds):
            figures = measure(start, folder, 1 if options.short else _RUNS)
            lines.append(record("imports", case="imports", peer=start.name, round=number, **figures))
    for ours in ("import pyqs", "compat shared_task", "pyqs --help"):
        other = "celery --help" if ours == "pyqs --help" else "celery task"
        show([line for line in lines if line["peer"] in (ours, other)], "wall_ms", "ms", digits=1, also=("cpu_ms",), ours=ours)
    rest = [line for line in lines if line["peer"] in ("python", "import boto3", "import dramatiq")]
    show(rest, "wall_ms", "ms", digits=1, also=("cpu_ms",), ours="python")
