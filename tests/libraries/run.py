"""Libraries that hook into Celery, at pinned versions: under Celery 5.7 and under the alias, test by test.

Owns: which libraries, running their tests twice and comparing. Of those whose release brings its tests these are run as they
are; of the others, what their documentation shows, as tests of ours in ``examples``. Runs as a program, by
``nox -s libraries``, on a Python that has Celery, the libraries and this package. Fails when a test ends otherwise under the
alias and is not in ``differs.txt``, or is there and does not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "conformance"))
import sdist  # noqa: E402

DIFFERS = HERE / "differs.txt"
SIDES = ("celery", "alias")
#: Seconds for the tests of one library; the longest take 40.
PATIENCE = 900


@dataclass(frozen=True)
class Library:
    """One library and its tests.

    Attributes:
        tests: what pytest is told, below the unpacked release; nothing if it has none. sha256: of its source distribution.
        ignored: what of it needs a server that is not here. env: for its tests.
        examples: tests of ours in ``examples``.
    """

    name: str
    version: str
    tests: str = ""
    sha256: str = ""
    ignored: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    examples: str = ""


LIBRARIES = (
    Library(
        "sentry-sdk", "2.75.0", "tests/integrations/celery", "c38ac2d4b2435c11da821e173bb9d9088c98f41ae92f559ce0e424170a8e1a29",
        ignored=("tests/integrations/celery/integration_tests",),  # Celery's beat on a Redis broker
    ),
    Library(
        "opentelemetry-instrumentation-celery", "0.66b2", "tests",
        "843645ecd28e85d16851eb6c24c082ee00c3102ba091752f095fc7628fcfb7bd", examples="test_opentelemetry.py",
    ),
    Library(
        "django-celery-results", "2.6.0", "t/unit", "9abcd836ae6b61063779244d8887a88fe80bbfaba143df36d3cb07034671277c",
        env={"DJANGO_SETTINGS_MODULE": "t.proj.settings"}, examples="test_django_celery_results.py",
    ),
    Library(
        "django-celery-beat", "2.9.0", "t/unit", "92404650f52fcb44cf08e2b09635cb1558327c54b1a5d570f0e2d3a22130934c",
        env={"DJANGO_SETTINGS_MODULE": "t.proj.settings"}, examples="test_django_celery_beat.py",
    ),
    Library(
        "celery-redbeat", "2.4.2", "tests", "a590fef7ef39d7e4511174ce8bafe310e07ef6cdf84a240cd311946815bd90bb",
        examples="test_celery_redbeat.py",
    ),
    Library("celery-singleton", "0.3.1", examples="test_celery_singleton.py"),
    Library("celery-once", "3.0.1", examples="test_celery_once.py"),
    Library("django-structlog", "11.0.0", examples="test_django_structlog.py"),
    Library("ddtrace", "4.16.0", examples="test_ddtrace.py"),
    Library("newrelic", "9.13.0", examples="test_newrelic.py"),
)  # fmt: skip


def _library(name: str) -> Library:
    """One by its name."""
    found = next((one for one in LIBRARIES if one.name == name), None)
    if found is None:
        raise argparse.ArgumentTypeError(f"no library {name}; there are {', '.join(one.name for one in LIBRARIES)}")
    return found


def unpacked(library: Library, home: Path) -> Path:
    """The folder of its release."""
    archive = sdist.fetched(library.name, library.version, library.sha256, home)
    with tarfile.open(archive) as opened:
        opened.extractall(home, filter="data")
    return home / archive.name.removesuffix(".tar.gz")


def outcomes(library: Library, home: Path, side: str) -> dict[str, str]:
    """Test -> "passed", "failed" or "skipped", of all of its tests."""
    found: dict[str, str] = {}
    if library.tests:
        left_out = [f"--ignore={path}" for path in library.ignored]
        found |= _run(unpacked(library, home), [*left_out, library.tests], home / f"{library.name}-{side}", side, library.env)
    if library.examples:
        found |= _run(HERE / "examples", [library.examples], home / f"{library.name}-examples-{side}", side, {})
    return found


def _run(folder: Path, tests: list[str], stem: Path, side: str, env: dict[str, str]) -> dict[str, str]:
    """One run of pytest in this folder, whose report and log are named so."""
    report, log = (stem.with_name(f"{stem.name}.{kind}") for kind in ("xml", "log"))
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "sides"]
    command += [f"--junitxml={report}", f"--rootdir={folder}", *tests]
    with log.open("w") as out:
        subprocess.run(
            command, cwd=folder, env=_environment(side) | env, stdout=out, stderr=out, check=False, timeout=PATIENCE
        )  # fmt: skip
    found = read(report.read_text()) if report.exists() else {}
    if not found:
        raise SystemExit(f"no test was run: see {log}")
    return found


def _environment(side: str) -> dict[str, str]:
    """Ours, without what steers Celery, pyqs or an SDK; nothing can leave the machine."""
    steering = ("AWS_", "CELERY", "PYQS_", "OTEL_", "DD_", "NEW_RELIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return kept | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "C_FORCE_ROOT": "1",
        "PYQS_LIBRARIES_SIDE": side,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "support")]),
    }


def read(report: str) -> dict[str, str]:
    """Test -> how it ended, of pytest's JUnit report. A test that fails at any stage has failed."""
    found: dict[str, str] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        found[name] = "failed" if "failed" in (outcome, found.get(name)) else outcome
    return found


def listed(text: str, library: str) -> dict[str, str]:
    """Test -> why it ends otherwise under the alias."""
    lines = (line.split(" ", 2) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {test: reason for name, test, reason in lines if name == library}


def objections(celery: dict[str, str], ours: dict[str, str], known: dict[str, str]) -> list[str]:
    """What is wrong with the two runs: tests that end apart and are not listed, and the reverse; and that none passes."""
    apart = {test for test in celery.keys() | ours.keys() if celery.get(test) != ours.get(test)}
    missing = "not run"
    said = [
        f"differs, and is not listed: {test}: {celery.get(test, missing)} under Celery, {ours.get(test, missing)} here"
        for test in sorted(apart - known.keys())
    ]
    said += [f"is listed, and does not differ: {test}" for test in sorted(known.keys() - apart)]
    return said if "passed" in celery.values() else [*said, "no test passes under Celery: is redis-server installed?"]


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s libraries --", description="Libraries under Celery and under the alias.")
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", type=_library, help="such as celery-once; default all")
    parser.add_argument("--home", type=Path, required=True, help=argparse.SUPPRESS)  # the session says
    options = parser.parse_args()
    home: Path = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for library in options.libraries or LIBRARIES:
        if version(library.name) != library.version:
            raise SystemExit(f"{library.name} {version(library.name)} is installed, not {library.version}")
        celery, ours = (outcomes(library, home, side) for side in SIDES)
        passed = Counter(celery.values())["passed"]
        both = sum(outcome == "passed" == ours.get(test) for test, outcome in celery.items())
        print(
            f"{library.name} {library.version}: {len(celery)} tests, {passed} pass under Celery, {both} of them here",
            flush=True,
        )
        for objection in objections(celery, ours, listed(DIFFERS.read_text(), library.name)):
            print(f"  {objection}", flush=True)
            wrong += 1
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
