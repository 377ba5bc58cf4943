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


@pytest.mark.parametrize("name", ["botocore.credentials", "urllib3.connectionpool"])
def test_what_libraries_say_with_each_call_is_quiet_in_our_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyqs import logs

    quiet = logging.getLogger(name)
    monkeypatch.setattr(quiet, "filters", [])
    for _ in range(2):
        logs.configure()
    assert [type(one) for one in quiet.filters] == [Seldom]


def test_a_pool_of_connections_that_is_full_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each connection beyond the pool is dropped when its call ends, and urllib3 says so each time."""
    from urllib3 import HTTPConnectionPool

    from pyqs import logs

    monkeypatch.setattr(logging.getLogger("urllib3.connectionpool"), "filters", [])
    logs.configure()
    with HTTPConnectionPool("127.0.0.1", 9, maxsize=1) as pool:
        for _ in range(10):
            pool._put_conn(pool._new_conn())
    assert caplog.text.count("pool is full") == 1
