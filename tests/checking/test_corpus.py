"""Uses of Celery in public Django projects, labelled by a person: how many are found, how many alarms are false.

The projects are not kept here. ``nox -s check-corpus`` fetches their pinned commits; ``PYQS_TEST_CHECK_CORPUS`` names a folder
that has them already, each under the name of its labels.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from check_labels import Label, Score, projects, score
from pyqs_celery_compat.checking.run import check

CORPUS = os.environ.get("PYQS_TEST_CHECK_CORPUS")


def test_the_labels_are_enough_and_of_every_verdict() -> None:
    labels = [label for project in projects() for label in project.labels]
    assert len(projects()) == 4
    assert len(labels) >= 500
    assert {label.verdict for label in labels} == {"same", "difference", "look", "not-supported"}
    assert all(sum(label.verdict != "same" for label in project.labels) > 3 for project in projects())


def test_the_score_counts_what_is_missed_false_and_called_same() -> None:
    labels = [
        Label("a.py", 1, "same", "call"),
        Label("a.py", 2, "not-supported", "control"),
        Label("a.py", 3, "difference", "eta"),
    ]

    def said(line: int, verdict: str, rule: str) -> dict[str, object]:
        return {"file": "a.py", "line": line, "verdict": verdict, "rule": rule, "use": "x", "note": ""}

    result = score(labels, [said(1, "difference", "call"), said(2, "same", "control"), said(9, "look", "call")])
    assert (result.labels, result.alarms) == (3, 2)
    assert result.missed == labels
    assert len(result.false) == 2
    assert result.called_same == [labels[1]]


@pytest.mark.skipif(CORPUS is None, reason="PYQS_TEST_CHECK_CORPUS names no folder with the projects (nox -s check-corpus)")
def test_nearly_all_is_found_nearly_nothing_is_false_and_nothing_is_called_the_same_that_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert CORPUS is not None
    total = Score()
    for project in projects():
        root = Path(CORPUS) / project.name
        found = check([str(root)], directory=str(root))
        one = score(project.labels, found["findings"])
        total += one
        with capsys.disabled():
            print(
                f"\n{project.name}: {found['files']} files, {one.labels} labels, {one.found:.1%} found, "
                f"{len(one.false)} of {one.alarms} alarms false"
            )
            print(*(f"  missed {label.path}:{label.line} {label.verdict} {label.rule}" for label in one.missed), sep="\n")
            print(*(f"  false {line}" for line in one.false), sep="\n")
    assert total.called_same == []
    assert total.found >= 0.95, total.missed
    assert total.false_alarms <= 0.05, total.false
