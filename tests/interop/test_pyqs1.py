"""PyQS 1.0.1 writes and we run; we write native calls and a PyQS 1.0.1 worker runs them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
QUEUE = "interop-native"


def test_two_hundred_calls_written_by_pyqs_1(interop: Any, find_peer: Callable[[str], str]) -> None:
    python = find_peer("PYQS_INTEROP_PYQS1")
    expected = interop.write(python, "interop_pyqs.py", 200, foreign=True)
    worker = interop.start(
        "worker",
        [sys.executable, "-m", "pyqs", "worker", "-Q", QUEUE, "--include", "interop_pyqs", "-c", "2", "-l", "WARNING"],
    )
    interop.drain(worker, expected)
    assert interop.left(QUEUE) == 0


def test_two_hundred_calls_run_by_pyqs_1(interop: Any, find_peer: Callable[[str], str]) -> None:
    python = find_peer("PYQS_INTEROP_PYQS1")
    expected = interop.write(sys.executable, "interop_pyqs.py", 200, foreign=False)
    command = [str(Path(python).parent / "pyqs"), QUEUE, "-c", "2", "--interval", "0.01"]
    interop.drain(interop.start("worker", command, foreign=True), expected)
    assert interop.left(QUEUE) == 0
