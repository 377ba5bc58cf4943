"""The ``celery`` command, to which libraries add their own.

Owns: the group ``celery`` and ``main``. What was added to it runs; Celery's own commands say what there is instead.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from pyqs_celery_compat.bin import NO_COMMAND
from pyqs_celery_compat.bin.base import CLIContext
from pyqs_celery_compat.bin.beat import beat
from pyqs_celery_compat.bin.worker import worker


@click.group(invoke_without_command=True)
@click.option("-A", "--app", metavar="APP", help="The app, as for pyqs worker.")
@click.option("-q", "--quiet", is_flag=True)
@click.option("-C", "--no-color", is_flag=True)
@click.option("--workdir", metavar="PATH", help="Where the app is imported from.")
@click.pass_context
def celery(ctx: click.Context, app: str | None, quiet: bool, no_color: bool, workdir: str | None) -> None:
    """The commands that libraries have added; the worker is ``pyqs worker``."""
    if ctx.invoked_subcommand is None:
        raise click.UsageError(NO_COMMAND)
    found: Any = None
    if app:
        from pyqs_celery_compat.finding import find_app

        found = find_app(app, workdir or ".")
    ctx.obj = CLIContext(app=found, no_color=no_color, workdir=workdir, quiet=quiet)


celery.add_command(worker)
celery.add_command(beat)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; answers the exit status."""
    return int(celery.main(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False) or 0)
