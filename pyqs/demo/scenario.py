"""What the demo writes and what must come of it.

Owns: ``Written`` (one message, its writer, the lines that its runs leave in the ledger), the recorded messages, and the
comparison of what ran with what should have. Pure but for reading package data. Runs in the demo's process.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

#: The writer of the one message that must not run.
FORGER = "by hand"
#: How many messages each of ``shared_task.delay`` and ``task.delay`` writes.
FRESH = 40


@dataclass(frozen=True, slots=True)
class Written:
    """One message.

    Parameters:
        runs: the ledger line of each run it brings about, a chain's later steps included; none for the poison.
        body: the text sent; "" where another process has sent it.
        message_id: SQS's id, "" where another process has sent it.
    """

    writer: str
    queue: str
    runs: tuple[str, ...]
    case: str = ""
    body: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: messages written, runs of their tasks, messages that did not run."""

    queue: str
    writer: str
    written: int
    runs: int
    left: int


def recorded() -> list[Written]:
    """The messages shipped with pyqs, in the order in which they are sent."""
    text = files("pyqs.demo").joinpath("data/messages.jsonl").read_text(encoding="utf-8")
    return [
        Written(raw["writer"], raw["queue"], tuple(raw["runs"]), raw["case"], raw["body"])
        for raw in map(json.loads, text.splitlines())
    ]


def fresh(lines: Iterable[str]) -> list[Written]:
    """What the demo's web application says it has written."""
    return [Written(writer, queue, tuple(runs)) for writer, queue, runs in map(json.loads, lines)]


def project_files() -> dict[str, str]:
    """File name -> content of the demo's application."""
    folder = files("pyqs.demo").joinpath("project")
    return {
        entry.name.removesuffix(".txt"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".py.txt")
    }


def rows(written: Sequence[Written], ledger: Sequence[str]) -> list[Row]:
    """The table: queues in the order in which they appeared, and writers within each."""
    ran = Counter(ledger)
    table: dict[tuple[str, str], Row] = {}
    for one in written:
        before = table.get((one.queue, one.writer), Row(one.queue, one.writer, 0, 0, 0))
        runs = sum(ran[key] for key in one.runs)
        left = 0 if one.runs and ran[one.runs[0]] else 1
        table[one.queue, one.writer] = Row(one.queue, one.writer, before.written + 1, before.runs + runs, before.left + left)
    queues = list(dict.fromkeys(one.queue for one in written))
    return sorted(table.values(), key=lambda row: queues.index(row.queue))


def problems(written: Sequence[Written], ledger: Sequence[str]) -> list[str]:
    """Every way in which the runs differ from what must have run; empty when all is well."""
    expected = Counter(key for one in written for key in one.runs)
    ran = Counter(ledger)
    owner = {key: f"{one.writer} {one.case}".strip() for one in written for key in one.runs}
    found = []
    for key, times in expected.items():
        if ran[key] != times:
            found.append(f"{owner[key]}: {key!r} ran {ran[key]} times instead of {times}")
    found += [f"{key!r} ran and nobody wrote it" for key in ran if key not in expected]
    return found
