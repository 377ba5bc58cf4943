"""Processes in which ``import celery`` is tried: an alias is for the life of a process, so each try has one of its own.

Genuine Celery is absent, or looked like: ``lookalike`` is a package of its name with a distribution, as an installed one is.
With ``PYQS_INTEROP_BESIDE`` (the interop session) the same tests run beside the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: A Python that has genuine Celery 5.7 and what this package needs.
BESIDE = os.environ.get("PYQS_INTEROP_BESIDE", "")

Run = Callable[..., str]


def lookalike(folder: Path) -> Path:
    """A ``celery`` that is none of ours, with a module that we have not, and its distribution."""
    package = folder / "celery"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("GENUINE = True\n__version__ = '5.7.0'\n")
    (package / "exceptions.py").write_text("class Retry(Exception): pass\n")
    (package / "only_there.py").write_text("GENUINE = True\n")
    (package / "envelope.py").write_text("GENUINE = True\n")
    (package / "security").mkdir()
    (package / "security" / "__init__.py").write_text("GENUINE = True\n")
    (folder / "celery-5.6.3.dist-info").mkdir()
    (folder / "celery-5.6.3.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: celery\nVersion: 5.6.3\n")
    return folder


def runner(python: str, folders: list[Path]) -> Run:
    """Runs code in a process and answers what it has printed; an error in it fails the test."""

    def run(code: str, *, fails: bool = False, **env: str) -> str:
        base = {k: v for k, v in os.environ.items() if not k.startswith(("PYQS_", "PYTHON", "CELERY_"))}
        path = os.pathsep.join(map(str, [ROOT, *folders]))
        done = subprocess.run(
            [python, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=100,
            env={**base, "PYTHONPATH": path, **env},
        )  # fmt: skip
        assert (done.returncode != 0) is fails, done.stderr[-3000:]
        return done.stderr if fails else done.stdout.strip()

    return run


@pytest.fixture(params=["absent", "lookalike", "genuine"])
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs code in a process where genuine Celery is not there, looks like it is, and is."""
    if request.param == "genuine":
        if not BESIDE:
            pytest.skip("PYQS_INTEROP_BESIDE names no Python with Celery 5.7 (see the interop session of noxfile.py)")
        return runner(BESIDE, [])
    return runner(sys.executable, [lookalike(tmp_path)] if request.param == "lookalike" else [])


@pytest.fixture
def alone() -> Run:
    """Runs code in a process without genuine Celery."""
    return runner(sys.executable, [])


@pytest.fixture
def with_billiard() -> Run:
    """Runs code in a process that has genuine Celery's billiard."""
    if not BESIDE:
        pytest.skip("PYQS_INTEROP_BESIDE names no Python with Celery 5.7 (see the interop session of noxfile.py)")
    return runner(BESIDE, [])


@pytest.fixture(params=["lookalike", "genuine"])
def with_celery(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs code in a process with a genuine Celery, or one that looks like it."""
    if request.param == "genuine":
        if not BESIDE:
            pytest.skip("PYQS_INTEROP_BESIDE names no Python with Celery 5.7 (see the interop session of noxfile.py)")
        return runner(BESIDE, [])
    return runner(sys.executable, [lookalike(tmp_path)])
