"""Celery's own unit tests, unmodified, against pyqs_celery_compat: ``nox -s conformance``.

``-- tasks/test_tasks`` runs one file and lists what failed in it; ``-- --genuine`` runs the same machinery on genuine Celery,
which must pass all. Owns: the order of a run, one process for each file, and the table. Exits with 1 where a floor is missed.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import demands
import rule
import sdist
from demands import DEMANDS, Demand, Result

HERE = Path(__file__).parent
#: Seconds for a file; the longest takes 20 under genuine Celery.
PATIENCE = 900


def main() -> int:
    """Run what was asked for; the exit code."""
    options = _options()
    home = Path(options.home).resolve()
    root = sdist.tests(home)
    measured = f"genuine Celery {sdist.VERSION}" if options.genuine else "pyqs_celery_compat"
    print(f"Celery {sdist.VERSION}'s own tests against {measured}", flush=True)
    results = [measure(demand, root, home, genuine=options.genuine) for demand in options.files]
    print(table(results))
    if options.listed:
        failed = [(one.file, name, why) for one in results if not one.error for name, why in one.failed.items()]
        print("".join(f"\n{file}::{name}\n    {why}" for file, name, why in failed))
    for result in results:
        for said in (*result.objections, *(f"{name} is said to differ, but passes" for name in result.stale)):
            print(f"exceptions.txt: {result.file}: {said}")
    return 0 if all(result.good for result in results) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s conformance --", description="Celery's own unit tests against us.")
    parser.add_argument("files", nargs="*", metavar="FILE", type=_demand, help="such as tasks/test_tasks, or the end of it")
    parser.add_argument("--genuine", action="store_true", help="measure genuine Celery, which must pass everything")
    parser.add_argument("--home", required=True, help=argparse.SUPPRESS)  # where things are kept: the session says
    options = parser.parse_args()
    options.listed = bool(options.files)
    options.files = options.files or list(DEMANDS)
    return options


def _demand(text: str) -> Demand:
    """A file by its name, or by as much of the end of it as is clear."""
    wanted = text.removesuffix(".py").removeprefix("t/unit/")
    found = [one for one in DEMANDS if one.name == wanted or one.name.endswith(f"/{wanted}")]
    if len(found) != 1:
        names = [one.name for one in DEMANDS]
        near = [name for name in names if difflib.get_close_matches(wanted, [name, name.rpartition("/")[2]])]
        raise argparse.ArgumentTypeError(f"no file {text}; there is {', '.join(near or names)}")
    return found[0]


def measure(demand: Demand, root: Path, home: Path, *, genuine: bool) -> Result:
    """Run one file in a process of its own. Of a process that says nothing, how it ended is the reason."""
    path = root / "t" / "unit" / f"{demand.name}.py"
    functions = rule.read(path.read_text())
    left_out = demands.left_out(demand, functions, genuine=genuine)
    stem = home / demand.name.replace("/", "-")
    plan, told, log = (stem.with_suffix(suffix) for suffix in (".plan.json", ".told.json", ".log"))
    plan.write_text(json.dumps({"genuine": genuine, "version": sdist.VERSION, "left_out": left_out, "told": str(told)}))
    told.unlink(missing_ok=True)
    ended = _pytest(path, root, plan, log)
    answer: dict[str, Any] = json.loads(told.read_text()) if told.exists() else {"error": ended, "outcome": {}}
    return demands.judge(demand, functions, answer["outcome"], genuine=genuine, error=answer["error"])


def _pytest(path: Path, root: Path, plan: Path, log: Path) -> str:
    """How the process ended, in words: of one that could not begin, the error that pytest printed last."""
    command = [sys.executable, "-m", "pytest", "-p", "outcomes", "-p", "no:cacheprovider", "-c", str(HERE / "suite.ini")]
    with log.open("w") as written:
        try:
            done = subprocess.run(
                [*command, "--rootdir", str(root), "-q", "--tb=short", str(path)],
                cwd=root, env=_environment(plan), stdout=written, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"no end after {PATIENCE} seconds: see {log}"
    errors = [line[1:].strip() for line in log.read_text().splitlines() if line.startswith("E  ")]
    return errors[-1] if errors else f"pytest ended with {done.returncode}: see {log}"


def _environment(plan: Path) -> dict[str, str]:
    """Ours, without what steers Celery, pyqs or an AWS SDK; nothing can leave the machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CELERY", "PYQS_"))}
    return kept | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYQS_CONFORMANCE_PLAN": str(plan),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def table(results: list[Result]) -> str:
    """The results, a line each, with what is missing for the floor; why no test of a file ran stands below its line."""
    heads = ("file", "functions", "left out", "differs", "skipped", "passed", "failed", "floor", "missing")
    rows: list[tuple[str, ...]] = [heads]
    for one in results:
        counts = (one.functions, one.left_out, one.differs, len(one.skipped), len(one.passed), len(one.failed), one.needed)
        rows.append((one.file, *map(str, counts), str(one.missing) if one.missing else "-"))
    sums = [sum(int(row[column]) for row in rows[1:]) for column in range(1, len(heads) - 1)]
    rows.append(("all", *map(str, sums), str(sum(one.missing for one in results))))
    wide = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = []
    for row, below in zip(rows, ["", *(one.error for one in results), ""], strict=True):
        cells = [row[0].ljust(wide[0]), *(cell.rjust(width) for cell, width in zip(row[1:], wide[1:], strict=True))]
        lines += ["  ".join(cells), *([f"    {below}"] if below else [])]
    good = sum(one.good for one in results)
    return "\n".join([*lines, f"{good} of {len(results)} files are at their floor"])


if __name__ == "__main__":
    sys.exit(main())
