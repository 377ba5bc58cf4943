"""What ran: every start and end of every task, as the tasks themselves wrote it down outside the worker.

Owns: reading the ledger's file into ``Run``s. Runs in the test's process, while workers write or afterwards. Never writes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

#: What ends a run by its own word.
_ENDS = frozenset({"end", "fail", "die"})


@dataclass(slots=True)
class Run:
    """One run of one task.

    Parameters:
        number: of the task.
        worker: name of the worker's door.
        start, end: boot-time seconds; ``end`` None when it wrote none.
        how: ``end``, ``fail``, ``die`` (about to take its process down), or "" when it wrote none.
    """

    number: int
    pid: int
    worker: str
    start: float
    wall: float
    end: float | None = None
    how: str = ""

    def __str__(self) -> str:
        end = f"{self.how} at {self.end:.3f}" if self.end is not None else "no end"
        return f"task {self.number}: {self.worker}, pid {self.pid}, start at {self.start:.3f}, {end}"


class Ledger:
    """The file of one row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def runs(self) -> list[Run]:
        """Every run so far, by its start."""
        runs: list[Run] = []
        open_runs: dict[tuple[int, int], Run] = {}
        for line in self.path.read_text().splitlines():
            record = json.loads(line)
            key = record["n"], record["pid"]
            if record["e"] == "start":
                open_runs[key] = Run(record["n"], record["pid"], record["w"], record["t"], record["wall"])
                runs.append(open_runs[key])
            elif record["e"] in _ENDS:
                run = open_runs.pop(key)
                run.end, run.how = record["t"], record["e"]
        return sorted(runs, key=lambda run: run.start)

    def ended(self) -> set[int]:
        """Numbers of the tasks that ended well."""
        return {run.number for run in self.runs() if run.how == "end"}

    def started(self) -> set[int]:
        """Numbers of the tasks that ever started."""
        return {run.number for run in self.runs()}
