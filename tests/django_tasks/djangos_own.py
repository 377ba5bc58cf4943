"""Django's own tests of its tasks framework, fetched with the release that is installed, with our backend in the dummy's place.

Owns: the fetching, the one change (the name of the backend) and the run. A program: ``python djangos_own.py --home FOLDER``; it
exits as Django's test runner does. Never changes what a test asks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent
DUMMY, OURS = "django.tasks.backends.dummy.DummyBackend", "kept_backend.KeptBackend"
IMPORT, OUR_IMPORT = (
    "from django.tasks.backends.dummy import DummyBackend",
    "from kept_backend import KeptBackend as DummyBackend",
)
#: Those that are about any backend, and about one that runs nothing in place.
LABELS = ("tasks.test_tasks", "tasks.test_dummy_backend")


def fetch(home: Path) -> Path:
    """Django's folder of tests, of the installed release."""
    version = django.get_version()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "fetched" / version).exists():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "Django", f"Django=={version}"]
        subprocess.run([*command, "-d", str(home / "fetched" / version)], check=True)
    (archive,) = (home / "fetched" / version).glob("*.tar.gz")
    shutil.rmtree(home / "source", ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(home / "source", filter="data")
    (tests,) = (home / "source").glob("*/tests")
    return tests


def main() -> int:
    """Fetch, put our backend in, run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="where the release is kept")
    if django.VERSION < (6, 0):
        print(f"Django {django.get_version()} has no tasks framework: nothing is run")
        return 0
    tests = fetch(parser.parse_args().home.resolve())
    changed = 0
    for path in (tests / "tasks").glob("*.py"):
        text = path.read_text()
        ours = text.replace(DUMMY, OURS).replace(IMPORT, OUR_IMPORT)
        changed += ours != text
        path.write_text(ours)
    if not changed:
        print(f"none of Django's tests names {DUMMY} any more: nothing of ours would be tested")
        return 1
    path = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "runtests.py", *LABELS, "--parallel", "1"]
    return subprocess.run(command, cwd=tests, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
