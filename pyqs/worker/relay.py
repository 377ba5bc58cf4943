"""The worker's own log lines, on their way to the handlers of its app, which are in the host.

Owns: ``Relay``, the handler that stands in the place of pyqs's own while a worker with an app runs. ``emit`` is called in
whatever thread logs, and never waits. What the host does not take, because there is none, or has not written in time, is
written here as before, so that no line is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pyqs import log_fields, logs
from pyqs.wire import Line
from pyqs.worker.lines import GiveBack

_EXCEPTIONS = logging.Formatter()


class Relay(logging.Handler):
    """Hands records over.

    Parameters:
        take: hands a line to the host; False if it cannot, and what it is given is called if it could not after all.
    """

    def __init__(self, take: Callable[[Line, GiveBack], bool]) -> None:
        super().__init__()
        self._take = take
        self._own: logging.Handler | None = None
        logs.guard(self)

    def begin(self) -> None:
        """Take the place of pyqs's own handler; nothing happens where others have set up logging."""
        self._own = logs.replace_own(self)

    def end(self) -> None:
        """Give it back."""
        if self._own is not None:
            logs.replace_own(self._own)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it over, or write it as before."""
        try:
            if not self._take(_line(record), lambda: self._write(record)):
                self._write(record)
        except Exception:
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> None:
        if self._own is not None:
            self._own.handle(record)


def _line(record: logging.LogRecord) -> Line:
    """What a record says, as a frame."""
    details: dict[str, str | int | float] = {
        "name": record.name,
        "levelno": record.levelno,
        "levelname": record.levelname,
        "msg": record.getMessage(),
        "created_us": int(record.created * 1e6),
        "msecs": int(record.msecs),
        "pathname": record.pathname,
        "filename": record.filename,
        "module": record.module,
        "lineno": record.lineno,
        "funcName": record.funcName or "",
        "threadName": record.threadName or "",
        "process": record.process or 0,
        "processName": record.processName or "",
    }
    for name, value in log_fields.fields_of(record).items():
        if isinstance(value, str | int | float):
            details.setdefault(name, value)
    if record.exc_info:
        details["exc_text"] = record.exc_text or _EXCEPTIONS.formatException(record.exc_info)
    return Line(details)
