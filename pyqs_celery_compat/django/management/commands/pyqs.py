"""``manage.py pyqs ...``: the command line of pyqs inside of the project.

Owns: ``Command``. Runs in the process of ``manage.py``, in whose place pyqs then is: a worker's parent never imports an app,
and its signals and exit code are pyqs's own. Never reads an argument but Django's own two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

#: Django's options that its own command line has seen to before a command is looked for.
_DJANGOS = ("--settings", "--pythonpath")


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """All of pyqs's commands and options: ``manage.py pyqs worker -A proj -Q emails``."""

    help = "The command line of pyqs: manage.py pyqs worker -A proj; manage.py pyqs --help"
    requires_system_checks: Sequence[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Become pyqs. Does not return.

        Parameters:
            argv: ``manage.py``, ``pyqs`` and what pyqs is told.
        """
        command, env = _command(argv[2:], os.path.dirname(os.path.abspath(argv[0])))
        if sys.platform == "win32":  # its exec returns to the terminal at once
            sys.exit(subprocess.call(command, env=env))
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(command[0], command, env)

    def handle(self, *args: Any, **options: Any) -> None:
        """For ``call_command("pyqs", ...)``: to the end, in a process of its own.

        Raises:
            CommandError: it did not end well; its exit code is the ``returncode``.
        """
        command, env = _command([str(each) for each in args], "")
        code = subprocess.call(command, env=env)
        if code:
            raise CommandError(f"pyqs {' '.join(map(str, args))}: exit code {code}", returncode=code)

    def add_arguments(self, parser: Any) -> None:
        """``call_command`` may hand in any number."""
        parser.add_argument("args", nargs="*")


def _command(args: list[str], directory: str) -> tuple[list[str], dict[str, str]]:
    """The program, and its environment: it can import what ``manage.py`` can.

    Parameters:
        directory: of ``manage.py``; "" if nobody knows.
    """
    given: dict[str, str] = {}
    kept: list[str] = []
    waiting = iter(args)
    for arg in waiting:
        name, equals, value = arg.partition("=")
        if name in _DJANGOS:
            given[name] = value if equals else next(waiting, "")
        else:
            kept.append(arg)
    path = (given.get("--pythonpath", ""), directory, os.environ.get("PYTHONPATH", ""))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    return [sys.executable, "-m", "pyqs", *kept], env
