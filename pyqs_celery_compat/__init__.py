"""Celery's face on pyqs: ``Celery``, ``shared_task`` and their company, on SQS.

Owns: the public names, each loaded from its module on first use. Importing the package loads neither boto3 nor kombu.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.shared import shared_task
    from pyqs_celery_compat.signatures import Signature, maybe_signature, signature, subtask
    from pyqs_celery_compat.state import current_app, current_task
    from pyqs_celery_compat.task import Task
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
    "Celery": "app",
    "Signature": "signatures",
    "Task": "task",
    "current_app": "state",
    "current_task": "state",
    "maybe_signature": "signatures",
    "shared_task": "shared",
    "signature": "signatures",
    "subtask": "signatures",
    "uuid": "uuids",
}
_MODULES = frozenset({"app", "exceptions", "local", "registry", "result", "signals", "states"})
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
