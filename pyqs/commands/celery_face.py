"""Celery's command as a whole: ``python -m pyqs_celery_compat`` takes what ``celery`` took, for Dockerfiles and Procfiles.

Owns: which commands there are, what is said of those that are not, Celery's variables for the options before the command, and
what a worker has under this name without being told: a node's name of Celery's form, and a heartbeat file that ``status``
finds. Runs in the main thread before anything else.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

import click

from pyqs.commands import celery_parsing, local_workers
from pyqs.commands.celery_options import CELERY, REFUSED_COMMANDS
from pyqs.commands.group import group as pyqs
from pyqs.commands.group import run_in
from pyqs.errors import ConfigError

#: Those of Celery's commands that are here.
COMMANDS = ("worker", "beat", "call", "result", "purge", "report", "shell", "status", "inspect")
#: Celery's variables for options before the command -> the variables by which every process hears of those.
VARIABLES: Mapping[str, str] = {
    "BROKER_URL": "CELERY_BROKER_URL",
    "RESULT_BACKEND": "CELERY_RESULT_BACKEND",
    "LOADER": "CELERY_LOADER",
    "CONFIG_MODULE": "CELERY_CONFIG_MODULE",
}
#: Celery's variables for the others of them -> the parameters of our commands.
PARAMETERS: Mapping[str, str] = {"APP": "app", "NO_COLOR": "no_color", "SKIP_CHECKS": "skip_checks"}


def run(argv: Sequence[str]) -> int:
    """Run a command line of Celery's; its exit code. PyQSErrors and bugs pass through to ``cli.main``."""
    args = celery_parsing.celerys_order(argv)
    before = list(itertools.takewhile(lambda arg: arg not in (*COMMANDS, *REFUSED_COMMANDS), argv))
    if ends := [arg for arg in before if arg in ("--version", "--help", "-h")]:
        args = ends[:1]  # wherever it stands before the command
    group = _group()
    if command_of(args) is None and celery_parsing.celerys_order([*args, "worker"])[0] == "worker":
        args = ["--help"]  # options before the command, and no command
    for variable, ours in VARIABLES.items():
        if value := os.environ.get(variable):
            os.environ[ours] = value
    return run_in(group, args or ["--help"], "celery", default_map=_defaults(os.environ), obj=local_workers.file_for)


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


def _defaults(environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What parameters of the commands are where neither an option nor a variable of ours says so."""
    common = {name: value for variable, name in PARAMETERS.items() if (value := _given(variable, environ))}
    return {name: common | ({"hostname": "celery@%h"} if name == "worker" else {}) for name in COMMANDS}


def _given(variable: str, environ: Mapping[str, str]) -> str:
    """A variable's value; that of a switch is on, whatever it is."""
    value = environ.get(variable, "")
    return "1" if value and variable != "APP" else value
