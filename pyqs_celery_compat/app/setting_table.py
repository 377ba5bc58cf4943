"""What each of Celery's settings does here: one line for each, from which the documents and ``pyqs report`` are made.

Owns: ``FACTS``. Pure; loaded where a worker reads its app's settings and by ``pyqs report``, never by a process that only
publishes or runs tasks. Says nothing of values: ``setting_checks`` judges those, by the kinds named here.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from pyqs_celery_compat.app.defaults import DEFAULTS


class Fate(enum.Enum):
    """What becomes of a setting that somebody has set; the value is the word for it."""

    HONOURED = "honoured"
    #: It has no effect, and nothing is lost by that.
    NO_EFFECT = "no effect"
    #: It has none, and somebody may miss it: a worker says so when it starts.
    NAMED = "named at start"
    #: It has none yet: a worker says so when it starts, or does not start.
    LATER = "not yet"
    #: An error where the configuration is read, or where a worker starts.
    REFUSED = "refused"


class Fact(NamedTuple):
    """One setting: what becomes of it, of what kind its values are (``setting_checks``), and what else there is to say."""

    name: str
    fate: Fate
    kind: str
    note: str


#: Honoured, by the kind of their values. Kinds are explained in ``setting_checks``.
_HONOURED = {
    "flag": "worker_deduplicate_successful_tasks "
    "enable_utc task_acks_late task_acks_on_failure task_acks_on_failure_or_timeout task_acks_on_timeout "
    "task_always_eager task_create_missing_queues task_eager_propagates task_ignore_result task_inherit_parent_priority "
    "task_publish_retry task_reject_on_worker_lost task_retry_on_worker_lost worker_disable_prefetch "
    "worker_disable_rate_limits worker_hijack_root_logger worker_log_color worker_redirect_stdouts "
    "database_create_tables_at_setup redis_retry_on_timeout redis_socket_keepalive result_backend_always_retry "
    "result_extended task_allow_error_cb_on_chord_header task_store_eager_result "
    "task_store_errors_even_if_ignored task_track_started",
    "count": "beat_sync_every broker_port task_default_priority task_repr_maxlevels worker_max_memory_per_child "
    "worker_max_tasks_per_child worker_prefetch_multiplier redis_max_connections redis_port "
    "result_backend_base_sleep_between_retries_ms "
    "result_backend_max_sleep_between_retries_ms",
    "count or auto": "worker_concurrency",
    "bound": "broker_pool_limit",
    "seconds": "beat_cron_starting_deadline beat_max_loop_interval "
    "result_chord_join_timeout result_chord_retry_interval redis_socket_connect_timeout redis_socket_timeout "
    "broker_pool_acquire_timeout task_soft_time_limit task_time_limit worker_soft_shutdown_timeout",
    "protocol": "task_protocol",
    "pool": "worker_pool",
    "text": "beat_schedule_filename "
    "redis_host redis_password redis_username database_url s3_access_key_id s3_base_path s3_bucket s3_endpoint_url "
    "s3_region s3_secret_access_key "
    "broker_host broker_password broker_transport broker_user task_create_missing_queue_exchange_type "
    "task_create_missing_queue_type task_default_exchange task_default_exchange_type task_default_queue "
    "task_default_queue_type task_default_routing_key worker_log_datefmt worker_log_format worker_task_log_datefmt "
    "worker_task_log_format",
    "urls": "broker_read_url broker_url broker_write_url",
    "rate": "task_default_rate_limit",
    "level": "worker_redirect_stdouts_level",
    "names": "imports include",
    "mapping": "beat_schedule broker_transport_options database_engine_options database_table_names database_table_schemas "
    "result_backend_transport_options task_publish_retry_policy",
    "timezone": "timezone",
    "accept": "accept_content result_accept_content",
    "serializer": "result_serializer task_serializer",
    "compression": "task_compression",
    "anything": "beat_scheduler result_chord_expires result_cache_max result_compression database_engine_callback "
    "redis_backend_use_ssl redis_db result_backend result_backend_max_retries "
    "result_expires task_annotations task_default_delivery_mode task_queues task_routes",
}

#: What is to say of some of those that are honoured.
_NOTES = {
    "beat_cron_starting_deadline": "seconds; a run that was due earlier and not sent is left out",
    "beat_max_loop_interval": "0 is the scheduler's own, 300; `--max-interval` wins",
    "beat_schedule": "entries by name, beside those of `add_periodic_task`",
    "beat_schedule_filename": "`--schedule` wins",
    "beat_scheduler": "`--scheduler` wins",
    "beat_sync_every": "tasks after which the schedule file is written; 0 is as soon as nothing is due",
    "broker_host": "the broker where `broker_url` is not set, with `broker_transport`",
    "broker_password": "the secret access key, where the URL has none",
    "broker_pool_limit": "of connections that code borrows; calls need none",
    "broker_port": "of an endpoint whose URL has none",
    "broker_read_url": "what a worker receives from; the environment's `CELERY_BROKER_READ_URL` wins",
    "broker_transport": "`sqs`, where the URL has no scheme",
    "broker_transport_options": "kombu's options for SQS; `predefined_exchanges`, `supports_fanout` and a `body_encoding` that "
    "is not base64 are refused; `revoke_store` is ours, see results.md, and `large_payload_bucket`, see big-messages.md",
    "broker_url": "`sqs://`, or `memory://` within one process; the environment's `CELERY_BROKER_URL` wins",
    "broker_user": "the access key id, where the URL has none",
    "broker_write_url": "what calls go to; the environment's `CELERY_BROKER_WRITE_URL` wins",
    "accept_content": "what a worker reads of messages; `auth` is refused",
    "result_backend": "`redis://`, `rediss://`, `db+…`, `dynamodb://`, `s3://`, `file:///`; the environment's "
    "`CELERY_RESULT_BACKEND` wins",
    "result_backend_max_retries": "with `result_backend_always_retry`",
    "result_backend_transport_options": "`global_keyprefix` and `retry_policy`",
    "worker_deduplicate_successful_tasks": "of tasks that are acknowledged late; what follows such a call is sent again",
    "task_create_missing_queue_exchange_type": "of queues made from a name alone; SQS has no exchanges",
    "task_create_missing_queue_type": "of queues made from a name alone; SQS has one type",
    "task_default_delivery_mode": "written into messages; SQS keeps every message on disk",
    "task_default_exchange_type": "of the default exchange; sending to another type than direct is an error",
    "task_default_priority": "written into messages; SQS has no priorities",
    "task_default_queue_type": "of the default queue; SQS has one type",
    "task_protocol": "1 or 2",
    "task_publish_retry_policy": "under Celery's default nothing new is begun after 10 s of trying",
    "task_queues": "of direct exchanges; to another one nothing can be sent",
    "task_serializer": "`auth` is refused",
    "worker_concurrency": "executors; `--concurrency` wins",
    "worker_disable_prefetch": "as a `worker_prefetch_multiplier` of 1",
    "worker_max_memory_per_child": "KiB, of what is in use after a task",
    "worker_pool": "`prefork` and `processes` are executors, `solo` is one of them; threads, gevent and eventlet are refused",
    "worker_prefetch_multiplier": "an upper bound: executors times this are held at most; 0 is no bound; unset, need decides",
    "worker_soft_shutdown_timeout": "how long a stopping worker waits for its tasks; 0 is no limit",
}

_CONNECTION = "connections to SQS are single requests, which are repeated by themselves"
_CONTROL = "there is no remote control over SQS"
_EVENTS = "there are no monitoring events"
_EXECUTORS = "executors are forked from a forkserver, watched and replaced by the worker's own rules"
_AMQP = "a matter of AMQP"
#: No effect, and why. The reason counts for all settings beside it.
_NO_EFFECT = {
    _CONNECTION: "broker_channel_error_retry broker_connection_max_retries broker_connection_retry "
    "broker_connection_retry_on_startup broker_connection_timeout broker_failover_strategy broker_heartbeat "
    "broker_heartbeat_checkrate worker_cancel_long_running_tasks_on_connection_loss",
    _AMQP: "broker_login_method broker_native_delayed_delivery_queue_type broker_vhost result_exchange result_exchange_type "
    "worker_detect_quorum_queues worker_enable_prefetch_count_reduction",
    _CONTROL: "beat_enable_remote_control beat_remote_control_max_tick_age control_exchange control_queue_durable "
    "control_queue_exclusive control_queue_expires control_queue_ttl worker_enable_remote_control",
    _EVENTS: "event_exchange event_queue_durable event_queue_exclusive event_queue_expires event_queue_prefix event_queue_ttl "
    "event_serializer",
    _EXECUTORS: "worker_lost_wait worker_pool_putlocks worker_pool_start_method worker_proc_alive_timeout worker_timer "
    "worker_timer_precision",
    "nothing is held in memory until its time has come": "worker_eta_task_limit",
    "each process keeps connections of its own, after a fork, too": "database_short_lived_sessions",
    "without signed messages there is nothing to digest": "security_digest",
}
#: Backends that are not here and are not to come: their settings say nothing of the one that is chosen.
_OTHER_BACKENDS = {
    "arangodb": "backend_settings",
    "azureblockblob": "base_path connection_timeout container_name read_timeout retry_increment_base "
    "retry_initial_backoff_sec retry_max_attempts",
    "cassandra": "auth_kwargs auth_provider bundle_path entry_ttl keyspace options port read_consistency servers table "
    "write_consistency",
    "cosmosdbsql": "collection_name consistency_level database_name max_retry_attempts max_retry_wait_time",
    "couchbase": "backend_settings",
    "elasticsearch": "max_retries retry_on_timeout save_meta_as_text timeout",
    "gcs": "base_path bucket project ttl",
    "mongodb": "backend_settings",
}

#: Named at start, and why.
_NAMED = {
    "broker_use_ssl": "AWS is reached over https whatever it says; for another endpoint it is "
    "`broker_transport_options['is_secure']`. Certificates in it are refused",
    "result_failure_expires": "gone from Celery, too: `result_expires`",
    "result_persistent": "a matter of AMQP's results",
    "task_queue_max_priority": "SQS has no priorities: use a queue for each and `pyqs worker -Q`",
    "task_remote_tracebacks": "tracebacks are stored as text",
    "task_send_sent_event": _EVENTS,
    "worker_pool_restarts": f"{_CONTROL}: start the worker anew",
    "worker_send_task_events": _EVENTS,
    "worker_state_db": "there is no state to keep: revoked ids are in `revoke_store`, see results.md",
}

#: Not yet, and what comes with what.
_RESULTS = "comes with the result backends that are not there yet"
_LATER = {
    _RESULTS: "cache_backend cache_backend_options",
    "a queue of each worker's own comes later: name it with `-Q`": "worker_direct",
    "comes later: a worker with nothing to do stops at once": "worker_enable_soft_shutdown_on_idle",
}
#: Those of them without which a worker's user misses nothing while there is no backend: no line at its start.
QUIET = frozenset(_LATER[_RESULTS].split())

#: Refused, and why.
_SIGNED = "signed messages (the auth serializer) are not supported"
_REPLACED = "cannot be replaced: this worker has none"
_REFUSED = {
    _SIGNED: "security_cert_store security_certificate security_key security_key_password",
    _REPLACED: "worker_agent worker_autoscaler worker_consumer",
}


def _facts() -> dict[str, Fact]:
    found: dict[str, Fact] = {}

    def add(names: str, fate: Fate, kind: str, note: str, prefix: str = "") -> None:
        for name in names.split():
            whole = prefix + name
            if whole in found or whole not in DEFAULTS:
                raise ValueError(f"{whole} is listed twice, or is no setting of Celery's")
            found[whole] = Fact(whole, fate, kind, note)

    for kind, names in _HONOURED.items():
        for name in names.split():
            add(name, Fate.HONOURED, kind, _NOTES.get(name, ""))
    for note, names in _NO_EFFECT.items():
        add(names, Fate.NO_EFFECT, "anything", note)
    for backend, names in _OTHER_BACKENDS.items():
        add(names, Fate.NO_EFFECT, "anything", f"of a result backend that is not here: {backend}", f"{backend}_")
    for name, note in _NAMED.items():
        add(name, Fate.NAMED, "anything", note)
    for note, names in _LATER.items():
        add(names, Fate.LATER, "anything", note)
    for note, names in _REFUSED.items():
        add(names, Fate.REFUSED, "anything", note)
    return dict(sorted(found.items()))


#: Every setting of Celery 5.7, by its name of today.
FACTS = _facts()
