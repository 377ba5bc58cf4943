"""The same programs under Celery 5.7 and under pyqs_celery_compat say the same.

Celery is the oracle: ``PYQS_INTEROP_CELERY57`` names a Python that has it (and pydantic). Without one, ours is held to what
Celery said when ``like_celery57.json`` and its sister were recorded (run this file with the variable set to record them anew).
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
#: Program -> what Celery said.
RECORDS = {"same_script.py": HERE / "like_celery57.json", "same_tasks.py": HERE / "like_celery57_tasks.json"}
CELERY = os.environ.get("PYQS_INTEROP_CELERY57")
CASES: dict[str, dict[str, Any]] = {
    script: json.loads(record.read_text()) if record.exists() else {} for script, record in RECORDS.items()
}


@cache
def run(python: str, script: str, package: str) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "PYQS_"))}
    environment["PYTHONPATH"] = str(HERE.parents[2])
    done = subprocess.run(
        [python, str(HERE / script), package], capture_output=True, text=True, check=False, env=environment, timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("script", "case"), [(script, case) for script, cases in CASES.items() for case in sorted(cases)])
def test_says_what_celery_said(script: str, case: str) -> None:
    if case.startswith("pydantic"):
        pytest.importorskip("pydantic")
    assert run(sys.executable, script, "pyqs_celery_compat")[case] == CASES[script][case]


@pytest.mark.skipif(not CELERY, reason="PYQS_INTEROP_CELERY57 names no Python with Celery 5.7")
@pytest.mark.parametrize("script", RECORDS)
def test_the_record_is_what_celery_says(script: str) -> None:
    assert CELERY
    assert run(CELERY, script, "celery") == CASES[script]


if __name__ == "__main__":
    assert CELERY
    for program, record in RECORDS.items():
        record.write_text(json.dumps(run(CELERY, program, "celery"), indent=1, sort_keys=True) + "\n")
