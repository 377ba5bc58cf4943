"""Beat: sends periodic tasks when they are due. What Celery has in ``celery.beat``.

Owns: ``Service``, the loop, and ``EmbeddedService``, the loop in a thread of a worker's host. Entries, schedulers and the file
are in ``schedule_entries``, ``scheduling``, ``persistent_scheduling`` and ``schedule_file``, and found here, too. Runs as
``pyqs beat``, or in the host of ``pyqs worker -B``. Never runs a task, and answers no remote control, as there is none.
"""

from __future__ import annotations

import time
from functools import cached_property
from threading import Event, Thread
from typing import Any

from pyqs_celery_compat import signals
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.persistent_scheduling import PersistentScheduler
from pyqs_celery_compat.schedule_entries import BeatLazyFunc, ScheduleEntry, SchedulingError, event_t
from pyqs_celery_compat.schedule_file import ScheduleInUse
from pyqs_celery_compat.scheduling import DEFAULT_MAX_INTERVAL, Scheduler, logger
from pyqs_celery_compat.utils.imports import load_extension_class_names, symbol_by_name
from pyqs_celery_compat.utils.nodenames import default_nodename, host_format
from pyqs_celery_compat.utils.time import humanize_seconds

__all__ = (
    "DEFAULT_MAX_INTERVAL",
    "BeatLazyFunc",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "ScheduleInUse",
    "Scheduler",
    "SchedulingError",
    "Service",
    "beat_nodename",
    "event_t",
)

debug, info, warning, error = logger.debug, logger.info, logger.warning, logger.error

#: The first part of a beat's node name.
NODENAME_DEFAULT = "celerybeat"


def beat_nodename(hostname: str | None = None) -> str:
    """The name of a beat's node: ``celerybeat@host``. A host, a name with ``@``, ``%h``, ``%n`` and ``%d`` as for a worker."""
    return host_format(default_nodename(hostname, NODENAME_DEFAULT))


class Service:
    """The loop of one beat. ``start`` blocks; ``stop`` may be called from any thread.

    Parameters:
        max_interval: most seconds between two looks at the schedule; else ``beat_max_loop_interval``.
        schedule_filename: else ``beat_schedule_filename``. scheduler_cls: a class, or the path of one.
        remote_control, hostname: kept; there is no remote control over SQS.
    """

    scheduler_cls: Any = PersistentScheduler

    def __init__(
        self,
        app: Any,
        max_interval: float | None = None,
        schedule_filename: str | None = None,
        scheduler_cls: Any = None,
        remote_control: bool | None = None,
        hostname: str | None = None,
    ) -> None:
        self.app = app
        self.max_interval = max_interval or app.conf.beat_max_loop_interval
        self.scheduler_cls = scheduler_cls or self.scheduler_cls
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.remote_control = bool(remote_control)
        self.hostname = hostname
        #: What the scheduler has made of ``max_interval``; None before the start.
        self.effective_max_interval: float | None = None
        self._last_tick: float | None = None
        #: For a signal's handler: it waits until something is due, which may be cut off; it writes, which may not.
        self.waits = self.ends = False
        self._is_shutdown = Event()
        self._is_stopped = Event()

    def __reduce__(self) -> tuple[Any, ...]:
        given = self.app, self.max_interval, self.schedule_filename, self.scheduler_cls, self.remote_control, self.hostname
        return type(self), given

    def start(self, embedded_process: bool = False) -> None:
        """Send what is due until told to stop; then write down the schedule.

        Raises:
            ScheduleInUse: another beat has the schedule file. Whatever a scheduler of somebody else's raises.
        """
        info("beat: Starting...")
        try:
            scheduler = self.scheduler
        except BaseException:
            self._is_stopped.set()  # nobody need wait
            raise
        debug("beat: Ticking with max interval->%s", humanize_seconds(scheduler.max_interval))
        signals.beat_init.send(sender=self)
        if embedded_process:
            signals.beat_embedded_init.send(sender=self)
        self.effective_max_interval = scheduler.max_interval
        self._last_tick = time.monotonic()
        try:
            while not self._is_shutdown.is_set():
                interval = scheduler.tick()
                self._last_tick = time.monotonic()
                if interval and interval > 0.0:
                    scheduler.rest()
                    debug("beat: Waking up %s.", humanize_seconds(interval, prefix="in "))
                    self._wait(interval)
        except (KeyboardInterrupt, SystemExit):
            self._is_shutdown.set()
        finally:
            self.sync()

    def _wait(self, seconds: float) -> None:
        self.waits = True
        try:
            self._is_shutdown.wait(seconds)
        finally:
            self.waits = False

    def sync(self) -> None:
        """Write down the schedule and close it."""
        self.ends = True
        try:
            self.scheduler.close()
        finally:
            self._is_stopped.set()

    def stop(self, wait: bool = False) -> None:
        """End the loop when it has sent what it is sending.

        Parameters:
            wait: until the schedule is written.
        """
        info("beat: Shutting down...")
        self._is_shutdown.set()
        if wait:
            self._is_stopped.wait()

    def get_scheduler(self, lazy: bool = False, extension_namespace: str = "celery.beat_schedulers") -> Any:
        """A new scheduler; ``lazy`` for one that is only looked at."""
        aliases = dict(load_extension_class_names(extension_namespace))
        return symbol_by_name(self.scheduler_cls, aliases=aliases)(
            app=self.app, schedule_filename=self.schedule_filename, max_interval=self.max_interval, lazy=lazy
        )

    @cached_property
    def scheduler(self) -> Any:
        """The scheduler; made, and its schedule set up, when it is first asked for."""
        return self.get_scheduler()


class _Threaded(Thread):
    """A beat in a thread."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        super().__init__(name="Beat", daemon=True)
        self.app = app
        self.service = Service(app, **kwargs)

    def run(self) -> None:
        """The loop."""
        self.app.set_current()
        self.service.start(embedded_process=True)

    def stop(self) -> None:
        """End it, and wait for that."""
        self.service.stop(wait=True)


def EmbeddedService(app: Any, max_interval: float | None = None, **kwargs: Any) -> Any:  # noqa: N802 - Celery's name
    """A beat beside something else, with ``start`` and ``stop``: a thread, ``thread=False`` or not."""
    kwargs.setdefault("remote_control", False)
    kwargs.pop("thread", None)
    return _Threaded(app, max_interval=max_interval, **kwargs)


belongs_to("celery.beat", Service)
