"""``pyqs beat``: finds the app, checks what it is to send, and runs it.

Owns: ``run``, to which the command line has a dotted path. Runs in the main thread of beat's process, which becomes the app's:
unlike a worker's parent it imports the app. Never sends anything itself.
"""

from __future__ import annotations

import importlib
import logging
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from pyqs.errors import BootFailed, ConfigError, app_traceback
from pyqs_celery_compat import alias, conf, publisher
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.finding import find_app
from pyqs_celery_compat.platforms import EX_CANTCREAT, LockFailed
from pyqs_celery_compat.schedules import maybe_schedule

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

EXIT_OK, EXIT_CRASHED, EXIT_USAGE = 0, 1, 2
#: What an entry may have.
_FIELDS = {"task", "schedule", "args", "kwargs", "options", "relative", "last_run_at", "total_run_count", "name", "app"}


class _Told(SystemExit):
    """SIGTERM or Ctrl-C before there is anything to end."""


def run(
    name: str,
    include: tuple[str, ...],
    directory: str,
    connection: Any,
    on_handler: Callable[[logging.Handler], object],
    **options: Any,
) -> int:
    """Run a beat until it is told to stop.

    Parameters:
        name: as given with ``-A``. include: modules to import after it. directory: first on ``sys.path``.
        connection: a ``ConnectionConfig`` of what the command line says.
        on_handler: called with each handler that logging gets.
        options: as ``app.Beat`` takes them.

    Returns:
        0 after SIGTERM or Ctrl-C, 1 if it crashed (which is logged), 2 if another beat has the pidfile.

    Raises:
        BootFailed: the app does not import.
        ConfigError: there is no app there, or its settings or schedule are wrong; another beat has the schedule file.
    """

    def told(signum: int, frame: Any) -> NoReturn:
        raise _Told()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        app = _loaded(name, include, directory)
        publisher.in_worker(connection)
        app.log.on_handler = on_handler
        beat = app.Beat(**options)
        beat.init_loader()
        check_schedule(app.conf.beat_schedule)
        beat.init_loader = lambda: None
        beat.run()
    except ConfigError:
        raise
    except LockFailed as exc:
        raise ConfigError(f"the pidfile {options.get('pidfile')} cannot be written: {exc}") from exc
    except SystemExit as exc:
        return EXIT_USAGE if exc.code == EX_CANTCREAT else EXIT_OK
    except Exception:  # beat has logged it
        return EXIT_CRASHED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return EXIT_OK


def _loaded(name: str, include: tuple[str, ...], directory: str) -> Celery:
    try:
        alias.install_for_worker(name)
        app = find_app(name, directory)
        app.set_current()
        app.set_default()
        conf.check_settings(app.conf)
        for module in include:
            importlib.import_module(module)
    except (ConfigError, _Told):
        raise
    except BaseException as exc:  # SystemExit, too: an app that calls sys.exit() while it is imported
        raise BootFailed(f"the app {name!r} does not import: {type(exc).__name__}: {exc}", app_traceback(exc)) from exc
    return app


def check_schedule(entries: Any) -> None:
    """See whether ``beat_schedule`` is one.

    Raises:
        ImproperlyConfigured: names the entry and what is wrong with it.
    """
    if not isinstance(entries, Mapping):
        raise ImproperlyConfigured(f"beat_schedule is a dict of entries by name, not a {type(entries).__name__}")
    for name, entry in entries.items():
        try:
            fields = dict(entry)
        except (TypeError, ValueError):
            raise ImproperlyConfigured(f"beat_schedule[{name!r}] is a dict with task and schedule, not {entry!r}") from None
        problem = _problem(fields)
        if problem:
            raise ImproperlyConfigured(f"beat_schedule[{name!r}]: {problem}")


def _problem(fields: Mapping[str, Any]) -> str:
    if unknown := [repr(field) for field in fields if field not in _FIELDS]:
        return f"there is no {', '.join(unknown)} in an entry; call options such as queue go into 'options'"
    if not isinstance(fields.get("task"), str) or not fields["task"]:
        return f"'task' is the name of one, not {fields.get('task')!r}"
    if fields.get("schedule") is None:
        return "it has no 'schedule'"
    try:
        due = maybe_schedule(fields["schedule"])
    except TypeError as exc:
        return str(exc)
    if not callable(getattr(due, "is_due", None)):
        return f"'schedule' is a number of seconds, a timedelta or an object such as crontab(), not {fields['schedule']!r}"
    for field, kinds, what in (
        ("args", (list, tuple), "a tuple or list"),
        ("kwargs", Mapping, "a dict"),
        ("options", Mapping, "a dict"),
    ):
        if fields.get(field) is not None and not isinstance(fields[field], kinds):
            return f"{field!r} is {what}, not {fields[field]!r}"
    return ""
