"""A user's test-suite, unchanged, on genuine Celery and under the alias: the same tests pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CELERY = os.environ.get("PYQS_INTEROP_CELERY57", "")
#: How many there are: a suite of which half is not collected must not look good.
TESTS = 31
#: The functions and the class that they are in. Celery's worker takes four seconds to end, after most of them: in four parts.
PIECES = re.findall(r"^(?:def|class) (test_\w+|Test\w+)", (HERE / "suite" / "test_shop.py").read_text(), re.MULTILINE)
PARTS = 4


def outcomes(python: str, folder: Path, env: dict[str, str], *args: str, only: Sequence[str] = ()) -> dict[str, str]:
    """Each test's outcome, of the suite (or ``only`` these) copied to a folder of its own, as its author would run it."""
    suite = folder / "suite"
    shutil.copytree(HERE / "suite", suite, ignore=shutil.ignore_patterns("__pycache__"))
    told = folder / "told.xml"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(suite)]
    what = [f"{suite / 'test_shop.py'}::{name}" for name in only] or [str(suite)]
    done = subprocess.run(
        [*command, f"--junitxml={told}", *args, *what], cwd=suite, env=env, capture_output=True, text=True, check=False
    )
    assert told.exists(), done.stdout + done.stderr
    found = {}
    for case in ET.parse(told).iter("testcase"):
        wrong = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[case.attrib["name"]] = wrong[0] if wrong else "passed"
    assert "passed" in found.values(), done.stdout + done.stderr
    return found


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NO_WORKER")} | more


def ours(folder: Path, *args: str, only: Sequence[str] = (), **more: str) -> dict[str, str]:
    return outcomes(sys.executable, folder, environment(PYQS_AS_CELERY="1", PYTHONPATH=str(ROOT), **more), *args, only=only)


def test_it_passes_under_the_alias(tmp_path: Path) -> None:
    assert list(ours(tmp_path).values()) == ["passed"] * TESTS
    assert list(ours(tmp_path / "pieces", only=PIECES).values()) == ["passed"] * TESTS, "the pieces are the whole"


def test_where_no_worker_is_wanted_its_tests_are_skipped(tmp_path: Path) -> None:
    found = ours(tmp_path, "-k", "chain or settings_of", NO_WORKER="1")
    assert found == {"test_a_chain": "skipped", "test_settings_of_this_test": "passed"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.skipif(not CELERY, reason="PYQS_INTEROP_CELERY57 names no Python with Celery 5.7 (nox -s interop)")
def test_it_passes_under_genuine_celery(tmp_path: Path, part: int) -> None:
    has = subprocess.run([CELERY, "-c", "import pytest"], capture_output=True, check=False)
    if has.returncode:
        pytest.skip("pytest is not installed beside that Celery")
    mine = PIECES[part::PARTS]
    assert outcomes(CELERY, tmp_path, environment(), only=mine) == dict.fromkeys(ours(tmp_path / "ours", only=mine), "passed")
