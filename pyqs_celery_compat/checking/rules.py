"""The rules: what becomes of each name of Celery's here. One table of words for all of ``checking``.

Owns: what is true of names, signals, options, commands and libraries. Settings have a table of their own
(``app/setting_table.py``), and which names there are this package's modules say (``names.py``): here stands only what of them
does not work as in Celery, as docs/differences.md has it. Pure.
"""

from __future__ import annotations

from pyqs_celery_compat.app.control import INSTEAD
from pyqs_celery_compat.app.setting_table import FACTS, Fate
from pyqs_celery_compat.checking.findings import SAME, Judgement, differs, look, unsupported

#: Whether beat is here: it is as soon as the table of settings says that its schedule is kept.
BEAT = FACTS["beat_schedule"].fate is Fate.HONOURED
_BEAT = SAME if BEAT else unsupported("not there yet: Celery's own beat sends periodic tasks until then (PYQS_AS_CELERY=0)")

_FROM_CODE = differs("the worker's processes import the app by its name in a module; what cannot start ends in SystemExit")
_NO_POOL = unsupported("tasks run in executors, which are processes; other pools cannot be made")
_NO_EVENTS = unsupported("there are no monitoring events: pyqs worker --health has metrics for Prometheus")
_NO_COMMANDS = unsupported("commands of a project's own cannot be sent to a worker over SQS")
_NO_REQUEST = unsupported("a Request class of one's own is never called: use task signals, on_failure, or task_prerun")

IN_A_THREAD = differs(
    "tasks run in threads, whatever pool is named; time limits are kept, inspect() is not answered (docs/testing.md)"
)
_NO_DAEMON = unsupported("no process detaches itself: run it under systemd or in a container")
_NO_USER = unsupported("it changes no user: start the process as the one that it is to be")
_LOADER = differs("on_worker_init and on_worker_shutdown are called in the process of the worker's signals")
#: Modules that are here and do not do what Celery's do, and names of modules where the name alone differs.
NAMES: dict[str, Judgement] = {
    "celery.app.control": differs("remote control: only revoke, terminate and purge do what they say"),
    "celery.app.events": _NO_EVENTS,
    "celery.apps.beat": _BEAT,
    "celery.apps.worker": _FROM_CODE,
    "celery.beat": _BEAT,
    "celery.bin.beat": _BEAT,
    "celery.bootsteps": differs("worker steps run in a process of their own; in executors they are made, and no more"),
    "celery.bootsteps.ConsumerStep": unsupported("a worker does not start with consumer steps: it receives by itself"),
    "celery.loaders.app.AppLoader": _LOADER,
    "celery.loaders.base.BaseLoader": _LOADER,
    "celery.loaders.default.Loader": _LOADER,
    "celery.concurrency.asynpool": _NO_POOL,
    "celery.concurrency.asynpool.PROC_ALIVE_TIMEOUT": differs("it can be set and has no effect"),
    "celery.concurrency.base": _NO_POOL,
    "celery.concurrency.prefork": _NO_POOL,
    "celery.concurrency.prefork.process_destructor": SAME,
    "celery.concurrency.prefork.process_initializer": SAME,
    "celery.contrib.testing.worker": IN_A_THREAD,
    "celery.events": _NO_EVENTS,
    "celery.platforms": differs("it changes no user and detaches nothing"),
    "celery.platforms.DaemonContext": _NO_DAEMON,
    "celery.platforms.detached": _NO_DAEMON,
    **dict.fromkeys([f"celery.platforms.{one}" for one in ("setuid", "setgid", "setgroups", "initgroups")], _NO_USER),
    "celery.contrib.pytest.celery_session_worker": IN_A_THREAD,
    "celery.contrib.pytest.celery_worker": IN_A_THREAD,
    "celery.worker.WorkController": _FROM_CODE,
    "celery.worker.components": differs("names for a step's `requires`; the parts themselves are the worker's own"),
    "celery.worker.consumer": unsupported("a worker does not start with consumer steps: it receives by itself"),
    "celery.worker.control": _NO_COMMANDS,
    "celery.worker.request": _NO_REQUEST,
    "celery.worker.state": unsupported("a worker's state is not in the app's processes: see pyqs worker --health"),
}
_KOMBUS_OWN = differs("kombu itself, with a transport and connections of its own; app.connection() is this package's")
#: What of kombu is used here, or is the same whoever uses it; of the rest nobody knows here.
KOMBU = {
    **dict.fromkeys(
        (
            "kombu.Exchange", "kombu.Queue", "kombu.binding", "kombu.clocks", "kombu.entity", "kombu.exceptions", "kombu.log",
            "kombu.serialization", "kombu.utils", "kombu.uuid", "kombu.__version__", "kombu.version_info_t",
        ),
        SAME,
    ),
    "kombu.transport": unsupported("kombu's transports are not used: pyqs has its own way to SQS"),
    "kombu.asynchronous": unsupported("kombu's way to AWS is not used: pyqs has its own"),
    "kombu.common.Broadcast": unsupported("SQS has no fanout: what is sent to such a queue's exchange is an error"),
    "kombu.Connection": _KOMBUS_OWN,
    "kombu.Consumer": _KOMBUS_OWN,
    "kombu.connection": _KOMBUS_OWN,
    "kombu.mixins": _KOMBUS_OWN,
}  # fmt: skip
KOMBU_ITSELF = look("kombu's own, which is not used here")
#: What of billiard is here where billiard is not installed.
BILLIARD = frozenset({"billiard", "billiard.einfo", "billiard.exceptions", "billiard.pool"})
BILLIARD_ITSELF = differs("billiard stays as it is where it is installed; nothing here installs it")

_TRIED = SAME
#: Libraries that live on Celery, by their first words; the longest that fits counts. docs/libraries.md has those we try.
LIBRARIES: dict[str, Judgement] = {
    "celery_once": _TRIED,
    "celery_singleton": _TRIED,
    "django_celery_beat": _BEAT,
    "django_celery_results": _TRIED,
    "django_structlog.celery": _TRIED,
    "flower": _NO_EVENTS,
    "opentelemetry.instrumentation.celery": _TRIED,
    "sentry_sdk.integrations.celery": _TRIED,
    "redbeat": _BEAT,
    "celery_batches": unsupported(
        "it replaces Celery's consumer strategy: collect the calls where they are made (app.batch())"
    ),
    "celery_aio_pool": _NO_POOL,
    "celery_pool_asyncio": _NO_POOL,
    "tenant_schemas_celery": look("not tried here (docs/libraries.md)"),
    "celery_progress": look("not tried here; its results backend must be one of docs/results.md"),
    "django_celery_monitor": _NO_EVENTS,
    "pytest_celery": look("it starts Celery's workers and brokers in containers; ours are not among them"),
}

UNTRIED = look("a library that lives on Celery, by its name; nobody has tried it here")

_HOST = differs(
    "sent in a process of its own, which runs no task: what is set there no task sees; worker_process_init is for that"
)
_EXECUTOR = differs("sent in the executor, not in the worker's main process")
_LOGGING = differs("sent in each executor and in the process of the worker's signals, not once in the parent")
_NEVER_SENT = unsupported("never sent: there is no such pool")
#: Signals that are not sent as Celery does.
SIGNALS: dict[str, Judgement] = {
    "after_setup_logger": _LOGGING,
    "after_setup_task_logger": _LOGGING,
    "beat_embedded_init": _BEAT,
    "beat_init": _BEAT,
    "celeryd_after_setup": _HOST,
    "celeryd_init": _HOST,
    "eventlet_pool_apply": _NEVER_SENT,
    "eventlet_pool_postshutdown": _NEVER_SENT,
    "eventlet_pool_preshutdown": _NEVER_SENT,
    "eventlet_pool_started": _NEVER_SENT,
    "setup_logging": _LOGGING,
    "task_failure": differs("once, not twice, of a task killed at its hard limit; that of a Reject is sent in the executor"),
    "task_received": differs("sent in the executor, without a sender"),
    "task_rejected": differs("sent in the executor, for each message that cannot be read, which stays on its queue"),
    "task_revoked": _EXECUTOR,
    "task_sent": unsupported("never sent, by Celery neither: use after_task_publish"),
    "task_unknown": differs("sent in the executor; the message stays on its queue"),
    "user_preload_options": unsupported("never sent: command line options of an app's own are not there yet"),
    "worker_before_create_process": unsupported("never sent: no process of the app's makes executors; use worker_process_init"),
    "worker_init": _HOST,
    "worker_ready": _HOST,
    "worker_shutdown": _HOST,
    "worker_shutting_down": _HOST,
}

#: Commands of ``app.control`` that do what they say.
HEARD: dict[str, Judgement] = {
    "discard_all": SAME,
    "inspect": SAME,
    "purge": SAME,
    "revoke": differs("needs a store: results on Redis, or broker_transport_options['revoke_store'] (docs/results.md)"),
    "terminate": differs("needs a store, as revoke does; it is a SIGKILL to the executor's process group"),
}
_NOBODY = "SQS cannot reach workers, so nobody hears it"
INSTEAD_OF_ASKING = "a worker's health port and metrics say what it does (pyqs worker --health)"
#: What a question of ``app.control.inspect()`` comes to.
ASKED = unsupported(f"nobody answers, so it is None: {INSTEAD_OF_ASKING}")

#: Attributes of an app that are not as in Celery.
APP: dict[str, Judgement] = {
    "Beat": _BEAT,
    "WorkController": _FROM_CODE,
    "Worker": _FROM_CODE,
    "add_periodic_task": _BEAT,
    "connection": differs("it checks the broker, publishes, counts, creates and purges queues; receiving is the worker's"),
    "connection_for_read": differs("it checks the broker, counts, creates and purges queues; receiving is the worker's"),
    "events": _NO_EVENTS,
    "setup_security": unsupported("signed messages (the auth serializer) are not supported"),
    "start": _FROM_CODE,
    "user_options": unsupported("command line options of an app's own are not there yet"),
    "worker_main": _FROM_CODE,
}
_NO_STRATEGY = unsupported("a strategy of one's own is never called: the worker receives by itself")
AMQP: dict[str, Judgement] = {
    "TaskConsumer": unsupported("messages are received by `pyqs worker` only"),
}
#: Attributes of a task that are never looked at.
TASK_CLASS: dict[str, Judgement] = {
    "Request": _NO_REQUEST,
    "Strategy": _NO_STRATEGY,
    "start_strategy": _NO_STRATEGY,
}
_RATE = differs("one token for each task and worker, as in Celery; what is over it hops and does not wait in a worker's memory")
_LOST = differs("what is received again because its process died comes back later each time, not at once")
#: Options of a task that are not kept as Celery keeps them.
TASK_OPTIONS: dict[str, Judgement] = {"rate_limit": _RATE, "reject_on_worker_lost": _LOST}
#: Settings that are honoured, and with a difference.
SETTINGS: dict[str, Judgement] = {
    "task_default_rate_limit": _RATE,
    "task_reject_on_worker_lost": _LOST,
    "worker_deduplicate_successful_tasks": differs("it works: on Celery with SQS no message is ever known to come again"),
    "worker_max_memory_per_child": differs("held against what is in use after a task, not against the most that ever was"),
}
RESULT: dict[str, Judgement] = {
    "then": differs("called when somebody reads the result's end; nothing waits in the background"),
    "revoke": HEARD["revoke"],
    "revoke_by_stamped_headers": unsupported(f"{_NOBODY}: {INSTEAD['revoke_by_stamped_headers']}"),
}
#: What a task knows of its call and that is not as in Celery.
REQUEST: dict[str, Judgement] = {
    "delivery_info": differs("`redelivered` is true from the second receive on (on Celery with SQS it never is)"),
}
STEPS: dict[str, Judgement] = {
    "worker": NAMES["celery.bootsteps"],
    "consumer": NAMES["celery.bootsteps.ConsumerStep"],
}
ETA = differs(
    "not held in a worker's memory: up to 900 s of it are SQS's DelaySeconds, what is left hops (docs/differences.md)"
)
GENERATOR = differs("a generator is read when the canvas is made, before the first of its tasks is sent")
#: Exchanges to which nothing can be sent.
EXCHANGE = unsupported("a queue with such an exchange is consumed; sending to the exchange is an error, for SQS has none")
DIRECT = frozenset({"direct", "", None})
ASYNC_TASK = differs("an async function is run to its end, in its executor's event loop; under Celery its body never runs")
PICKLE = differs(
    "whoever can write to these queues can run code in your workers; json is the default, pickle-safe reads plain data"
)
UNKNOWN_NAME = "there is no such name in this package, which stands for Celery"
#: Fixtures of pytest that run a worker.
FIXTURES = frozenset({"celery_worker", "celery_session_worker"})


def control(command: str) -> Judgement:
    """A command of ``app.control``."""
    if command in HEARD:
        return HEARD[command]
    if command in INSTEAD:
        return unsupported(f"{_NOBODY}: {INSTEAD[command]}")
    return unsupported(f"{_NOBODY}: {INSTEAD_OF_ASKING}")
