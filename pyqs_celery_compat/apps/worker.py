"""The worker as an object: ``app.Worker(...).start()``.

Owns: ``Worker``, whose parameters become the options of the command line. Runs in the main thread of a process that is the
worker's parent from ``start`` to its end; tasks run in others. Never runs in a thread.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

__all__ = ["Worker"]

log = logging.getLogger(__name__)

#: Parameter -> option that takes its value.
_VALUES = {
    "autoscale": "--autoscale", "concurrency": "-c", "exclude_queues": "-X", "hostname": "-n", "include": "-I", "logfile": "-f",
    "max_memory_per_child": "--max-memory-per-child", "max_tasks_per_child": "--max-tasks-per-child",
    "optimization": "-O", "pidfile": "--pidfile", "pool": "-P", "pool_cls": "-P", "pool_start_method": "--pool-start-method",
    "prefetch_multiplier": "--prefetch-multiplier", "queues": "-Q", "schedule_filename": "-s", "scheduler": "--scheduler",
    "soft_time_limit": "--soft-time-limit", "state_db": "-S", "statedb": "-S", "task_soft_time_limit": "--soft-time-limit",
    "task_time_limit": "--time-limit", "time_limit": "--time-limit",
}  # fmt: skip
_FLAGS = {
    "beat": "-B", "no_color": "-C", "purge": "--purge", "quiet": "-q", "task_events": "-E",
    "without_gossip": "--without-gossip", "without_heartbeat": "--without-heartbeat", "without_mingle": "--without-mingle",
}  # fmt: skip


class Worker:
    """A worker of an app.

    Parameters:
        app: whose; that of ``app.Worker``.
        loglevel: a name of Python's logging, or its number.
        options: those of Celery's worker, by their long names: ``concurrency=4``, ``queues="a,b"``.
    """

    app: Celery | None = None

    def __init__(self, app: Celery | None = None, loglevel: Any = "WARN", **options: Any) -> None:
        self.app = app or self.app
        self.loglevel = logging.getLevelName(loglevel) if isinstance(loglevel, int) else loglevel
        self.options = options
        self.hostname = options.get("hostname")
        self.concurrency = options.get("concurrency")
        self._runs = False
        #: Of the process, once ``start`` has come back.
        self.exitcode: int | None = None

    def start(self) -> None:
        """Run until told to stop: by a signal, or ``stop``.

        Raises:
            RuntimeError: this is not the main thread.
            SystemExit: it could not start, or something of it has crashed.
        """
        from pyqs_celery_compat import program

        if self.app is None:
            raise ImproperlyConfigured("this worker has no app: app.Worker(...) makes one that has")
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "a worker is started in the main thread of its process, which its signals go to; in a thread of a test's there "
                "is celery.contrib.testing.worker.start_worker"
            )
        self._runs = True
        try:
            self.exitcode = program.run(self.app, ["worker", *self._arguments()])
        finally:
            self._runs = False
        if self.exitcode:
            raise SystemExit(self.exitcode)

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """From another thread: as SIGTERM. Nothing, where it does not run."""
        self._tell(signal.SIGTERM)

    def terminate(self, in_sighandler: bool = False) -> None:
        """From another thread: as SIGQUIT."""
        self._tell(signal.SIGQUIT)

    def _tell(self, number: int) -> None:
        if self._runs:  # else it would end a process that is something else
            os.kill(os.getpid(), number)

    def _arguments(self) -> list[str]:
        arguments = ["-l", str(self.loglevel)]
        for name, value in self.options.items():
            if value is None or value is False:
                continue
            if name in _FLAGS:
                arguments.append(_FLAGS[name])
            elif name in _VALUES:
                arguments += [_VALUES[name], _text(value)]
            else:
                log.warning("app.Worker(%s=...) has no effect: a worker on SQS has no such option", name)
        return arguments


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple, set, frozenset)) else str(value)
