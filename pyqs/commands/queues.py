"""``pyqs queues``: what a worker with these ``-Q``, ``-X`` and ``-A`` would consume, and nothing else.

Owns: the listing and its two forms, a table for people and lines of tab-separated fields for programs. Runs in the main
thread; makes the discovery calls a worker makes, receives nothing, creates nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from pyqs import cli, logs
from pyqs.commands import options
from pyqs.commands.app import AppSettings, merge_connection, read_app_settings
from pyqs.errors import ConfigError
from pyqs.queues.discovery import Found, discover
from pyqs.queues.patterns import Pattern, compile_patterns


@click.command("queues", short_help="Print what would be consumed.")
@options.queue_options
@options.app_options
@options.connection_options
@options.log_level_option(default="WARNING")
def command(queues: tuple[str, ...], exclude: tuple[str, ...], app: str | None, **values: Any) -> int:
    """Print the queues that a worker with the same -Q, -X and -A would consume, then stop.

    One line per queue: its name, what matched it, its URL, its options (weight, max). Exit code 2 when a queue named
    literally does not exist, or nothing at all is matched.
    """
    connection, flags = options.take_connection(values)
    logs.configure(values["log_level"], secrets=(connection.secret_access_key, connection.session_token))
    settings = AppSettings()
    if app:
        settings = read_app_settings(app, options.items(values["include"]), os.getcwd())
        connection = merge_connection(flags, settings)
    patterns = compile_patterns(queues or settings.queues)
    if not patterns:
        raise ConfigError(
            "no queue to look for: give -Q 'email.*' (a name, glob, URL or ARN), or -A with an app that names them"
        )
    from pyqs.sqs import connect

    sqs = connect(connection)
    try:
        found = discover(
            sqs,
            patterns,
            exclude=compile_patterns(exclude, excluding=True),
            prefix_bound=settings.queue_prefix,
            predefined=dict(settings.predefined_queues) or None,
            suggest=True,
        )
    finally:
        sqs.close()
    _print(rows(found))
    for line in complaints(found, patterns):
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


def _print(listed: Sequence[tuple[str, str, str, str]]) -> None:
    if not sys.stdout.isatty():
        for row in listed:
            print("\t".join(row))
        sys.stdout.flush()
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("queue", "matched by", "URL", "options", box=None, header_style="bold", pad_edge=False)
    for row in listed:
        table.add_row(*row)
    Console().print(table)
