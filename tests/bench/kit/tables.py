"""Tables in Markdown of recorded lines.

Owns: which lines belong to one comparison, and the tables' form. Pure. Never reads or writes a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.rounds import spread
from kit.summary import against, by_round, names

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a line.

    Parameters:
        figure: its name there.
        digits: behind the point.
        ratio: whether it is followed by a column with our ratio to each peer's.
    """

    figure: str
    title: str
    digits: int = 0
    ratio: bool = False


def latest(lines: Iterable[Line]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """(bench, case, site) -> the lines of the last run that has any of it. A peer takes part once a round."""
    found: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        key = (line["bench"], line["case"], line["site"])
        found.setdefault(key, {}).setdefault(line["run"], []).append(dict(line))
    return {key: runs[max(runs)] for key, runs in found.items()}


def table(lines: Sequence[dict[str, Any]], columns: Sequence[Column], ours: str = "pyqs") -> str:
    """One comparison: a row a peer, medians with lowest and highest."""
    head = ["", *(title for column in columns for title in _titles(column.title, column.ratio, ours))]
    rows = [[name, *(cell for column in columns for cell in _cells(lines, name, column, ours))] for name in names(lines)]
    return _text(head, rows)


def across(by_site: Mapping[str, Sequence[dict[str, Any]]], column: Column, ours: str = "pyqs") -> str:
    """One figure at several sites: a row a peer, two columns a site."""
    every = [line for lines in by_site.values() for line in lines]
    head = ["", *(title for site in by_site for title in _titles(f"{site}: {column.title}", column.ratio, ours))]
    rows = [
        [name, *(cell for lines in by_site.values() for cell in _cells(lines, name, column, ours))] for name in names(every)
    ]
    return _text(head, rows)


def _titles(title: str, ratio: bool, ours: str) -> list[str]:
    return [title, f"{ours} is × (lowest-highest)"] if ratio else [title]


def _cells(lines: Sequence[dict[str, Any]], name: str, column: Column, ours: str) -> list[str]:
    figures = list(by_round(lines, name, column.figure).values())
    cells = [spread(figures).text(column.digits) if figures else ""]
    if column.ratio:
        ratio = None if name == ours or not figures else against(lines, name, column.figure, ours)
        cells.append("" if ratio is None else ratio.text())
    return cells


def _text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
