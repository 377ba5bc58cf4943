"""Celery's signals, by Celery's names.

Owns: the signal objects. In which process each is sent, ``docs/differences.md`` says; beat's exist so that code can connect to
them.
"""

from __future__ import annotations

from pyqs_celery_compat.utils.dispatch import Signal

_TASK = ("task_id", "task", "args", "kwargs")
_LOG = ("loglevel", "logfile", "format", "colorize")
_PUBLISH = ("body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy")

before_task_publish = Signal(_PUBLISH, name="before_task_publish")
after_task_publish = Signal(("body", "exchange", "routing_key"), name="after_task_publish")
task_received = Signal(("request",), name="task_received")
task_prerun = Signal(_TASK, name="task_prerun")
task_postrun = Signal((*_TASK, "retval"), name="task_postrun")
task_success = Signal(("result", "runtime"), name="task_success")
task_retry = Signal(("request", "reason", "einfo"), name="task_retry")
task_failure = Signal(("task_id", "exception", "args", "kwargs", "traceback", "einfo"), name="task_failure")
task_internal_error = Signal(
    ("task_id", "args", "kwargs", "request", "exception", "traceback", "einfo"), name="task_internal_error"
)
task_revoked = Signal(("request", "terminated", "signum", "expired"), name="task_revoked")
task_rejected = Signal(("message", "exc"), name="task_rejected")
task_unknown = Signal(("message", "exc", "name", "id"), name="task_unknown")
task_sent = Signal(("task_id", "task", "args", "kwargs", "eta", "taskset"), name="task_sent")

celeryd_init = Signal(("instance", "conf", "options"), name="celeryd_init")
celeryd_after_setup = Signal(("instance", "conf"), name="celeryd_after_setup")
import_modules = Signal(name="import_modules")
worker_init = Signal(name="worker_init")
worker_before_create_process = Signal(name="worker_before_create_process")
worker_process_init = Signal(name="worker_process_init")
worker_process_shutdown = Signal(name="worker_process_shutdown")
worker_ready = Signal(name="worker_ready")
worker_shutdown = Signal(name="worker_shutdown")
worker_shutting_down = Signal(name="worker_shutting_down")
heartbeat_sent = Signal(name="heartbeat_sent")

setup_logging = Signal(_LOG, name="setup_logging")
after_setup_logger = Signal(("logger", *_LOG), name="after_setup_logger")
after_setup_task_logger = Signal(("logger", *_LOG), name="after_setup_task_logger")

beat_init = Signal(name="beat_init")
beat_embedded_init = Signal(name="beat_embedded_init")

eventlet_pool_started = Signal(name="eventlet_pool_started")
eventlet_pool_preshutdown = Signal(name="eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal(name="eventlet_pool_postshutdown")
eventlet_pool_apply = Signal(("target", "args", "kwargs"), name="eventlet_pool_apply")

user_preload_options = Signal(("app", "options"), name="user_preload_options")
