"""Celery's face on pyqs: ``Celery``, ``shared_task`` and their company, on SQS.

Owns: the public names, each loaded from its module on first use. Importing the package loads neither boto3 nor kombu.
After ``install_as_celery()`` this package is ``celery``, too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat._state import current_app, current_task
    from pyqs_celery_compat.alias import install_as_celery
    from pyqs_celery_compat.app import bugreport
    from pyqs_celery_compat.app.base import Celery
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.canvas import chain, chord, chunks, group, xmap, xstarmap
    from pyqs_celery_compat.concurrency import maybe_patch_concurrency
    from pyqs_celery_compat.shared import shared_task
    from pyqs_celery_compat.signatures import Signature, maybe_signature, signature, subtask
    from pyqs_celery_compat.uuids import uuid
    from pyqs_celery_compat.version import SERIES, VERSION, VERSION_BANNER, __version__, version_info, version_info_t

__all__ = [
    "SERIES",
    "VERSION",
    "VERSION_BANNER",
    "Celery",
    "Signature",
    "Task",
    "__version__",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "install_as_celery",
    "maybe_patch_concurrency",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "version_info",
    "version_info_t",
    "xmap",
    "xstarmap",
]

#: Not ``__name__``, which is ``celery`` while import hooks are told of it.
_PACKAGE = "pyqs_celery_compat"
_HOMES = {
    "Celery": "app.base",
    "SERIES": "version",
    "Signature": "signatures",
    "Task": "app.task",
    "VERSION": "version",
    "VERSION_BANNER": "version",
    "__version__": "version",
    "bugreport": "app",
    "chain": "canvas",
    "chord": "canvas",
    "chunks": "canvas",
    "current_app": "_state",
    "current_task": "_state",
    "group": "canvas",
    "install_as_celery": "alias",
    "maybe_patch_concurrency": "concurrency",
    "maybe_signature": "signatures",
    "shared_task": "shared",
    "signature": "signatures",
    "subtask": "signatures",
    "uuid": "uuids",
    "version_info": "version",
    "version_info_t": "version",
    "xmap": "canvas",
    "xstarmap": "canvas",
}
#: Submodules that are there without having been imported, as Celery's users know them.
_MODULES = frozenset(
    {
        "app", "beat", "canvas", "exceptions", "local", "platforms", "registry", "result", "schedules", "signals", "states",
        "utils",
    }
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module = importlib.import_module(f"{_PACKAGE}.{_HOMES[name]}")
        return getattr(module, name)
    if name in _MODULES:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
