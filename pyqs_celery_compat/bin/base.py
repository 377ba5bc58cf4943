"""What commands are made of: for the libraries that add one to ``celery``.

Owns: ``CeleryCommand`` and its company, and ``CeleryCommandException``. Loaded by such libraries only. Never runs a worker.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import update_wrapper
from pprint import pformat
from typing import Any

import click

from pyqs_celery_compat.naming import belongs_to


class CeleryCommandException(click.ClickException):
    """Ends a command with an error.

    Parameters:
        message: what is shown. exit_code: of the process.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message=message)
        self.exit_code = exit_code  # type: ignore[misc, unused-ignore]


belongs_to("celery.exceptions", CeleryCommandException)


class CLIContext:
    """What a command has of the command line: the app, and ways to write.

    Parameters:
        app: of ``-A``. no_color: write plain text. workdir: where tasks are imported from. quiet: write no decoration.
    """

    def __init__(self, app: Any, no_color: bool, workdir: str | None, quiet: bool = False) -> None:
        self.app = app or None
        self.no_color = no_color
        self.workdir = workdir
        self.quiet = quiet

    @property
    def OK(self) -> str:  # noqa: N802 - Celery's name
        """What is written after success."""
        return self.style("OK", fg="green", bold=True)

    @property
    def ERROR(self) -> str:  # noqa: N802 - Celery's name
        """What is written after failure."""
        return self.style("ERROR", fg="red", bold=True)

    def style(self, message: str | None = None, **kwargs: Any) -> str:
        """Text in colour, unless there is to be none."""
        return str(message or "") if self.no_color else click.style(message or "", **kwargs)

    def secho(self, message: Any = None, **kwargs: Any) -> None:
        """Write a line in colour, unless there is to be none."""
        kwargs["color"] = not self.no_color
        click.secho(message, **kwargs)

    def echo(self, message: Any = None, **kwargs: Any) -> None:
        """Write a line."""
        kwargs["color"] = not self.no_color
        click.echo(message, **kwargs)

    def error(self, message: Any = None, **kwargs: Any) -> None:
        """Write a line to standard error."""
        self.echo(message, err=True, **kwargs)

    def pretty(self, n: Any) -> tuple[str, str]:
        """A value as (status, text)."""
        if isinstance(n, dict) and "error" in n:
            return self.ERROR, str(n["error"])
        if isinstance(n, dict) and "ok" in n:
            return self.OK, str(n["ok"])
        return self.OK, n if isinstance(n, str) else pformat(n)


class CeleryOption(click.Option):
    """An option.

    Parameters: click's, and
        help_group: accepted; the help has no groups.
    """

    def __init__(self, *args: Any, help_group: str | None = None, **kwargs: Any) -> None:
        self.help_group = help_group
        self.default_value_from_context = kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)


class CeleryCommand(click.Command):
    """A command of ``celery``."""


class CeleryDaemonCommand(CeleryCommand):
    """A command that in Celery can detach itself."""


def handle_preload_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Hand a command its arguments; options that the app adds to all commands are not there."""

    def caller(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        return f(ctx, *args, **kwargs)

    return update_wrapper(caller, f)


class CommaSeparatedList(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``a,b`` as a list."""

    name = "comma separated list"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The list."""
        return value.split(",") if isinstance(value, str) else value


class JsonArray(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A JSON array as a list."""

    name = "json array"
    kind: type = list

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value."""
        if isinstance(value, self.kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as exc:
            self.fail(str(exc))
        if not isinstance(found, self.kind):
            self.fail(f"{value} was not a {self.name}")
        return found


class JsonObject(JsonArray):
    """A JSON object as a dict."""

    name = "json object"
    kind = dict


JSON_ARRAY = JsonArray()
JSON_OBJECT = JsonObject()
COMMA_SEPARATED_LIST = CommaSeparatedList()
