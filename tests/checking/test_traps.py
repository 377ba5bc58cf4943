"""Snippets that are hard to read, each line with what a check must say of it: ``# expect: rule verdict``.

A line without an expectation must have nothing but "same". What no comment can stand
beside is in ``expected.tsv``.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

from pyqs_celery_compat.checking.run import check

TRAPS = Path(__file__).parent / "traps"
FILES = sorted(
    path.relative_to(TRAPS).as_posix()
    for path in TRAPS.rglob("*")
    if path.is_file() and path.name != "expected.tsv" and "__pycache__" not in path.parts
)


@functools.cache
def findings() -> tuple[dict[str, Any], ...]:
    return tuple(check([str(TRAPS)], directory=str(TRAPS))["findings"])


def expected(name: str) -> set[tuple[int, str, str]]:
    found = set()
    for number, line in enumerate((TRAPS / name).read_bytes().decode("latin-1").replace("\r\n", "\n").split("\n"), 1):
        match = re.search(r"# expect: (.*)", line)
        for part in match[1].split(",") if match else ():
            rule, verdict = part.split()
            found.add((number, rule, verdict))
    for line in (TRAPS / "expected.tsv").read_text().splitlines():
        path, number, verdict, rule = line.split("\t")
        if path == name:
            found.add((int(number), rule, verdict))
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_traps(name: str) -> None:
    meant = expected(name)
    said = {(one["line"], one["rule"], one["verdict"]) for one in findings() if one["file"] == name}
    assert meant - said == set(), "not found"
    assert {one for one in said - meant if one[2] != "same"} == set(), "false alarms"


def test_there_are_many() -> None:
    assert sum(len(expected(name)) for name in FILES) >= 200
