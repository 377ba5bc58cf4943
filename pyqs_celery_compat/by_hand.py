"""What a person does with an app from a terminal: call a task by its name, look at a result, open a shell.

Owns: the app for that, imported as a worker would, and nothing else: the options are ``pyqs.commands``'s, which find these
functions by name. Runs in the main thread of a process that ends with it. Never consumes.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from pyqs.errors import BootFailed, app_traceback
from pyqs_celery_compat import _state as state
from pyqs_celery_compat import alias
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.finding import find_app
from pyqs_celery_compat.utils import imports
from pyqs_celery_compat.utils.time import maybe_iso8601

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: What ``-A`` and ``--include`` say.
Named = tuple[str | None, tuple[str, ...]]


def call(app: Named, name: str, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> str:
    """Send a call of a task, which need not be known here; the id.

    Parameters:
        app: what ``-A`` and ``--include`` say; None for the default app.
        options: of ``send_task``; ``eta`` and ``expires`` as texts, where a number is seconds from now.

    Raises:
        ImproperlyConfigured: there is no app, or a time cannot be read. Whatever ``send_task`` raises.
    """
    given = {key: value for key, value in options.items() if value is not None}
    for key in ("eta", "expires"):
        if key in given:
            given[key] = _moment(key, given[key])
    return str(_app(app).send_task(name, args=args, kwargs=kwargs, **given).id)


def result(app: Named, task_id: str, task: str | None, traceback: bool) -> Any:
    """A result's value, waited for as long as it takes, or its traceback as it is now.

    Raises:
        ImproperlyConfigured: there is no app, or no such task in it. What the task has raised.
    """
    found = _app(app)
    if task:
        imports.import_task_modules(found)
        if task not in found.tasks:
            raise ImproperlyConfigured(f"result --task {task}: there is no such task in the app")
    kept = (found.tasks[task] if task else found).AsyncResult(task_id)
    return kept.traceback if traceback else kept.get()


def shell_names(app: Named, without_tasks: bool) -> dict[str, Any]:
    """The names that a shell begins with: the app, canvases, and the tasks by their functions' names."""
    import pyqs_celery_compat as celery

    found = _app(app)
    imports.import_task_modules(found)
    names: dict[str, Any] = {"app": found, "celery": found}
    for name in ("Task", "chord", "group", "chain", "chunks", "xmap", "xstarmap", "subtask", "signature"):
        names[name] = getattr(celery, name)
    if not without_tasks:
        names |= {task.__name__: task for task in found.tasks.values() if not str(task.name).startswith("celery.")}
    return names


def _app(named: Named) -> Celery:
    """The app, with ``import celery`` meaning this package as in a worker of it."""
    name, include = named
    alias.install_for_worker(name)
    directory = os.getcwd()
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        app = state.get_current_app() if name is None else find_app(name, directory)
        if name is not None:
            app.set_current()
            app.set_default()
        for module in include:
            importlib.import_module(module)
    except ImproperlyConfigured:
        raise
    except BaseException as exc:  # SystemExit, too
        if isinstance(exc, KeyboardInterrupt):
            raise
        what = f"the app {name!r}" if name else "an included module"
        raise BootFailed(f"{what} does not import: {type(exc).__name__}: {exc}", app_traceback(exc)) from None
    return app


def _moment(key: str, text: str) -> Any:
    if key == "expires":
        try:
            return float(text)
        except ValueError:
            pass
    try:
        return maybe_iso8601(text)
    except ValueError:
        hint = "seconds or ISO 8601" if key == "expires" else "ISO 8601"
        raise ImproperlyConfigured(f"--{key}: {text!r} is not {hint}, such as 2026-11-23T18:00:00Z") from None
