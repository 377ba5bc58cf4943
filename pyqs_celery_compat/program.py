"""Door to the command line: Celery's argv, handed to ``pyqs``, and a worker that a program starts from its own code.

Owns: the words for ``-A`` that lead to an app object, and what is done so that the worker's processes import that app and not
the program once more. Runs in the main thread of the calling process, which is the worker's parent until it ends. Never runs a
task.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from pyqs import cli
from pyqs.commands import celery_face
from pyqs.commands.celery_options import CELERY_OPTIONS, REFUSED_COMMANDS
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


#: What becomes of each option, and what to do instead of each command that is not here: for who judges command lines.
OPTIONS, REFUSED = CELERY_OPTIONS, REFUSED_COMMANDS
#: Celery's commands, those included that say what to use instead.
COMMANDS = (*celery_face.COMMANDS, *REFUSED_COMMANDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line of Celery's (``sys.argv[1:]`` if None), or of a library's that has added a command; its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    word = celery_face.command_of(args)
    if word is None or word in COMMANDS:
        return own(args)
    from pyqs_celery_compat.bin.celery import celery

    try:
        code = celery.main(args=args, prog_name="celery", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0


def own(argv: Sequence[str]) -> int:
    """Run one of Celery's own commands; its exit code."""
    return cli.main(argv, celerys=True)


def of_context(context: Any, argv: Sequence[str]) -> int:
    """Run one of them for a click command, whose context may have an app; its exit code."""
    app = getattr(context, "app", None)
    return own(argv) if app is None else run(app, argv)


def run(app: Celery, argv: Sequence[str]) -> int:
    """Run a command line of Celery's on an app, from a program that has it; its exit code.

    Raises:
        ImproperlyConfigured: no module holds the app by a name, so that no other process could find it.
    """
    args = list(argv)
    if not any(arg == "-A" or arg.startswith(("--app", "-A")) for arg in args):
        args = ["-A", place_of(app), *args]
    with _not_imported_again():
        return own(args)


def place_of(app: Celery) -> str:
    """What ``-A`` says for an app: ``module:attribute``. A program's own module has the name under which it can be imported.

    Raises:
        ImproperlyConfigured: no module holds it.
    """
    places = [
        (module, name)
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType) and not module.__name__.startswith("pyqs")
        for name, value in list(vars(module).items())
        if value is app and not name.startswith("_")
    ]
    if not places:
        raise ImproperlyConfigured(
            f"no module holds {app!r}: a worker's processes import it by a name, so make it as `app = Celery(...)` in a module"
        )
    # The module that has made it, rather than one that imports it from there.
    module, name = next((place for place in places if place[0].__name__ in ("__main__", app.main)), places[0])
    return f"{_importable(module)}:{name}"


def _importable(module: ModuleType) -> str:
    if module.__name__ != "__main__":
        return module.__name__
    spec = module.__spec__
    if spec is not None:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    path = getattr(module, "__file__", None)
    if path is None:
        raise ImproperlyConfigured("the app is in an interactive session: a worker's processes cannot import it from there")
    folder = os.path.dirname(os.path.abspath(str(path)))
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, inherited] if inherited else [folder])
    return os.path.splitext(os.path.basename(str(path)))[0]


@contextlib.contextmanager
def _not_imported_again() -> Iterator[None]:
    """multiprocessing has each child import the parent's main module, which would make a second app in every executor."""
    theirs = sys.modules["__main__"]
    sys.modules["__main__"] = importlib.import_module("pyqs_celery_compat.__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = theirs
