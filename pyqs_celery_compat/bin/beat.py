"""``celery beat`` as an object.

Owns: the command ``beat``. Runs in the main thread of beat's process.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from pyqs_celery_compat import program
from pyqs_celery_compat.bin.base import CeleryDaemonCommand


@click.command(cls=CeleryDaemonCommand, add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def beat(ctx: click.Context, rest: Sequence[str]) -> None:
    """Send periodic tasks; its options are those of ``pyqs beat``."""
    ctx.exit(program.of_context(ctx.obj, ["beat", *rest]))
