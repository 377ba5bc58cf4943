"""Each of Celery's settings has its line, the line is true, and the document has the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyqs_celery_compat.app.defaults import DEFAULTS
from pyqs_celery_compat.app.setting_table import FACTS, QUIET, Fate
from settings_document import DOCUMENT, renewed

ROOT = Path(__file__).parents[3]
#: Where a setting's name says nothing about who reads it.
TABLES = {"defaults.py", "setting_table.py"}
CODE = "\n".join(
    path.read_text()
    for package in ("pyqs", "pyqs_celery_compat")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name not in TABLES and path.parent.name != "checking"  # which reads what others have written of them
)
READ = set(re.findall(r"\w+", CODE))


def test_every_setting_of_celery_57_has_a_line() -> None:
    assert set(FACTS) == set(DEFAULTS)
    assert len(FACTS) == 207


@pytest.mark.parametrize("name", [name for name, fact in FACTS.items() if fact.fate is Fate.HONOURED])
def test_what_is_honoured_is_read_by_code(name: str) -> None:
    assert name in READ


@pytest.mark.parametrize("name", [name for name, fact in FACTS.items() if fact.fate is Fate.NO_EFFECT])
def test_what_has_no_effect_is_read_by_nobody(name: str) -> None:
    assert name not in READ
    assert FACTS[name].note


def test_whoever_misses_something_is_told_why() -> None:
    assert all(fact.note for fact in FACTS.values() if fact.fate is not Fate.HONOURED)
    assert all(FACTS[name].fate is Fate.LATER for name in QUIET)


def test_the_document_has_this_table() -> None:
    text = DOCUMENT.read_text()
    assert text == renewed(text), "python tests/support/settings_document.py writes it anew"
