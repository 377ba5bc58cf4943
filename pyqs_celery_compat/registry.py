"""``celery.registry``: the current app's tasks, where instrumentation looks for them.

Owns: ``tasks``, found anew on each use. Runs in any process; importing it makes no app.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat.app.registry import TaskRegistry

    tasks: TaskRegistry

__all__ = ["tasks"]


def __getattr__(name: str) -> Any:
    if name == "tasks":
        from pyqs_celery_compat._state import get_current_app

        return get_current_app().tasks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
