"""``pyqs beat``: finds the app, checks what it is to send, and runs it.

Owns: ``run``, to which the command line has a dotted path. Runs in the main thread of beat's process, which becomes the app's:
unlike a worker's parent it imports the app. Never sends anything itself.
"""

from __future__ import annotations

import importlib
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from pyqs.errors import BootFailed, ConfigError, app_traceback
from pyqs_celery_compat import alias, conf, publisher
from pyqs_celery_compat.finding import find_app
from pyqs_celery_compat.platforms import EX_CANTCREAT, LockFailed
from pyqs_celery_compat.schedule_check import check_schedule

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

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
