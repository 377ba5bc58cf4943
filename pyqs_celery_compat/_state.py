"""Which app is current, which task is running, and who waits for apps to be finalized.

Owns: the thread-local current app, the process-wide default app, the stack of running tasks, the finalizers. Used in
every thread of a caller or an executor. Imports the app class only when somebody asks for an app and none exists.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.local import Proxy
from pyqs_celery_compat.utils.threads import LocalStack

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task


class _TLS(threading.local):
    current_app: Celery | None = None


_tls = _TLS()
_lock = threading.RLock()
_task_stack: LocalStack[Task] = LocalStack()
_apps: weakref.WeakSet[Celery] = weakref.WeakSet()
_on_app_finalizers: list[Callable[[Celery], Any]] = []

#: The app of threads that have made none.
default_app: Celery | None = None


def set_default_app(app: Celery | None) -> None:
    """Make this the app of every thread that has no current one."""
    global default_app
    default_app = app


def set_current_app(app: Celery | None) -> None:
    """Make this the app of the calling thread."""
    _tls.current_app = app


_set_current_app = set_current_app


def get_current_app() -> Celery:
    """The calling thread's app, else the default one; one named ``default`` is made if there is none."""
    if _tls.current_app is not None:
        return _tls.current_app
    with _lock:
        if default_app is None:
            from pyqs_celery_compat.app import Celery

            set_default_app(Celery("default", fixups=[], set_as_current=False))
        assert default_app is not None
        return default_app


def app_or_default(app: Celery | None = None) -> Celery:
    """The app given, else the current one."""
    if app is not None:
        return app
    if _trace is not None:
        _trace("app_or_default: no app was given, the current one is taken", stack_info=True)
    return get_current_app()


def get_current_task() -> Task | None:
    """The task that runs in this thread, or None."""
    return _task_stack.top


def get_current_worker_task() -> Task | None:
    """The task the worker runs here, not one that it called in turn."""
    if _task_stack.top is None:  # most who call tasks are none
        return None
    for task in reversed(_task_stack.stack):
        if not task.request.called_directly:
            return task
    return None


def connect_on_app_finalize(callback: Callable[[Celery], Any]) -> Callable[[Celery], Any]:
    """Have ``callback(app)`` called for every app that is finalized from now on."""
    _on_app_finalizers.append(callback)
    return callback


def announce_app_finalized(app: Celery) -> None:
    """Call the finalizers for this app."""
    for callback in list(_on_app_finalizers):
        callback(app)


def register_app(app: Celery) -> None:
    """Remember the app, weakly."""
    _apps.add(app)


def deregister_app(app: Celery) -> None:
    """Forget the app."""
    _apps.discard(app)


def active_apps() -> list[Celery]:
    """Every app that is alive."""
    return list(_apps)


_announce_app_finalized = announce_app_finalized
_register_app, _deregister_app, _get_active_apps = register_app, deregister_app, active_apps

#: Tells of each time that an app was not given; None tells nobody.
_trace: Callable[..., Any] | None = None
#: Whether to wait for a result here holds up a worker, as it does inside of a task; each of several has its own.
_join_blocks: contextvars.ContextVar[bool] = contextvars.ContextVar("join_blocks", default=False)


def enable_trace() -> None:
    """Log, with the stack, wherever ``app_or_default`` has to take the current app."""
    global _trace
    _trace = logging.getLogger("celery").warning


def disable_trace() -> None:
    """Log nothing of it any more."""
    global _trace
    _trace = None


def task_join_will_block() -> bool:
    """Whether waiting for a result here holds up a worker."""
    return _join_blocks.get()


def _set_task_join_will_block(blocks: bool) -> None:
    _join_blocks.set(blocks)


push_current_task = _task_stack.push
pop_current_task = _task_stack.pop

#: Stands for the current app.
current_app: Any = Proxy(get_current_app)
#: Stands for the running task.
current_task: Any = Proxy(get_current_task)
