"""An app inside of a Django project: its default app, its tasks' class, and no stale connection in a worker.

Owns: ``fixup``, which an app applies when it is made, and ``DjangoFixup``. Making one imports ``django`` itself and nothing
of the project: settings and models are read when a worker loads its task modules. In the forkserver the project is set up and
checked, and what that opened is closed, since processes must not share it; in an executor connections and caches are closed
around each task. Does nothing more in a process that only publishes. Never closes a connection in an eager task, which is
inside of its caller's transaction.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyqs import coroutines
from pyqs_celery_compat import _state as state
from pyqs_celery_compat import lifecycle, signals
from pyqs_celery_compat.exceptions import FixupWarning, ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

__all__ = ["DjangoFixup", "fixup"]

_OLDEST = (1, 11)
#: How a database says that it had closed the connection before we did.
_CLOSED = ("closed", "not connected")


def fixup(app: Celery, env: str = "DJANGO_SETTINGS_MODULE") -> DjangoFixup | None:
    """Have the app behave as Django's, if the environment names Django's settings.

    Parameters:
        env: the variable that names them.

    Returns: the fixup, or None where there is no Django; that it was asked for in vain is a ``FixupWarning``.

    Raises:
        ImproperlyConfigured: this Django is too old.
    """
    if not os.environ.get(env) or "django" in str(app.loader_cls).lower():  # a loader of Django's own does it all
        return None
    try:
        import django
    except ImportError:
        warnings.warn(FixupWarning(f"{env} is set, but Django is not installed here: nothing is done for it"), stacklevel=2)
        return None
    if django.VERSION < _OLDEST:
        raise ImproperlyConfigured(f"Django {django.get_version()} is too old: 1.11 is the oldest that is supported")
    return DjangoFixup(app).install()


class _OfThread(threading.local):
    """As connections are a thread's, so is this."""

    #: Half closings since the last real one, with ``CELERY_DB_REUSE_MAX``: there are two to a task.
    recycles = 0


class DjangoFixup:
    """What is done for one app.

    Parameters:
        app: becomes the default app where there is none yet.
    """

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._of_thread = _OfThread()
        if state.default_app is None:
            app.set_default()

    def install(self) -> DjangoFixup:
        """The working directory first on the path, ``DjangoTask`` unless the app has a class of its own."""
        sys.path.insert(0, os.getcwd())
        self.app.loader.now = self.now  # type: ignore[method-assign]
        if not self.app._custom_task_cls_used:
            self.app.task_cls = "pyqs_celery_compat.contrib.django.task:DjangoTask"
        signals.import_modules.connect(
            self.on_import_modules, weak=False, sender=self.app, dispatch_uid=("DjangoFixup.on_import_modules", id(self))
        )
        return self

    def now(self, utc: bool = False) -> datetime:
        """The time, by Django's clock: aware where it is (``USE_TZ``)."""
        from django.utils.timezone import now

        return datetime.now(timezone.utc) if utc else now()

    # -- what else asks -----------------------------------------------------------------------------------------------
    def autodiscover_tasks(self) -> list[str]:
        """The packages of the installed apps; Django is set up for it where it is not."""
        import django
        from django.apps import apps

        if not apps.ready:
            django.setup()
        return [config.name for config in apps.get_app_configs()]

    # -- a worker loads -----------------------------------------------------------------------------------------------
    def on_import_modules(self, **_: Any) -> None:
        """Before any task module: models can be imported."""
        self.validate_models()

    def validate_models(self) -> None:
        """Set Django up, and check the project unless ``CELERY_SKIP_CHECKS`` says not to.

        Raises: what the settings, the apps and the checks raise. A check that only finds fault is not heard, as in Celery.
        """
        import django
        from django.apps import apps

        if not apps.ready:
            django.setup()
        if not os.environ.get("CELERY_SKIP_CHECKS"):
            from django.core.checks import run_checks

            run_checks()  # those of databases are not among them, so none is opened by it

    def on_booted(self) -> None:
        """All modules are imported: close what they opened, and be called around each task from now on."""
        signals.task_prerun.connect(self.on_task_prerun, weak=False, dispatch_uid=("DjangoFixup.on_task_prerun", id(self)))
        signals.task_postrun.connect(self.on_task_postrun, weak=False, dispatch_uid=("DjangoFixup.on_task_postrun", id(self)))
        self._close_connections()
        self.close_cache()

    def on_forked(self) -> None:
        """In a new executor: leave alone what a parent has opened since, without a word to the server.

        Closing it properly would end the session that the parent still uses; so its descriptor is closed first, and Django
        finds the connection broken.
        """
        for connection in _connections():
            if connection.connection is not None:
                _close_descriptor(connection.connection)
        self._close_connections()
        self.close_cache()

    # -- around a task ------------------------------------------------------------------------------------------------
    def on_task_prerun(self, sender: Any, **_: Any) -> None:
        """Close what the server may have closed while the executor waited for this task."""
        if not getattr(sender.request, "is_eager", False):
            self.close_database()

    def on_task_postrun(self, sender: Any, **_: Any) -> None:
        """Keep no connection while nothing runs."""
        if not getattr(sender.request, "is_eager", False):
            self.close_database()
            self.close_cache()

    def close_database(self, **_: Any) -> None:
        """Close the connections; with ``CELERY_DB_REUSE_MAX`` only after so many tasks."""
        reuse = self.app.conf.get("CELERY_DB_REUSE_MAX", None)
        if not reuse:
            self._close_connections()
            return
        here = self._of_thread
        if here.recycles >= reuse * 2:
            here.recycles = 0
            self._close_connections()
        here.recycles += 1

    def close_cache(self) -> None:
        """Close the caches' connections."""
        from django.core.cache import close_caches

        close_caches()

    def _close_connections(self) -> None:
        self._close_of_this_thread()
        if coroutines.in_use():  # what an async task awaits of the ORM runs in a thread of asgiref's, each lane's in its own
            from asgiref.sync import sync_to_async

            coroutines.run(sync_to_async(self._close_of_this_thread)(), "closing Django's connections")

    def _close_of_this_thread(self) -> None:
        from django.db import DatabaseError, InterfaceError

        for connection in _connections():
            try:
                connection.close()
                if hasattr(connection, "close_pool") and connection.settings_dict.get("OPTIONS", {}).get("pool"):
                    connection.close_pool()  # its threads and sockets are one process's
            except InterfaceError:
                pass
            except DatabaseError as exc:
                if not any(word in str(exc) for word in _CLOSED):
                    raise


def _connections() -> list[Any]:
    """Those that this thread has used."""
    from django.db import connections

    try:
        return list(connections.all(initialized_only=True))
    except TypeError:  # before Django 4.1
        return list(connections.all())


def _close_descriptor(connection: Any) -> None:
    try:
        os.close(connection.fileno())
    except (AttributeError, OSError, TypeError, ValueError):
        pass  # SQLite has none; of what was closed before, every driver says so in its own way
    except Exception as exc:  # an InterfaceError of the driver, not Django's
        if type(exc).__name__ not in ("InterfaceError", "OperationalError"):
            raise


def _of(app: Celery) -> list[DjangoFixup]:
    return [each for each in app._fixups if isinstance(each, DjangoFixup)]


@lifecycle.booted.add
def _booted(app: Celery) -> None:
    for each in _of(app):
        each.on_booted()


@lifecycle.forked.add
def _forked(app: Celery) -> None:
    for each in _of(app):
        each.on_forked()
