"""Celery's command as a whole: ``python -m pyqs_celery_compat`` takes what ``celery`` took, for Dockerfiles and Procfiles.

Owns: which commands there are, what is said of those that are not, Celery's variables for the options before the command, and
what a worker has under this name without being told: a node's name of Celery's form, and a heartbeat file that ``status``
finds. Runs in the main thread before anything else.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence

import click

from pyqs.commands import celery_parsing, local_workers
from pyqs.commands.celery_options import CELERY, REFUSED_COMMANDS, of
from pyqs.commands.group import group as pyqs
from pyqs.commands.group import run_in
from pyqs.commands.node_name import node_name
from pyqs.config import ENV_PREFIX
from pyqs.errors import ConfigError

#: Those of Celery's commands that are here.
COMMANDS = ("worker", "beat", "call", "result", "purge", "report", "shell", "status", "inspect")
#: Celery's variables for options before the command.
VARIABLES: Mapping[str, str] = {
    "APP": "--app",
    "BROKER_URL": "--broker",
    "RESULT_BACKEND": "--result-backend",
    "LOADER": "--loader",
    "CONFIG_MODULE": "--config",
    "NO_COLOR": "--no-color",
    "SKIP_CHECKS": "--skip-checks",
}


def run(argv: Sequence[str]) -> int:
    """Run a command line of Celery's; its exit code. PyQSErrors and bugs pass through to ``cli.main``."""
    args = celery_parsing.celerys_order(argv)
    before = list(itertools.takewhile(lambda arg: arg not in (*COMMANDS, *REFUSED_COMMANDS), argv))
    if ends := [arg for arg in before if arg in ("--version", "--help", "-h")]:
        args = ends[:1]  # wherever it stands before the command
    group = _group()
    if command_of(args) is None and celery_parsing.celerys_order([*args, "worker"])[0] == "worker":
        args = ["--help"]  # options before the command, and no command
    if args and args[0] in COMMANDS:
        args = [args[0], *_from_variables(args[1:], os.environ), *args[1:]]
        if args[0] == "worker":
            _name_worker(args[1:])
    return run_in(group, args or ["--help"], "celery")


def command_of(argv: Sequence[str]) -> str | None:
    """The word of a command line that names a command, which need not be one of these."""
    args = celery_parsing.celerys_order(argv)
    return None if not args or args[0].startswith("-") else args[0]


def _group() -> click.Group:
    from pyqs.commands.group import version

    group = click.Group(
        "celery",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        help="Celery's command line on pyqs: options before the command are taken before it and behind it.",
        epilog="Not here, with what to use instead on use: " + ", ".join(sorted(REFUSED_COMMANDS)) + ". What becomes of each "
        "option: docs/command-line.md.",
    )
    group = click.version_option(version(), message=f"{CELERY} (pyqs {version()})")(group)
    for name in COMMANDS:
        if name in pyqs.commands:
            group.add_command(pyqs.commands[name])
    for name, instead in REFUSED_COMMANDS.items():
        group.add_command(_refused(name, instead))
    return group


def _refused(name: str, instead: str) -> click.Command:
    @click.command(
        name,
        hidden=True,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
        help=instead,
    )
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def refused(rest: tuple[str, ...]) -> None:
        raise ConfigError(f"celery {name} is not here: {instead}")

    return refused


def _from_variables(args: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Options that only a variable gives. ``PYQS_APP`` and an option given win."""
    rows = {name: row for row in of("") for name in row.names}
    found: list[str] = []
    for variable, option in VARIABLES.items():
        value = environ.get(variable)
        given = [name for name in rows[option].names if any(_is(arg, name) for arg in args)]
        if not value or given or (option == "--app" and environ.get(f"{ENV_PREFIX}APP")):
            continue
        found += [option] if rows[option].flag else [option, value]
    return found


def _is(arg: str, name: str) -> bool:
    return arg == name or arg.startswith(f"{name}=" if name.startswith("--") else name)


def _name_worker(args: Sequence[str]) -> None:
    """Celery's default name, and a heartbeat file where ``status`` looks: in variables, which an option overrides."""
    default: Callable[[str, str], str] = os.environ.setdefault
    given = _value_of(args, "-n", "--hostname") or default(f"{ENV_PREFIX}HOSTNAME", "celery@%h")
    if not _value_of(args, "--heartbeat-file"):
        path = local_workers.file_for(node_name(given))
        if path is not None:
            default(f"{ENV_PREFIX}HEARTBEAT_FILE", path)


def _value_of(args: Sequence[str], *names: str) -> str | None:
    """An option's value in arguments that click has not read yet."""
    for at, arg in enumerate(args):
        for name in names:
            if arg == name:
                return args[at + 1] if at + 1 < len(args) else None
            if _is(arg, name):
                return arg[len(name) :].lstrip("=")
    return None
