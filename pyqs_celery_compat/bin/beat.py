"""``celery beat``, which is not here.

Owns: the command ``beat``, which says so. Never starts anything.
"""

from __future__ import annotations

import click

from pyqs_celery_compat.bin import NO_COMMAND
from pyqs_celery_compat.bin.base import CeleryDaemonCommand


@click.command(cls=CeleryDaemonCommand, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@click.pass_context
def beat(ctx: click.Context) -> None:
    """Not here: see ``pyqs --help``."""
    raise click.UsageError(NO_COMMAND)
