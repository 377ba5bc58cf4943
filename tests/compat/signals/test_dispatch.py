"""Receivers of a signal: who is held how, and who is called again."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from pyqs_celery_compat.utils.dispatch import Signal
from pyqs_celery_compat.utils.dispatch import signal as module


class Listener:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard = 0

    def hear(self, **_: Any) -> int:
        self.heard += 1
        return self.heard


@pytest.fixture
def signal() -> Signal:
    return Signal(name="a signal")


def test_methods_of_two_objects_are_two_receivers(signal: Signal) -> None:
    first, second = Listener(), Listener()
    for listener in (first, second, first):
        signal.connect(listener.hear)
    assert len(signal.receivers) == 2
    signal.send(sender=None)
    assert signal.disconnect(second.hear)
    signal.send(sender=None)
    assert (first.heard, second.heard) == (2, 1)


def test_one_that_nobody_holds_leaves(signal: Signal) -> None:
    receivers = signal.receivers
    listener = Listener()
    signal.connect(listener.hear)
    del listener
    gc.collect()
    assert signal.send(sender=None) == []
    assert receivers == []
    assert signal.receivers is receivers
    assert not signal.has_listeners()


def test_a_receiver_with_retry_is_called_until_it_succeeds(
    signal: Signal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    failures = iter(range(18))

    @signal.connect(retry=True)
    def fails(**_: Any) -> str:
        for number in failures:
            raise ValueError(number)
        return "at last"

    with caplog.at_level(logging.ERROR):
        assert signal.send(sender=None) == [(fails, "at last")]
    assert pauses == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 30, 30, 30]
    assert len(caplog.records) == 18


def test_without_it_an_error_is_logged_and_answered(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    def fails(**_: Any) -> None:
        raise ValueError("no")

    listener = Listener()
    signal.connect(fails)
    signal.connect(listener.hear)
    (_, error), (_, answer) = signal.send(sender=None)
    assert isinstance(error, ValueError)
    assert answer == 1
    assert "raised: ValueError('no')" in caplog.text


def test_connected_again_without_retry_it_is_called_once(signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: pytest.fail("it waits"))

    def fails(**_: Any) -> None:
        raise ValueError

    signal.connect(fails, retry=True)
    signal.disconnect(fails)
    signal.connect(fails)
    ((_, error),) = signal.send(sender=None)
    assert isinstance(error, ValueError)
