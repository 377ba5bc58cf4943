"""``celery worker`` as an object.

Owns: the command ``worker``. Runs in the main thread, which becomes that of the worker's parent.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from pyqs_celery_compat import program
from pyqs_celery_compat.bin.base import CeleryDaemonCommand


@click.command(cls=CeleryDaemonCommand, add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def worker(ctx: click.Context, rest: Sequence[str]) -> None:
    """Run a worker; its options are those of ``pyqs worker``."""
    ctx.exit(program.of_context(ctx.obj, ["worker", *rest]))
