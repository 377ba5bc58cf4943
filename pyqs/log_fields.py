"""What a log line knows beside its text: which task, which message, which queue, and what the call that made it has added.

Owns: what this process works on now, and ``fields_of`` a record. Executors and the host say what they work on, in their main
thread; lines of every thread of theirs are taken to be of it. Where several tasks run at a time (``by_context``), each thread
says so for its context: a line is of the task whose context it is written in. Never holds arguments, bodies or receipt
handles.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Mapping
from typing import Any

from pyqs.message import Delivery

#: What every record has, or gets when it is formatted: no field that somebody has added.
_USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "verbatim"}
#: Celery's trace adds all of a call to its records, arguments included, which its formats do not show.
_TRACE, _TRACE_DATA = "celery.app.trace", "data"
#: How our own lines about a queue begin.
_QUEUE = "queue %s"

_NOTHING: Mapping[str, str] = {}
#: What this process works on; replaced as a whole, so that any thread may read it.
_now: Mapping[str, str] = _NOTHING
#: The same for a context, where there is more than one.
_here: contextvars.ContextVar[Mapping[str, str]] | None = None


def by_context() -> None:
    """From now on this process works on several at a time, each in a context."""
    global _here
    _here = contextvars.ContextVar("log_fields", default=_NOTHING)


def begin(queue: str, message_id: str) -> None:
    """From now on this process, or this context, works on this message."""
    _set({"queue": queue, "message_id": message_id})


def name(task: str, task_id: str) -> None:
    """It is this call of this task."""
    _set({**_get(), "task": task, "task_id": task_id})


def end() -> None:
    """It works on none."""
    _set(_NOTHING)


def _set(fields: Mapping[str, str]) -> None:
    global _now
    if _here is None:
        _now = fields
    else:
        _here.set(fields)


def _get() -> Mapping[str, str]:
    return _now if _here is None else _here.get()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """``task``, ``task_id``, ``message_id`` and ``queue`` as far as they are known, and everything given as ``extra=``."""
    found: dict[str, Any] = {**_get()}
    if record.name.startswith("pyqs.") and isinstance(record.args, tuple):
        for value in record.args:
            if isinstance(value, Delivery):
                found |= {"queue": value.queue, "message_id": value.message.message_id}
        if record.args and isinstance(record.msg, str) and record.msg.startswith(_QUEUE):
            found["queue"] = str(record.args[0])
    for key, value in record.__dict__.items():
        if key not in _USUAL and not (key == _TRACE_DATA and record.name == _TRACE):
            found[key] = value
    return found
