"""A library that says the same with each try is heard once in a while."""

from __future__ import annotations

import logging

import pytest

from pyqs.logs import Seldom


def record(text: str, *args: object) -> logging.LogRecord:
    try:
        raise ValueError("x")
    except ValueError as exc:
        return logging.LogRecord("n", logging.WARNING, "p", 1, text, args, (type(exc), exc, exc.__traceback__))


def test_once_in_a_while_and_without_its_traceback() -> None:
    now = [0.0]
    seldom = Seldom(pause=60.0, clock=lambda: now[0])
    first = record("no key from %s", "a")
    assert seldom.filter(first)
    assert first.exc_info is None
    assert not seldom.filter(record("no key from %s", "b"))
    assert seldom.filter(record("something else"))
    now[0] = 60.0
    assert seldom.filter(record("no key from %s", "a"))


def test_botocores_renewals_are_quiet_in_our_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyqs import logs

    quiet = logging.getLogger("botocore.credentials")
    monkeypatch.setattr(quiet, "filters", [])
    for _ in range(2):
        logs.configure()
    assert [type(one) for one in quiet.filters] == [Seldom]
