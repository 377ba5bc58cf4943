"""Door to the engine's in-process worker: one that runs an app's tasks in threads of this process, for its tests.

Owns: ``InProcessRuntime``, the runtime of every ``pyqs worker`` as far as it is for an app that is there already,
``make_worker`` and ``Revocations``. Runs in tests. Never installs the alias, never changes where this process's apps publish.

Signals are those that Celery 5.7 sends for a worker in a thread, observed there: import_modules, worker_init and
worker_process_init in the thread that makes it, those of tasks in the threads that run them, and no others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyqs.config import RuntimeConfig, WorkerConfig
from pyqs.runtime import BootReport
from pyqs.testing.worker import InProcessWorker
from pyqs_celery_compat import conf, lifecycle, rate_limits, revoking, signals, uncalled
from pyqs_celery_compat.acceptance import acceptance
from pyqs_celery_compat.known_tasks import KnownTasks
from pyqs_celery_compat.runtime import CeleryRuntime
from pyqs_celery_compat.utils import imports

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: Seconds between two looks at which calls are revoked, where they are in this process's memory.
SOON = 0.02


class InProcessRuntime(CeleryRuntime):
    """Runs an app's tasks in its own process.

    Parameters:
        app: whose tasks. config: its ``app`` and ``include`` do not count.
        worker: who sends the worker's signals.
    """

    def __init__(self, app: Celery, config: RuntimeConfig, worker: Any) -> None:
        # Under "/" nothing is imported because a message names it.
        super().__init__(replace(config, app=None, include=(), working_directory=os.sep))
        self._app_of_test = app
        self._worker = worker

    def boot(self) -> BootReport:
        """Import the app's task modules.

        Raises:
            ImproperlyConfigured: a setting cannot be honoured. Whatever the imports raise.
        """
        app = self._app_of_test
        imports.import_task_modules(app, ())
        app.finalize()
        app.backend  # noqa: B018 - one that cannot be made is an error of the test, not of each task
        self._app = app
        self.known_tasks = KnownTasks(app, self.hostname)
        self.accept, notes = acceptance(app, True, None, (), self.config.max_payload)
        if not app.conf.worker_disable_rate_limits:
            rate_limits.check_tasks(app.tasks.values())
        names = [name for name in app.tasks if not name.startswith("celery.")]
        return BootReport(
            tasks=tuple(sorted(names)),
            at_most_once=sum(1 for name in names if not app.tasks[name].acks_late),
            notes=(*uncalled.without_effect(app), *notes),
            watches=app.control.revoked_store is not None,
        )

    def become_host(self) -> None:
        """What Celery's worker does in the thread that makes it."""
        self.pid = os.getpid()
        self.app.loader.on_worker_init()
        signals.worker_init.send(sender=self._worker)

    def after_fork(self) -> None:
        """What Celery's pool without processes does there."""
        signals.worker_process_init.send(sender=None)

    def begin_thread(self) -> None:
        """A thread begins that runs tasks: the app is its current one. Connections are this thread's own, Django's, too."""
        self.app.set_current()
        lifecycle.booted.run(self.app)

    def close(self) -> None:
        """No process ends."""


def make_worker(
    app: Celery,
    worker: Any,
    *,
    hostname: str,
    concurrency: int = 1,
    queues: Sequence[str] = (),
    exclude: Sequence[str] = (),
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
) -> InProcessWorker:
    """A worker for an app, not started.

    Parameters:
        worker: the sender of its signals. hostname: the node's name.
        queues, exclude: as the app names them; without ``queues`` those of the app.
        time_limit, soft_time_limit: seconds for tasks that have none.

    Raises:
        ImproperlyConfigured: the app's broker or a setting cannot be honoured.
    """
    if queues:
        app.amqp.queues.select(list(queues))
    if exclude:
        app.amqp.queues.deselect(list(exclude))
    settings = conf.worker_settings(app, in_process=True)
    for name, seconds in (("task_time_limit", time_limit), ("task_soft_time_limit", soft_time_limit)):
        if seconds is not None:
            app.conf[name] = seconds
    runtime = RuntimeConfig(connection=settings.connection, hostname=hostname)
    config = WorkerConfig(
        queues=settings.queues,
        runtime=runtime,
        connection=settings.connection,
        concurrency=concurrency,
        create_queues=settings.create_queues,
        create_attributes=settings.create_attributes,
        create_tags=settings.create_tags,
        queue_prefix=settings.queue_prefix,
        predefined_queues=settings.predefined_queues,
        notes=settings.notes,
    )
    tasks = InProcessRuntime(app, runtime, worker)
    sqs = app.publisher.new_client(settings.connection)
    return InProcessWorker(config, sqs, tasks, begin=tasks.begin_thread, name=f"celery-{hostname}")


class Revocations:
    """Tells a worker which calls of its app are revoked, in a thread of its own, until ``stop``. Made before the worker boots.

    Parameters:
        app: where there is no store for that, nothing is told.
        tell: as ``InProcessWorker.call_off``.
    """

    def __init__(self, app: Celery, tell: Callable[[Sequence[Any]], None]) -> None:
        revoking.in_memory.workers += 1
        vars(app.control).pop("revoked_store", None)  # there may have been none until now
        self._app = app
        self._tell = tell
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="celery-revoked", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        if self._app.control.revoked_store is not None:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        if not self._over.is_set():
            self._over.set()
            revoking.in_memory.workers -= 1
        with suppress(RuntimeError):  # never started
            self._thread.join(revoking.INTERVAL)

    def _run(self) -> None:
        store = self._app.control.revoked_store
        watch = revoking.Watch(store, self._tell)
        pause = SOON if store is revoking.in_memory else revoking.INTERVAL
        while not self._over.is_set():
            watch.look()
            self._over.wait(pause)
