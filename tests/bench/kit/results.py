"""One JSON line for each figure taken, appended to a file from which ``report.py`` makes its tables and plots.

Owns: the results' file (``PYQS_BENCH_RESULTS``, default ``bench-results.jsonl`` beside the noxfile; git does not keep it) and
what every line says of the run and the machine. Runs in the benchmark's process. Never reads the file.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
FILE = Path(os.environ.get("PYQS_BENCH_RESULTS") or ROOT / "bench-results.jsonl")
#: One for all lines of one call of ``run.py``.
RUN = time.strftime("%Y%m%dT%H%M%S", time.gmtime())


@cache
def machine() -> dict[str, Any]:
    """What these figures are of."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


def described(machine: dict[str, Any]) -> str:
    """The machine in one line."""
    return "{cpu}, {cores} cores, {memory_gb} GB, {system}, Python {python}".format(**machine)


def record(bench: str, *, case: str, peer: str, round: int, site: str = "", **figures: Any) -> dict[str, Any]:
    """Append one line; answers it.

    Parameters:
        bench: ``drain``, ``latency``, ...
        case: what is compared with each other: only lines of one bench, case, site and run are.
        site: which SQS, how far away.
        round: counted from 0.
        figures: what was measured.
    """
    line: dict[str, Any] = {"run": RUN, "bench": bench, "case": case, "site": site, "peer": peer, "round": round}
    line |= {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in figures.items()}
    line |= {"load": round_load(), "machine": machine()}
    with FILE.open("a") as results:
        results.write(json.dumps(line) + "\n")
    return line


def round_load() -> float:
    """The machine's load average of the last minute: figures of a busy machine say so."""
    return round(os.getloadavg()[0], 2)
