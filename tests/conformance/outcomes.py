"""A plugin of pytest for Celery's files: puts our package, or genuine Celery, in the name ``celery`` and notes what came out.

Owns: which side is measured, which test functions run, and the outcome of each. Runs in a process of its own for each file,
which ``run.py`` starts with a plan; the outcomes go to the file that the plan names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

PLAN: dict[str, Any] = json.loads(Path(os.environ["PYQS_CONFORMANCE_PLAN"]).read_text())
#: The function of each test that was collected, by the test's id.
functions: dict[str, str] = {}
#: What each function came to: nothing said is a pass.
outcome: dict[str, str] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before anything of the suite is imported: whose ``celery`` this is."""
    try:
        _take_sides()
    except Exception as error:  # whatever it is, it is why nothing of this side can be measured
        _tell(f"{type(error).__name__}: {_first_line(str(error))}")
        pytest.exit("this side cannot be measured", returncode=3)


def _take_sides() -> None:
    if PLAN["genuine"]:
        import celery

        assert celery.__version__ == PLAN["version"], f"this is Celery {celery.__version__}"
        return
    import pyqs_celery_compat

    pyqs_celery_compat.install_as_celery()
    import celery

    assert celery.Celery is pyqs_celery_compat.Celery, "celery is not ours: genuine Celery would be measured in our place"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only what the plan does not leave out. A test counts for the function that it is, wherever it was inherited."""
    left_out = set(PLAN["left_out"])
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        name = item.function.__qualname__ if isinstance(item, pytest.Function) else item.name
        (dropped if name in left_out else kept).append(item)
        functions[item.nodeid] = name
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        lines = [line[1:].strip() for line in str(report.longrepr).splitlines() if line.startswith("E  ")]
        outcome.setdefault("", _first_line(lines[-1] if lines else str(report.longrepr)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A function's first failure stays. A skip is one only by the file's own mark, else the test did not do its work."""
    name = functions[report.nodeid]
    marked = report.skipped and report.when == "setup" and {"skip", "skipif"} & set(report.keywords)
    if marked:
        outcome.setdefault(name, "skip")
    elif outcome.get(name, "skip") in {"", "skip"}:
        if not report.passed:
            outcome[name] = _why(report)
        elif report.when == "call":
            outcome[name] = ""


def pytest_sessionfinish() -> None:
    _tell(outcome.pop("", ""))


def _tell(error: str) -> None:
    Path(PLAN["told"]).write_text(json.dumps({"error": error, "outcome": outcome}))


def _why(report: pytest.TestReport) -> str:
    """One line that is never empty, because empty is a pass."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return f"{'' if report.when == 'call' else f'{report.when}: '}{_first_line(text)}"


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0][:300] or "no reason given"
