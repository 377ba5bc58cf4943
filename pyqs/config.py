"""Settings, frozen and validated, made of primitives so that they can cross to a child process.

Owns: ``ConnectionConfig`` (how to reach SQS), ``RuntimeConfig`` (what an executor needs), ``WorkerConfig`` (all of a
worker), and the process-wide connection that ``.delay()`` uses. Runs in every process. Never reads a file, never
imports an app, never shows a secret in a repr.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from pyqs.errors import ConfigError

ENV_PREFIX = "PYQS_"

#: Seconds of VisibilityTimeout on each receive; renewed at half time (design decision 6).
DEFAULT_LEASE = 120
#: Seconds of a long poll, SQS's maximum.
DEFAULT_WAIT = 20
#: Most seconds between two polls of an idle queue.
MAX_IDLE_CADENCE = 3600
#: Seconds from the first SIGTERM until running tasks are killed, for workers without an app (decision 14).
DEFAULT_SHUTDOWN_TIMEOUT = 25.0
#: Bytes of one message's payload after decompression (``--max-payload``).
DEFAULT_MAX_PAYLOAD = 16 << 20
#: SQS's own ceilings.
MAX_VISIBILITY = 43200
MAX_DELAY = 900
MAX_BATCH = 10
#: Messages in flight that SQS allows on one queue, standard or FIFO (developer guide, "SQS message quotas").
MAX_IN_FLIGHT = 120_000
#: Bytes of one message (SQS quotas, since August 2025), and what that was before: AWS's threshold for bodies in S3, too.
MAX_MESSAGE, LARGE_PAYLOAD_THRESHOLD = 1 << 20, 256 << 10
#: How the calls that are made often go to SQS: the lean client where it applies and nothing has instrumented botocore; the lean
#: client wherever it applies; botocore.
CLIENTS = ("auto", "lean", "boto3")
#: Most tasks that one executor may run at a time: each has a thread there.
MAX_ASYNC_SLOTS = 1000
#: What may become of a task that runs for twelve hours, SQS's limit on holding a message.
CEILING_POLICIES = ("keep", "delete", "kill")

#: What becomes of a message that cannot be run here: it stays, hidden for longer each time; it goes to its queue's dead-letter
#: queue; it is deleted.
Policy = Literal["leave", "dlq", "delete"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """How to reach SQS. What is None is left to the AWS SDK's own chain (environment, profile, instance role).

    ``client`` is one of ``CLIENTS``; None is what ``PYQS_CLIENT`` says, else "auto". ``large_payload_bucket`` names the S3
    bucket for bodies over ``large_payload_threshold`` bytes; more, behind commas, are read and emptied, too.
    """

    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    role_arn: str | None = None
    client: str | None = None
    large_payload_bucket: str | None = None
    large_payload_threshold: int | None = None

    def __post_init__(self) -> None:
        if self.large_payload_threshold is not None and not 1 <= self.large_payload_threshold <= MAX_MESSAGE:
            raise ConfigError(
                f"--large-payload-threshold must be 1 to {MAX_MESSAGE} bytes, SQS's limit, not {self.large_payload_threshold}"
            )
        if self.client is not None and self.client not in CLIENTS:
            raise ConfigError(f"--client is one of {', '.join(CLIENTS)}, not {self.client!r}")
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ConfigError("--access-key-id and --secret-access-key go together: give both or neither")
        if self.endpoint_url and not self.endpoint_url.startswith(("http://", "https://")):
            raise ConfigError(f"--endpoint-url must start with http:// or https://, not {self.endpoint_url!r}")

    @property
    def large_payload_buckets(self) -> tuple[str, ...]:
        """The buckets for bodies that are too large; the first is written to."""
        return tuple(part.strip() for part in (self.large_payload_bucket or "").split(",") if part.strip())

    @property
    def payload_threshold(self) -> int:
        """Bytes of a message, attributes included, above which its body lies in S3."""
        return self.large_payload_threshold or LARGE_PAYLOAD_THRESHOLD

    @property
    def chosen_client(self) -> str:
        """One of ``CLIENTS``.

        Raises:
            ConfigError: ``PYQS_CLIENT`` is none of them.
        """
        client = self.client or os.environ.get(ENV_PREFIX + "CLIENT") or CLIENTS[0]
        if client not in CLIENTS:
            raise ConfigError(f"{ENV_PREFIX}CLIENT is one of {', '.join(CLIENTS)}, not {client!r}")
        return client

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> ConnectionConfig:
        """The ``PYQS_*`` variables; everything else stays with the AWS SDK's own chain."""
        env = os.environ if environ is None else environ

        def get(name: str) -> str | None:
            return env.get(ENV_PREFIX + name) or None

        return cls(
            region=get("REGION"),
            endpoint_url=get("ENDPOINT_URL"),
            access_key_id=get("ACCESS_KEY_ID"),
            secret_access_key=get("SECRET_ACCESS_KEY"),
            session_token=get("SESSION_TOKEN"),
            profile=get("PROFILE"),
            role_arn=get("ROLE_ARN"),
            large_payload_bucket=get("LARGE_PAYLOAD_BUCKET"),
            large_payload_threshold=_whole(get("LARGE_PAYLOAD_THRESHOLD"), ENV_PREFIX + "LARGE_PAYLOAD_THRESHOLD"),
        )


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """What an executor must know to load the tasks and run them.

    Parameters:
        runtime: ``module:Class`` of the TaskRuntime.
        app: ``-A``: ``module[:attribute]`` of a Celery-style app, or None.
        include: modules imported at boot; their tasks may run.
        accept: ``--accept``: content types, or None for the runtime's default.
        pickle_allow: fnmatch patterns of importable names on top of the restricted unpickler.
        hooks: (event name, dotted path of a function) registered before the worker was started.
        connection: for tasks that themselves call ``.delay()``.
        working_directory: put first on sys.path; tasks under it may be imported. "" for none: then only what is registered,
            or lies in an included module, may run.
        max_payload: bytes that one message's payload may have after decompression.
        log_format: how log lines are written, one of ``logs.FORMATS``.
        max_tasks_per_child: tasks after which an executor is replaced, None for no end.
        async_slots: tasks that run in an executor at a time, 1 to ``MAX_ASYNC_SLOTS``: beyond one, ``async def`` tasks in its
            event loop, plain ones in threads.
        max_memory_per_child: KiB above which it is replaced, looked at between tasks; None for no limit.
        hostname: the node's name, None for the runtime's own.
        time_limit, soft_time_limit: seconds for tasks that say nothing of their own; None for what the app says.
        beat: the host sends the app's periodic tasks (``-B``).
        beat_schedule, beat_scheduler: its schedule file and its scheduler's class, None for what the app says.
    """

    runtime: str = "pyqs.native:NativeRuntime"
    app: str | None = None
    include: tuple[str, ...] = ()
    accept: tuple[str, ...] | None = None
    pickle_allow: tuple[str, ...] = ()
    hooks: tuple[tuple[str, str], ...] = ()
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    create_queues: bool = True
    working_directory: str = "."
    log_level: str = "INFO"
    log_format: str = "text"
    max_payload: int = DEFAULT_MAX_PAYLOAD
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    async_slots: int = 1
    hostname: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    beat: bool = False
    beat_schedule: str | None = None
    beat_scheduler: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_tasks_per_child", "max_memory_per_child"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if not 1 <= self.async_slots <= MAX_ASYNC_SLOTS:
            raise ConfigError(f"--async-slots must be 1 to {MAX_ASYNC_SLOTS}, not {self.async_slots}")

    @property
    def slots_told(self) -> str:
        """What a line says of executors that run several tasks at a time."""
        return "" if self.async_slots == 1 else f" with {self.async_slots} slots each"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """All of one worker.

    Parameters:
        queues: names, globs, URLs or ARNs as given with ``-Q``.
        exclude: the same for ``-X``.
        concurrency: executors, at least 1.
        lease: seconds of VisibilityTimeout per receive, 10-43200.
        wait: seconds of a long poll, 0-20.
        idle_cadence: seconds from the beginning of one poll of an idle queue to the next, None polls it all the time.
        fetchers_per_queue: most parallel receives on one queue.
        shutdown_timeout: seconds from the first SIGTERM until what still runs is killed; None waits without end.
        prefetch_bound: most deliveries held at once by this worker, None for no bound beyond credit.
        queue_prefix: bounds every glob (an app's queue_name_prefix).
        predefined_queues: (name, URL) pairs that replace discovery.
        refresh: seconds between looks for new queues (jittered).
        on_ceiling: what becomes of a task that runs for SQS's twelve hours: "keep", "delete" or "kill".
        on_undecodable, on_unknown, on_refused: what becomes of messages that cannot be read, that name no task of this
            worker, or whose content type is not accepted.
        max_tasks: tasks after which the worker stops, None for no end.
        notes: what is to be said of the app's settings, once, by whichever handlers the app has its log lines go to.
        remarks: the same of what need not worry anybody.
    """

    queues: tuple[str, ...]
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    exclude: tuple[str, ...] = ()
    concurrency: int = 1
    burst: bool = False
    strict: bool = False
    create_queues: bool = False
    create_attributes: tuple[tuple[str, str], ...] = ()
    create_tags: tuple[tuple[str, str], ...] = ()
    lease: int = DEFAULT_LEASE
    wait: int = DEFAULT_WAIT
    idle_cadence: float | None = None
    batch_size: int = MAX_BATCH
    fetchers_per_queue: int = 16
    shutdown_timeout: float | None = DEFAULT_SHUTDOWN_TIMEOUT
    prefetch_bound: int | None = None
    preload: bool = True
    queue_prefix: str = ""
    predefined_queues: tuple[tuple[str, str], ...] = ()
    refresh: float = 50.0
    progress: bool = False
    on_ceiling: str = "keep"
    on_undecodable: Policy = "leave"
    on_unknown: Policy = "leave"
    on_refused: Policy = "leave"
    max_tasks: int | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.on_ceiling not in CEILING_POLICIES:
            raise ConfigError(f"--on-ceiling must be {', '.join(CEILING_POLICIES)}, not {self.on_ceiling!r}")
        if self.concurrency < 1:
            raise ConfigError(f"--concurrency must be at least 1, not {self.concurrency}")
        if not 0 <= self.wait <= DEFAULT_WAIT:
            raise ConfigError(f"the long poll's wait must be 0-20 seconds, not {self.wait}")
        if self.idle_cadence is not None and not self.wait < self.idle_cadence <= MAX_IDLE_CADENCE:
            raise ConfigError(
                f"--idle-cadence must be more than the {self.wait} seconds of a poll, or it would change nothing, and at most "
                f"{MAX_IDLE_CADENCE}, not {self.idle_cadence:g}"
            )
        if not 10 <= self.lease <= MAX_VISIBILITY:
            raise ConfigError(f"--lease must be 10-43200 seconds, not {self.lease}")
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise ConfigError(f"--batchsize must be 1-10, not {self.batch_size}")
        if self.fetchers_per_queue < 1:
            raise ConfigError(f"at least one fetcher per queue is needed, not {self.fetchers_per_queue}")
        if self.shutdown_timeout is not None and self.shutdown_timeout < 0:
            raise ConfigError(f"--shutdown-timeout must not be negative: {self.shutdown_timeout}")
        for kind in ("undecodable", "unknown", "refused"):
            if (policy := getattr(self, f"on_{kind}")) not in POLICIES:
                raise ConfigError(f"--on-{kind} is one of {', '.join(POLICIES)}, not {policy!r}")

    @property
    def most_held(self) -> int | None:
        """Deliveries held at once at most.

        Nothing is put behind what runs in a slot, so that one more for each is enough, however short their tasks are; and where
        a task blocks the loop of many, few wait.
        """
        if self.runtime.async_slots == 1:
            return self.prefetch_bound
        enough = 2 * self.concurrency * self.runtime.async_slots
        return enough if self.prefetch_bound is None else min(enough, self.prefetch_bound)


class _ProcessDefaults:
    """What ``.delay()`` uses in this process: settings made by code win over the environment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: ConnectionConfig | None = None
        self._create_queues: bool | None = None
        self.generation = 0

    def configure(self, connection: ConnectionConfig | None = None, create_queues: bool | None = None) -> None:
        with self._lock:
            if connection is not None:
                self._connection = connection
            if create_queues is not None:
                self._create_queues = create_queues
            self.generation += 1

    @property
    def connection(self) -> ConnectionConfig:
        return self._connection or ConnectionConfig.from_environment()

    @property
    def create_queues(self) -> bool:
        if self._create_queues is not None:
            return self._create_queues
        return parse_bool(os.environ.get(ENV_PREFIX + "CREATE_QUEUES", "1"), ENV_PREFIX + "CREATE_QUEUES")


def _whole(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, not {text!r}") from None


def parse_bool(text: str, name: str) -> bool:
    """``1/true/yes/on`` or ``0/false/no/off``; anything else is a ConfigError that names the setting."""
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off", ""}:
        return False
    raise ConfigError(f"{name} must be true or false, not {text!r}")


#: The connection and policy of ``.delay()`` in this process; an executor sets it from its worker's.
process_defaults = _ProcessDefaults()
