"""Messages of protocol 1 in the form of protocol 2, under the name that Celery's worker has for it.

Owns: ``hybrid_to_proto2``, which libraries use in their tests. A pure function. How our worker reads messages is
``decoding``; a strategy of a task's own is never called, which a worker says when it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyqs_celery_compat.exceptions import InvalidTaskError

__all__ = ["hybrid_to_proto2"]

#: What of a body of protocol 1 stands in the headers of protocol 2, and what stands beside the arguments.
_HEADERS = ("lang", "task", "id", "root_id", "parent_id", "group", "meth", "shadow", "eta", "expires", "argsrepr", "kwargsrepr",
            "origin")  # fmt: skip
_EMBEDDED = ("callbacks", "errbacks", "chord", "chain")


def hybrid_to_proto2(
    message: Any, body: Mapping[str, Any]
) -> tuple[tuple[Any, Mapping[str, Any], dict[str, Any]], dict[str, Any], bool, bool]:
    """Body, headers, decoded and utc. What the message has for headers comes before what the body says."""
    args, kwargs = body.get("args", ()), body.get("kwargs", {})
    if not isinstance(kwargs, Mapping):
        raise InvalidTaskError("Task keyword arguments must be a mapping")
    told = {name: body.get(name) for name in _HEADERS}
    told |= {"retries": body.get("retries", 0), "timelimit": body.get("timelimit", (None, None)), **(message.headers or {})}
    return (args, kwargs, {name: body.get(name) for name in _EMBEDDED}), told, True, body.get("utc", True)
