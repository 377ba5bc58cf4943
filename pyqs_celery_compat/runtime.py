"""Door to the engine's consuming side: ``CeleryRuntime``, which turns deliveries of Celery and of pyqs into outcomes.

Owns: the order of decisions on one message (readable, known, supported, in time, due). Runs in the main thread of an executor,
or of the host. Running a call and Celery's verdicts are in ``prepared.py``. Never calls SQS, never deletes what it cannot read.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from pyqs import logs
from pyqs.called_off import CalledOffCalls
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.errors import MessageError, Refused, Undecodable, UnknownTask, Unsupported
from pyqs.import_policy import ImportPolicy
from pyqs.message import CalledOff, Death, Delete, Delivery, Leave
from pyqs.native import WAIT_IN_EXECUTOR, WAIT_ON_FIFO, NativeRuntime, left, postpone, setup_django
from pyqs.queues.names import canonical_name
from pyqs.raw import handler_of
from pyqs.runtime import ALIVE, BEAT, BEAT_ENDS, BootReport, Outcome, Prepared
from pyqs.value import value
from pyqs_celery_compat import _state as state
from pyqs_celery_compat import (
    alias,
    conf,
    continuations,
    lifecycle,
    publisher,
    rate_limits,
    revoking,
    signals,
    storing,
    worker_events,
)
from pyqs_celery_compat.acceptance import acceptance
from pyqs_celery_compat.app import Celery
from pyqs_celery_compat.app import builtins as builtin_tasks
from pyqs_celery_compat.app.task import Task
from pyqs_celery_compat.call_request import request_values
from pyqs_celery_compat.decoding import decode_envelope
from pyqs_celery_compat.envelope import Native, open_envelope
from pyqs_celery_compat.finding import find_app
from pyqs_celery_compat.known_tasks import KnownTasks
from pyqs_celery_compat.prepared import RESULT_NOT_STORED, CeleryPrepared, again
from pyqs_celery_compat.protocol import CeleryCall
from pyqs_celery_compat.request import Context
from pyqs_celery_compat.schedule_check import check_schedule
from pyqs_celery_compat.serialization import Accept
from pyqs_celery_compat.storing import ResultNotStored
from pyqs_celery_compat.uncalled import without_effect
from pyqs_celery_compat.utils import imports
from pyqs_celery_compat.worker_events import WorkerEvents

if TYPE_CHECKING:
    from pyqs_celery_compat.hosted_beat import HostedBeat

log = logging.getLogger(__name__)
strategy_log = logging.getLogger("celery.worker.strategy")
request_log = logging.getLogger("celery.worker.request")

_STATUS: Mapping[type[MessageError], str] = {
    Undecodable: "undecodable",
    Refused: "refused",
    UnknownTask: "unknown",
    Unsupported: "unsupported",
}


@value
class _Ours:
    """A message for the native runtime, and its body where that has been fetched."""

    text: str | None = field(default=None, repr=False)


class CeleryRuntime:
    """The runtime of every ``pyqs worker``.

    Parameters:
        config: what to load; without ``app`` the tasks are those of the included modules, or importable by name.
        app: instead of the one that ``config`` names: the caller has it.
    """

    def __init__(self, config: RuntimeConfig, app: Celery | None = None) -> None:
        self.config = config
        self._given = app
        #: Whether the tasks are an app's, so that its settings count.
        self._of_an_app = app is not None or config.app is not None
        self.native = NativeRuntime(config)
        self.accept = Accept.default(config.pickle_allow).with_max_size(config.max_payload)
        self.hostname = config.hostname or f"pyqs@{socket.gethostname()}"
        self._app: Celery | None = None
        #: The tasks that a message may name; there are some after ``boot``.
        self.known_tasks: KnownTasks
        self._events: WorkerEvents | None = None
        #: In the host of a worker with -B.
        self._beat: HostedBeat | None = None
        self._called_off = CalledOffCalls()
        #: Looked into before each task: empty where there is no store of revoked ids, and nearly always where there is.
        self.called_off = self._called_off.by_id
        self._steps: worker_events.HostedWorker | None = None
        self.pid = os.getpid()
        modules = [config.app.partition(":")[0]] if config.app else []
        self._policy = ImportPolicy((*modules, *config.include), config.working_directory or os.sep)
        self._watch: revoking.Watch | None = None
        self._look_at = 0.0

    @property
    def app(self) -> Celery:
        """The app whose tasks are run; there is one after ``boot``."""
        if self._app is None:
            raise RuntimeError("boot() comes first")
        return self._app

    # -- TaskRuntime --------------------------------------------------------------------------------------------------
    def boot(self) -> BootReport:
        """Import the app, its task modules and the included ones.

        Raises:
            ConfigError: there is no app where ``-A`` says, or a setting cannot be honoured. Whatever the imports raise.
        """
        config = self.config
        notes: list[str] = []
        directory = os.path.abspath(config.working_directory) if config.working_directory else None
        if directory is not None and directory not in sys.path:
            sys.path.insert(0, directory)
        publisher.in_worker(config.connection)
        alias.install_for_worker("" if self._given is not None and alias.is_installed() else config.app)
        if self._of_an_app:
            app = self._given or find_app(config.app or "", directory)
            app.set_current()
            app.set_default()
            self._limit_tasks(app)
            notes += conf.check_worker_settings(app)
            setup_django()
            imports.import_task_modules(app, config.include)
            if config.beat:
                check_schedule(app.conf.beat_schedule)
        report = self.native.boot()  # imports the included modules, too
        if not self._of_an_app:
            app = state.get_current_app()
        app.finalize()
        app.backend  # noqa: B018 - one that cannot be made stops the worker, not each task
        self._app = app
        notes += without_effect(app)
        self.known_tasks = KnownTasks(app, self.hostname)
        self.accept, accept_notes = acceptance(app, self._of_an_app, config.accept, config.pickle_allow, config.max_payload)
        names = [name for name in app.tasks if not name.startswith("celery.")]
        if not app.conf.worker_disable_rate_limits:
            rate_limits.check_tasks(app.tasks.values())
        watches = self._of_an_app and app.control.revoked_store is not None
        lifecycle.booted.run(app)
        if self._of_an_app:
            app.log  # noqa: B018 - its modules, which each process would load for itself
        return BootReport(
            tasks=tuple(sorted({*names, *report.tasks})),
            at_most_once=report.at_most_once + sum(1 for name in names if not app.tasks[name].acks_late),
            notes=(*report.notes, *notes, *accept_notes),
            watches=watches,
        )

    def _limit_tasks(self, app: Celery) -> None:
        """``--time-limit`` and ``--soft-time-limit`` are for tasks that have none, as the settings in whose place they
        stand."""
        for name in ("time_limit", "soft_time_limit"):
            if (seconds := getattr(self.config, name)) is not None:
                app.conf[f"task_{name}"] = seconds

    def set_up_logging(self, level: str) -> bool:
        """As Celery does it for the app of ``-A``, or as its receivers of ``setup_logging`` do."""
        if not self._of_an_app:
            return False
        settings = self.app.conf
        self.app.log.on_handler = logs.guard
        self.app.log.setup(
            level,
            redirect_stdouts=settings.worker_redirect_stdouts,
            redirect_level=settings.worker_redirect_stdouts_level,
            hostname=self.hostname,
        )
        return True

    def after_fork(self) -> None:
        """Hooks of a new executor: ``worker_process_init``."""
        self.pid = os.getpid()
        self.app.set_current()
        self.native.after_fork()
        lifecycle.forked.run(self.app)
        self._steps = worker_events.make_steps(self.app, self.hostname)
        self.app._after_fork()
        signals.worker_process_init.send(sender=self.hostname)

    def close(self) -> None:
        """Hooks of an executor that leaves: ``worker_process_shutdown``."""
        signals.worker_process_shutdown.send(sender=self.hostname, pid=os.getpid(), exitcode=0)
        lifecycle.closing.run(self.app)
        self.native.close()

    def call_off(self, calls: Sequence[CalledOff]) -> None:
        """They were revoked: from now on they are discarded here."""
        self._called_off.add(calls)

    def look(self) -> None:
        """Read which calls are revoked, once a second at most."""
        store = self.app.control.revoked_store if self._of_an_app else None
        if store is None or boottime() < self._look_at:
            return
        self._watch = self._watch or revoking.Watch(store, self.call_off)
        self._watch.look()
        self._look_at = boottime() + revoking.INTERVAL

    def become_host(self) -> None:
        """The app is there, for its handlers; nothing of an executor happens."""
        self.pid = os.getpid()
        self.app.set_current()
        self.native.become_host()
        lifecycle.hosted.run(self.app)
        self._events = WorkerEvents(self.app, self.hostname)

    def worker_event(self, name: str, details: Mapping[str, str | int]) -> None:
        """``celeryd_init``, ``worker_init``, ``worker_ready`` and so on."""
        assert self._events is not None, "become_host() comes first"
        if name == ALIVE:
            self._events.alive()
        elif name == BEAT:
            self._begin_beat()
        elif name == BEAT_ENDS:
            self._end_beat()
        else:
            self._events.happened(name, details)

    def _begin_beat(self) -> None:
        from pyqs_celery_compat.hosted_beat import HostedBeat

        self._beat = HostedBeat(self.app, self.config.beat_schedule, self.config.beat_scheduler)
        self._beat.start()

    def _end_beat(self) -> None:
        if self._beat is not None:
            self._beat.end()
            self._beat = None

    def watch(self, tell: Callable[[Sequence[CalledOff]], None]) -> None:
        """Tell which calls are revoked, each second."""
        revoking.Watch(self.app.control.revoked_store, tell).start()

    def killed(self, delivery: Delivery, death: Death) -> Outcome:
        """Errbacks, handlers and signals of a task that was killed or lost, and Celery's verdict on its message."""
        read = self._read(delivery)
        if isinstance(read, _Ours):
            return self.native.killed(delivery, death)
        if isinstance(read, Outcome):  # what the executor could read: a deployment came in between
            return replace(read, verdict=Leave()) if death.acked_early else read
        call, task, rate = read
        return CeleryPrepared(self, delivery, call, task, None, rate).killed(death)

    def prepare(self, delivery: Delivery) -> Prepared | Outcome:
        """Decide on one message, in Celery's order: readable, known, supported, in time, due."""
        read = self._read(delivery)
        if isinstance(read, _Ours):
            return self.native.prepare(delivery, read.text)
        if isinstance(read, Outcome):
            return read
        call, task, rate = read
        now = time.time()
        if call.expires is not None and now > call.expires:
            return self._never(call, task, delivery, f"expired {now - call.expires:.0f} s ago", expired=True)
        if self.called_off and call.id in self.called_off:
            return self.discard(call, task, delivery)
        left = 0.0 if call.eta is None else call.eta - now
        if left > (WAIT_ON_FIFO if delivery.is_fifo else WAIT_IN_EXECUTOR):
            return Outcome(postpone(delivery, left), "postponed", (), call.task, call.id, f"due in {left:.0f} s")
        return CeleryPrepared(self, delivery, call, task, call.eta if left > 0 else None, rate)

    # -- parts --------------------------------------------------------------------------------------------------------
    def discard(self, call: CeleryCall, task: Task, delivery: Delivery) -> Outcome:
        """It was revoked before it began."""
        strategy_log.info("Task %s[%s] received", call.task, call.id)
        request_log.info("Discarding revoked task: %s[%s]", call.task, call.id)
        return self._never(call, task, delivery, "", expired=False)

    def _never(self, call: CeleryCall, task: Task, delivery: Delivery, why: str, *, expired: bool) -> Outcome:
        """Too late for it, or revoked: its state says so before its message goes."""
        request = Context(self._request_values(call, task, delivery), args=list(call.args), kwargs=dict(call.kwargs))
        status = "expired" if expired else "revoked"
        try:
            storing.revoked(task, request, status)
        except ResultNotStored:
            return Outcome(again(delivery), "rejected", (), call.task, call.id, RESULT_NOT_STORED)
        signals.task_revoked.send(sender=task, request=request, terminated=False, signum=None, expired=expired)
        return Outcome(Delete(), status, (), call.task, call.id, why)

    def _read(self, delivery: Delivery) -> tuple[CeleryCall, Task, float] | _Ours | Outcome:
        """The call in a message, its task and that one's rate; what is pyqs's own; or why it cannot be run."""
        if handler_of(delivery.queue) is not None:
            return _Ours()
        call: CeleryCall | None = None
        try:
            text = self.native.payloads.body_of(delivery.message, self.config.max_payload)
            opened = open_envelope(text)
            if isinstance(opened, Native):
                return _Ours(text)
            call = decode_envelope(opened, accept=self.accept, queue=delivery.queue)
            task = self._task(call)
            return call, task, self._rate(task) if task.rate_limit else 0.0
        except MessageError as exc:
            return self._left(delivery, exc, call)
        except Exception as exc:  # MemoryError and what nobody thought of: our fault or this machine's, so no policy deletes it
            log.debug("%s: it cannot be read", delivery, exc_info=True)
            return self._left(delivery, Unsupported(f"reading it raised {type(exc).__name__}; it stays on its queue"), call)

    def _task(self, call: CeleryCall) -> Task:
        if call.task in builtin_tasks.NAMES_ONLY:
            raise Unsupported(f"{call.task} is no task: its tasks are sent one after another; it stays on its queue")
        task: Task = self._policy.find(call.task, self.known_tasks)
        counts = bool(getattr(task.backend, "stores", True))
        if call.task in builtin_tasks.NEED_RESULTS and not counts:
            raise Unsupported(f"{call.task} needs a result backend, and this app has none; it stays on its queue")
        problem = continuations.unsupported(call.callbacks, call.errbacks, call.chain, call.chord, counts=counts)
        if problem:
            raise Unsupported(f"{call.task}: {problem}; it stays on its queue")
        return task

    def _rate(self, task: Task) -> float:
        """Tokens per second of a task with a limit; 0 with ``worker_disable_rate_limits``."""
        if self.app.conf.worker_disable_rate_limits:
            return 0.0
        try:
            return rate_limits.tokens_per_second(task.rate_limit) or 0.0
        except ValueError as exc:  # changed, or registered, after the start
            raise Unsupported(f"rate_limit of task {task.name}: {exc}; it stays on its queue") from None

    def _left(self, delivery: Delivery, exc: MessageError, call: CeleryCall | None = None) -> Outcome:
        """The message stays on its queue, hidden for longer each time it comes (design decision 10)."""
        status = next((word for kind, word in _STATUS.items() if isinstance(exc, kind)), "undecodable")
        worker_events.unread(delivery, exc, call, status)
        if call is not None and status in ("unknown", "unsupported", "refused"):
            storing.stays(self.app, call.id, call.task, str(exc), ignored=call.ignore_result)
        return left(delivery, status, str(exc), task=call.task if call else "", call_id=call.id if call else "")

    def _request_values(self, call: CeleryCall, task: Task, delivery: Delivery) -> dict[str, Any]:
        info = call.delivery_info
        queue = self._logical_queue(info, task, delivery)
        return request_values(call, info, self.hostname, queue, delivery)

    def _logical_queue(self, info: Mapping[str, Any], task: Task, delivery: Delivery) -> str:
        """The queue as the app names it: the message's routing key if it leads to the queue it came from (Celery 3.1
        may say something else), else the SQS name without the app's prefix."""
        prefix: str = task.app.publisher.transport.prefix
        said = str(info.get("routing_key") or "")
        if said and canonical_name(said, prefix) == delivery.queue:
            return said
        mapped = canonical_name(prefix)
        return delivery.queue[len(mapped) :] if delivery.queue.startswith(mapped) else delivery.queue
