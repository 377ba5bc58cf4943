"""Log lines as JSON: one object a line, for programs that read logs.

Owns: ``JsonLines``, the formatter behind ``--log-format json``, and the names of its fields. Runs wherever a line is written:
in the worker, the forkserver, the executors and the host. Never lets out a secret that it was told, nor more than one line.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from pyqs.log_fields import fields_of

#: Fields of every line, in their order; then those of ``log_fields``, then ``exception`` and ``stack``.
ALWAYS = ("time", "level", "logger", "message", "pid")
_OURS = frozenset({*ALWAYS, "exception", "stack"})
#: Containers within each other that are shown; what lies deeper is text.
_DEEPEST = 8
#: Whole numbers beyond this are text: what reads the lines has 64 bits.
_LARGEST = 2**63


class JsonLines(logging.Formatter):
    """A record as one JSON object in ASCII, without a line break.

    A field that was given as ``extra=`` and has the name of one of ours is called ``extra_<name>``. A value that JSON does not
    have is shown as text.

    Parameters:
        clean: takes secrets out of a text.
    """

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        super().__init__()
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._message(record),
            "pid": record.process,
        }
        for name, value in fields_of(record).items():
            line[f"extra_{name}" if name in _OURS else self._clean(name)] = self._plain(value)
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = self._clean(record.exc_text)
        if record.stack_info:
            line["stack"] = self._clean(self.formatStack(record.stack_info))
        return json.dumps(line, separators=(",", ":"))

    def _message(self, record: logging.LogRecord) -> str:
        try:
            return self._clean(record.getMessage())
        except Exception as exc:  # arguments that do not fit their format: elsewhere this is a traceback on standard error
            return self._clean(f"{record.msg!s} (its arguments do not fit: {exc})")

    def _plain(self, value: Any, depth: int = 0) -> Any:
        """The value as JSON has it, without secrets."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) < _LARGEST else _text(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(value)
        if isinstance(value, str):
            return self._clean(value)
        if depth < _DEEPEST:
            if isinstance(value, dict):
                return {self._clean(_text(key)): self._plain(one, depth + 1) for key, one in list(value.items())}
            if isinstance(value, list | tuple):
                return [self._plain(one, depth + 1) for one in value]
        return self._clean(_text(value))


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as exc:  # it is somebody's own class
        return f"<{type(value).__name__} that cannot be shown: {type(exc).__name__}>"
