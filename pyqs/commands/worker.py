"""``pyqs worker``: from options to a running worker.

Owns: the defaults of the worker's options, and how an app's own settings fill what the command line leaves open.
Runs in the main thread of the worker's process, before the worker exists. Never imports the app: its settings are read
in a process of their own.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from pyqs import cli, events, logs
from pyqs.commands import celery_parsing, daemon_files, options, worker_options
from pyqs.commands.app import AppSettings, merge_connection, read_app_settings
from pyqs.commands.cpus import available_cpus
from pyqs.commands.node_name import expand, node_name
from pyqs.commands.worker_options import WorkerOptions
from pyqs.config import DEFAULT_SHUTDOWN_TIMEOUT, ConnectionConfig, RuntimeConfig, WorkerConfig
from pyqs.errors import ConfigError
from pyqs.queues.patterns import compile_patterns

if TYPE_CHECKING:
    from pyqs.worker.companion import Companion
    from pyqs.worker.health import Health
    from pyqs.worker.signals import Signals

log = logging.getLogger(__name__)

#: Said at the start of each worker with an app: nothing tells it whether Celery workers are there.
_BESIDE_CELERY = (
    "etas and countdowns: a Celery worker that consumes these queues, too, holds in its memory what is not due; from the end "
    "of the last one on, no eta runs twice (docs/mixed-fleet.md)"
)


def build_config(chosen: WorkerOptions, *, progress: bool = False) -> WorkerConfig:
    """The worker's settings: what was chosen, then what the app says, then the defaults.

    Raises:
        ConfigError: no queue and no app to name one, a malformed value.
        BootFailed: the app does not load.
    """
    patterns = tuple(str(pattern) for pattern in compile_patterns(chosen.queues)) if chosen.queues else ()
    excluded = tuple(pattern.text for pattern in compile_patterns(chosen.exclude, excluding=True))
    if not patterns and not chosen.app:
        raise ConfigError(
            "no queue to consume: give -Q 'email.*' (a name, glob, URL or ARN), or -A with an app that names its queues"
        )
    if chosen.beat and (chosen.burst or not chosen.app):
        raise ConfigError("-B sends an app's periodic tasks for as long as the worker runs: it needs -A, and not --burst")
    directory = chosen.working_directory or os.getcwd()
    app, connection = AppSettings(), chosen.connection
    if chosen.app:
        app = read_app_settings(chosen.app, chosen.include, directory)
        connection = merge_connection(chosen.flags, app)
    queues = patterns or app.queues
    if not queues:
        raise ConfigError(f"app {chosen.app!r} names no queue; give -Q")
    concurrency = chosen.concurrency or app.concurrency or available_cpus()
    return WorkerConfig(
        queues=queues,
        runtime=_runtime(chosen, app, connection, directory),
        connection=connection,
        exclude=excluded,
        concurrency=concurrency,
        burst=chosen.burst,
        strict=chosen.strict,
        create_queues=_creates_queues(chosen, app),
        create_attributes=app.create_attributes,
        create_tags=app.create_tags,
        lease=chosen.lease,
        idle_cadence=chosen.idle_cadence,
        batch_size=chosen.batch_size,
        prefetch_bound=_prefetch_bound(chosen, app, concurrency * chosen.async_slots),
        shutdown_timeout=_shutdown_timeout(chosen, app),
        on_ceiling=chosen.on_ceiling,
        preload=chosen.preload,
        queue_prefix=app.queue_prefix,
        predefined_queues=app.predefined_queues,
        progress=progress,
        on_undecodable=chosen.on_undecodable,
        on_unknown=chosen.on_unknown,
        on_refused=chosen.on_refused,
        max_tasks=chosen.max_tasks,
        notes=app.notes,
        remarks=(*chosen.notes, *([_BESIDE_CELERY] if chosen.app else [])),
    )


def _runtime(chosen: WorkerOptions, app: AppSettings, connection: ConnectionConfig, directory: str) -> RuntimeConfig:
    """What the processes that have the app are told."""
    return RuntimeConfig(
        runtime=cli.COMPAT_RUNTIME,
        app=chosen.app,
        include=chosen.include,
        accept=chosen.accept or None,
        pickle_allow=chosen.pickle_allow,
        max_payload=chosen.max_payload << 20,
        hooks=events.dotted_paths(),
        connection=connection,
        create_queues=chosen.create_queues is not False,
        working_directory=directory,
        log_level=chosen.log_level,
        log_format=chosen.log_format,
        max_tasks_per_child=chosen.max_tasks_per_child or app.max_tasks_per_child,
        max_memory_per_child=chosen.max_memory_per_child or app.max_memory_per_child,
        async_slots=chosen.async_slots,
        hostname=chosen.hostname,
        time_limit=chosen.time_limit,
        soft_time_limit=chosen.soft_time_limit,
        beat=chosen.beat,
        beat_schedule=chosen.beat_schedule,
        beat_scheduler=chosen.beat_scheduler,
    )


def _creates_queues(chosen: WorkerOptions, app: AppSettings) -> bool:
    """As asked; else where Celery would, but not for a worker that is to end over a name that does not exist."""
    if chosen.create_queues is not None:
        return chosen.create_queues
    return app.create_queues and not (chosen.strict or chosen.burst)


def _prefetch_bound(chosen: WorkerOptions, app: AppSettings, running: int) -> int | None:
    """``--prefetch-multiplier``, else what the app says; 0 is no bound."""
    multiplier = app.prefetch_multiplier if chosen.prefetch_multiplier is None else chosen.prefetch_multiplier
    return running * multiplier if multiplier else chosen.prefetch_bound


def _shutdown_timeout(chosen: WorkerOptions, app: AppSettings) -> float | None:
    """Native: 25 s. With an app: as long as its tasks take, like Celery's warm shutdown, unless it says otherwise."""
    if chosen.shutdown_timeout is not None:
        return None if math.isinf(chosen.shutdown_timeout) else chosen.shutdown_timeout
    return app.shutdown_timeout if chosen.app else DEFAULT_SHUTDOWN_TIMEOUT


def start(chosen: WorkerOptions) -> int:
    """Set up logging, run the worker, answer its exit code. It can be told to stop from its first moment on."""
    if sys.platform == "win32":
        return _start(chosen, None)  # the worker itself says that it does not run here
    from pyqs.worker.signals import Signals, ToldToStop

    signals = Signals()
    taken = signals.take()
    try:
        return _as_a_service(chosen, signals)
    except ToldToStop as name:
        log.info("told to stop (%s) before the worker was there: it does not start", name)
        return cli.EXIT_OK
    finally:
        if taken:
            signals.give_back()


def _as_a_service(chosen: WorkerOptions, signals: Signals) -> int:
    """With its files, where it is to have some."""
    if chosen.umask is not None:
        os.umask(chosen.umask)
    node = chosen.hostname or node_name("pyqs@%h")
    # ``--pidfile=`` is how images of Celery say that there is to be none.
    with daemon_files.pid_file(expand(chosen.pidfile, "--pidfile", node) if chosen.pidfile else None):
        if chosen.logfile:
            daemon_files.write_to(expand(chosen.logfile, "--logfile", node))
        return _start(chosen, signals)


def _start(chosen: WorkerOptions, signals: Signals | None) -> int:
    secrets = (chosen.connection.secret_access_key, chosen.connection.session_token)
    logs.choose(chosen.log_format)
    logs.configure(chosen.log_level, secrets=secrets)
    health = _health(chosen)
    try:
        config = build_config(chosen, progress=chosen.burst and chosen.log_format == "text" and sys.stderr.isatty())
        return cli.run_worker(config, health=health, signals=signals)
    finally:
        if health is not None:
            health.end()


def _health(chosen: WorkerOptions) -> Health | None:
    """What answers probes, from before the app is imported, which may take long; None when nobody asked for it."""
    if chosen.health is None and chosen.heartbeat_file is None and chosen.emf is None and not chosen.ecs_protect:
        return None
    if sys.platform == "win32":
        return None  # the worker itself says that it does not run here
    from pyqs.worker.health import Health

    companions: list[Companion] = []
    if chosen.emf is not None:
        from pyqs.worker.emf import Emf

        companions.append(Emf(chosen.emf))
    if chosen.ecs_protect:
        from pyqs.worker.ecs_protection import EcsProtection

        companions.append(EcsProtection())
    health = Health(chosen.health, chosen.heartbeat_file, companions)
    health.start()
    return health


@click.command("worker", cls=celery_parsing.Command, short_help="Consume queues and run their tasks.")
@options.queue_options
@options.app_options
@options.option(
    "-c",
    "--concurrency",
    env="CONCURRENCY",
    type=options.Concurrency(),
    help="Executors [default, and auto: CPUs that this process may use, its quota counted in].",
)
@worker_options.message_options
@worker_options.life_options
@options.policy_options
@worker_options.executor_options
@worker_options.beat_options
@worker_options.probe_options
@options.connection_options
@options.log_level_option()
@options.log_format_option
@worker_options.celery_options
def command(**values: Any) -> int:
    """Consume queues and run the tasks of their messages: Celery's (protocol 1 and 2) and pyqs's own.

    \b
    pyqs worker -Q 'email.*' --include email_tasks
    pyqs worker -A proj -Q default -c 10
    pyqs worker -Q email --burst

    SIGTERM and Ctrl-C stop it in order; a second one, or SIGQUIT, hurries (with REMAP_SIGTERM=SIGQUIT the first SIGTERM does,
    too). Exit codes: 0 stopped or drained, also where tasks were released at the deadline; 1 stopped in a hurry, or a part of
    the worker crashed; 2 usage, configuration, or an app that does not load. All options of Celery's worker are taken.
    """
    chosen = worker_options.options_from(values)
    place = click.get_current_context().obj  # under Celery's name: where `status` looks for a node's heartbeat file
    if place is not None and chosen.hostname and chosen.heartbeat_file is None:
        chosen = replace(chosen, heartbeat_file=place(chosen.hostname))
    return start(chosen)
