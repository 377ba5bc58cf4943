"""``pyqs beat``: sends an app's periodic tasks when they are due.

Owns: the command's options. Runs in the main thread; the rest is the compat package's, reached by its dotted path in ``cli``,
because this process holds the app. Importing this module is cheap.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import click

from pyqs import cli, logs
from pyqs.commands import celery_parsing, options
from pyqs.errors import ConfigError


@click.command("beat", cls=celery_parsing.Command, short_help="Send an app's periodic tasks when they are due.")
@celery_parsing.unheeded("beat")
@options.app_options
@options.option(
    "-s",
    "--schedule",
    env="BEAT_SCHEDULE",
    metavar="PATH",
    help="The schedule file, Celery's; '.db' or the like may be put behind it [default: the app's beat_schedule_filename, "
    "which is celerybeat-schedule].",
)
@options.option(
    "-S",
    "--scheduler",
    env="BEAT_SCHEDULER",
    metavar="CLASS",
    help="Scheduler: a path such as django_celery_beat.schedulers:DatabaseScheduler, or the name that a library has for it "
    "[default: the app's beat_scheduler].",
)
@options.option(
    "--max-interval",
    env="BEAT_MAX_INTERVAL",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Look at the schedule at least so often [default: the app's beat_max_loop_interval, or the scheduler's own: 300].",
)
@options.option("--pidfile", env="BEAT_PIDFILE", metavar="PATH", help="Holds the process's number while it runs.")
@options.option("-f", "--logfile", env="LOG_FILE", metavar="PATH", help="Where to log [default: standard error].")
@options.option("-q", "--quiet", env="QUIET", is_flag=True, help="Print nothing at the start.")
@options.option("--umask", env="UMASK", metavar="OCTAL", callback=options.octal, help="Of the process.")
@options.connection_options
@options.log_level_option()
def command(**values: Any) -> int:
    """Send the tasks of beat_schedule, and of add_periodic_task, when they are due. One beat for each app.

    \b
    pyqs beat -A proj
    pyqs beat -A proj -S django_celery_beat.schedulers:DatabaseScheduler

    SIGTERM and Ctrl-C stop it in order, with its schedule written. Exit codes: 0 stopped, 1 crashed, 2 usage, configuration, an
    app that does not load, or another beat that has the schedule file or the pidfile.
    """
    connection, flags = options.take_connection(values)
    app, include, level = values.pop("app"), options.items(values.pop("include")), values.pop("log_level")
    if not app:
        raise ConfigError("whose tasks? give -A proj, which finds proj.app, proj.celery and proj.celery.app")
    if (umask := values.pop("umask")) is not None:
        os.umask(umask)
    logs.know((connection.secret_access_key, connection.session_token))
    logs.calm(level)
    module, _, name = cli.COMPAT_BEAT.partition(":")
    run: Callable[..., int] = getattr(importlib.import_module(module), name)
    return run(app, include, os.getcwd(), flags, logs.guard, loglevel=level, **values)
