"""What a message brings cannot break out of its log line."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyqs.logs import OneLine


def line(name: str, text: str, *args: Any, **extra: Any) -> str:
    record = logging.makeLogRecord({"name": name, "msg": text, "args": args, **extra})
    assert OneLine().filter(record)
    return record.getMessage()


@pytest.mark.parametrize("name", ["pyqs.worker.report", "celery.app.trace", "pyqs_celery_compat.runtime"])
def test_control_characters_are_shown_not_obeyed(name: str) -> None:
    forged = "x]\n2026-01-01 ERROR pyqs: all is lost\x1b[2J\u2028"
    assert line(name, "task %s ended", forged) == r"task x]\n2026-01-01 ERROR pyqs: all is lost\x1b[2J\u2028 ended"


def test_errors_are_tamed_too_and_numbers_stay_numbers() -> None:
    assert line("pyqs.x", "%s after %.1f s", ValueError("a\rb"), 1.25) == r"a\rb after 1.2 s"


def test_an_exception_that_is_shown_keeps_its_class() -> None:
    assert line("celery.x", "raised: %r", ValueError("a\rb")) == r"raised: ValueError('a\rb')"
    assert line("celery.x", "raised: %r", KeyError("n" * 1_000)).startswith("raised: KeyError('nnn")
    assert len(line("celery.x", "raised: %r", KeyError("n" * 1_000_000))) < OneLine.LONGEST + 100


def test_a_long_value_is_cut() -> None:
    assert line("pyqs.x", "%s", "n" * 1_000_000) == "n" * OneLine.LONGEST + "... (1000000 characters)"


def test_ordinary_text_is_left_as_it_is() -> None:
    assert line("pyqs.x", "%s", "größer ☃ 日本") == "größer ☃ 日本"


def test_other_loggers_and_verbatim_records_are_left_alone() -> None:
    assert line("myapp", "%s", "two\nlines") == "two\nlines"
    assert line("pyqs.worker.worker", "%s", "a\ntraceback", verbatim=True) == "a\ntraceback"
