"""``pyqs local``: the embedded SQS as a server for development.

Owns: its options only; the server is ``pyqs.local.serve``. Runs in the main thread of the server's process.
"""

from __future__ import annotations

from pathlib import Path

import click

from pyqs.commands import options
from pyqs.errors import ConfigError


@click.command("local", short_help="An SQS on this machine, for development.")
@options.option("--host", env="LOCAL_HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@options.option(
    "--port", env="LOCAL_PORT", type=click.IntRange(0, 65535), default=9324, show_default=True, help="0 picks a free one."
)
@options.option(
    "--db", env="LOCAL_DB", type=click.Path(dir_okay=False, path_type=Path), help="SQLite file that keeps the queues."
)
@options.option("--memory", env="LOCAL_MEMORY", is_flag=True, help="Keep nothing (the default without --db).")
@options.option(
    "--fault", "faults", env="LOCAL_FAULT", multiple=True, metavar="SPEC", help="Misbehave on purpose, for tests. Repeatable."
)
def command(host: str, port: int, db: Path | None, memory: bool, faults: tuple[str, ...]) -> int:
    """Serve SQS's JSON protocol on this machine, so that any AWS SDK can be pointed at it.

    It is for development and tests: it checks no signatures and is reachable from this machine only, unless --host says
    otherwise. It prints the variables to export.
    """
    if db and memory:
        raise ConfigError("--db and --memory exclude each other")
    from pyqs.local.serve import run

    return run(host=host, port=port, db=str(db) if db else None, memory=memory, faults=faults)
