"""The one queue that a command is about, the connection to it, and the question before what cannot be undone.

Owns: what ``peek``, ``dlq``, ``purge`` and ``send`` share. Runs in the main thread. Never receives or sends anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from pyqs import logs
from pyqs.commands import options
from pyqs.errors import ConfigError, QueueNotFound
from pyqs.queues.discovery import discover
from pyqs.queues.patterns import compile_patterns
from pyqs.sqs import Sqs, connect


class Target(NamedTuple):
    """One queue: its SQS name and its URL."""

    name: str
    url: str

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.name.endswith(".fifo")


@contextmanager
def connected(values: dict[str, Any]) -> Iterator[Sqs]:
    """A client made of a command's connection options, which are taken out of ``values`` together with the log level."""
    connection, _ = options.take_connection(values)
    logs.configure(values.pop("log_level"), secrets=(connection.secret_access_key, connection.session_token))
    sqs = connect(connection)
    try:
        yield sqs
    finally:
        sqs.close()


def find(sqs: Sqs, text: str) -> Target:
    """The queue of this name, URL or ARN. A URL or ARN is taken as it is.

    Raises:
        ConfigError: a wildcard, or several.
        QueueNotFound: there is none; says which are near.
    """
    patterns = compile_patterns([text])
    if len(patterns) != 1 or patterns[0].is_glob:
        raise ConfigError(f"{text!r} is not one queue; give a name, a URL or an ARN")
    found = discover(sqs, patterns, suggest=True)
    for name, url in found.queues.items():
        return Target(name, url)
    near = found.missing.get(patterns[0].text, ())
    raise QueueNotFound(f"queue {text!r} does not exist" + (f"; did you mean {', '.join(near)}?" if near else ""), queue=text)


def command_options(command: options.F) -> options.F:
    """``--json``, the connection, ``--log-level``: the last options of each of these commands."""
    return options.together(
        click.option("--json", "as_json", is_flag=True, help="JSON, for programs."),
        options.connection_options,
        options.log_level_option(default="WARNING"),
    )(command)


def force_option(text: str = "Do not ask.") -> Callable[[options.F], options.F]:
    """``-f/--force``."""
    return click.option("-f", "--force", is_flag=True, help=text)


def confirmed(question: str, *, force: bool, otherwise: str) -> bool:
    """Whether to go on: asked of the person at the terminal, unless ``force``. What is asked goes to stderr.

    Parameters:
        otherwise: what is not done without an answer, for the error where nobody can be asked.

    Raises:
        ConfigError: there is no terminal to ask at.
    """
    if force:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{otherwise}: there is no terminal to ask at; -f/--force does it without asking")
    return click.confirm(question, err=True)


def say(line: str) -> None:
    """A remark beside the output."""
    print(f"pyqs: {line}", file=sys.stderr)
