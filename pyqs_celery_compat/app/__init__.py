"""The app and its parts, at Celery's paths.

Owns: the names that ``celery.app`` has, each loaded from its module on first use. Runs in every process; importing it loads
nothing of what it names.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat._state import app_or_default, disable_trace, enable_trace, pop_current_task, push_current_task
    from pyqs_celery_compat.app.base import Celery
    from pyqs_celery_compat.app.utils import AppPickler
    from pyqs_celery_compat.shared import shared_task

    default_app: Any

__all__ = [
    "AppPickler",
    "Celery",
    "app_or_default",
    "bugreport",
    "default_app",
    "disable_trace",
    "enable_trace",
    "pop_current_task",
    "push_current_task",
    "shared_task",
]

_HOMES = {
    "AppPickler": "app.utils",
    "Celery": "app.base",
    "app_or_default": "_state",
    "disable_trace": "_state",
    "enable_trace": "_state",
    "pop_current_task": "_state",
    "push_current_task": "_state",
    "shared_task": "shared",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"pyqs_celery_compat.{_HOMES[name]}"), name)
    if name == "default_app":
        return _default_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def bugreport(app: Celery | None = None) -> str:
    """Versions and settings of the app, or of the current one: what an issue should have."""
    from pyqs_celery_compat._state import app_or_default

    return app_or_default(app).bugreport()


@cache
def _default_app() -> Any:
    """Stands for the app of threads that have made none; None while there is none."""
    from pyqs_celery_compat import _state
    from pyqs_celery_compat.local import Proxy

    return Proxy(lambda: _state.default_app)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
