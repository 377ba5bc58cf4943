"""``pyqs report``: versions, and what becomes of each setting of a Celery-style app.

Owns: the two forms of the output, text for people and JSON for programs. Runs in the main thread; the app is imported in a
short-lived process of its own. Makes no call to AWS, and shows no secret.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import textwrap
from typing import Any

import click

from pyqs import cli
from pyqs.commands import celery_parsing, options
from pyqs.errors import ConfigError

#: Columns of what is said of a setting, where it goes on in a further line.
_WIDTH = 110


@click.command("report", cls=celery_parsing.Command, short_help="Print versions, and what becomes of an app's settings.")
@options.app_options
@click.option("--json", "as_json", is_flag=True, help="JSON: {versions, app, settings, errors, remarks}.")
@celery_parsing.unheeded("report")
def command(app: str | None, include: tuple[str, ...], as_json: bool) -> int:
    """Print versions, and each setting of the app that is not Celery's default: its value, and what becomes of it here.

    \b
    pyqs report -A proj
    pyqs report -A proj --json

    Secrets are starred out, so that it fits into an issue. Nothing is asked of AWS. Exit code 2 when a worker would not start
    with these settings.
    """
    if not app:
        raise ConfigError("whose settings? give -A proj, which finds proj.app, proj.celery and proj.celery.app")
    module, _, name = cli.COMPAT_APP_REPORT.partition(":")
    found: dict[str, Any] = getattr(importlib.import_module(module), name)(app, options.items(include), os.getcwd())
    print(json.dumps(found, indent=2) if as_json else "\n".join(text(found)))
    sys.stdout.flush()
    return cli.EXIT_USAGE if found["errors"] else cli.EXIT_OK


def text(found: dict[str, Any]) -> list[str]:
    """The report for people, line by line."""
    lines = [*_pairs(found["versions"]), "", *_pairs(found["app"])]
    celerys = [one for one in found["settings"] if one["fate"] is not None]
    own = [one for one in found["settings"] if one["fate"] is None]
    lines += ["", "settings that are not Celery's defaults:" if celerys else "no setting differs from Celery's defaults"]
    for one in celerys:
        lines.append(f"  {one['name']} = {_shown(one)}")
        lines += _wrapped(f"{one['fate']}: {one['note']}".replace("`", "") if one["note"] else one["fate"])
    if own:
        lines += ["", "settings that are not Celery's:"]
        lines += [f"  {one['name']} = {_shown(one)}" for one in own]
    for title, said in (("a worker would say:", found["remarks"]), ("a worker would not start:", found["errors"])):
        if said:
            lines += ["", title, *(line for one in said for part in one.splitlines() for line in _wrapped(part, 2))]
    return lines


def _shown(one: dict[str, Any]) -> str:
    """A value that is text in quotation marks; what JSON has no value for is its repr already."""
    return str(one["value"]) if one["is_repr"] else repr(one["value"])


def _pairs(table: dict[str, Any]) -> list[str]:
    width = max(map(len, table)) + 2
    return [f"{name:{width}}{value}" for name, value in table.items() if value is not None]


def _wrapped(said: str, indent: int = 6) -> list[str]:
    return textwrap.wrap(said, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2)) or [""]
