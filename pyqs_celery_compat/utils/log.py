"""Loggers as Celery hands them to task modules, formatters in colour, and a stream that is a logger.

Owns: ``get_logger``, ``get_task_logger``, ``ColorFormatter``, ``LoggingProxy`` and their company. Runs in every process;
configures no handler: ``app.log`` does.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from pyqs_celery_compat.utils.term import colored

__all__ = [
    "LOG_LEVELS", "ColorFormatter", "LoggingProxy", "base_logger", "get_logger", "get_multiprocessing_logger",
    "get_task_logger", "in_sighandler", "mlevel", "reset_multiprocessing_logger", "set_in_sighandler",
]  # fmt: skip

#: Levels by name, and names by level.
LOG_LEVELS: dict[Any, Any] = {
    "CRITICAL": 50, "FATAL": 50, "ERROR": 40, "WARN": 30, "WARNING": 30, "INFO": 20, "DEBUG": 10, "NOTSET": 0,
    50: "CRITICAL", 40: "ERROR", 30: "WARNING", 20: "INFO", 10: "DEBUG", 0: "NOTSET",
}  # fmt: skip

base_logger = logger = logging.getLogger("celery")
task_logger = logging.getLogger("celery.task")
worker_logger = logging.getLogger("celery.worker")

RESERVED_LOGGER_NAMES = {"celery", "celery.task"}
_in_sighandler = False


def set_in_sighandler(value: bool) -> None:
    """Whether a signal handler runs: ``LoggingProxy`` then takes no lock."""
    global _in_sighandler
    _in_sighandler = value


@contextmanager
def in_sighandler() -> Iterator[None]:
    """The same for a with block."""
    set_in_sighandler(True)
    try:
        yield
    finally:
        set_in_sighandler(False)


def logger_isa(l: logging.Logger, p: logging.Logger, max: int = 1000) -> bool:  # noqa: E741 - Celery's names
    """Whether a logger is another, or below it.

    Raises:
        RuntimeError: its parents go in a circle, or are more than ``max``.
    """
    seen: set[int] = set()
    this: logging.Logger | None = l
    while this is not None and this is not p:
        if id(this) in seen or len(seen) >= max:
            raise RuntimeError(f"the parents of logger {l.name!r} go in a circle")
        seen.add(id(this))
        this = this.parent
    return this is p


def mlevel(level: Any) -> Any:
    """A level as a number; what is none already is looked up by its name."""
    return LOG_LEVELS[level.upper()] if level and not isinstance(level, int) else level


def get_logger(name: str) -> logging.Logger:
    """The logger of this name, below ``celery`` if it had no parent of its own."""
    found = logging.getLogger(name)
    if found.parent is logging.root and found is not base_logger:
        found.parent = base_logger
    return found


def get_task_logger(name: str) -> logging.Logger:
    """The logger of a task module: below ``celery.task``.

    Raises:
        RuntimeError: the name is one of Celery's own.
    """
    if name in RESERVED_LOGGER_NAMES:
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    found = get_logger(name)
    if not logger_isa(found, task_logger):
        found.parent = task_logger
    return found


class ColorFormatter(logging.Formatter):
    """Lines in the colour of their level; in none with ``use_color`` off."""

    COLORS: ClassVar[dict[str, Any]] = colored().names
    colors: ClassVar[dict[str, Any]] = {
        "DEBUG": COLORS["blue"], "WARNING": COLORS["yellow"], "ERROR": COLORS["red"], "CRITICAL": COLORS["magenta"],
    }  # fmt: skip

    def __init__(self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def formatException(self, ei: Any) -> Any:  # noqa: N802 - logging's name
        """The traceback as text."""
        text = super().formatException(ei)
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else text

    def format(self, record: logging.LogRecord) -> str:
        """The record as text. One that cannot be formatted is a line that says so, and no error of who has logged it."""
        try:
            text = super().format(record)
            color = self.colors.get(record.levelname)
            return str(color(text)) if color is not None and self.use_color else text
        except Exception as exc:
            return f"<Unrepresentable {type(record.msg)!r}: {exc!r}>"


class LoggingProxy:
    """A file whose lines are log records: what ``sys.stdout`` is where ``worker_redirect_stdouts`` has it so.

    Parameters:
        loglevel: of the records; None is the logger's own level.
    """

    mode = "w"
    name: str | None = None
    closed = False
    loglevel = logging.ERROR
    encoding = "utf-8"
    #: What a record's handler writes while it writes is no record again.
    _thread = threading.local()

    def __init__(self, logger: logging.Logger, loglevel: Any = None) -> None:
        self.logger = logger
        self.loglevel = mlevel(loglevel or self.logger.level or self.loglevel)

    def write(self, data: Any) -> int:
        """Log it, without the line's end; how many characters that were."""
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
        if _in_sighandler:
            print(text, file=sys.__stderr__)
            return len(text)
        if getattr(self._thread, "recurse_protection", False):
            return 0
        text = text.rstrip("\n")
        if not text or self.closed:
            return 0
        self._thread.recurse_protection = True
        try:
            self.logger.log(self.loglevel, text)
        finally:
            self._thread.recurse_protection = False
        return len(text)

    def writelines(self, sequence: Iterable[Any]) -> None:
        """Log each."""
        for part in sequence:
            self.write(part)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Log nothing more."""
        self.closed = True

    def isatty(self) -> bool:
        """It is no terminal."""
        return False


def get_multiprocessing_logger() -> logging.Logger:
    """The logger of multiprocessing, of which executors are processes."""
    from multiprocessing import get_logger as found

    return found()


def reset_multiprocessing_logger() -> None:
    """Nothing to do: that is for billiard's processes."""


def current_process_index(base: int = 1) -> int | None:
    """The number of this executor, from ``base`` on; None elsewhere."""
    from multiprocessing import current_process

    name, _, number = current_process().name.rpartition("-")
    return int(number) + base if name == "pyqs-executor" and number.isdecimal() else None
