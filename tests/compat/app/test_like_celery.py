"""The same program under Celery 5.7 and under pyqs_celery_compat says the same.

Celery is the oracle: ``PYQS_INTEROP_CELERY57`` names a Python that has it. Without one, ours is held to what Celery said when
``like_celery57.json`` was recorded (run this file's ``record`` with the variable set to record it anew).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SCRIPT = HERE / "same_script.py"
RECORDED = HERE / "like_celery57.json"
CELERY = os.environ.get("PYQS_INTEROP_CELERY57")
CASES: dict[str, Any] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


@cache
def run(python: str, package: str) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "PYQS_"))}
    environment["PYTHONPATH"] = str(HERE.parents[2])
    done = subprocess.run(
        [python, str(SCRIPT), package], capture_output=True, text=True, check=False, env=environment, timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", sorted(CASES))
def test_says_what_celery_said(case: str) -> None:
    assert run(sys.executable, "pyqs_celery_compat")[case] == CASES[case]


@pytest.mark.skipif(not CELERY, reason="PYQS_INTEROP_CELERY57 names no Python with Celery 5.7")
def test_the_record_is_what_celery_says() -> None:
    assert CELERY
    assert run(CELERY, "celery") == CASES


if __name__ == "__main__":
    assert CELERY
    RECORDED.write_text(json.dumps(run(CELERY, "celery"), indent=1, sort_keys=True) + "\n")
