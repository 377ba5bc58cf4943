"""What tasks have noted: a file with one line for each, "NUMBER MONOTONIC_SECONDS PID".

Owns: reading it, and waiting for a line. Runs in the benchmark's process; tasks append in theirs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Note:
    """One task's start."""

    number: int
    at: float
    pid: int


class Notes:
    """The file, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Note]:
        """In the order in which they were written."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines()
        return [Note(int(number), float(at), int(pid)) for number, at, pid in map(str.split, lines)]

    def find(self, number: int, timeout: float) -> Note | None:
        """This one, or None when it is not there in time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for note in self.all():
                if note.number == number:
                    return note
            time.sleep(0.004)
        return None

    def wait(self, count: int, timeout: float) -> list[Note]:
        """Until there are that many. Raises RuntimeError."""
        deadline = time.monotonic() + timeout
        while len(found := self.all()) < count:
            if time.monotonic() >= deadline:
                raise RuntimeError(f"{len(found)} of {count} tasks have begun in {timeout:.0f} s")
            time.sleep(0.004)
        return found
