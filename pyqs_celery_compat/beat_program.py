"""``pyqs beat``: finds the app, checks what it is to send, and runs it.

Owns: ``run``, to which the command line has a dotted path. Runs in the main thread of beat's process, which becomes the app's:
unlike a worker's parent it imports the app. Never sends anything itself.
"""

from __future__ import annotations

import importlib
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pyqs.errors import BootFailed, ConfigError, PyQSError, app_traceback
from pyqs_celery_compat import alias, conf, publisher
from pyqs_celery_compat.finding import find_app
from pyqs_celery_compat.platforms import EX_CANTCREAT, LockFailed
from pyqs_celery_compat.schedule_check import check_schedule
from pyqs_celery_compat.utils.imports import load_extension_class_names, symbol_by_name

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

T = TypeVar("T")

EXIT_OK, EXIT_CRASHED, EXIT_USAGE = 0, 1, 2


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
        BootFailed: the app, its task modules or the scheduler's class do not import.
        ConfigError: there is no app there, or its settings or schedule are wrong; another beat has the schedule file.
    """

    def told(signum: int, frame: Any) -> NoReturn:
        raise _Told()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        app = _loaded(name, lambda: _app(name, include, directory))
        publisher.in_worker(connection)
        app.log.on_handler = on_handler
        beat = _loaded(name, lambda: _beat(app, options))
        check_schedule(app.conf.beat_schedule)
        return _run(beat)
    except _Told:
        return EXIT_OK
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(beat: Any) -> int:
    try:
        beat.run()
    except PyQSError:
        raise
    except LockFailed as exc:
        raise ConfigError(f"the pidfile {beat.pidfile} cannot be written: {exc}") from exc
    except SystemExit as exc:
        return EXIT_USAGE if exc.code == EX_CANTCREAT else EXIT_OK
    except Exception:  # beat has logged it
        return EXIT_CRASHED
    return EXIT_OK


def _app(name: str, include: tuple[str, ...], directory: str) -> Celery:
    alias.install_for_worker(name)
    app = find_app(name, directory)
    app.set_current()
    app.set_default()
    conf.check_settings(app.conf)
    for module in include:
        importlib.import_module(module)
    return app


def _beat(app: Celery, options: dict[str, Any]) -> Any:
    """The beat, with the app's task modules and the scheduler's class imported."""
    beat = app.Beat(**options)
    beat.init_loader()
    beat.init_loader = lambda: None
    symbol_by_name(beat.scheduler_cls, aliases=dict(load_extension_class_names("celery.beat_schedulers")))
    return beat


def _loaded(name: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except (PyQSError, _Told):
        raise
    except BaseException as exc:  # SystemExit, too: an app that calls sys.exit() while it is imported
        raise BootFailed(f"the app {name!r} does not load: {type(exc).__name__}: {exc}", app_traceback(exc)) from exc
