"""The plugin that runs Celery's files, on a small suite of our own and something else in the name ``celery``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1] / "conformance"
SUITE = """
import pytest

class Base:
    def test_inherited(self):
        assert type(self) is not test_Second

class test_First(Base):
    def test_passes(self): pass
    @pytest.mark.parametrize("x", [1, 0, 2])
    def test_cases(self, x): assert x, "nought"
    @pytest.mark.skip("theirs")
    def test_marked(self): pass
    def test_lacks(self): pytest.importorskip("nothing_of_this_name")
    @pytest.mark.parametrize("x", [0, 1])
    def test_lacks_once(self, x):
        if x: pytest.skip("not for 1")
    def test_left_out(self): pass
    def test_setup_fails(self, broken): pass

class test_Second(Base):
    pass

@pytest.fixture
def broken():
    raise ValueError("not made\\nnor told")
"""


def run(tmp_path: Path, suite: str, version: str = "5.7.0") -> dict[str, Any]:
    """What the plugin tells of this file, under a ``celery`` of this version."""
    (tmp_path / "test_suite.py").write_text(suite)
    (tmp_path / "celery.py").write_text(f"__version__ = {version!r}")
    told, plan = tmp_path / "told.json", tmp_path / "plan.json"
    left_out = ["test_First.test_left_out"]
    plan.write_text(json.dumps({"genuine": True, "version": "5.7.0", "left_out": left_out, "told": str(told)}))
    path = os.pathsep.join([str(HERE), str(tmp_path)])
    command = [sys.executable, "-m", "pytest", "-p", "outcomes", "-p", "no:cacheprovider", "-c", str(HERE / "suite.ini")]
    subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path / "test_suite.py")],
        env={**os.environ, "PYTHONPATH": path, "PYQS_CONFORMANCE_PLAN": str(plan)},
        capture_output=True, check=False,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(told.read_text())
    return answer


def test_a_function_passes_if_all_of_it_did(tmp_path: Path) -> None:
    told = run(tmp_path, SUITE)
    assert told["error"] == ""
    outcome = told["outcome"]
    assert "test_First.test_left_out" not in outcome
    assert outcome["test_First.test_passes"] == ""
    assert outcome["test_First.test_marked"] == "skip"
    assert outcome["test_First.test_cases"].startswith("AssertionError: nought")
    assert outcome["Base.test_inherited"].startswith("AssertionError: assert <class")
    assert "nothing_of_this_name" in outcome["test_First.test_lacks"]
    assert "not for 1" in outcome["test_First.test_lacks_once"]
    assert outcome["test_First.test_setup_fails"] == "setup: ValueError: not made"


def test_a_file_that_cannot_be_imported_says_why_in_a_line(tmp_path: Path) -> None:
    told = run(tmp_path, "from celery import Task\n")
    assert told["error"].startswith("ImportError: cannot import name 'Task' from 'celery'")
    assert told["outcome"] == {}


def test_another_celery_than_the_one_to_be_measured_is_refused(tmp_path: Path) -> None:
    told = run(tmp_path, SUITE, version="5.6.0")
    assert told == {"error": "AssertionError: this is Celery 5.6.0", "outcome": {}}
