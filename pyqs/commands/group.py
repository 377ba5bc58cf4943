"""The ``pyqs`` command as a whole: which subcommand, or PyQS's form without one.

Owns: the table of subcommands, the rule for a first argument that is none of them, and what click's own errors look like.
Runs in the main thread before anything else.

The first argument decides. A subcommand's name is that subcommand. Anything else that is no option is a queue, as in PyQS
(``pyqs 'email.*'``), unless it is so near to a subcommand's name that it must be a slip (``wroker``): that is an error
which names both ways out. ``pyqs -A proj worker ...``, Celery's order, is ``pyqs worker -A proj ...``; Celery's command as a
whole is ``celery_face``.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Any

import click

from pyqs import cli
from pyqs.commands import (
    beat,
    by_hand,
    check,
    demo,
    dlq,
    iam_policy,
    legacy,
    local,
    peek,
    purge,
    queues,
    report,
    send,
    stats,
    status,
    worker,
)
from pyqs.commands.celery_parsing import celerys_order

#: How alike (difflib's ratio) a first argument and a subcommand may be before it counts as a slip of the keyboard.
_SLIP = 0.75
#: By how many letters a word may be longer than a subcommand that it begins with, to be one of its own.
_LONGER = 3


def version() -> str:
    """The installed distribution's version."""
    try:
        return importlib.metadata.version("pyqs")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Without a subcommand, as in PyQS: pyqs 'email.*', pyqs send_email,read_email --concurrency 10. Options: "
    "pyqs QUEUE --help. A queue named like a subcommand, or nearly: pyqs worker -Q NAME.",
)
@click.version_option(version(), prog_name="pyqs")
def group() -> None:
    """A task queue on Amazon SQS that runs Celery's messages and its own."""


for _command in (
    worker.command,
    beat.command,
    queues.command,
    by_hand.call,
    by_hand.result,
    by_hand.shell,
    status.status,
    status.inspect,
    stats.command,
    peek.command,
    dlq.group,
    purge.command,
    send.command,
    report.command,
    check.command,
    iam_policy.command,
    local.command,
    demo.command,
):
    group.add_command(_command)


def run(argv: Sequence[str]) -> int:
    """Run one command line; its exit code. PyQSErrors and bugs pass through to ``cli.main``."""
    args = celerys_order(argv, group.commands)
    if not args:
        print(group.get_help(click.Context(group, info_name="pyqs")), file=sys.stderr)
        return cli.EXIT_USAGE
    try:
        return run_in(legacy.command if is_queue_form(args) else group, args, "pyqs")
    except click.ClickException as error:
        error.show()
        return cli.EXIT_USAGE


def run_in(chosen: click.Command, args: Sequence[str], name: str, **context: Any) -> int:
    """Run a command line in this group or command, whose program has this name; its exit code.

    Parameters:
        context: of click's context.
    """
    try:
        code = chosen.main(args=list(args), prog_name=name, standalone_mode=False, **context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return cli.EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return cli.EXIT_USAGE
    return code if isinstance(code, int) else cli.EXIT_OK


def is_queue_form(args: Sequence[str]) -> bool:
    """Whether this is PyQS's form, which names queues and no subcommand.

    Raises:
        click.UsageError: the first argument looks like a mistyped subcommand.
    """
    if not args or args[0] in group.commands or args[0] in {"-h", "--help", "--version"}:
        return False
    first = args[0]
    near = difflib.get_close_matches(first, list(group.commands), n=1, cutoff=_SLIP)
    near = [name for name in near if not first.startswith(name) or len(first) - len(name) < _LONGER]  # checkout is no check
    if near:
        raise click.UsageError(
            f"there is no command {first!r}; did you mean 'pyqs {near[0]}'? (a queue of that name: pyqs worker -Q {first})"
        )
    return True
