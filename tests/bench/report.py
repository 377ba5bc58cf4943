"""docs/performance.md of what was recorded: ``nox -s bench -- report``.

Owns: the parts of that page between ``<!-- bench: NAME -->`` and ``<!-- /bench -->``, and its plots; the words around them are
written by hand and stay. Runs in the benchmark's main thread. Never measures, and never invents a part that has no lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kit import plots
from kit.results import FILE, ROOT, described
from kit.tables import Column, across, latest, table

PAGE = ROOT / "docs" / "performance.md"
Groups = dict[tuple[str, str, str], list[dict[str, Any]]]

_CPU = (Column("cpu_ms", "CPU ms a task", 3, ratio=True), Column("server_cpu_ms", "server's", 3))
_RATE = Column("rate", "tasks/s", ratio=True)
_CALLS = (Column("rate", "calls/s", ratio=True), Column("cpu_ms", "CPU ms a call", 3))
_LATENCY = (
    Column("task_ms", "ms to the task's start", 1),
    Column("bare_ms", "to a bare receive", 1),
    Column("difference_ms", "apart, median", 1),
    Column("difference_p95_ms", "apart, p95", 1),
)
_WAITING = (
    Column("wake_ms", "ms from a task's end to `get()`", 1, ratio=True),
    Column("wake_p95_ms", "p95", 1),
    Column("wake_worst_ms", "worst", 1),
    Column("connections", "connections to Redis"),
)
_MEMORY = (
    Column("pss_mb", "PSS, MB", 1, ratio=True),
    Column("pss_before_mb", "before the tasks", 1),
    Column("first_task_s", "s to the first task", 2),
)
_IDLE = (
    Column("rss_mb", "parent's RSS, MB"),
    Column("threads", "threads"),
    Column("sockets", "sockets"),
    Column("cpu_percent", "CPU, % of a core", 1),
    Column("wake_ms", "ms to a task's start"),
    Column("wake_p95_ms", "p95"),
    Column("wake_worst_ms", "worst"),
)


def distance(site: str) -> float:
    """Milliseconds in ``fauxqs 20 ms``."""
    return float(site.split()[1])


def of(groups: Groups, bench: str, case: str) -> dict[str, list[dict[str, Any]]]:
    """site -> lines of this case, near ones first."""
    found = {site: lines for (name, what, site), lines in groups.items() if (name, what) == (bench, case)}
    return dict(sorted(found.items(), key=lambda pair: (pair[0].partition(" ")[0], distance(pair[0]) if pair[0] else 0.0)))


def drain(groups: Groups) -> str:
    """No-op tasks: rate at each distance, CPU, and the plot; TLS; tasks of 10 ms."""
    parts = []
    for server in sorted({site.split()[0] for site in of(groups, "drain", "noop")}, reverse=True):
        here = {site: lines for site, lines in of(groups, "drain", "noop").items() if site.startswith(server)}
        parts += [f"**No-op tasks, two executors, on {server}**", across(here, _RATE)]
        nearest = next(iter(here.values()))
        parts += [f"CPU of the whole process tree, {next(iter(here))}:", table(nearest, _CPU)]
        if len(here) > 1:
            path = PAGE.with_name(f"performance-distance-{server}.png")
            by_distance: dict[float, Sequence[dict[str, Any]]] = {distance(site): lines for site, lines in here.items()}
            plots.plot(by_distance, path, title=f"No-op tasks, two executors, on {server}", x_title="round trip added, ms")
            parts.append(f"![tasks a second against distance, {server}]({path.name})")
    for case, title in (("tls", "Through TLS"), ("sleep 10 ms, 8 executors", "Tasks of 10 ms, eight executors: 800/s at most")):
        for site, lines in of(groups, "drain", case).items():
            parts += [f"**{title}, {site}**", table(lines, (_RATE, *_CPU))]
    return "\n\n".join(parts)


def backlog(groups: Groups) -> str:
    """Rate by the number of messages that wait."""
    parts = []
    cases = {case for bench, case, _ in groups if bench == "drain" and case.startswith("backlog ")}
    for server in sorted({site for case in cases for site in of(groups, "drain", case)}, reverse=True):
        sizes = {int(case.split()[1]): of(groups, "drain", case).get(server, []) for case in cases}
        known = {size: lines for size, lines in sorted(sizes.items()) if lines}
        parts += [f"**{server}**", across({f"{size:,} wait": lines for size, lines in known.items()}, _RATE)]
        path = PAGE.with_name(f"performance-backlog-{server.split()[0]}.png")
        plots.plot(
            {float(size): lines for size, lines in known.items()},
            path,
            title=f"No-op tasks on {server}",
            x_title="messages that wait",
            log_x=True,
        )
        parts.append(f"![tasks a second against backlog, {server}]({path.name})")
    return "\n\n".join(parts)


def enqueue(groups: Groups) -> str:
    """Single calls and bulk."""
    parts = []
    for case in ("one by one", "bulk"):
        for site, lines in of(groups, "enqueue", case).items():
            here = {line["peer"] for line in lines}
            ours = next((name for name in ("pyqs", "pyqs bulk", "pyqs native bulk") if name in here), "boto3 bulk")
            parts += [f"**{case.capitalize()}, {site}**", table(lines, _CALLS, ours)]
    return "\n\n".join(parts)


def imports(groups: Groups) -> str:
    """One table; every line is compared with a Celery app of one task."""
    columns = (Column("wall_ms", "ms", 1), Column("cpu_ms", "CPU ms", 1))
    return "\n\n".join(table(lines, columns) for lines in of(groups, "imports", "imports").values())


def rows_of(groups: Groups, bench: str, columns: Iterable[Column]) -> str:
    """A table for each case and site of a bench."""
    parts = []
    for (name, case, site), lines in sorted(groups.items()):
        if name == bench and any(column.figure in line for column in columns for line in lines):
            title = ", ".join(filter(None, (case, site)))
            parts += [f"**{title[:1].upper()}{title[1:]}**", table(lines, tuple(columns))]
    return "\n\n".join(parts)


def small(groups: Groups) -> str:
    """The benches of single parts."""
    parts = (
        rows_of(groups, "executor", (Column("cpu_us", "CPU of one task, microseconds", 1),)),
        rows_of(groups, "credit", (Column("rate", "ends a second"),)),
        rows_of(groups, "local_store", (Column("mean_ms", "ms a cycle", 3),)),
    )
    return "\n\n".join(filter(None, parts))


def machine(groups: Groups) -> str:
    """What the figures are of, for each bench that has any, and what else the machine had to do."""
    found: dict[str, set[str]] = {}
    loads: dict[str, list[float]] = {}
    for (bench, _, _), lines in groups.items():
        for line in lines:
            kind = f"{described(line['machine'])}, commit {line['machine']['commit']}, {line['run'][:8]}"
            found.setdefault(kind, set()).add(bench)
            loads.setdefault(kind, []).append(line["load"])
    return "\n".join(
        f"- {kind}, load average {min(loads[kind])} to {max(loads[kind])}: {', '.join(sorted(benches))}"
        for kind, benches in sorted(found.items())
    )


PARTS = {
    "machine": machine,
    "drain": drain,
    "backlog": backlog,
    "enqueue": enqueue,
    "latency": lambda groups: rows_of(groups, "latency", _LATENCY),
    "waiting": lambda groups: rows_of(groups, "waiting", _WAITING),
    "memory": lambda groups: "\n\n".join(
        filter(
            None,
            (rows_of(groups, "memory", _MEMORY), rows_of(groups, "memory", (Column("gap_ms", "ms between tasks", 1, True),))),
        )
    ),
    "imports": imports,
    "idle": lambda groups: rows_of(groups, "idle", _IDLE),
    "small": small,
}


def main() -> None:
    """Rewrite each part of the page that has lines."""
    groups = latest(map(json.loads, Path(FILE).read_text().splitlines()))
    page = PAGE.read_text()
    for name, part in PARTS.items():
        text = part(groups)
        marked = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- /bench -->)", re.DOTALL)
        if not marked.search(page):
            print(f"{PAGE.name} has no part {name!r}")
        elif text:
            page = marked.sub(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)  # type: ignore[misc]
    PAGE.write_text(page)
    print(f"{PAGE} is of {FILE}")
