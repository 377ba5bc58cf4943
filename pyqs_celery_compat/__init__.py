"""Celery's face on pyqs: ``Celery``, ``shared_task`` and their company, on SQS.

Owns: the public names, each loaded from its module on first use. Importing the package loads neither boto3 nor kombu.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat._state import current_app, current_task
    from pyqs_celery_compat.app.base import Celery
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.canvas import Signature, maybe_signature, signature, subtask
    from pyqs_celery_compat.shared import shared_task
    from pyqs_celery_compat.uuids import uuid

__all__ = [
    "Celery",
    "Signature",
    "Task",
    "current_app",
    "current_task",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
]

_HOMES = {
    "Celery": "app.base",
    "Signature": "canvas",
    "Task": "app.task",
    "current_app": "_state",
    "current_task": "_state",
    "maybe_signature": "canvas",
    "shared_task": "shared",
    "signature": "canvas",
    "subtask": "canvas",
    "uuid": "uuids",
}
_MODULES = frozenset({"app", "exceptions", "local", "result", "signals", "states"})
_LATER = frozenset({"beat", "bootsteps", "bugreport", "install_as_celery", "schedules"})
_CANVAS = frozenset({"chain", "chord", "chunks", "group", "xmap", "xstarmap"})


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        return getattr(module, name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _CANVAS:
        raise ImportError(
            f"{name} is not there yet: building canvases comes in a later version of pyqs_celery_compat; "
            "chains and groups that Celery has sent are run"
        )
    if name in _LATER:
        raise ImportError(f"{name} is not there yet: it comes in a later version of pyqs_celery_compat")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
