"""An exception as data that a result backend keeps, and back.

Owns: both ways. Pure; runs where a task ends and where its result is read. Never imports what the data names: an exception is
made again from a module that is loaded already, else from a class made for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pyqs_celery_compat import exceptions, serialization
from pyqs_celery_compat.exceptions import SecurityError
from pyqs_celery_compat.utils.serialization import (
    create_exception_cls,
    ensure_serializable,
    get_pickleable_exception,
    get_pickled_exception,
)

#: Formats that carry exceptions themselves.
_OF_OBJECTS = frozenset({"pickle"})
#: Modules whose exceptions are ours, also where the alias is not installed and nobody has loaded them by these names.
_OURS = frozenset({"celery.exceptions", "billiard.exceptions"})


def as_data(exc: BaseException, serializer: str) -> Any:
    """An exception as a serializer can write it."""
    if serializer in _OF_OBJECTS:
        return get_pickleable_exception(exc)
    kind = type(exc)
    return {
        "exc_type": kind.__qualname__,
        "exc_message": ensure_serializable(exc.args, lambda value: serialization.dumps(value, serializer)),
        "exc_module": kind.__module__,
    }


def as_exception(data: Any) -> Any:
    """The exception that the data tells of; an exception, None, or what tells of none, as it is.

    Raises:
        SecurityError: what it names is no exception.
    """
    if not isinstance(data, Mapping) or "exc_type" not in data:
        return get_pickled_exception(data) if isinstance(data, BaseException) else data
    name, module = str(data["exc_type"]), str(data.get("exc_module") or "builtins")
    own = module in _OURS and hasattr(exceptions, name)
    kind: Any = exceptions if own else sys.modules.get(module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    if kind is None:
        kind = create_exception_cls(name, module)
    elif not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise SecurityError(f"Expected an exception class, got {module}.{name} with payload {data.get('exc_message')}")
    said = data.get("exc_message")
    args = said if isinstance(said, (list, tuple)) else () if said is None else (said,)
    try:
        return kind(*args)
    except Exception:  # its class wants other arguments than it had
        return Exception(f"{kind}({said})")
