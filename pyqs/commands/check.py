"""``pyqs check``: reads a codebase that uses Celery and says, use by use, what works here, what differs and what does not.

Owns: the forms of the output (text, JSON, annotations of GitHub's workflows), the exit code, and the question to SQS which
queues have a dead-letter queue. Runs in the main thread. User code is read as text; with ``-A`` an app is imported, in a
short-lived process of its own. Asks AWS nothing unless ``--aws`` is given.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from pyqs import cli, logs
from pyqs.commands import options
from pyqs.commands.app import AppSettings, merge_connection, read_app_settings
from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError, PyQSError

#: Columns of what is said of a use, where it goes on in a further line.
_WIDTH = 118
#: Verdicts in the order in which people read them, and what each is called.
_TITLES = {
    "not-supported": "not supported, do this instead",
    "difference": "works, with this difference",
    "look": "not known here: look",
    "same": "works the same",
}
_SHORT = {"not-supported": "not supported", "difference": "different", "look": "to look at", "same": "the same"}
_REDRIVE = (
    "no dead-letter queue: Celery's workers delete from such a queue what they cannot read, and a message that fails for ever "
    "comes back for ever. Give it a RedrivePolicy"
)
_NAME = re.compile(r"[\w.-]+")
#: What GitHub calls an annotation of each.
_LEVELS = {"not-supported": "error", "difference": "notice", "look": "warning"}
_FAILING = {"not-supported": {"not-supported"}, "difference": {"not-supported", "difference", "look"}, "never": set[str]()}


@click.command("check", short_help="Say what of a codebase on Celery works here, and what does not.")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@options.app_options
@options.option(
    "--exclude", env="CHECK_EXCLUDE", multiple=True, metavar="PATTERN", help="Files or directories to leave out. Repeatable."
)
@options.option(
    "--format",
    "form",
    env="CHECK_FORMAT",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="For people, for programs (docs/checking.md), or annotations of a GitHub workflow.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@options.option(
    "--fail-on",
    "fail_on",
    env="CHECK_FAIL_ON",
    type=click.Choice(list(_FAILING)),
    default="not-supported",
    show_default=True,
    help="Exit code 1 when there is something of this kind, or worse.",
)
@options.option(
    "--grace",
    env="CHECK_GRACE",
    type=options.Seconds(),
    metavar="SECONDS",
    help="How long the platform waits between SIGTERM and SIGKILL: names tasks that are lost then.",
)
@options.option("--aws/--no-aws", env="CHECK_AWS", default=False, help="Ask SQS which of the queues have a dead-letter queue.")
@click.option("-v", "--all", "everything", is_flag=True, help="Show what works the same, too.")
@options.connection_options
def command(paths: tuple[str, ...], app: str | None, include: tuple[str, ...], **values: Any) -> int:
    """Say of each use of Celery, with file and line: works the same, works with a difference, not supported.

    \b
    pyqs check                     what is below the working directory
    pyqs check src -A proj         and what the imported app says of its settings and tasks
    pyqs check --format github     annotations for a pull request

    Code is read, not run; only -A imports the app. A line with "# pyqs: ok" in it is left alone. Exit code 1 when something is
    not supported (--fail-on), 2 for a path that does not exist or has no Python file.
    """
    connection, flags = options.take_connection(values)
    logs.configure("WARNING", secrets=(connection.secret_access_key, connection.session_token))
    module, _, name = cli.COMPAT_CHECK.partition(":")
    check: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    found = check(
        list(paths) if paths or app else ["."],
        exclude=options.items(values["exclude"]),
        grace=values["grace"],
        app=app,
        include=options.items(include),
        directory=os.getcwd(),
    )
    queues = found.pop("queues")
    if values["aws"]:
        settings = _settings(app, include, found["notes"])
        connection = merge_connection(flags, settings) if app else connection
        found["findings"] += without_redrive(queues, settings, connection, found["notes"])
    elif queues:
        found["notes"].append("whether queues have a dead-letter queue was not asked: --aws does")
    found["summary"] = {verdict: sum(one["verdict"] == verdict for one in found["findings"]) for verdict in _TITLES}
    _print(found, "json" if values["as_json"] else values["form"], everything=values["everything"])
    failing = _FAILING[values["fail_on"]]
    return 1 if any(one["verdict"] in failing for one in found["findings"]) else cli.EXIT_OK


def _settings(app: str | None, include: tuple[str, ...], notes: list[str]) -> AppSettings:
    """What the app says of its queues and connection, or nothing where a worker would not start with it."""
    if app:
        try:
            return read_app_settings(app, options.items(include), os.getcwd())
        except ConfigError as exc:
            notes.append(f"the app's connection and queue prefix are not known: {exc}")
    return AppSettings()


def without_redrive(
    queues: Mapping[str, Mapping[str, Any]], settings: AppSettings, connection: ConnectionConfig, notes: list[str]
) -> list[dict[str, Any]]:
    """A finding for each queue that has no RedrivePolicy and is no dead-letter queue itself.

    Parameters:
        queues: name to the place (path, line, column) that names it.
        settings: of the app: prefix and predefined queues.
        notes: gets a line for each queue that could not be asked for.
    """
    from pyqs.queues.names import canonical_name
    from pyqs.sqs import connect

    predefined = dict(settings.predefined_queues)
    findings = []
    sqs = connect(connection)
    try:
        for name, place in queues.items():
            if not _NAME.fullmatch(name):
                continue  # a pattern, or a shell's variable
            try:
                url = predefined.get(name) or sqs.queue_url(canonical_name(name, settings.queue_prefix))
                if "RedrivePolicy" in sqs.queue_attributes(url, ("RedrivePolicy",)) or sqs.dead_letter_sources(url):
                    continue
            except PyQSError as exc:
                notes.append(f"queue {name!r} was not asked for: {exc}")
                continue
            where = {"file": place["path"], "line": place["line"], "column": place["column"]}
            findings.append({**where, "rule": "redrive", "use": f"queue {name}", "verdict": "difference", "note": _REDRIVE})
    finally:
        sqs.close()
    return findings


def _print(found: Mapping[str, Any], form: str, *, everything: bool) -> None:
    shown = [one for one in found["findings"] if everything or one["verdict"] != "same"]
    if form == "json":
        lines: Iterable[str] = [json.dumps(found, indent=2)]
    elif form == "github":
        lines = [annotation(one) for one in shown if one["verdict"] in _LEVELS]
    else:
        lines = text(found, shown)
    for line in lines:
        print(line)
    sys.stdout.flush()


def text(found: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """The report for people: by verdict, then by what is said, then by place."""
    lines = []
    for verdict, title in _TITLES.items():
        mine = [one for one in shown if one["verdict"] == verdict]
        if not mine:
            continue
        lines += [f"{title} ({len(mine)})", ""]
        by_note: dict[str, list[Mapping[str, Any]]] = {}
        for one in mine:
            by_note.setdefault(one["note"], []).append(one)
        for note, ones in by_note.items():
            indent = "  "
            lines += textwrap.wrap(note, _WIDTH, initial_indent=indent, subsequent_indent=indent) if note else []
            lines += [f"    {_place(one)}  {one['use']}" for one in ones]
            lines.append("")
    counts = ", ".join(f"{found['summary'][verdict]} {short}" for verdict, short in _SHORT.items())
    lines.append(f"{found['files']} Python files: {counts}")
    lines += [f"note: {note}" for note in found["notes"]]
    return lines


def _place(one: Mapping[str, Any]) -> str:
    return f"{one['file']}:{one['line']}" if one["line"] else str(one["file"])


def annotation(one: Mapping[str, Any]) -> str:
    """A finding as a command of GitHub's workflows."""
    where = f"file={_escaped(one['file'], ':,')},line={one['line']},col={one['column']}," if one["line"] else ""
    title = _escaped(f"{one['use']}: {_TITLES[one['verdict']]}", ":,")
    return f"::{_LEVELS[one['verdict']]} {where}title={title}::{_escaped(one['note'])}"


def _escaped(said: str, more: str = "") -> str:
    for sign in "%\r\n" + more:  # % first: the others become one
        said = said.replace(sign, f"%{ord(sign):02X}")
    return said
