"""A worker in a thread of the test's process: what ``celery.contrib.testing.worker`` has.

Owns: ``start_worker``, ``TestWorkController`` and three signals of theirs. Runs in tests. The work is done by
``pyqs.testing``, of which ``in_process`` makes a worker for an app: messages, acks, retries and results are a real worker's,
and only the processes are threads. Never forks, whatever pool is asked for.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from pyqs_celery_compat import Celery, worker
from pyqs_celery_compat._state import _set_task_join_will_block
from pyqs_celery_compat.concurrency import get_available_pool_names
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.result import allow_join_result
from pyqs_celery_compat.utils.dispatch import Signal
from pyqs_celery_compat.utils.nodenames import anon_nodename

log = logging.getLogger(__name__)

WORKER_LOGLEVEL = os.environ.get("WORKER_LOGLEVEL", "error")

#: Sent by ``start_worker``: before anything, when messages are received, and after all.
test_worker_starting = Signal(name="test_worker_starting", providing_args=set())
test_worker_started = Signal(name="test_worker_started", providing_args={"worker", "consumer"})
test_worker_stopped = Signal(name="test_worker_stopped", providing_args={"worker"})

#: Pools of Celery's that are threads here.
_POOLS = frozenset({*get_available_pool_names(), "threads", "eventlet", "gevent", "custom"})


class TestWorkController(worker.WorkController):
    """A worker of an app. ``start`` blocks: call it in a thread, and wait for ``ensure_started``.

    Parameters:
        app: whose. hostname: the node's name.
        concurrency: how many tasks run at once, each in a thread.
        pool: Celery's name of a pool; all are threads.
        queues, exclude_queues: names, as a list or with commas between them.
        task_time_limit, time_limit, task_soft_time_limit, soft_time_limit: seconds for tasks that have none.
        options: further ones of Celery's worker, which change nothing in a test.

    Raises:
        ImproperlyConfigured: there is no such pool, or the app cannot be served. Whatever the imports of task modules raise.
    """

    __test__ = False
    logger_queue = None

    def __init__(
        self,
        app: Celery | None = None,
        hostname: str | None = None,
        *,
        concurrency: int | None = None,
        pool: Any = "solo",
        loglevel: Any = WORKER_LOGLEVEL,
        queues: Any = None,
        exclude_queues: Any = None,
        **options: Any,
    ) -> None:
        from pyqs_celery_compat.in_process import Revocations, make_worker

        super().__init__(app, loglevel, hostname=hostname or anon_nodename(), concurrency=concurrency or 1, **options)
        if self.app is None:
            raise ImproperlyConfigured("a worker runs an app's tasks: TestWorkController(app=...)")
        if isinstance(pool, str) and ":" not in pool and pool not in _POOLS:
            raise ImproperlyConfigured(
                f"no pool {pool!r}; a worker in a thread runs tasks in threads, with any of Celery's names"
            )
        if options.get("beat"):
            raise NotImplementedError("beat=True: no schedule is sent by a worker in a thread; call the tasks in the test")
        self.pool_cls = pool
        self.loglevel = loglevel
        self.pid = os.getpid()
        self._limits = {
            "time_limit": options.get("task_time_limit", options.get("time_limit")),
            "soft_time_limit": options.get("task_soft_time_limit", options.get("soft_time_limit")),
        }
        self.consumer = SimpleNamespace(app=self.app, controller=self, hostname=self.hostname)
        self._on_started = threading.Event()
        self._told = threading.Lock()
        self._worker = make_worker(
            self.app, self, hostname=self.hostname or "", concurrency=self.concurrency or 1, queues=_names(queues),
            exclude=_names(exclude_queues), **self._limits,
        )  # fmt: skip
        self._revocations = Revocations(self.app, self._worker.call_off)
        try:
            self._worker.boot()
        except BaseException:
            self._revocations.stop()
            raise
        self.steps: list[Any] = []
        self.blueprint: Any = None
        if self.app.steps["worker"]:
            from pyqs_celery_compat.bootsteps import Blueprint

            self.blueprint = Blueprint(self.app.steps["worker"], name="Worker")
            self.blueprint.apply(self, hostname=self.hostname, concurrency=self.concurrency, loglevel=loglevel)

    def start(self) -> None:
        """Work until ``stop``."""
        if self.blueprint is not None:
            self.blueprint.start(self)
        try:
            self.exitcode = self._worker.run()
        finally:
            self._revocations.stop()
            if self.blueprint is not None:
                self.blueprint.stop(self)

    def ensure_started(self) -> None:
        """Wait until it receives messages.

        Raises:
            pyqs.errors.BootFailed: it has ended, or is not ready within half a minute.
        """
        self._worker.wait_ready()
        with self._told:
            if not self._on_started.is_set():
                self._revocations.start()
                self.on_consumer_ready(self.consumer)
                self._on_started.set()

    def on_consumer_ready(self, consumer: Any) -> None:
        """Called when it receives messages; sends ``test_worker_started``."""
        test_worker_started.send(sender=self.app, worker=self, consumer=consumer)

    def reload(self, modules: Any = None, reload: bool = False, reloader: Any = None) -> None:
        """Nothing to do: a task that is registered from now on is known at once. ``modules`` are imported.

        Parameters:
            modules: names. reload: import them again. reloader: called with each module for that.
        """
        from importlib import import_module
        from importlib import reload as again

        for name in modules or ():
            module = import_module(name)
            if reload:
                (reloader or again)(module)

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """Receive no more; what runs goes on. Does not wait."""
        self._worker.ask_to_stop()

    def terminate(self, in_sighandler: bool = False) -> None:
        """The same, and what runs is given up."""
        self._worker.stop_at_once()

    def wait_stopped(self, timeout: float) -> None:
        """Wait for the end.

        Raises:
            RuntimeError: tasks run for longer than so many seconds, or a part of the worker has crashed.
        """
        self._worker.wait_stopped(timeout)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname}>"

    def __str__(self) -> str:
        return str(self.hostname)


def _names(said: Any) -> tuple[str, ...]:
    if not said:
        return ()
    names = said.split(",") if isinstance(said, str) else said
    return tuple(str(name).strip() for name in names)


@contextmanager
def start_worker(
    app: Celery,
    concurrency: int = 1,
    pool: Any = "solo",
    loglevel: Any = WORKER_LOGLEVEL,
    logfile: Any = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[Any]:
    """A worker of the app runs in this block.

    Parameters:
        concurrency: how many tasks run at once. pool: any of Celery's names; tasks run in threads.
        loglevel, logfile: of the app's logging.
        perform_ping_check: send ``celery.ping`` and wait for its result, for ``ping_task_timeout`` seconds at most.
        shutdown_timeout: seconds that tasks have to end after the block.
        kwargs: further arguments of ``TestWorkController``; ``WorkController`` names another class.

    Raises:
        AssertionError: the app has no task ``celery.ping``, or its result is not "pong".
        RuntimeError: tasks still ran after ``shutdown_timeout``.
    """
    test_worker_starting.send(sender=app)
    controller = None
    try:
        with _start_worker_thread(
            app, concurrency=concurrency, pool=pool, loglevel=loglevel, logfile=logfile,
            perform_ping_check=perform_ping_check, shutdown_timeout=shutdown_timeout, **kwargs,
        ) as controller:  # fmt: skip
            if perform_ping_check:
                with allow_join_result():
                    answer = app.tasks["celery.ping"].delay().get(timeout=ping_task_timeout)
                if answer != "pong":
                    raise AssertionError(f"celery.ping answered {answer!r}, not 'pong'")
            yield controller
    finally:
        test_worker_stopped.send(sender=app, worker=controller)


@contextmanager
def _start_worker_thread(
    app: Celery,
    concurrency: int = 1,
    pool: Any = "solo",
    loglevel: Any = WORKER_LOGLEVEL,
    logfile: Any = None,
    WorkController: Any = TestWorkController,  # noqa: N803 - Celery's name
    perform_ping_check: bool = True,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[Any]:
    """The same without the ping."""
    setup_app_for_worker(app, loglevel, logfile)
    if perform_ping_check and "celery.ping" not in app.tasks:
        raise AssertionError(
            "the app has no task celery.ping, with which a worker is checked: import celery.contrib.testing.tasks where the "
            "tests begin, or call start_worker(app, perform_ping_check=False)"
        )
    controller = WorkController(
        app=app, concurrency=concurrency, hostname=kwargs.pop("hostname", anon_nodename()), pool=pool, loglevel=loglevel,
        logfile=logfile, ready_callback=None, without_heartbeat=kwargs.pop("without_heartbeat", True), without_mingle=True,
        without_gossip=True, **kwargs,
    )  # fmt: skip
    thread = threading.Thread(target=controller.start, name=f"celery-{controller.hostname}", daemon=True)
    thread.start()
    try:
        controller.ensure_started()
        _set_task_join_will_block(False)
        yield controller
    finally:
        controller.stop()
        controller.wait_stopped(shutdown_timeout)
        thread.join(shutdown_timeout)


@contextmanager
def _start_worker_process(app: Celery, *args: Any, **kwargs: Any) -> Iterator[None]:
    """Not here."""
    raise NotImplementedError(
        "a worker as a process of its own: start `pyqs worker -A ...` on `pyqs local`, or use the fixture pyqs_worker of "
        "pyqs.testing.pytest"
    )
    yield


def setup_app_for_worker(app: Celery, loglevel: Any, logfile: Any) -> None:
    """Have the app as a worker has it: finalized, current, the default one, and with its logging."""
    app.finalize()
    app.set_current()
    app.set_default()
    type(app.log)._setup = False
    app.log.setup(loglevel=loglevel, logfile=logfile)
