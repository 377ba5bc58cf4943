"""``app.log``: Celery's way to set up logging in a worker's processes.

Owns: ``Logging`` and ``TaskFormatter``. Runs in executors and the host when they begin, and wherever code calls it. Never
touches logging where a receiver of ``setup_logging`` has set it up, nor the root logger's handlers where there are some and
``worker_hijack_root_logger`` is off.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from logging import StreamHandler
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import signals
from pyqs_celery_compat._state import get_current_task
from pyqs_celery_compat.local import class_property
from pyqs_celery_compat.utils.log import ColorFormatter, LoggingProxy, get_logger, mlevel, reset_multiprocessing_logger
from pyqs_celery_compat.utils.term import colored

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

__all__ = ["Logging", "TaskFormatter"]


class TaskFormatter(ColorFormatter):
    """A formatter whose records know ``%(task_id)s`` and ``%(task_name)s``; ``???`` outside of a task."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        task = get_current_task()
        if task is not None and task.request is not None:
            record.__dict__.update(task_id=task.request.id, task_name=task.name)
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)


class Logging:
    """The logging of an app.

    Attributes:
        loglevel, format, task_format, datefmt, task_datefmt, colorize: used where a call does not say otherwise.
        already_setup: whether it was set up in this process, by whichever app.
    """

    _setup = False
    #: Told of each handler that is made: in a worker, to keep its secrets out of what that writes.
    on_handler: Callable[[logging.Handler], None] | None = None

    def __init__(self, app: Celery) -> None:
        self.app = app
        conf = app.conf
        self.loglevel: Any = logging.WARNING
        self.format = conf.worker_log_format
        self.datefmt = conf.worker_log_datefmt
        self.task_format = conf.worker_task_log_format
        self.task_datefmt = conf.worker_task_log_datefmt
        self.colorize = conf.worker_log_color

    already_setup: Any = class_property(lambda cls: cls._setup, lambda cls, was: setattr(cls, "_setup", was))

    def setup(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        redirect_stdouts: bool = False,
        redirect_level: Any = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> Any:
        """Set up loggers, and the standard streams if told so. What receivers of ``setup_logging`` answered, who do it then."""
        loglevel = mlevel(loglevel)
        handled = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)
        if not handled and redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        os.environ.update(CELERY_LOG_LEVEL=str(loglevel) if loglevel else "", CELERY_LOG_FILE=str(logfile or ""))
        return handled

    def setup_logging_subsystem(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        hostname: str | None = None,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Set up loggers, once in a process.

        Returns:
            What receivers of ``setup_logging`` have answered, who then have done it; else None.

        Raises:
            Whatever such a receiver raises: a worker without the logging that was meant for it does not start.
        """
        if self.already_setup:
            return None
        level = mlevel(loglevel or self.loglevel)
        format = format or self.format
        colorize = self.supports_color(colorize, logfile)
        reset_multiprocessing_logger()
        asked = {"loglevel": level, "logfile": logfile, "format": format, "colorize": colorize}
        receivers = signals.setup_logging.send(sender=None, **asked)
        for _, answer in receivers:
            if isinstance(answer, Exception):
                raise answer
        if not receivers:
            root = logging.getLogger()
            if self.app.conf.worker_hijack_root_logger:
                root.handlers = []
                for name in ("celery", "celery.task", "celery.redirected"):
                    get_logger(name).handlers = []
            self._configure_logger(root, logfile, level, format, colorize, datefmt=datefmt, **kwargs)
            signals.after_setup_logger.send(sender=None, logger=root, **asked)
            self.setup_task_loggers(level, logfile, colorize=colorize)
        self.already_setup = True
        return receivers or None

    def setup_task_loggers(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        propagate: bool = False,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> logging.Logger:
        """Set up ``celery.task``, below which are the loggers of task modules."""
        level = mlevel(loglevel or self.loglevel)
        format = format or self.task_format
        colorize = self.supports_color(colorize, logfile)
        datefmt = self.task_datefmt if datefmt is None else datefmt
        logger = self.setup_handlers(
            get_logger("celery.task"), logfile, format, colorize, formatter=TaskFormatter, datefmt=datefmt, **kwargs
        )
        logger.setLevel(level)
        logger.propagate = propagate
        signals.after_setup_task_logger.send(
            sender=None, logger=logger, loglevel=level, logfile=logfile, format=format, colorize=colorize
        )
        return logger

    def setup_handlers(
        self,
        logger: logging.Logger,
        logfile: Any,
        format: str,
        colorize: Any,
        formatter: Any = ColorFormatter,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> logging.Logger:
        """Give a logger its handler, unless it has one."""
        if not self._is_configured(logger):
            handler = self._detect_handler(logfile)
            handler.setFormatter(formatter(format, use_color=colorize, datefmt=datefmt))
            if self.on_handler is not None:
                self.on_handler(handler)
            logger.addHandler(handler)
        return logger

    def redirect_stdouts(self, loglevel: Any = None, name: str = "celery.redirected") -> None:
        """Have what is printed logged from now on."""
        self.redirect_stdouts_to_logger(get_logger(name), loglevel=loglevel)
        os.environ.update(CELERY_LOG_REDIRECT="1", CELERY_LOG_REDIRECT_LEVEL=str(loglevel or ""))

    def redirect_stdouts_to_logger(
        self, logger: logging.Logger, loglevel: Any = None, stdout: bool = True, stderr: bool = True
    ) -> LoggingProxy:
        """The same to a logger of one's own; the stream that is in their place."""
        proxy = LoggingProxy(logger, loglevel)
        if stdout:
            sys.stdout = proxy
        if stderr:
            sys.stderr = proxy
        return proxy

    def supports_color(self, colorize: bool | None = None, logfile: Any = None) -> bool:
        """Whether lines are coloured: on a terminal, unless the setting or the call says no."""
        colorize = self.colorize if colorize is None else colorize
        if colorize or colorize is None:
            return logfile is None and sys.__stderr__ is not None and sys.__stderr__.isatty()
        return False

    def colored(self, logfile: Any = None, enabled: bool | None = None) -> colored:
        """Text in colour, where lines are coloured."""
        return colored(enabled=self.supports_color(enabled, logfile))

    def get_default_logger(self, name: str = "celery", **kwargs: Any) -> logging.Logger:
        """Celery's own logger."""
        return get_logger(name)

    def _configure_logger(
        self, logger: Any, logfile: Any, loglevel: Any, format: str, colorize: Any, datefmt: str | None = None, **kwargs: Any
    ) -> None:
        if logger is None:
            return
        datefmt = self.datefmt if datefmt is None else datefmt
        self.setup_handlers(logger, logfile, format, colorize, datefmt=datefmt, **kwargs)
        if loglevel:
            logger.setLevel(loglevel)

    @staticmethod
    def _detect_handler(logfile: Any = None) -> logging.Handler:
        """A handler for a file by its name, for one that is open, or for standard error."""
        stream: Any = sys.__stderr__ if logfile is None else logfile
        return WatchedFileHandler(stream, encoding="utf-8") if isinstance(stream, str | os.PathLike) else StreamHandler(stream)

    @staticmethod
    def _is_configured(logger: logging.Logger) -> bool:
        return any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)
