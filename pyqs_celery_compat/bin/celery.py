"""The ``celery`` command, to which libraries add their own.

Owns: the group ``celery`` and ``main``. What was added to it, or is installed as a plugin (entry points of
``celery.commands``), runs here; Celery's own commands are handed on as they were typed. Runs in the main thread.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Any

import click

from pyqs_celery_compat import program
from pyqs_celery_compat.bin.base import CLIContext
from pyqs_celery_compat.bin.beat import beat
from pyqs_celery_compat.bin.worker import worker

_ARGV = "pyqs.celery.argv"


class _Group(click.Group):
    """Knows Celery's commands, those that were added, and plugins."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed, for commands that are handed on."""
        ctx.meta[_ARGV] = list(args)
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in program.COMMANDS:
            return click.Command(
                cmd_name,
                params=[click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED)],
                callback=_handed_on,
                add_help_option=False,
                context_settings={"ignore_unknown_options": True},
            )
        return found if found is not None else _plugin(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted({*super().list_commands(ctx), *program.COMMANDS, *(entry.name for entry in _plugins())})


def _handed_on(rest: Sequence[str]) -> None:
    context = click.get_current_context()
    context.exit(program.own(context.meta[_ARGV]))


def _plugins() -> list[Any]:
    return list(importlib.metadata.entry_points(group="celery.commands"))


def _plugin(name: str) -> click.Command | None:
    entry = next((entry for entry in _plugins() if entry.name == name), None)
    if entry is None:
        return None
    found = entry.load()
    return found if isinstance(found, click.Command) else None


@click.group(cls=_Group, invoke_without_command=True)
@click.option("-A", "--app", metavar="APP", envvar="APP")
@click.option("-b", "--broker", metavar="URL")
@click.option("--result-backend", metavar="URL")
@click.option("--loader", metavar="PATH")
@click.option("--config", metavar="MODULE")
@click.option("--workdir", metavar="PATH", help="Where the app is imported from.")
@click.option("-C", "--no-color", is_flag=True)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--skip-checks", is_flag=True)
@click.pass_context
def celery(ctx: click.Context, /, app: str | None, quiet: bool, no_color: bool, workdir: str | None, **own: Any) -> None:
    """Celery's command line, and the commands that libraries add to it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        return
    name = ctx.invoked_subcommand
    if name in program.COMMANDS and name not in celery.commands:
        return
    found: Any = None
    if app:
        from pyqs_celery_compat.finding import find_app

        found = find_app(app, workdir or ".")
    ctx.obj = CLIContext(app=found, no_color=no_color, workdir=workdir, quiet=quiet)


celery.add_command(worker)
celery.add_command(beat)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; answers the exit status."""
    return program.main(sys.argv[1:] if argv is None else argv)
