"""The tasks, with nothing done yet. They are imported as a user's are: by a name that a worker's process has, too."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def tasks() -> Iterator[Any]:
    sys.path.insert(0, str(HERE))
    module = importlib.import_module("tasks_of_tests")
    module.seen.clear()
    module.go_on.clear()
    module.begun.clear()
    yield module
    module.go_on.set()  # what was given up goes on, and ends
    sys.path.remove(str(HERE))
