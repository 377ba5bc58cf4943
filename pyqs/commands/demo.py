"""``pyqs demo``. Owns nothing but the command: the demo is ``pyqs.demo``."""

from __future__ import annotations

import sys

import click

from pyqs.errors import ConfigError


@click.command("demo", short_help="See it work, without an AWS account.")
def command() -> int:
    """Drain an SQS that runs inside the demo, and count.

    Queues are filled with messages of Celery 5.7, 4.4 and 3.1, of shared_task, of native tasks and of PyQS 1.0.1, and one
    forged message. One worker drains them. Exit code 0 only if every message ran exactly once and the forged one is still
    there.
    """
    if sys.platform == "win32":
        raise ConfigError("the demo needs a worker, which does not run on Windows; use Linux, a container or WSL")
    from pyqs.demo.run import run

    return run()
