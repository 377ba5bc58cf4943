"""``pyqs worker``: from options to a running worker.

Owns: the options of the worker, their defaults, and how an app's own settings fill what the command line leaves open.
Runs in the main thread of the worker's process, before the worker exists. Never imports the app: its settings are read
in a process of their own.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import click

from pyqs import cli, events, logs
from pyqs.commands import options
from pyqs.commands.app import AppSettings, merge_connection, read_app_settings
from pyqs.config import (
    CEILING_POLICIES,
    DEFAULT_LEASE,
    DEFAULT_SHUTDOWN_TIMEOUT,
    MAX_VISIBILITY,
    ConnectionConfig,
    Policy,
    RuntimeConfig,
    WorkerConfig,
)
from pyqs.errors import ConfigError
from pyqs.queues import compile_patterns

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the command line of a worker said; None is "did not say".

    ``shutdown_timeout`` is seconds or ``math.inf`` for no limit; ``flags`` is the part of ``connection`` that was typed, the
    rest came from variables. ``working_directory`` is where tasks may be imported from, None for the current one.
    """

    queues: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    app: str | None = None
    include: tuple[str, ...] = ()
    concurrency: int | None = None
    accept: tuple[str, ...] = ()
    pickle_allow: tuple[str, ...] = ()
    burst: bool = False
    strict: bool = False
    create_queues: bool | None = None
    lease: int = DEFAULT_LEASE
    shutdown_timeout: float | None = None
    on_ceiling: str = CEILING_POLICIES[0]
    preload: bool = True
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    log_level: str = "INFO"
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    flags: ConnectionConfig = field(default_factory=ConnectionConfig)
    batch_size: int = 10
    prefetch_bound: int | None = None
    working_directory: str | None = None
    on_undecodable: Policy = "leave"
    on_unknown: Policy = "leave"
    on_refused: Policy = "leave"


def options_from(values: dict[str, Any]) -> WorkerOptions:
    """The command's parsed values as ``WorkerOptions``; raises ConfigError for half a key pair or a bad endpoint."""
    connection, flags = options.take_connection(values)
    for name in ("include", "accept", "pickle_allow"):
        values[name] = options.items(values[name])
    return WorkerOptions(connection=connection, flags=flags, **values)


def available_cpus() -> int:
    """How many processors this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def build_config(chosen: WorkerOptions, *, progress: bool = False) -> WorkerConfig:
    """The worker's settings: what was chosen, then what the app says, then the defaults.

    Raises:
        ConfigError: no queue and no app to name one, a malformed value.
        BootFailed: the app does not load.
    """
    patterns = tuple(pattern.text for pattern in compile_patterns(chosen.queues)) if chosen.queues else ()
    excluded = tuple(pattern.text for pattern in compile_patterns(chosen.exclude)) if chosen.exclude else ()
    if not patterns and not chosen.app:
        raise ConfigError(
            "no queue to consume: give -Q 'email.*' (a name, glob, URL or ARN), or -A with an app that names its queues"
        )
    directory = chosen.working_directory or os.getcwd()
    app, connection = AppSettings(), chosen.connection
    if chosen.app:
        app = read_app_settings(chosen.app, chosen.include, directory)
        connection = merge_connection(chosen.flags, app)
        for note in app.notes:
            log.warning("app %s: %s", chosen.app, note)
    queues = patterns or app.queues
    if not queues:
        raise ConfigError(f"app {chosen.app!r} names no queue; give -Q")
    concurrency = chosen.concurrency or app.concurrency or available_cpus()
    runtime = RuntimeConfig(
        runtime=cli.COMPAT_RUNTIME,
        app=chosen.app,
        include=chosen.include,
        accept=chosen.accept or None,
        pickle_allow=chosen.pickle_allow,
        hooks=events.dotted_paths(),
        connection=connection,
        create_queues=chosen.create_queues is not False,
        working_directory=directory,
        log_level=chosen.log_level,
        max_tasks_per_child=chosen.max_tasks_per_child or app.max_tasks_per_child,
        max_memory_per_child=chosen.max_memory_per_child or app.max_memory_per_child,
    )
    return WorkerConfig(
        queues=queues,
        runtime=runtime,
        connection=connection,
        exclude=excluded,
        concurrency=concurrency,
        burst=chosen.burst,
        strict=chosen.strict,
        create_queues=_creates_queues(chosen, app),
        create_attributes=app.create_attributes,
        lease=chosen.lease,
        batch_size=chosen.batch_size,
        prefetch_bound=concurrency * app.prefetch_multiplier if app.prefetch_multiplier else chosen.prefetch_bound,
        shutdown_timeout=_shutdown_timeout(chosen, app),
        on_ceiling=chosen.on_ceiling,
        preload=chosen.preload,
        queue_prefix=app.queue_prefix,
        predefined_queues=app.predefined_queues,
        progress=progress,
        on_undecodable=chosen.on_undecodable,
        on_unknown=chosen.on_unknown,
        on_refused=chosen.on_refused,
    )


def _creates_queues(chosen: WorkerOptions, app: AppSettings) -> bool:
    """As asked; else where Celery would, but not for a worker that is to end over a name that does not exist."""
    if chosen.create_queues is not None:
        return chosen.create_queues
    return app.create_queues and not (chosen.strict or chosen.burst)


def _shutdown_timeout(chosen: WorkerOptions, app: AppSettings) -> float | None:
    """Native: 25 s. With an app: as long as its tasks take, like Celery's warm shutdown, unless it says otherwise."""
    if chosen.shutdown_timeout is not None:
        return None if math.isinf(chosen.shutdown_timeout) else chosen.shutdown_timeout
    return app.shutdown_timeout if chosen.app else DEFAULT_SHUTDOWN_TIMEOUT


def start(chosen: WorkerOptions) -> int:
    """Set up logging, run the worker, answer its exit code."""
    secrets = (chosen.connection.secret_access_key, chosen.connection.session_token)
    logs.configure(chosen.log_level, secrets=secrets)
    config = build_config(chosen, progress=chosen.burst and sys.stderr.isatty())
    return cli.run_worker(config)


@click.command("worker", short_help="Consume queues and run their tasks.")
@options.queue_options
@options.app_options
@options.option("-c", "--concurrency", env="CONCURRENCY", type=click.IntRange(min=1), help="Executors [default: CPU count].")
@options.option(
    "--accept",
    env="ACCEPT",
    multiple=True,
    metavar="TYPES",
    help="Content types to read: json, yaml, msgpack, pickle-safe, pickle [default: the app's accept_content; without an "
    "app json, yaml, msgpack, pickle-safe]. 'pickle' lets whoever can write to the queue run code here.",
)
@options.option(
    "--pickle-allow",
    env="PICKLE_ALLOW",
    multiple=True,
    metavar="PATTERN",
    help="Classes that pickle-safe may load too: 'myapp.models.*'. Repeatable.",
)
@options.option(
    "--burst", env="BURST", is_flag=True, help="Drain what is there, then exit 0; 2 when a named queue does not exist."
)
@options.option(
    "--strict", env="STRICT", is_flag=True, help="Exit 2 when a named queue does not exist, instead of waiting for it."
)
@options.option(
    "--create-queues/--no-create-queues",
    env="CREATE_QUEUES",
    default=None,
    help="Create named queues that are missing [default: as the app says, but not with --strict or --burst; else no].",
)
@options.option(
    "--lease",
    env="LEASE",
    type=click.IntRange(10, MAX_VISIBILITY),
    default=DEFAULT_LEASE,
    show_default=True,
    metavar="SECONDS",
    help="How long a message stays hidden if this worker vanishes; renewed while a task runs.",
)
@options.option(
    "--shutdown-timeout",
    env="SHUTDOWN_TIMEOUT",
    type=options.Seconds(),
    help="From SIGTERM until running tasks are killed and released [default: 25; with an app none, or its "
    "worker_soft_shutdown_timeout].",
)
@options.option(
    "--on-ceiling",
    env="ON_CEILING",
    type=click.Choice(CEILING_POLICIES),
    default=CEILING_POLICIES[0],
    show_default=True,
    help="A task that runs for twelve hours, SQS's limit on hiding a message: keep it while the message is handed out again, "
    "delete the message now (lost if the task then fails), or kill it and release the message.",
)
@options.policy_options
@options.option(
    "--max-tasks-per-child",
    env="MAX_TASKS_PER_CHILD",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replace an executor after so many tasks [default: no end; with an app its worker_max_tasks_per_child].",
)
@options.option(
    "--max-memory-per-child",
    env="MAX_MEMORY_PER_CHILD",
    type=click.IntRange(min=1),
    metavar="KIB",
    help="Replace an executor that uses more memory after a task [default: no limit; with an app its "
    "worker_max_memory_per_child].",
)
@options.option("--preload/--no-preload", env="PRELOAD", default=True, help="Import tasks once and fork executors from there.")
@options.connection_options
@options.log_level_option()
def command(**values: Any) -> int:
    """Consume queues and run the tasks of their messages: Celery's (protocol 1 and 2) and pyqs's own.

    \b
    pyqs worker -Q 'email.*' --include email_tasks
    pyqs worker -A proj -Q default -c 10
    pyqs worker -Q email --burst

    SIGTERM and Ctrl-C stop it in order; a second one hurries. Exit codes: 0 stopped or drained, 1 a part of the worker
    crashed, 2 usage, configuration, or an app that does not load.
    """
    return start(options_from(values))
