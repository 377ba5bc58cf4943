"""One line of JSON a row, so that a report can be made of a run.

Owns: the results' file and the printed line, the form (long or short) and the seed. Runs in the test's process.

``PYQS_CHAOS_RESULTS`` names the file (default ``chaos-results.jsonl`` here), ``PYQS_CHAOS_SHORT=1`` asks for the short form,
``PYQS_CHAOS_SEED`` repeats a run's random moments, and ``PYQS_CHAOS_CLIENT=boto3`` has all workers reach SQS through boto3.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

SHORT = os.environ.get("PYQS_CHAOS_SHORT") == "1"
#: One for the whole run: the processes of pytest-xdist inherit it.
SEED = int(os.environ.setdefault("PYQS_CHAOS_SEED", str(random.SystemRandom().randrange(10**9))))


def pick(*, long: T, short: T) -> T:
    """The number of the form that runs."""
    return short if SHORT else long


@dataclass
class Report:
    """The numbers of one row with one face."""

    row: str
    face: str = ""
    seed: int = SEED
    numbers: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def dice(self) -> random.Random:
        """This row's dice: the same for the same seed, whatever ran before."""
        if not hasattr(self, "_dice"):
            self._dice = random.Random(f"{self.seed} {self.row} {self.face}")
        return self._dice

    def add(self, **numbers: Any) -> None:
        """More figures."""
        self.numbers |= numbers

    def write(self, outcome: str) -> None:
        """Append and print the line."""
        line = {"row": self.row, "face": self.face, "form": "short" if SHORT else "long", "outcome": outcome, "seed": self.seed}
        line |= {name: round(value, 3) if isinstance(value, float) else value for name, value in self.numbers.items()}
        line["seconds"] = round(time.monotonic() - self.began, 1)
        text = json.dumps(line)
        print(f"\nchaos: {text}")
        path = Path(os.environ.get("PYQS_CHAOS_RESULTS") or "chaos-results.jsonl")
        with path.open("a") as results:
            results.write(text + "\n")
