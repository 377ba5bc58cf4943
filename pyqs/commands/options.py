"""Options that several subcommands share, and what their values mean.

Owns: the connection options, the list and duration types, and where each option's ``PYQS_*`` variable is named. Pure
parsing: runs before anything is connected or started.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pyqs import logs
from pyqs.commands.celery_parsing import before_the_command
from pyqs.config import CLIENTS, ENV_PREFIX, MAX_MESSAGE, POLICIES, ConnectionConfig

if TYPE_CHECKING:
    _TextType = click.ParamType[str]
    _NumberType = click.ParamType[float]
    _AddressType = click.ParamType[tuple[str, int]]
else:  # generic from click 8.2 on
    _TextType = _NumberType = _AddressType = click.ParamType

#: Where servers listen unless told otherwise.
LOOPBACK = "127.0.0.1"

F = TypeVar("F", bound=Callable[..., Any])


def option(*names: str, env: str, **settings: Any) -> Callable[[F], F]:
    """A click option that is also read from ``PYQS_<env>``; the help says so."""
    if settings.get("multiple"):
        settings.setdefault("type", Whole())
    return click.option(*names, envvar=ENV_PREFIX + env, show_envvar=True, **settings)


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which the help shows them."""

    def decorate(command: F) -> F:
        for one in reversed(decorators):
            command = one(command)
        return command

    return decorate


class LogLevel(_TextType):
    """``debug``, ``INFO``, ``WARN``: a level of Python's logging, answered as its name in capitals."""

    name = "level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name of the level."""
        try:
            return logs.level_name(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seconds(_NumberType):
    """A number of seconds, or ``none`` for no limit (answered as infinity)."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, or ``math.inf``."""
        if str(value).strip().lower() in {"none", "never"}:
            return math.inf
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"{value!r} is neither a number of seconds (0 or more) nor 'none'", param, ctx)
        return seconds


class Concurrency(_NumberType):
    """A number of executors; ``auto`` is one for each processor, answered as None."""

    name = "executors"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """At least 1, or None."""
        if str(value).strip().lower() == "auto":
            return None
        return click.IntRange(min=1).convert(value, param, ctx)


class HostPort(_AddressType):
    """``8080``, ``0.0.0.0:8080``, ``[::]:8080``: where to listen; this machine alone unless a host is named."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Host and port."""
        host, _, port = str(value).strip().rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        bare = host[1:-1] if bracketed else host
        wrong = (":" in host and not bracketed) or (bracketed and not bare) or (not host and ":" in str(value))
        if wrong or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
            self.fail(f"{value!r} is not [HOST:]PORT, such as 8080, 0.0.0.0:8080 or [::]:8080", param, ctx)
        return bare or LOOPBACK, int(port)


class Whole(_TextType):
    """Text of a repeatable option; its variable holds one value with commas in it (click would split at spaces)."""

    name = "text"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """The variable as it is."""
        return [rv] if rv.strip() else []

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text."""
        return str(value)


def octal(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """The mask that an octal number is, for ``--umask``."""
    if value is None:
        return None
    try:
        mask = int(value, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise click.BadParameter(f"{value!r} is no octal mask such as 022", ctx, param)
    return mask


def items(values: Iterable[str]) -> tuple[str, ...]:
    """What a repeatable option was given, commas split, spaces around them gone, doubles dropped, order kept."""
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))


def connection_options(command: F) -> F:
    """``--region`` and its kin; they reach the command as ``region=``, ``endpoint_url=``, ... (``connection`` gathers them)."""
    for decorate in reversed(
        [
            option("--region", env="REGION", metavar="NAME", help="AWS region."),
            option("--endpoint-url", env="ENDPOINT_URL", metavar="URL", help="SQS elsewhere: an emulator, a VPC endpoint."),
            option("--access-key-id", env="ACCESS_KEY_ID", metavar="ID", help="AWS access key."),
            option(
                "--secret-access-key",
                env="SECRET_ACCESS_KEY",
                metavar="KEY",
                help="Its secret. Others on this machine see it in the process list: better the variable, or --profile.",
            ),
            option("--session-token", env="SESSION_TOKEN", metavar="TOKEN", help="Goes with temporary credentials."),
            option("--profile", env="PROFILE", metavar="NAME", help="Profile of the AWS configuration files."),
            option("--role-arn", env="ROLE_ARN", metavar="ARN", help="Role to assume; it is renewed by itself."),
            option(
                "--client",
                env="CLIENT",
                type=click.Choice(CLIENTS),
                help="How frequent calls reach SQS: past botocore (lean), through it (boto3), or past it unless something has "
                "instrumented it (auto, the default).",
            ),
            option(
                "--large-payload-bucket",
                env="LARGE_PAYLOAD_BUCKET",
                metavar="BUCKET",
                help="S3 bucket for bodies that are too large for SQS; off by default, as Celery's workers cannot read them. "
                "Further ones behind commas are read only.",
            ),
            option(
                "--large-payload-threshold",
                env="LARGE_PAYLOAD_THRESHOLD",
                type=click.IntRange(1, MAX_MESSAGE),
                metavar="BYTES",
                help="Messages over this lie there [default: 262144].",
            ),
        ]
    ):
        command = decorate(command)
    return command


def take_connection(values: dict[str, Any]) -> tuple[ConnectionConfig, ConnectionConfig]:
    """Move the connection options out of a command's values: all that was given, and what of it was given as options.

    The rest came from variables. Must run while the command does.

    Raises:
        ConfigError: half a key pair, an endpoint without a scheme.
    """
    names = tuple(field.name for field in fields(ConnectionConfig))
    given = {name: values.pop(name, None) or None for name in names}
    context = click.get_current_context()
    typed = {name for name in names if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    pair = {"access_key_id", "secret_access_key"}
    if typed & pair:
        typed |= pair  # one half of it may come from a variable
    flags = {name: value for name, value in given.items() if name in typed}
    return ConnectionConfig(**given), ConnectionConfig(**flags)


def log_level_option(*names: str, default: str = "INFO") -> Callable[[F], F]:
    """``-l/--log-level`` with the spellings that Celery's and PyQS's users know."""
    return option(
        *(names or ("-l", "--log-level", "--loglevel")),
        "log_level",
        env="LOG_LEVEL",
        type=LogLevel(),
        default=default,
        show_default=True,
        help="debug, info, warning, error or critical.",
    )


def log_format_option(command: F) -> F:
    """``--log-format``."""
    return option(
        "--log-format",
        env="LOG_FORMAT",
        type=click.Choice(logs.FORMATS),
        default=logs.FORMATS[0],
        show_default=True,
        help="Lines for people, or one JSON object a line from every process (docs/logging.md).",
    )(command)


def policy_options(command: F) -> F:
    """``--on-undecodable`` and its kin."""
    for kind, what in (
        ("refused", "whose content type is not accepted"),
        ("unknown", "that names no task of this worker"),
        ("undecodable", "that cannot be read"),
    ):
        command = option(
            f"--on-{kind}",
            env=f"ON_{kind.upper()}",
            type=click.Choice(POLICIES),
            default="leave",
            show_default=True,
            help=f"A message {what}: left on its queue, hidden for longer each time, moved to its dead-letter queue, or "
            "deleted.",
        )(command)
    return command


queue_options_help = (
    "A queue: name, glob ('email.*', quoted), URL or ARN. Repeatable; commas separate. Behind it, 'email.*:weight=3' for "
    "three times a share of the executors' time, 'reports:max=2' for at most two that run; the first pattern that matches says."
)


def queue_options(command: F) -> F:
    """``-Q`` and ``-X``."""
    command = option(
        "-X", "--exclude", "--exclude-queues", "exclude", env="EXCLUDE", multiple=True, metavar="QUEUE", help="Not these."
    )(command)
    return option("-Q", "--queues", "queues", env="QUEUES", multiple=True, metavar="QUEUE", help=queue_options_help)(command)


def _alias(ctx: click.Context, param: click.Parameter, value: bool | None) -> None:
    if value is not None:
        os.environ[ENV_PREFIX + "AS_CELERY"] = str(int(value))  # every process that imports the app is a child of this one


def app_options(command: F) -> F:
    """``-A``, ``--include``, ``--no-alias``, and what stands before the command in Celery."""
    return named_app("--include", "-I")(command)


def named_app(*include: str) -> Callable[[F], F]:
    """The same, with ``--include`` under these names only."""

    def decorate(command: F) -> F:
        command = before_the_command(command)
        command = option(
            "--alias/--no-alias",
            env="AS_CELERY",
            default=None,
            expose_value=False,
            callback=_alias,
            help="Have `import celery` be pyqs_celery_compat in every process, or leave it to Celery itself [default: with -A "
            "the former].",
        )(command)
        command = option(
            *include,
            "include",
            env="INCLUDE",
            multiple=True,
            metavar="MODULE",
            help="A module with tasks, imported at start. Repeatable.",
        )(command)
        return option(
            "-A",
            "--app",
            "app",
            env="APP",
            metavar="MODULE[:APP]",
            help="A Celery-style app; 'proj' finds proj.app, proj.celery and proj.celery.app.",
        )(command)

    return decorate
