"""Celery's own ``t/integration/test_canvas.py`` and ``test_tasks.py``, unmodified, against our worker: ``nox -s integration``.

Both sides run in one session: genuine Celery with Redis as its broker and backend, whose worker is a thread of the tests as its
own fixtures have it; and ours with the embedded SQS and the same Redis, whose worker is a process. Owns: the servers, both
runs, and the comparison. Exits with 1 where ours passes less than it must of what genuine Celery passes, or where a test fails
that ``differs.txt`` does not name, or names and passes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "conformance"), str(HERE.parent / "support"), str(ROOT)]

import real_redis  # noqa: E402 - the support of all tests
import sdist  # noqa: E402 - beside the other session's
from processes import free_port  # noqa: E402
from pyqs.local.server import LocalServer  # noqa: E402
from pyqs.local.store import Store  # noqa: E402

FILES = ("test_canvas.py", "test_tasks.py")
#: Of what genuine Celery passes, without what is left out.
FLOOR = 0.95


def main() -> int:
    """Run both sides; the exit code."""
    parser = argparse.ArgumentParser(
        prog="nox -s integration --", description="Celery's own integration tests against our worker."
    )
    parser.add_argument("--home", required=True, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--genuine", help=argparse.SUPPRESS)
    parser.add_argument("-k", dest="only", default="", help="only tests that this selects, as pytest's -k")
    options = parser.parse_args()
    home = options.home.resolve()
    unpack(home)
    select = ["-k", options.only] if options.only else []
    with ThreadPoolExecutor() as both:  # most of either's time is waiting
        ours = both.submit(run_ours, home, select)
        theirs = both.submit(run_genuine, home, options.genuine, select) if options.genuine else None
    return compare(ours.result(), theirs.result() if theirs else None, whole=not options.only)


def unpack(home: Path) -> None:
    """A folder for each side with the package ``t``; in ours another conftest takes the place of theirs."""
    package = sdist.tests(home)
    for side in ("ours", "theirs"):
        shutil.rmtree(home / side, ignore_errors=True)
        shutil.copytree(package / "t", home / side / "t")
    (home / "ours" / "t" / "integration" / "conftest.py").write_text("from integration_conftest import *\n")


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[dict[str, str]]:
    """On a port, as Celery's tests know Redis by host and port only; the environment that names it."""
    folder.mkdir(parents=True, exist_ok=True)
    with real_redis.running(folder, free_port()) as server:
        port = str(server.port)
        yield {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port, "TEST_BACKEND": f"redis://127.0.0.1:{port}/0"}


def run_ours(home: Path, select: list[str]) -> dict[str, str]:
    """Our worker as a process, and the tests with the alias."""
    side = home / "ours"
    with redis_server(home / "ours-redis") as env, LocalServer(Store()) as server:
        server.store.create_queue("celery", {})
        address = server.endpoint_url.removeprefix("http://").replace("127.0.0.1", "localhost")
        env = os.environ | env | {
            "TEST_BROKER": f"sqs://k:s@{address}", "PYTHONPATH": os.pathsep.join(map(str, (side, HERE, ROOT))),
        }  # fmt: skip
        with (home / "worker.log").open("wb") as log:
            command = [sys.executable, "-m", "pyqs", "worker", "-A", "worker_app", "-Q", "celery", "-c", "4"]
            worker = subprocess.Popen(command, env=env, cwd=side, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                return run_tests(sys.executable, side, env, home / "ours.xml", select)
            finally:
                worker.send_signal(signal.SIGINT)  # it waits for no open poll
                try:
                    worker.wait(40)
                except subprocess.TimeoutExpired:
                    worker.kill()


def run_genuine(home: Path, python: str, select: list[str]) -> dict[str, str]:
    """Genuine Celery with its own conftest."""
    side = home / "theirs"
    with redis_server(home / "redis") as env:
        env = (
            os.environ
            | env
            | {"TEST_BROKER": f"redis://127.0.0.1:{env['REDIS_PORT']}/1", "PYTHONPATH": str(side), "C_FORCE_ROOT": "1"}
        )
        return run_tests(python, side, env, home / "theirs.xml", select, "-p", "celery.contrib.pytest")


def run_tests(python: str, side: Path, env: dict[str, str], report: Path, select: list[str], *more: str) -> dict[str, str]:
    """Outcome of each test: passed, skipped, or why it failed."""
    report.unlink(missing_ok=True)
    (side / "pytest.ini").write_text(INI)
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-c",
        "pytest.ini",
        f"--junitxml={report}",
        "-p",
        "no:cacheprovider",
        *more,
        *select,
    ]
    subprocess.run([*command, *(f"t/integration/{one}" for one in FILES)], cwd=side, env=env, check=False)
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').removeprefix('t.integration.')}::{case.get('name')}"
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        found[name] = "passed" if bad is None else "skipped" if bad.tag == "skipped" else (bad.get("message") or bad.tag)[:300]
    return found


def compare(ours: dict[str, str], theirs: dict[str, str] | None, *, whole: bool) -> int:
    """Print what is different; 1 if it is too much, or not as listed."""
    listed = [line.split(" | ") for line in (HERE / "differs.txt").read_text().splitlines() if " | " in line]
    left_out = {name for kind, name, _ in listed if kind == "left out"}
    named = {name for _, name, _ in listed}
    expected = [name for name, outcome in (theirs or ours).items() if theirs is None or outcome == "passed"]
    counted = [name for name in expected if name not in left_out]
    passed = [name for name in counted if ours.get(name) == "passed"]
    new = [name for name in expected if ours.get(name) != "passed" and name not in named]
    stale = [name for name in sorted(named) if ours.get(name) == "passed"]
    for name in new:
        print(f"{name}\n    {ours.get(name, 'not run')}")
    for name in stale:
        print(f"differs.txt names {name}, which passes")
    share = len(passed) / len(counted) if counted else 0.0
    passes = None if theirs is None else len(expected)
    figures = {"genuine_passed": passes, "left_out": len(expected) - len(counted), "counted": len(counted)}
    print(json.dumps(figures | {"ours_passed": len(passed), "share": round(share, 4)}))
    return int(whole and (share < FLOOR or bool(stale or new)))


#: How pytest reads these files on both sides.
INI = """[pytest]
python_classes = test_*
timeout = 300
markers =
    celery: settings of an app
    flaky: may fail now and then
    timeout: seconds
"""

if __name__ == "__main__":
    sys.exit(main())
