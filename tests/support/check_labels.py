"""Labels of uses, and how a check did against them.

A label is a path, a line, a verdict and a rule, read off the source by a person before there was a checker. Of a labelled file
all uses are labelled, so what is found beside them and is no "same" is a false alarm. When something
comes that was not there, its labels are read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

CORPUS = Path(__file__).parents[1] / "checking" / "corpus"


class Label(NamedTuple):
    path: str
    line: int
    verdict: str
    rule: str


class Project(NamedTuple):
    name: str
    repository: str
    commit: str
    labels: tuple[Label, ...]


@dataclass
class Score:
    labels: int = 0
    alarms: int = 0
    missed: list[Label] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    called_same: list[Label] = field(default_factory=list)

    def __add__(self, other: Score) -> Score:
        return Score(
            self.labels + other.labels, self.alarms + other.alarms, self.missed + other.missed, self.false + other.false,
            self.called_same + other.called_same,
        )  # fmt: skip

    @property
    def found(self) -> float:
        return 1 - len(self.missed) / self.labels

    @property
    def false_alarms(self) -> float:
        return len(self.false) / max(self.alarms, 1)


def projects() -> list[Project]:
    found = []
    for path in sorted(CORPUS.glob("*.tsv")):
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        head = {row[0]: row[1] for row in rows if row[0].startswith("#")}
        labels = tuple(Label(row[0], int(row[1]), row[2], row[3]) for row in rows if not row[0].startswith("#"))
        found.append(Project(path.stem, head["# repo"], head["# commit"], labels))
    return found


def score(labels: Sequence[Label], findings: Sequence[Mapping[str, Any]]) -> Score:
    """How the findings, whose paths are those of the labels, stand against the labels."""
    labelled = {label.path for label in labels}
    result = Score(len(labels))
    said: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for one in findings:
        said.setdefault((one["file"], one["line"]), set()).add((one["verdict"], one["rule"]))
    expected: dict[tuple[str, int], set[str]] = {}
    for label in labels:
        here = said.get((label.path, label.line), set())
        expected.setdefault((label.path, label.line), set()).add(label.verdict)
        if (label.verdict, label.rule) not in here:
            result.missed.append(label)
        if label.verdict != "same" and here and {verdict for verdict, _ in here} == {"same"}:
            result.called_same.append(label)
    for one in findings:
        if one["file"] in labelled and one["verdict"] != "same":
            result.alarms += 1
            if one["verdict"] not in expected.get((one["file"], one["line"]), set()):
                result.false.append(f"{one['file']}:{one['line']} {one['verdict']} {one['rule']} {one['use']}: {one['note']}")
    return result
