"""How Celery's options are taken: those without effect are noted, those that are refused are an error, the rest is the
command's.

Owns: the click options that a command has for its rows of ``celery_options``, the section of ``--help`` about them, and the
options that stand before the command in Celery. Pure parsing, but for what the latter are there for: environment variables that
every process of the worker inherits, and the working directory. Runs before anything is connected or started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import click

from pyqs.commands.celery_options import CeleryOption, Fate, of
from pyqs.config import ENV_PREFIX
from pyqs.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

_NOTES = "pyqs.celery.notes"
#: Option before the command -> the variable by which every process hears of it. They are Celery's own variables.
_VARIABLES = {
    "--broker": "CELERY_BROKER_URL",
    "--result-backend": "CELERY_RESULT_BACKEND",
    "--loader": "CELERY_LOADER",
    "--config": "CELERY_CONFIG_MODULE",
}


class Command(click.Command):
    """A command whose help says what becomes of Celery's options that it takes and does not heed."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, then those of Celery's that have no effect, then those that are refused."""
        super().format_options(ctx, formatter)
        rows = (*of(""), *of(self.name or ""))
        for fate, title in ((Fate.NO_EFFECT, "Celery's options without effect"), (Fate.REFUSED, "Celery's options, refused")):
            listed = [(", ".join(row.names), row.note) for row in rows if row.fate is fate]
            if listed:
                with formatter.section(title):
                    formatter.write_dl(listed)


def unheeded(command: str) -> Callable[[F], F]:
    """A decorator: the command takes those of Celery's options that have no effect, and refuses those that are refused."""

    def decorate(function: F) -> F:
        own = {name for param in getattr(function, "__click_params__", ()) for name in param.opts}
        for row in reversed((*of(""), *of(command))):
            if row.fate is not Fate.WORKS and not own & set(row.names):
                function = _option(row)(function)
        return function

    return decorate


def _option(row: CeleryOption) -> Any:
    def met(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is None or value is False:
            return
        if row.fate is Fate.REFUSED:
            raise ConfigError(f"{row.label} is not taken: {row.note}")
        ctx.meta.setdefault(_NOTES, []).append(f"{row.label} has no effect: {row.note}")

    kind: dict[str, Any] = {"is_flag": True} if row.flag else {"metavar": "VALUE"}
    name = "celery_" + max(row.names, key=len).lstrip("-").replace("-", "_")
    return click.option(*row.names, name, hidden=True, expose_value=False, callback=met, **kind)


def notes() -> tuple[str, ...]:
    """What the command line holds that has no effect, a line each. While the command runs."""
    return tuple(click.get_current_context().meta.get(_NOTES, ()))


def before_the_command(command: F) -> F:
    """``-b``, ``--result-backend``, ``--loader``, ``--config``, ``--workdir``, ``-C`` and ``--skip-checks``."""

    def variable(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value:
            os.environ[_VARIABLES[param.opts[-1]]] = value

    def given(name: str, what: str, *names: str) -> Any:
        return click.option(
            *names, name, envvar=_VARIABLES[name], show_envvar=True, metavar=what, expose_value=False, callback=variable,
            help=_note(name),
        )  # fmt: skip

    def switch(callback: Any, name: str, *names: str) -> Any:
        return click.option(
            *names, name, envvar=ENV_PREFIX + name[2:].upper().replace("-", "_"), show_envvar=True, is_flag=True,
            expose_value=False, callback=callback, help=_note(name),
        )  # fmt: skip

    for decorate in (
        given("--broker", "URL", "-b"),
        given("--result-backend", "URL"),
        given("--loader", "PATH"),
        given("--config", "MODULE"),
        click.option(
            "--workdir",
            envvar=f"{ENV_PREFIX}WORKDIR",
            show_envvar=True,
            type=click.Path(exists=True, file_okay=False),
            expose_value=False,
            is_eager=True,
            callback=_change_directory,
            help=_note("--workdir"),
        ),
        switch(_no_color, "--no-color", "-C"),
        switch(_skip_checks, "--skip-checks"),
    ):
        command = decorate(command)
    return command


def _note(name: str) -> str:
    return next(row.note for row in of("") if name in row.names)


def _change_directory(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        os.chdir(value)


def _no_color(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["NO_COLOR"] = "1"


def _skip_checks(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["CELERY_SKIP_CHECKS"] = "true"


def celerys_order(args: Sequence[str], commands: Collection[str] | None = None) -> list[str]:
    """``-A proj -b URL worker ...`` turned into ``worker -A proj -b URL ...``; anything else as it is.

    Parameters:
        commands: the names of the commands there are; None takes any word for one.
    """
    rows = {name: row for row in of("") for name in row.names if name != "--version"}
    at = 0
    while at < len(args) and args[at].startswith("-"):
        name, equals, _ = args[at].partition("=")
        row = rows.get(name) or rows.get(args[at][:2] if not args[at].startswith("--") else "")
        if row is None:
            return list(args)
        attached = equals or (name not in rows)  # --app=proj, -Aproj
        at += 1 if row.flag or attached else 2
    if not 0 < at < len(args) or (commands is not None and args[at] not in commands):
        return list(args)
    return [args[at], *args[:at], *args[at + 1 :]]
