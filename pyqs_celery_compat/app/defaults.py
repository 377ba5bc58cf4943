"""Celery's settings: their names, old names and defaults.

Owns: ``DEFAULTS``, ``TO_OLD``, ``TO_NEW``, and which settings this version refuses or warns about. Pure. The names and
values are those of Celery 5.7 (observed by importing ``celery.app.defaults``); what each does here is in docs/differences.md.
"""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

PROCESS_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
TASK_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"

#: Settings whose default is None, by the first word of their name.
_UNSET = {
    "": "timezone result_accept_content",
    "arangodb": "backend_settings",
    "beat": "cron_starting_deadline remote_control_max_tick_age",
    "broker": "connection_retry_on_startup failover_strategy host login_method password pool_acquire_timeout port read_url "
    "transport url user vhost write_url",
    "cache": "backend",
    "cassandra": "auth_kwargs auth_provider bundle_path entry_ttl keyspace port read_consistency servers table "
    "write_consistency",
    "couchbase": "backend_settings",
    "database": "engine_callback table_names table_schemas url",
    "elasticsearch": "max_retries retry_on_timeout timeout",
    "gcs": "bucket project",
    "mongodb": "backend_settings",
    "redis": "backend_use_ssl db host max_connections password port socket_connect_timeout username",
    "result": "backend chord_expires compression failure_expires persistent",
    "s3": "access_key_id base_path bucket endpoint_url region secret_access_key",
    "security": "cert_store certificate key key_password",
    "task": "acks_on_failure acks_on_timeout annotations compression create_missing_queue_exchange_type default_exchange "
    "default_priority default_rate_limit default_routing_key queue_max_priority queues reject_on_worker_lost routes "
    "soft_time_limit time_limit",
    "worker": "agent concurrency eta_task_limit log_color log_datefmt max_memory_per_child max_tasks_per_child state_db "
    "task_log_datefmt timer",
}

_SET: dict[str, dict[str, Any]] = {
    "": {"accept_content": ("json",), "enable_utc": True, "imports": (), "include": ()},
    "azureblockblob": {
        "base_path": "", "connection_timeout": 20, "container_name": "celery", "read_timeout": 120,
        "retry_increment_base": 2, "retry_initial_backoff_sec": 2, "retry_max_attempts": 3,
    },
    "beat": {
        "enable_remote_control": False, "max_loop_interval": 0, "schedule": {},
        "schedule_filename": "celerybeat-schedule", "scheduler": "celery.beat:PersistentScheduler", "sync_every": 0,
    },
    "broker": {
        "channel_error_retry": False, "connection_max_retries": 100, "connection_retry": True,
        "connection_timeout": 4, "heartbeat": 120, "heartbeat_checkrate": 3.0,
        "native_delayed_delivery_queue_type": "quorum", "pool_limit": 10, "transport_options": {}, "use_ssl": False,
    },
    "cache": {"backend_options": {}},
    "cassandra": {"options": {}},
    "control": {
        "exchange": "celery", "queue_durable": False, "queue_exclusive": True, "queue_expires": 10.0, "queue_ttl": 300.0,
    },
    "cosmosdbsql": {
        "collection_name": "celerycol", "consistency_level": "Session", "database_name": "celerydb",
        "max_retry_attempts": 9, "max_retry_wait_time": 30,
    },
    "database": {
        "create_tables_at_setup": True, "engine_options": {"pool_pre_ping": True, "pool_recycle": 3600},
        "short_lived_sessions": False,
    },
    "elasticsearch": {"save_meta_as_text": True},
    "event": {
        "exchange": "celeryev", "queue_durable": False, "queue_exclusive": True, "queue_expires": 60.0,
        "queue_prefix": "celeryev", "queue_ttl": 5.0, "serializer": "json",
    },
    "gcs": {"base_path": "", "ttl": 0},
    "redis": {"retry_on_timeout": False, "socket_keepalive": False, "socket_timeout": 120.0},
    "result": {
        "backend_always_retry": False, "backend_base_sleep_between_retries_ms": 10,
        "backend_max_retries": float("inf"), "backend_max_sleep_between_retries_ms": 10000,
        "backend_transport_options": {}, "cache_max": -1, "chord_join_timeout": 3.0, "chord_retry_interval": 1.0,
        "exchange": "celeryresults", "exchange_type": "direct", "expires": timedelta(days=1), "extended": False,
        "serializer": "json",
    },
    "security": {"digest": "sha256"},
    "task": {
        "acks_late": False, "acks_on_failure_or_timeout": True, "allow_error_cb_on_chord_header": False,
        "always_eager": False, "create_missing_queue_type": "classic", "create_missing_queues": True,
        "default_delivery_mode": 2, "default_exchange_type": "direct", "default_queue": "celery",
        "default_queue_type": "classic", "eager_propagates": False, "ignore_result": False,
        "inherit_parent_priority": False, "protocol": 2, "publish_retry": True,
        "publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2},
        "remote_tracebacks": False, "repr_maxlevels": 3, "retry_on_worker_lost": False, "send_sent_event": False,
        "serializer": "json", "store_eager_result": False, "store_errors_even_if_ignored": False,
        "track_started": False,
    },
    "worker": {
        "autoscaler": "celery.worker.autoscale:Autoscaler",
        "cancel_long_running_tasks_on_connection_loss": False, "consumer": "celery.worker.consumer:Consumer",
        "deduplicate_successful_tasks": False, "detect_quorum_queues": True, "direct": False,
        "disable_prefetch": False, "disable_rate_limits": False, "enable_prefetch_count_reduction": True,
        "enable_remote_control": True, "enable_soft_shutdown_on_idle": False, "hijack_root_logger": True,
        "log_format": PROCESS_LOG_FORMAT, "lost_wait": 10.0, "pool": "prefork", "pool_putlocks": True,
        "pool_restarts": False, "pool_start_method": "fork", "prefetch_multiplier": 4, "proc_alive_timeout": 4.0,
        "redirect_stdouts": True, "redirect_stdouts_level": "WARNING", "send_task_events": False,
        "soft_shutdown_timeout": 0.0, "task_log_format": TASK_LOG_FORMAT, "timer_precision": 1.0,
    },
}  # fmt: skip


def _flat() -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for space, names in _UNSET.items():
        flat.update({f"{space}_{name}" if space else name: None for name in names.split()})
    for space, values in _SET.items():
        flat.update({f"{space}_{name}" if space else name: value for name, value in values.items()})
    return flat


#: Every setting of Celery 5.7 by its name of today.
DEFAULTS: dict[str, Any] = _flat()
#: Those whose first word says nothing of what they belong to.
WITHOUT_NAMESPACE = frozenset({*_UNSET[""].split(), *_SET[""]})

#: First word -> what stood in its place before Celery 4.
_OLD_SPACE = {"task": "CELERY_", "worker": "CELERYD_", "beat": "CELERYBEAT_"}
#: First words whose old names had ``CELERY_`` in front of the whole.
_PREFIXED = {"arangodb", "cache", "couchbase", "elasticsearch", "event", "mongodb", "redis", "result", "security"}
_PREFIXED_WHOLE = {"accept_content", "imports", "include", "timezone"}
#: Old names that follow no rule.
_IRREGULAR = {
    "result_accept_content": "RESULT_ACCEPT_CONTENT",
    "database_engine_options": "CELERY_RESULT_ENGINE_OPTIONS",
    "database_short_lived_sessions": "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    "database_table_names": "CELERY_RESULT_DB_TABLENAMES",
    "database_url": "CELERY_RESULT_DBURI",
    "result_cache_max": "CELERY_MAX_CACHED_RESULTS",
    "result_expires": "CELERY_TASK_RESULT_EXPIRES",
    "task_compression": "CELERY_MESSAGE_COMPRESSION",
    "task_eager_propagates": "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
    "task_protocol": "CELERY_TASK_PROTOCOL",
    "task_publish_retry": "CELERY_TASK_PUBLISH_RETRY",
    "task_publish_retry_policy": "CELERY_TASK_PUBLISH_RETRY_POLICY",
    "task_send_sent_event": "CELERY_SEND_TASK_SENT_EVENT",
    "task_serializer": "CELERY_TASK_SERIALIZER",
    "task_soft_time_limit": "CELERYD_TASK_SOFT_TIME_LIMIT",
    "task_time_limit": "CELERYD_TASK_TIME_LIMIT",
    "worker_direct": "CELERY_WORKER_DIRECT",
    "worker_disable_rate_limits": "CELERY_DISABLE_RATE_LIMITS",
    "worker_enable_remote_control": "CELERY_ENABLE_REMOTE_CONTROL",
    "worker_lost_wait": "CELERYD_WORKER_LOST_WAIT",
    "worker_redirect_stdouts": "CELERY_REDIRECT_STDOUTS",
    "worker_redirect_stdouts_level": "CELERY_REDIRECT_STDOUTS_LEVEL",
    "worker_send_task_events": "CELERY_SEND_EVENTS",
}


def _old_name(name: str) -> str:
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    space, _, rest = name.partition("_")
    if rest and space in _OLD_SPACE:
        return _OLD_SPACE[space] + rest.upper()
    if (rest and space in _PREFIXED) or name in _PREFIXED_WHOLE:
        return "CELERY_" + name.upper()
    return name.upper()


TO_OLD: dict[str, str] = {name: _old_name(name) for name in DEFAULTS}
TO_NEW: dict[str, str] = {old: new for new, old in TO_OLD.items()}

#: Names of ``celery.app.defaults`` that only libraries ask for: in a module of their own, which an app does not load.
_LOOKED_UP = frozenset(
    {"NAMESPACES", "Option", "SETTING_KEYS", "find", "searchresult", "_OLD_DEFAULTS", "_OLD_SETTING_KEYS", "_TO_NEW_KEY"}
    | {"_TO_OLD_KEY", "strtobool"}
)


def __getattr__(name: str) -> Any:
    if name in _LOOKED_UP:
        return getattr(importlib.import_module("pyqs_celery_compat.app.setting_options"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
