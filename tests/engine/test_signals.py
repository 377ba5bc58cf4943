"""Signals before there is a worker, and when one listens."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pyqs.worker.signals import Signals, ToldToStop


@pytest.fixture
def signals() -> Iterator[Signals]:
    signals = Signals()
    assert signals.take()
    yield signals
    signals.give_back()


def test_before_anybody_listens_the_first_one_ends_what_is_done(signals: Signals) -> None:
    with pytest.raises(ToldToStop, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)  # the clearing up is left alone
    heard: list[str] = []
    signals.tell(heard.append)
    assert heard == ["drain"]
    os.kill(os.getpid(), signal.SIGINT)
    assert heard == ["drain", "interrupt"]


def test_handlers_are_put_back_by_whoever_took_them(signals: Signals) -> None:
    ours = signal.getsignal(signal.SIGTERM)
    assert not signals.take()
    signals.give_back()
    assert signal.getsignal(signal.SIGTERM) is not ours
