"""``pyqs queues``: what a worker with these ``-Q``, ``-X`` and ``-A`` would consume, and how these queues are.

Owns: the listing and its three forms: a table for people, lines of tab-separated fields, and JSON with everything. Runs in the
main thread; makes the discovery calls a worker makes and reads attributes, receives nothing, creates nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pyqs import cli
from pyqs.commands import options
from pyqs.commands.named import named
from pyqs.commands.shown import console, number, span
from pyqs.queues.discovery import Found
from pyqs.queues.patterns import Pattern

if TYPE_CHECKING:
    from pyqs.queues.census import Census


@click.command("queues", short_help="Print what would be consumed, and how these queues are.")
@options.queue_options
@options.app_options
@click.option("--table", is_flag=True, help="The table, also where the output is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="JSON: {queues, left_alone, missing}, for programs.")
@options.connection_options
@options.log_level_option(default="WARNING")
def command(queues: tuple[str, ...], exclude: tuple[str, ...], app: str | None, **values: Any) -> int:
    """Print the queues that a worker with the same -Q, -X and -A would consume, what they hold, and what may surprise.

    On a terminal: a table with what each queue and its dead-letter queue hold, how it is set up, and warnings. Elsewhere one
    line per queue, without asking for its attributes: its name, what matched it, its URL, its options (weight, max). Counts are
    approximate, as SQS's are; the age of the oldest message SQS tells CloudWatch only. Exit code 2 when a queue named
    literally does not exist, or nothing at all is matched.
    """
    asked = named(queues, app, values)
    from pyqs.sqs import connect

    wide = values["as_json"] or values["table"] or sys.stdout.isatty()
    sqs = connect(asked.connection)
    try:
        found = asked.found(sqs, exclude)
        if wide:
            from pyqs.queues.census import take_census

            census = take_census(sqs, found.queues)
    finally:
        sqs.close()
    if values["as_json"]:
        print(json.dumps(document(found, census), indent=2))
    elif wide:
        _print_table(rows(found), census)
    else:
        for row in rows(found):
            print("\t".join(row))
    sys.stdout.flush()
    for line in complaints(found, asked.patterns):
        print(f"pyqs: {line}", file=sys.stderr)
    return cli.EXIT_USAGE if found.missing or not found.queues else cli.EXIT_OK


def rows(found: Found) -> list[tuple[str, str, str, str]]:
    """(queue, the patterns that took it, URL, its options as ``weight=3 max=2``), by name."""
    options = found.options()
    listed = []
    for name, url in sorted(found.queues.items()):
        matched = ", ".join(pattern.text for pattern in found.taken_by[name])
        listed.append((name, matched, url, str(options[name]).replace(":", " ").strip()))
    return listed


def complaints(found: Found, patterns: Sequence[Pattern]) -> list[str]:
    """One line for each thing that was asked for and is not consumed, and why."""
    lines = [f"{name}: left alone, {reason}" for name, reason in sorted(found.skipped.items())]
    lines += [f"{name}: {reason}" for name, reason in sorted(found.overruled().items())]
    for text, near in found.missing.items():
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        lines.append(f"queue {text!r} does not exist{hint}")
    if not found.queues and not found.missing:
        lines.append(f"no queue matches {', '.join(repr(pattern.text) for pattern in patterns)}")
    return lines


def document(found: Found, census: Sequence[Census]) -> dict[str, Any]:
    """Everything, for programs; what is not known is null."""
    by_name = {row[0]: row for row in rows(found)}
    listed = [
        {
            "name": one.name,
            "url": one.url,
            "matched_by": [pattern.text for pattern in found.taken_by[one.name]],
            "options": by_name[one.name][3],
            "fifo": one.is_fifo,
            "visible": one.visible,
            "in_flight": one.in_flight,
            "delayed": one.delayed,
            "oldest_age": None,  # SQS has no call for it; CloudWatch: ApproximateAgeOfOldestMessage
            "visibility_timeout": one.visibility,
            "retention": one.retention,
            "delay": one.delay,
            "max_receive_count": one.redrive.max_receives if one.redrive else None,
            "dead_letter_queue": {"name": one.redrive.name, "arn": one.redrive.arn, "messages": one.dead_letters}
            if one.redrive
            else None,
            "warnings": list(one.warnings),
            "problem": one.problem or None,
        }
        for one in census
    ]
    missing = {text: list(near) for text, near in found.missing.items()}
    return {"queues": listed, "left_alone": dict(found.skipped), "missing": missing}


def _print_table(listed: Sequence[tuple[str, str, str, str]], census: Sequence[Census]) -> None:
    from rich.table import Table

    screen = console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("queue", "matched by"):
        table.add_column(heading)
    for heading in ("visible", "in flight", "delayed", "hides for", "keeps for", "receives"):
        table.add_column(heading, justify="right")
    table.add_column("dead-letter queue")
    table.add_column("in it", justify="right")
    with_options = any(row[3] for row in listed)
    if with_options:
        table.add_column("options")
    for row, one in zip(listed, census, strict=True):
        redrive = one.redrive
        cells = [
            *row[:2],
            *(number(count) for count in (one.visible, one.in_flight, one.delayed)),
            span(one.visibility),
            span(one.retention),
            number(redrive.max_receives if redrive else None),
            redrive.name if redrive else "-",
            number(one.dead_letters),
            *([row[3]] if with_options else []),
        ]
        style = "yellow" if one.warnings or one.problem else None
        table.add_row(*cells, style=style)
    screen.print(table)
    for one in census:
        for line in (one.problem, *one.warnings):
            if line:
                screen.print(f"{one.name}: {line}", style="yellow", soft_wrap=True)
