"""The clock of leases and deadlines."""

from __future__ import annotations

import sys
import time

import pytest

from pyqs.clock import boottime


@pytest.mark.skipif(sys.platform != "linux", reason="CLOCK_BOOTTIME is Linux's")
def test_it_counts_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda clock: clock)
    assert boottime() == time.CLOCK_BOOTTIME
