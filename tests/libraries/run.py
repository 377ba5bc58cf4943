"""Suites of libraries that hook into Celery, at pinned versions: under Celery 5.7 and under the alias, outcome by outcome.

Owns: which libraries, fetching their tests from PyPI, running them twice and comparing. Runs as a program, by
``nox -s libraries``, on a Python that has Celery, the libraries and this package. Keeps nothing of theirs. Fails when a test
ends otherwise under the alias and is not in ``differs.txt``, or is there and does not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
DIFFERS = HERE / "differs.txt"
#: Loaded by pytest before anything else of the second run.
ALIAS = "libraries_alias"


@dataclass(frozen=True)
class Library:
    """One library and its tests.

    Attributes:
        tests: what pytest is told, below the unpacked release. ignored: what of it needs a server that is not here.
    """

    name: str
    version: str
    tests: tuple[str, ...]
    ignored: tuple[str, ...] = ()


LIBRARIES = (
    Library("sentry-sdk", "2.75.0", ("tests/integrations/celery",), ("tests/integrations/celery/integration_tests",)),
    Library("opentelemetry-instrumentation-celery", "0.66b2", ("tests",)),
)


def fetched(library: Library, home: Path) -> Path:
    """The folder of its unpacked release."""
    archive = _archive(library, home)
    if archive is None:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", library.name, "--dest", str(home)]
        subprocess.run([*pip, f"{library.name}=={library.version}"], check=True)
        archive = _archive(library, home)
    if archive is None:
        raise SystemExit(f"pip has brought no source distribution of {library.name} {library.version}")
    with tarfile.open(archive) as opened:
        opened.extractall(home, filter="data")
    return home / archive.name.removesuffix(".tar.gz")


def _archive(library: Library, home: Path) -> Path | None:
    """Its file, which is spelt with hyphens or underscores."""
    name = f"{library.name}-{library.version}.tar.gz".replace("-", "_")
    return next((path for path in home.glob("*.tar.gz") if path.name.replace("-", "_") == name), None)


def outcomes(library: Library, folder: Path, *, alias: bool) -> dict[str, str]:
    """Test -> "passed", "failed" or "skipped", in one run."""
    report = folder / ("alias.xml" if alias else "celery.xml")
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command += [*(["-p", ALIAS] if alias else []), *(f"--ignore={path}" for path in library.ignored), *library.tests]
    env = os.environ | {"PYTHONPATH": str(HERE), "C_FORCE_ROOT": "1"}
    subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=900)
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        found[name] = "failed" if "failed" in (outcome, found.get(name)) else outcome
    return found


def listed(text: str, library: str) -> dict[str, str]:
    """Test -> why it ends otherwise under the alias."""
    lines = (line.split(" ", 2) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {test: reason for name, test, reason in lines if name == library}


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s libraries --")
    parser.add_argument("--home", type=Path, required=True, help="where releases are unpacked")
    home: Path = parser.parse_args().home
    home.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for library in LIBRARIES:
        folder = fetched(library, home)
        celery, ours = outcomes(library, folder, alias=False), outcomes(library, folder, alias=True)
        apart = {test for test in celery.keys() | ours.keys() if celery.get(test) != ours.get(test)}
        known = listed(DIFFERS.read_text(), library.name)
        passed = sum(outcome == "passed" for outcome in celery.values())
        both = sum(celery.get(test) == "passed" == outcome for test, outcome in ours.items())
        print(f"{library.name} {library.version}: of {len(celery)} tests {passed} pass under Celery, {both} of them here")
        for test in sorted(apart - known.keys()):
            print(f"  differs, and is not listed: {test}: {celery.get(test)} under Celery, {ours.get(test)} here")
        for test in sorted(known.keys() - apart):
            print(f"  is listed, and does not differ: {test}")
        wrong += len(apart ^ known.keys()) + (not celery)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
