"""Beat as a program: what ``pyqs beat`` runs, and ``app.Beat`` makes.

Owns: ``Beat``: logging, the banner, signals, the pidfile. Runs in the main thread of beat's process, which holds the app.
"""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from typing import Any

from pyqs.errors import ConfigError
from pyqs_celery_compat import platforms
from pyqs_celery_compat.beat import Service
from pyqs_celery_compat.utils.imports import qualname
from pyqs_celery_compat.utils.log import get_logger, mlevel
from pyqs_celery_compat.utils.time import humanize_seconds
from pyqs_celery_compat.version import CELERY, own

__all__ = ["Beat"]

logger = get_logger("celery.beat")


class Beat:
    """One beat.

    Parameters:
        max_interval: most seconds between two looks at the schedule.
        app: its app, where the class has none.
        pidfile: holds the process's number while it runs; a second beat does not start.
        no_color, loglevel, logfile, redirect_stdouts, redirect_stdouts_level: of its log.
        schedule: the schedule file. scheduler, scheduler_cls: the scheduler's class, or the path of one.
        quiet: print nothing at the start.
        socket_timeout, remote_control, hostname: Celery's; without effect here.
    """

    Service: Any = Service
    app: Any = None

    def __init__(
        self,
        max_interval: float | None = None,
        app: Any = None,
        socket_timeout: int = 30,
        pidfile: str | None = None,
        no_color: bool | None = None,
        loglevel: Any = "WARN",
        logfile: str | None = None,
        schedule: str | None = None,
        scheduler: Any = None,
        scheduler_cls: Any = None,
        redirect_stdouts: bool | None = None,
        redirect_stdouts_level: Any = None,
        quiet: bool = False,
        remote_control: bool | None = None,
        hostname: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app = app or self.app
        self.max_interval = max_interval
        self.socket_timeout = socket_timeout
        self.pidfile = pidfile
        self.no_color = no_color
        self.loglevel = mlevel(loglevel)
        self.logfile = logfile
        self.schedule = app.either("beat_schedule_filename", schedule)
        self.scheduler_cls = app.either("beat_scheduler", scheduler, scheduler_cls)
        self.redirect_stdouts = app.either("worker_redirect_stdouts", redirect_stdouts)
        self.redirect_stdouts_level = app.either("worker_redirect_stdouts_level", redirect_stdouts_level)
        self.quiet = quiet
        self.remote_control = remote_control
        self.hostname = hostname
        self.colored = app.log.colored(logfile, enabled=no_color if no_color is None else not no_color)

    def run(self) -> None:
        """Import the app's modules and send what is due, until SIGTERM or Ctrl-C."""
        if not self.quiet:
            print(self.colored.cyan(f"pyqs beat {own()} (celery {CELERY}) is starting."), flush=True)
        self.init_loader()
        self.set_process_title()
        self.start_scheduler()

    def init_loader(self) -> None:
        """Import the task modules, as a worker does."""
        self.app.loader.init_worker()
        self.app.finalize()

    def set_process_title(self) -> None:
        """What ``ps`` shows, where ``setproctitle`` is installed."""
        platforms.set_process_title("celery beat", info=platforms.strargv(sys.argv))

    def setup_logging(self, colorize: bool | None = None) -> None:
        """Log as the app says."""
        if colorize is None and self.no_color is not None:
            colorize = not self.no_color
        self.app.log.setup(
            self.loglevel, self.logfile, self.redirect_stdouts, self.redirect_stdouts_level, colorize=colorize
        )  # fmt: skip

    def start_scheduler(self) -> None:
        """The loop. Raises what ends it; SystemExit where another beat has the pidfile."""
        if self.pidfile:
            platforms.create_pidlock(self.pidfile)
        try:
            service = self.Service(
                app=self.app, max_interval=self.max_interval, scheduler_cls=self.scheduler_cls,
                schedule_filename=self.schedule, remote_control=self.remote_control, hostname=self.hostname,
            )  # fmt: skip
            if not self.quiet:
                print(self.banner(service), flush=True)
            self.setup_logging()
            self.install_sync_handler(service)
            service.start()
        except ConfigError:  # for the person at the terminal
            raise
        except Exception as exc:
            logger.critical("beat raised exception %s: %r", type(exc), exc, exc_info=True)
            raise

    def banner(self, service: Service) -> str:
        """What is printed at the start."""
        return str(self.colored.reset(self.startup_info(service)))

    def startup_info(self, service: Service) -> str:
        """What it runs with, without secrets."""
        scheduler = service.get_scheduler(lazy=True)
        most = humanize_seconds(scheduler.max_interval)
        lines = [
            f"LocalTime -> {datetime.now().replace(microsecond=0)}",
            "Configuration ->",
            f"    . broker -> {self.app.connection().as_uri()}",
            f"    . loader -> {qualname(self.app.loader)}",
            f"    . scheduler -> {qualname(scheduler)}",
            scheduler.info,
            f"    . logfile -> {self.logfile or '[stderr]'}@%{logging.getLevelName(self.loglevel)}",
            f"    . maxinterval -> {most} ({scheduler.max_interval}s)",
        ]
        return "\n".join(filter(None, lines))

    def install_sync_handler(self, service: Service) -> None:
        """SIGTERM and SIGINT end the loop: at once while it waits, else when what is being sent is sent. A second one does
        not wait for that. The schedule is written in any case."""

        def end(signum: int, frame: Any) -> None:
            if service.ends:
                return
            if service.waits or service._is_shutdown.is_set():
                raise SystemExit()
            service._is_shutdown.set()

        platforms.signals.update(SIGTERM=end, SIGINT=end)
