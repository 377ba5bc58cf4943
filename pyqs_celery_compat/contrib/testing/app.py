"""Apps for tests: of one's own, quiet, and gone afterwards; and a trap where the current app would be.

Owns: what ``celery.contrib.testing.app`` has. Runs in tests only, in the process and thread of the test.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyqs_celery_compat import Celery, _state
from pyqs_celery_compat.app.log import Logging

#: Nothing leaves the process, nothing touches the logging of the tests.
DEFAULT_TEST_CONFIG = {
    "accept_content": {"json"},
    "broker_url": "memory://",
    "enable_utc": True,
    "result_backend": "cache+memory://",
    "timezone": "UTC",
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
}


class Trap:
    """Stands in for the current app where a test must not fall back to it: asking it for anything raises RuntimeError."""

    def __getattr__(self, name: str) -> Any:
        if name in ("_is_coroutine", "__func__"):  # what Mock and inspect ask whatever they meet
            return None
        raise RuntimeError(f"Test depends on current_app: it was asked for {name}")


class UnitLogging(Logging):
    """Logging that is said to be set up, and so is left alone."""

    _setup = True


def TestApp(  # noqa: N802 - Celery's public name
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    log: Any = UnitLogging,
    backend: Any = None,
    broker: str | None = None,
    **kwargs: Any,
) -> Celery:
    """An app with ``DEFAULT_TEST_CONFIG`` and, before that, ``config``; ``broker`` and ``backend`` come before either.

    It has the task ``celery.ping``.
    """
    from pyqs_celery_compat.contrib.testing import tasks  # noqa: F401

    settings = {**DEFAULT_TEST_CONFIG, **(config or {})}
    if broker is not None:
        settings.pop("broker_url")
    if backend is not None:
        settings.pop("result_backend")
    app = Celery(
        name or "celery.tests",
        set_as_current=set_as_current,
        log=None if enable_logging else log,
        broker=broker,
        backend=backend,
        **kwargs,
    )
    app.add_defaults(settings)
    return app


TestApp.__test__ = False  # type: ignore[attr-defined]  # pytest is not to take it for a test


class _Everywhere:
    """In place of what each thread has of its own: all have this."""

    def __init__(self, app: Any) -> None:
        self.current_app = app


@contextmanager
def set_trap(app: Any) -> Iterator[None]:
    """The current app of every thread is a trap in this block, and so is the default one; afterwards ``app`` is the default."""
    trap: Any = Trap()
    before, _state._tls = _state._tls, _Everywhere(trap)  # type: ignore[assignment]
    _state.set_default_app(trap)
    try:
        yield
    finally:
        _state._tls = before
        _state.set_default_app(app)


@contextmanager
def setup_default_app(app: Celery, use_trap: bool = False) -> Iterator[None]:
    """What a test leaves with the current and default app, their finalizers and the list of apps is undone after the block.

    Parameters:
        use_trap: nothing in the block may depend on a current app.
    """
    default, current = _state.default_app, _state.get_current_app()
    finalizers, apps = list(_state._on_app_finalizers), weakref.WeakSet(_state._apps)
    try:
        if use_trap:
            with set_trap(app):
                yield
        else:
            yield
    finally:
        _state.set_default_app(default)
        _state._tls.current_app = current
        if app is not current:
            app.close()
        _state._on_app_finalizers[:] = finalizers
        _state._apps = apps
