"""The options of ``pyqs worker``, in groups, and what a command line said.

Owns: ``WorkerOptions``, the groups of options and their help. Pure parsing: runs before anything is connected or started.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import click

from pyqs.commands import celery_parsing, options
from pyqs.commands.node_name import node_name
from pyqs.config import (
    CEILING_POLICIES,
    DEFAULT_LEASE,
    DEFAULT_MAX_PAYLOAD,
    MAX_ASYNC_SLOTS,
    MAX_VISIBILITY,
    ConnectionConfig,
    Policy,
)
from pyqs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the command line of a worker said; None is "did not say".

    ``shutdown_timeout`` is seconds or ``math.inf`` for no limit; ``flags`` is the part of ``connection`` that was typed, the
    rest came from variables. ``working_directory`` is where tasks may be imported from, None for the current one. ``hostname``
    is the node's name, ``time_limit`` and ``soft_time_limit`` are seconds for tasks that have none, ``umask`` is a mask, and
    ``notes`` is what is to be said of options that have no effect.
    """

    queues: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    app: str | None = None
    include: tuple[str, ...] = ()
    concurrency: int | None = None
    accept: tuple[str, ...] = ()
    pickle_allow: tuple[str, ...] = ()
    max_payload: int = DEFAULT_MAX_PAYLOAD >> 20
    burst: bool = False
    strict: bool = False
    create_queues: bool | None = None
    lease: int = DEFAULT_LEASE
    idle_cadence: float | None = None
    shutdown_timeout: float | None = None
    on_ceiling: str = CEILING_POLICIES[0]
    preload: bool = True
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    async_slots: int = 1
    log_level: str = "INFO"
    log_format: str = "text"
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    flags: ConnectionConfig = field(default_factory=ConnectionConfig)
    batch_size: int = 10
    prefetch_bound: int | None = None
    working_directory: str | None = None
    on_undecodable: Policy = "leave"
    on_unknown: Policy = "leave"
    on_refused: Policy = "leave"
    health: tuple[str, int] | None = None
    heartbeat_file: str | None = None
    hostname: str | None = None
    pool: str = "prefork"
    prefetch_multiplier: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    logfile: str | None = None
    pidfile: str | None = None
    umask: int | None = None
    max_tasks: int | None = None
    notes: tuple[str, ...] = ()
    emf: str | None = None
    ecs_protect: bool = False
    beat: bool = False
    beat_schedule: str | None = None
    beat_scheduler: str | None = None


def options_from(values: dict[str, Any]) -> WorkerOptions:
    """The command's parsed values as ``WorkerOptions``; raises ConfigError for half a key pair or a bad endpoint."""
    connection, flags = options.take_connection(values)
    for name in ("include", "accept", "pickle_allow"):
        values[name] = options.items(values[name])
    start_method, autoscale = values.pop("pool_start_method", None), values.pop("autoscale", None)
    if values.pop("disable_prefetch", False):
        values["prefetch_multiplier"] = 1
    chosen = WorkerOptions(connection=connection, flags=flags, notes=celery_parsing.notes(), **values)
    if start_method == "spawn":
        chosen = replace(chosen, preload=False)
    if chosen.pool == "solo":
        return replace(chosen, concurrency=1)
    return replace(chosen, concurrency=chosen.concurrency or autoscale)


def message_options(command: options.F) -> options.F:
    """What may be read out of a message."""
    return options.together(
        options.option(
            "--accept",
            env="ACCEPT",
            multiple=True,
            metavar="TYPES",
            help="Content types to read: json, yaml, msgpack, pickle-safe, pickle [default: the app's accept_content; without "
            "an app json, yaml, msgpack, pickle-safe]. 'pickle' lets whoever can write to the queue run code here.",
        ),
        options.option(
            "--pickle-allow",
            env="PICKLE_ALLOW",
            multiple=True,
            metavar="PATTERN",
            help="Classes that pickle-safe may load too: 'myapp.models.*'. Repeatable.",
        ),
        options.option(
            "--max-payload",
            env="MAX_PAYLOAD",
            type=click.IntRange(1, 1024),
            default=DEFAULT_MAX_PAYLOAD >> 20,
            show_default=True,
            metavar="MIB",
            help="Largest payload that is read, after decompression; in memory it can take 15 times as much.",
        ),
    )(command)


def life_options(command: options.F) -> options.F:
    """From the start to the end of a worker, and of what it holds."""
    return options.together(
        options.option(
            "--burst", env="BURST", is_flag=True, help="Drain what is there, then exit 0; 2 when a named queue does not exist."
        ),
        options.option(
            "--max-tasks",
            env="MAX_TASKS",
            type=click.IntRange(min=1),
            metavar="N",
            help="Run at most N tasks, then exit 0: for a trial on a queue that others consume, too.",
        ),
        options.option(
            "--strict", env="STRICT", is_flag=True, help="Exit 2 when a named queue does not exist, instead of waiting for it."
        ),
        options.option(
            "--create-queues/--no-create-queues",
            env="CREATE_QUEUES",
            default=None,
            help="Create named queues that are missing [default: as the app says, but not with --strict or --burst; else no].",
        ),
        options.option(
            "--lease",
            env="LEASE",
            type=click.IntRange(10, MAX_VISIBILITY),
            default=DEFAULT_LEASE,
            show_default=True,
            metavar="SECONDS",
            help="How long a message stays hidden if this worker vanishes; renewed while a task runs.",
        ),
        options.option(
            "--idle-cadence",
            env="IDLE_CADENCE",
            type=float,
            metavar="SECONDS",
            help="Poll a queue that stays empty only so often: fewer requests, and the first message of a while waits for the "
            "next poll [default: always, 20 s a request].",
        ),
        options.option(
            "--shutdown-timeout",
            env="SHUTDOWN_TIMEOUT",
            type=options.Seconds(),
            help="From SIGTERM until running tasks are killed and released [default: 25; with an app none, or its "
            "worker_soft_shutdown_timeout].",
        ),
        options.option(
            "--on-ceiling",
            env="ON_CEILING",
            type=click.Choice(CEILING_POLICIES),
            default=CEILING_POLICIES[0],
            show_default=True,
            help="A task that runs for twelve hours, SQS's limit on hiding a message: keep it while the message is handed out "
            "again, delete the message now (lost if the task then fails), or kill it and release the message.",
        ),
    )(command)


def executor_options(command: options.F) -> options.F:
    """How executors begin and when they are replaced."""
    return options.together(
        options.option(
            "--max-tasks-per-child",
            env="MAX_TASKS_PER_CHILD",
            type=click.IntRange(min=1),
            metavar="N",
            help="Replace an executor after so many tasks [default: no end; with an app its worker_max_tasks_per_child].",
        ),
        options.option(
            "--max-memory-per-child",
            env="MAX_MEMORY_PER_CHILD",
            type=click.IntRange(min=1),
            metavar="KIB",
            help="Replace an executor that uses more memory after a task [default: no limit; with an app its "
            "worker_max_memory_per_child].",
        ),
        options.option(
            "--async-slots",
            env="ASYNC_SLOTS",
            type=click.IntRange(1, MAX_ASYNC_SLOTS),
            default=1,
            show_default=True,
            metavar="N",
            help="Tasks that each executor runs at a time: async def tasks in its event loop, plain ones in threads.",
        ),
        options.option(
            "--preload/--no-preload", env="PRELOAD", default=True, help="Import tasks once and fork executors from there."
        ),
    )(command)


#: Celery's pools that are not here, and what does their work.
_REFUSED_POOLS = {
    "threads": "--async-slots N has each executor run N tasks at a time, plain ones in threads",
    "eventlet": "nothing is patched here; for many tasks that wait there is --async-slots N, tasks at a time in each executor",
    "gevent": "nothing is patched here; for many tasks that wait there is --async-slots N, tasks at a time in each executor",
    "custom": "executors are pyqs's own",
}


def _pool(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value in _REFUSED_POOLS:
        raise ConfigError(f"-P {value} is not there: {_REFUSED_POOLS[value]}")
    return value


def _node(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return node_name(value) if value else None


def _most(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """The larger number of MAX,MIN."""
    if value is None:
        return None
    try:
        most = max(int(part) for part in value.split(","))
    except ValueError:
        most = 0
    if most < 1 or value.count(",") > 1:
        raise click.BadParameter(f"{value!r} is not MAX,MIN such as 10,3", ctx, param)
    return most


def celery_options(command: options.F) -> options.F:
    """Options that only Celery's worker has; the others have the same name here."""
    pools = ("prefork", "processes", "solo", *_REFUSED_POOLS)
    return options.together(
        options.option(
            "-n", "--hostname", env="HOSTNAME", metavar="NAME@HOST", callback=_node, help="The node's name [default: pyqs@%h]."
        ),
        options.option(
            "-P",
            "--pool",
            env="POOL",
            type=click.Choice(pools),
            default=pools[0],
            callback=_pool,
            help="prefork, or solo for one executor.",
        ),
        options.option(
            "--prefetch-multiplier",
            env="PREFETCH_MULTIPLIER",
            type=click.IntRange(min=0),
            metavar="N",
            help="Hold at most N messages for each executor; 0 sets no limit [default: as the app says; else what runs soon].",
        ),
        options.option(
            "--disable-prefetch", env="DISABLE_PREFETCH", is_flag=True, help="Hold no more messages than there are executors."
        ),
        options.option(
            "--time-limit",
            env="TIME_LIMIT",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Kill a task that has no limit.",
        ),
        options.option(
            "--soft-time-limit",
            env="SOFT_TIME_LIMIT",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Raise SoftTimeLimitExceeded in one.",
        ),
        options.option(
            "--pool-start-method",
            env="POOL_START_METHOD",
            type=click.Choice(["fork", "spawn"]),
            help="As --preload (fork) or --no-preload (spawn).",
        ),
        options.option("--autoscale", env="AUTOSCALE", metavar="MAX,MIN", callback=_most, help="As -c MAX."),
        options.option(
            "-f", "--logfile", env="LOGFILE", metavar="PATH", help="Write to the end of this file; %n and %h are replaced."
        ),
        options.option("--pidfile", env="PIDFILE", metavar="PATH", help="A file with the worker's pid; likewise."),
        options.option("--umask", env="UMASK", metavar="OCTAL", callback=options.octal, help="Of all processes of the worker."),
        celery_parsing.unheeded("worker"),
    )(command)


def probe_options(command: options.F) -> options.F:
    """For whoever looks after the process."""
    return options.together(
        options.option(
            "--health",
            env="HEALTH",
            type=options.HostPort(),
            metavar="[HOST:]PORT",
            help="Answer /healthz, /readyz, /metrics (Prometheus) and /stats (pyqs stats) over HTTP [default host: 127.0.0.1].",
        ),
        options.option(
            "--heartbeat-file",
            env="HEARTBEAT_FILE",
            metavar="PATH",
            help="A file renewed every 5 seconds while the worker is alive, for probes that are a command.",
        ),
        options.option(
            "--emf",
            env="EMF",
            metavar="NAMESPACE",
            help="Write the worker's figures to standard output every minute, in CloudWatch's Embedded Metric Format, for this "
            "namespace.",
        ),
        options.option(
            "--ecs-protect",
            env="ECS_PROTECT",
            is_flag=True,
            help="In a task of Amazon ECS: keep it protected from scale-in and deployments while the worker has work.",
        ),
    )(command)


def beat_options(command: options.F) -> options.F:
    """For a worker that sends periodic tasks, too."""
    return options.together(
        options.option(
            "-B", "--beat", env="BEAT", is_flag=True, help="Send the app's periodic tasks, too; in one worker only."
        ),
        options.option(
            "-s", "--schedule-filename", "--schedule", "beat_schedule", env="BEAT_SCHEDULE", metavar="PATH",
            help="With -B: the schedule file [default: the app's beat_schedule_filename].",
        ),
        options.option(
            "--scheduler", "beat_scheduler", env="BEAT_SCHEDULER", metavar="CLASS",
            help="With -B: the scheduler [default: the app's beat_scheduler].",
        ),
    )(command)  # fmt: skip
