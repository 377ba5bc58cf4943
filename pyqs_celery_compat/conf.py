"""Door to the engine's settings: what an app's configuration means for the connection, the queues and the worker.

Owns: reading broker URL and transport options as kombu does, refusing what this version cannot honour, and
``worker_settings``. Reads the environment's ``PYQS_*`` variables, does nothing else; runs where the app lives. Never puts a
URL's password into a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pyqs import logs
from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError, CredentialsError
from pyqs.queues.names import canonical_name
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.settings import Settings

#: kombu's VisibilityTimeout for queues it creates, seconds.
CREATE_VISIBILITY = 1800
#: kombu's wait_time_seconds; also how long it hides a message that is rejected for requeueing.
KOMBU_WAIT = 10
#: Transport options that are honoured, or change nothing that matters here.
_OPTIONS = frozenset({
    "region", "visibility_timeout", "polling_interval", "wait_time_seconds", "queue_name_prefix", "predefined_queues",
    "is_secure", "port", "sts_role_arn", "sts_token_timeout", "sts_token_buffer_time", "sqs-creation-attributes",
    "queue_tags", "sqs_base64_encoding", "fetch_message_attributes", "max_retries", "interval_start", "interval_step",
    "interval_max", "master_name", "confirm_publish", "regioninfo", "client-config", "revoke_store",
    "large_payload_bucket", "large_payload_threshold",
})  # fmt: skip
_REFUSED_OPTIONS = {
    "supports_fanout": "fanout over SNS is not there",
    "predefined_exchanges": "SNS exchanges are not there",
}
_REFUSED_SETTINGS = ("security_certificate", "security_cert_store", "security_key", "security_key_password")
#: kombu's region where neither the options nor the AWS configuration name one.
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class PredefinedQueue:
    """One entry of ``predefined_queues``.

    Parameters:
        name: as kombu knows it.
        connection: its own, or the broker URL's.
        backoff_tasks: tasks whose rejected messages are hidden by ``backoff_policy`` and never deleted for it.
        backoff_policy: seconds by the number of the receive.
    """

    name: str
    url: str
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    backoff_tasks: frozenset[str] = frozenset()
    backoff_policy: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Transport:
    """What an app's broker settings say.

    Parameters:
        connection: how to reach SQS.
        prefix: ``queue_name_prefix``; it goes in front of SQS names only.
        predefined: replaces lookup and creation when not empty.
        create_attributes: attributes of queues created here; ``FifoQueue`` is added to where it belongs.
        tags: tags of queues created here.
        outer_base64: False for ``sqs_base64_encoding: False``.
        requeue_delay: seconds a rejected message stays hidden before it is received again.
        in_memory: ``memory://``, a broker that is in this process and for tests.
    """

    connection: ConnectionConfig
    prefix: str = ""
    predefined: tuple[PredefinedQueue, ...] = ()
    create_attributes: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    outer_base64: bool = True
    requeue_delay: float = KOMBU_WAIT
    in_memory: bool = False

    def sqs_name(self, queue: str) -> str:
        """The SQS name of a queue's logical name."""
        return canonical_name(queue, self.prefix)

    def backoff(self, queue: str, task: str) -> Mapping[int, int] | None:
        """``backoff_policy`` of a predefined queue, by its SQS name, for a task that is one of its ``backoff_tasks``."""
        for entry in self.predefined:
            if task in entry.backoff_tasks and queue in (canonical_name(entry.name), self.sqs_name(entry.name)):
                return dict(entry.backoff_policy)
        return None


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What ``pyqs worker -A`` takes from the app. All primitives or frozen values of them.

    Parameters:
        queues: SQS queue names to consume where no ``-Q`` is given (prefix included).
        app_queues: the same as logical names, without the prefix.
        queue_prefix: bounds every glob.
        predefined_queues: (SQS name, URL) pairs that replace discovery.
        create_queues: whether missing queues with literal names are created.
        create_attributes, create_tags: what they are created with.
        concurrency: worker_concurrency, or None.
        prefetch_bound: deliveries per executor to hold at most; None for no bound.
        shutdown_timeout: worker_soft_shutdown_timeout in seconds, or None.
        max_tasks_per_child: worker_max_tasks_per_child, or None.
        max_memory_per_child: worker_max_memory_per_child in KiB, or None.
        notes: lines to log once at start.
    """

    connection: ConnectionConfig
    queues: tuple[str, ...]
    app_queues: tuple[str, ...]
    queue_prefix: str = ""
    predefined_queues: tuple[tuple[str, str], ...] = ()
    create_queues: bool = True
    create_attributes: tuple[tuple[str, str], ...] = ()
    create_tags: tuple[tuple[str, str], ...] = ()
    concurrency: int | None = None
    prefetch_multiplier: int | None = None
    shutdown_timeout: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    notes: tuple[str, ...] = ()


#: Of this process: the form in which lines are logged, and setting it.
log_format, choose_log_format = logs.chosen, logs.choose


def read_transport(conf: Settings, *, consuming: bool = False, default_url: str = "", url: str = "") -> Transport:
    """The broker settings.

    Parameters:
        url: another broker's than the configured one.
        consuming: True for the worker's side (``broker_read_url``), False for the producer's.
        default_url: the broker of an app that names none.

    Raises:
        ImproperlyConfigured: another broker than SQS, or an option that this version cannot honour.
    """
    url = _whole_url(conf, url or (conf.broker_read_url if consuming else conf.broker_write_url) or "") or default_url
    options: Mapping[str, Any] = conf.broker_transport_options or {}
    _check_options(options)
    if conf.broker_use_ssl and not isinstance(conf.broker_use_ssl, bool):
        raise ImproperlyConfigured("broker_use_ssl with certificates does not apply to SQS; remove it")
    in_memory = url.partition("://")[0].rstrip(":/").lower() == "memory"
    connection = ConnectionConfig()
    if not in_memory:
        own = read_broker_url(url, {"port": conf.broker_port, **options})
        connection = _overlay(own, ConnectionConfig.from_environment())
    predefined = tuple(
        _predefined(str(name), entry, connection) for name, entry in (options.get("predefined_queues") or {}).items()
    )
    visibility = options.get("visibility_timeout")
    visibility = CREATE_VISIBILITY if visibility in (None, "") else int(float(visibility))
    attributes = {"VisibilityTimeout": str(visibility)}
    attributes.update({str(k): str(v) for k, v in (options.get("sqs-creation-attributes") or {}).items()})
    return Transport(
        connection=connection,
        prefix=str(options.get("queue_name_prefix") or ""),
        predefined=predefined,
        create_attributes=tuple(attributes.items()),
        tags=tuple((str(k), str(v)) for k, v in (options.get("queue_tags") or {}).items()),
        outer_base64=bool(options.get("sqs_base64_encoding", True)),
        requeue_delay=float(options.get("wait_time_seconds", KOMBU_WAIT)),
        in_memory=in_memory,
    )


def _whole_url(conf: Settings, url: str) -> str:
    """The URL with what ``broker_transport``, ``broker_user`` and ``broker_password`` say of what it leaves out."""
    if not isinstance(url, str):  # a list of one
        url = str(next(iter(url), ""))
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not conf.broker_transport:
            return url
        scheme, rest = conf.broker_transport, url
    if "@" not in rest and (conf.broker_user or conf.broker_password):
        rest = f"{quote(conf.broker_user or '', safe='')}:{quote(conf.broker_password or '', safe='')}@{rest}"
    return f"{scheme}://{rest}"


def read_broker_url(url: str, options: Mapping[str, Any]) -> ConnectionConfig:
    """``sqs://KEY:SECRET@host:port`` as kombu reads it: quoted parts unquoted; a host means its endpoint, over http unless
    ``is_secure``; no host means AWS.

    Raises:
        ImproperlyConfigured: not an sqs URL. Its text never holds the URL's password.
    """
    scheme, separator, rest = url.partition("://")
    if not url:
        raise ImproperlyConfigured("no broker is configured; set broker_url = 'sqs://' (and broker_transport_options)")
    if (scheme if separator else url.rstrip(":/")).lower() != "sqs":
        raise ImproperlyConfigured(
            f"the broker {scheme if separator else 'given'!r} is not SQS; broker_url must start with sqs:// "
            "(task_always_eager needs no broker)"
        )
    # A secret with a bare slash would end the host part early: kombu's users quote it as %2F, some do not.
    credentials, at, host = rest.rpartition("@")
    parts = urlsplit("//" + host)
    try:
        port = parts.port or options.get("port")
    except ValueError:
        raise ImproperlyConfigured("the port in broker_url is not a number") from None
    key, _, secret = credentials.partition(":") if at else ("", "", "")
    endpoint = None
    if parts.hostname:
        scheme = "https" if options.get("is_secure") else "http"
        endpoint = f"{scheme}://{parts.hostname}" + (f":{port}" if port else "")
    return ConnectionConfig(
        region=options.get("region") or None,
        endpoint_url=endpoint,
        access_key_id=unquote(key) or None,
        secret_access_key=unquote(secret) or None,
        role_arn=options.get("sts_role_arn") or None,
        large_payload_bucket=_bucket(options.get("large_payload_bucket")),
        large_payload_threshold=_threshold(options.get("large_payload_threshold")),
    )


def _bucket(value: Any) -> str | None:
    """One bucket's name, or several: a list, or text with commas."""
    return (value if isinstance(value, str) else ",".join(value or ())) or None


def _threshold(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        raise ImproperlyConfigured(
            f"broker_transport_options['large_payload_threshold'] is a number of bytes, not {value!r}"
        ) from None


def with_region(connection: ConnectionConfig) -> ConnectionConfig:
    """The connection with a region: its own, that of the AWS configuration, else kombu's ``us-east-1``. Loads the SDK."""
    if connection.region:
        return connection
    from pyqs.sqs.session import build_session, find_region

    try:
        region = find_region(connection, build_session(connection))
    except CredentialsError:  # a profile that does not exist: connecting says so
        return connection
    except ConfigError:
        region = DEFAULT_REGION
    return replace(connection, region=region)


def _overlay(first: ConnectionConfig, second: ConnectionConfig) -> ConnectionConfig:
    """``first``, with what it leaves open taken from ``second``; a key and its secret stay together."""
    keys = first if first.access_key_id else second
    return ConnectionConfig(
        region=first.region or second.region,
        endpoint_url=first.endpoint_url or second.endpoint_url,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        session_token=keys.session_token,
        profile=first.profile or second.profile,
        role_arn=first.role_arn or second.role_arn,
        client=first.client or second.client,
        large_payload_bucket=first.large_payload_bucket or second.large_payload_bucket,
        large_payload_threshold=first.large_payload_threshold or second.large_payload_threshold,
    )


def with_overrides(transport: Transport, connection: ConnectionConfig) -> Transport:
    """The transport as the worker's command line changed it."""
    return replace(transport, connection=_overlay(connection, transport.connection))


def _predefined(name: str, entry: Mapping[str, Any], connection: ConnectionConfig) -> PredefinedQueue:
    url = str(entry.get("url") or "")
    if not url:
        raise ImproperlyConfigured(f"predefined_queues[{name!r}] has no url")
    if url.endswith(".fifo") != name.endswith(".fifo"):
        raise ImproperlyConfigured(f"predefined_queues[{name!r}]: name and url must both end with .fifo, or neither")
    own = ConnectionConfig(
        region=entry.get("region") or None,
        access_key_id=entry.get("access_key_id") or None,
        secret_access_key=entry.get("secret_access_key") or None,
    )
    policy = _backoff_policy(name, entry.get("backoff_policy") or {})
    tasks = frozenset(entry.get("backoff_tasks") or ()) if policy else frozenset()
    return PredefinedQueue(name, url, _overlay(own, connection), tasks, policy)


def _backoff_policy(name: str, policy: Any) -> tuple[tuple[int, int], ...]:
    try:
        return tuple((int(receive), int(seconds)) for receive, seconds in policy.items())
    except (AttributeError, TypeError, ValueError):
        raise ImproperlyConfigured(
            f"predefined_queues[{name!r}]: backoff_policy is a dict, seconds by the number of the receive: {{1: 10, 2: 30}}"
        ) from None


def _check_options(options: Mapping[str, Any]) -> None:
    for name, why in _REFUSED_OPTIONS.items():
        if options.get(name):
            raise ImproperlyConfigured(f"broker_transport_options[{name!r}] cannot be honoured: {why}")
    encoding = options.get("body_encoding", "base64")
    if encoding != "base64":
        raise ImproperlyConfigured(f"broker_transport_options['body_encoding'] = {encoding!r} is not supported; leave it out")


def check_settings(conf: Settings) -> None:
    """Refuse what changes delivery, security or the format of messages and cannot be honoured here.

    Raises:
        ImproperlyConfigured: names the setting.
    """
    for name in _REFUSED_SETTINGS:
        if conf.get(name):
            raise ImproperlyConfigured(f"{name}: signed messages (the auth serializer) are not supported")
    if conf.task_serializer == "auth" or "auth" in (conf.accept_content or ()):
        raise ImproperlyConfigured("the auth serializer is not supported")
    if conf.task_protocol not in (1, 2):
        raise ImproperlyConfigured(f"task_protocol must be 1 or 2, not {conf.task_protocol!r}")


def check_worker_settings(app: Celery, *, in_process: bool = False) -> tuple[str, ...]:
    """The same for what only a worker would honour; answers lines to log once.

    Parameters:
        in_process: tasks run in this process, and so what is in its memory will do.

    Raises:
        ImproperlyConfigured: names the setting and what to do.
    """
    from pyqs_celery_compat.app import backends, setting_checks

    conf = app.conf
    check_settings(conf)
    setting_checks.check(conf)
    if not in_process and read_transport(conf, consuming=True).in_memory:
        raise ImproperlyConfigured(
            "memory:// is within one process, and a worker's tasks run in others: use sqs:// here, with `pyqs local` on this "
            "machine (broker_url = 'sqs://key:secret@localhost:9324')"
        )
    app.amqp.queues  # noqa: B018 - reading task_queues raises on what is no queue
    if not (conf.task_ignore_result or in_process):
        backends.check_for_worker(conf.result_backend)
    notes = []
    unknown = sorted(set(conf.broker_transport_options or {}) - _OPTIONS - set(_REFUSED_OPTIONS) - {"body_encoding"})
    if unknown:
        notes.append(f"broker_transport_options {', '.join(unknown)}: unknown here, ignored")
    if conf.task_always_eager:
        notes.append("task_always_eager is on: what tasks call runs inside them, in this worker, too")
    notes.extend(setting_checks.remarks(conf))
    if app.steps["worker"] or app.steps["consumer"]:
        from pyqs_celery_compat import bootsteps

        bootsteps.check(app)
    return tuple(notes)


def worker_settings(app: Celery, *, in_process: bool = False) -> WorkerSettings:
    """What a worker with ``-A`` needs to know of the app before it starts.

    Parameters:
        in_process: it is none, but one in this process, for tests.

    Raises:
        ImproperlyConfigured: the app cannot be served.
    """
    conf = app.conf
    notes = check_worker_settings(app, in_process=in_process)
    transport = read_transport(conf, consuming=True)
    connection, more = _one_connection(transport)
    notes += more
    consumed = tuple(app.amqp.queues.consume_from)
    multiplier: int | None = None
    if conf.value_set_for("worker_prefetch_multiplier"):
        multiplier = int(conf.worker_prefetch_multiplier) or None
    if conf.worker_disable_prefetch:
        multiplier = 1
    concurrency = conf.worker_concurrency
    if pool_is_solo := str(conf.worker_pool) == "solo":
        notes = (*notes, "worker_pool = solo: one executor")
    return WorkerSettings(
        connection=connection if transport.in_memory else with_region(connection),
        queues=tuple(dict.fromkeys(transport.sqs_name(name) for name in consumed)),
        app_queues=consumed,
        queue_prefix=transport.prefix,
        predefined_queues=tuple((canonical_name(queue.name), queue.url) for queue in transport.predefined),
        create_queues=bool(conf.task_create_missing_queues) and not transport.predefined,
        create_attributes=transport.create_attributes,
        create_tags=transport.tags,
        concurrency=1 if pool_is_solo else None if concurrency in (None, "", "auto") else int(concurrency),
        prefetch_multiplier=multiplier,
        shutdown_timeout=float(conf.worker_soft_shutdown_timeout) or None,
        max_tasks_per_child=_per_child(conf, "worker_max_tasks_per_child"),
        max_memory_per_child=_per_child(conf, "worker_max_memory_per_child"),
        notes=notes,
    )


def worker_connection(app: Celery) -> ConnectionConfig:
    """How what runs the app's tasks reaches SQS, where it is told nothing else.

    Raises:
        ImproperlyConfigured: the app's broker is another, or one of its options cannot be honoured.
    """
    return _one_connection(read_transport(app.conf, consuming=True))[0]


def _one_connection(transport: Transport) -> tuple[ConnectionConfig, tuple[str, ...]]:
    """The connection of a worker, which has one: that of all predefined queues, if they agree; else the broker URL's.

    Then with a note on those that it does not suit.
    """
    own = {queue.connection for queue in transport.predefined}
    if len(own) == 1:
        return own.pop(), ()
    others = [queue.name for queue in transport.predefined if queue.connection != transport.connection]
    if not others:
        return transport.connection, ()
    return transport.connection, (
        f"predefined_queues: {', '.join(others)}: keys or regions of their own; a worker has one connection, the broker URL's "
        "or --region, --access-key-id and --secret-access-key: run one worker for each, with -Q",
    )


def _per_child(conf: Settings, name: str) -> int | None:
    """A limit of one executor; 0 and None mean none, as in Celery."""
    return int(conf.get(name) or 0) or None


def worker_settings_from_primitives(values: dict[str, Any]) -> WorkerSettings:
    """``dataclasses.asdict(WorkerSettings)``, after a way through JSON, as it was."""
    given = {key: _frozen(value) for key, value in values.items()}
    return WorkerSettings(**{**given, "connection": ConnectionConfig(**values["connection"])})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
