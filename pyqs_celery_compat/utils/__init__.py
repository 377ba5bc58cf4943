"""What Celery keeps in ``celery.utils``, at Celery's paths.

Owns: the names that ``celery.utils`` itself has, each loaded from its module on first use. Runs in every process. Never a place
for what Celery does not have there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kombu.utils.objects import cached_property

    from pyqs_celery_compat.utils.functional import chunks, memoize, noop
    from pyqs_celery_compat.utils.imports import gen_task_name, import_from_cwd, instantiate
    from pyqs_celery_compat.utils.imports import qualname as get_full_cls_name
    from pyqs_celery_compat.utils.imports import symbol_by_name as get_cls_by_name
    from pyqs_celery_compat.utils.nodenames import nodename, nodesplit, worker_direct
    from pyqs_celery_compat.uuids import uuid

    gen_unique_id = uuid
    LOG_LEVELS: dict[Any, Any]

__all__ = [
    "LOG_LEVELS",
    "cached_property",
    "chunks",
    "gen_task_name",
    "gen_unique_id",
    "get_cls_by_name",
    "get_full_cls_name",
    "import_from_cwd",
    "instantiate",
    "memoize",
    "nodename",
    "nodesplit",
    "noop",
    "uuid",
    "worker_direct",
]

_PACKAGE = "pyqs_celery_compat"
#: Name -> module and the name there.
_HOMES = {
    "LOG_LEVELS": (f"{_PACKAGE}.utils.log", "LOG_LEVELS"),
    "cached_property": ("kombu.utils.objects", "cached_property"),
    "chunks": (f"{_PACKAGE}.utils.functional", "chunks"),
    "gen_task_name": (f"{_PACKAGE}.utils.imports", "gen_task_name"),
    "gen_unique_id": (f"{_PACKAGE}.uuids", "uuid"),
    "get_cls_by_name": (f"{_PACKAGE}.utils.imports", "symbol_by_name"),
    "get_full_cls_name": (f"{_PACKAGE}.utils.imports", "qualname"),
    "import_from_cwd": (f"{_PACKAGE}.utils.imports", "import_from_cwd"),
    "instantiate": (f"{_PACKAGE}.utils.imports", "instantiate"),
    "memoize": (f"{_PACKAGE}.utils.functional", "memoize"),
    "nodename": (f"{_PACKAGE}.utils.nodenames", "nodename"),
    "nodesplit": (f"{_PACKAGE}.utils.nodenames", "nodesplit"),
    "noop": (f"{_PACKAGE}.utils.functional", "noop"),
    "uuid": (f"{_PACKAGE}.uuids", "uuid"),
    "worker_direct": (f"{_PACKAGE}.utils.nodenames", "worker_direct"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {_PACKAGE + '.utils'!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
