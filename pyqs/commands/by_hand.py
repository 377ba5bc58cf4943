"""``pyqs call``, ``pyqs result`` and ``pyqs shell``: what a person does with an app, Celery's commands of these names.

Owns: their options. The app is imported in this process, which ends with the command, by the compat package's functions, found
by their dotted path in ``cli``. Runs in the main thread. Never consumes.
"""

from __future__ import annotations

import code
import importlib
import json
import sys
from typing import Any

import click

from pyqs import cli, logs
from pyqs.commands import celery_parsing, options


def _compat(name: str) -> Any:
    return getattr(importlib.import_module(cli.COMPAT_BY_HAND), name)


def _json(kind: type, what: str) -> Any:
    def read(ctx: click.Context, param: click.Parameter, value: str) -> Any:
        try:
            found = json.loads(value)
        except ValueError as exc:
            raise click.BadParameter(f"{value!r} is not JSON: {exc}", ctx, param) from None
        if not isinstance(found, kind):
            raise click.BadParameter(f"{value!r} is not {what}", ctx, param)
        return found

    return read


@click.command("call", cls=celery_parsing.Command, short_help="Call a task of an app by its name.")
@click.argument("name")
@click.option("-a", "--args", default="[]", metavar="JSON", callback=_json(list, "an array"), help="The arguments, an array.")
@click.option(
    "-k", "--kwargs", default="{}", metavar="JSON", callback=_json(dict, "an object"), help="The keyword arguments, an object."
)
@click.option("--eta", metavar="TIME", help="When it is to run, ISO 8601.")
@click.option("--countdown", type=float, metavar="SECONDS", help="The same in seconds from now.")
@click.option("--expires", metavar="TIME", help="When it is no longer to run: seconds from now, or ISO 8601.")
@click.option("--serializer", default="json", show_default=True, help="Of the arguments.")
@click.option("--queue", metavar="NAME", help="The queue [default: where the app's routes send it].")
@click.option("--exchange", metavar="NAME", help="The exchange.")
@click.option("--routing-key", metavar="KEY", help="The routing key.")
@options.app_options
@celery_parsing.unheeded("call")
def call(app: str | None, include: tuple[str, ...], name: str, args: list[Any], kwargs: dict[str, Any], **sending: Any) -> int:
    """Send a call of the task NAME, which need not be known here, and print its id.

    \b
    pyqs call -A proj proj.tasks.add -a '[2, 2]'
    """
    logs.configure("WARNING")
    print(_compat("call")((app, include), name, args, kwargs, sending))
    return cli.EXIT_OK


@click.command("result", cls=celery_parsing.Command, short_help="Print the result of a call.")
@click.argument("task_id")
@click.option("-t", "--task", metavar="NAME", help="The task, if it has a backend of its own.")
@click.option("--traceback", is_flag=True, help="Print its traceback instead, as it is now.")
@options.app_options
@celery_parsing.unheeded("result")
def result(app: str | None, include: tuple[str, ...], task_id: str, task: str | None, traceback: bool) -> int:
    """Print what the call TASK_ID has returned; wait for it if it has not ended. Exit code 1 when it has failed."""
    from pyqs.errors import PyQSError

    logs.configure("WARNING")
    try:
        print(_compat("result")((app, include), task_id, task, traceback))
    except (PyQSError, NotImplementedError, ImportError):
        raise
    except Exception as exc:  # what the task has raised
        print(f"pyqs: the call {task_id} has failed: {type(exc).__name__}: {exc}", file=sys.stderr)
        return cli.EXIT_CRASHED
    return cli.EXIT_OK


@click.command("shell", cls=celery_parsing.Command, short_help="A Python shell with an app's tasks.")
@click.option("-I", "--ipython", "kind", flag_value="ipython", help="IPython.")
@click.option("-B", "--bpython", "kind", flag_value="bpython", help="bpython.")
@click.option("--python", "kind", flag_value="python", help="Python's own.")
@click.option("-T", "--without-tasks", is_flag=True, help="Without the app's tasks among the names.")
@options.named_app("--include")
@celery_parsing.unheeded("shell")
def shell(app: str | None, include: tuple[str, ...], kind: str | None, without_tasks: bool) -> int:
    """A Python shell in which `app`, the app's tasks, `chain`, `group` and so on are there [default: IPython, bpython or
    Python's own, whichever is installed]."""
    from pyqs.errors import ConfigError

    logs.configure("WARNING")
    names = _compat("shell_names")((app, include), without_tasks)
    for one in (kind,) if kind else ("ipython", "bpython", "python"):
        try:
            _SHELLS[one](names)
            return cli.EXIT_OK
        except ImportError as exc:
            if kind:
                raise ConfigError(f"--{kind}: {exc}; install it, or use --python") from None
    return cli.EXIT_OK


def _ipython(names: dict[str, Any]) -> None:
    start: Any = importlib.import_module("IPython").start_ipython
    start(argv=[], user_ns=names)


def _bpython(names: dict[str, Any]) -> None:
    importlib.import_module("bpython").embed(names)


def _python(names: dict[str, Any]) -> None:
    code.interact(local=names)


_SHELLS = {"ipython": _ipython, "bpython": _bpython, "python": _python}
