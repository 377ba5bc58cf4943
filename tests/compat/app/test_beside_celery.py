"""What docs/mixed-fleet.md promises about our worker on queues that Celery workers consume, as far as one process shows it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "mixed-fleet.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:\w+/)+test_\w+\.py)::(test_\w+)`", TEXT)))
RULES = [line for line in TEXT.splitlines() if line.startswith("|") and not line.startswith(("|---", "| rule"))]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_of_a_rule_exists(file: str, test: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", RULES)
def test_every_rule_names_a_test(row: str) -> None:
    assert re.search(r"`(\w+/)+test_\w+\.py::test_\w+`", row)


def test_nothing_ever_changes_a_queues_attributes() -> None:
    """SetQueueAttributes is there for tests of an SQS; neither the worker, nor a producer, nor a command calls it."""
    for package in ("pyqs", "pyqs_celery_compat"):
        for path in (ROOT / package).rglob("*.py"):
            if "sqs" in path.parts or "local" in path.parts:  # where it is defined
                continue
            names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            assert "set_queue_attributes" not in names, path
