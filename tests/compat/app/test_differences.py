"""docs/differences.md is a list of tested claims."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEXT = (HERE.parents[2] / "docs" / "differences.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:(?:\.\./)+\w+/)?test_\w+\.py)::(test_\w+)`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("|") and not line.startswith(("|---", "| Celery"))]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_of_a_difference_exists(file: str, test: str) -> None:
    tree = ast.parse((HERE / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS)
def test_every_difference_names_a_test(row: str) -> None:
    assert re.search(r"`((\.\./)+\w+/)?test_\w+\.py::test_\w+`", row)
