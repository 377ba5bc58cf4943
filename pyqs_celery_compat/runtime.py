"""Door to the engine's consuming side: ``CeleryRuntime``, which turns deliveries of Celery and of pyqs into outcomes.

Owns: the order of decisions on one message (readable, known, supported, in time, due) and Celery's acknowledgement matrix
as verdicts. Runs in the main thread of an executor, or of the host. What must be sent goes into the outcome's outbox. Never
calls SQS, never deletes what it cannot read.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pyqs import backoff
from pyqs.clock import boottime
from pyqs.config import MAX_DELAY, RuntimeConfig
from pyqs.errors import MessageError, Refused, Undecodable, UnknownTask, Unsupported
from pyqs.import_policy import ImportPolicy
from pyqs.message import Death, Delete, Delivery, Drop, FollowUp, Hide, Leave, Resend, Verdict
from pyqs.native import NativeRuntime, is_stopped, left, setup_django, stopped
from pyqs.queues.names import canonical_name
from pyqs.raw import handler_of
from pyqs.runtime import BootReport, Outcome, Prepared
from pyqs_celery_compat import _state as state
from pyqs_celery_compat import (
    alias,
    conf,
    continuations,
    killed,
    lifecycle,
    publisher,
    rate_limits,
    signals,
    states,
)
from pyqs_celery_compat.acceptance import acceptance
from pyqs_celery_compat.app import Celery, trace
from pyqs_celery_compat.app import builtins as builtin_tasks
from pyqs_celery_compat.app.task import Task
from pyqs_celery_compat.call_request import request_values
from pyqs_celery_compat.decoding import decode_envelope
from pyqs_celery_compat.einfo import ExceptionInfo
from pyqs_celery_compat.envelope import Native, open_envelope
from pyqs_celery_compat.exceptions import Reject, SoftTimeLimitExceeded
from pyqs_celery_compat.finding import find_app
from pyqs_celery_compat.known_tasks import KnownTasks
from pyqs_celery_compat.protocol import CeleryCall
from pyqs_celery_compat.request import Context
from pyqs_celery_compat.retrying import RetryNotSent
from pyqs_celery_compat.serialization import Accept
from pyqs_celery_compat.utils import imports
from pyqs_celery_compat.worker_events import WorkerEvents

log = logging.getLogger(__name__)
received_log = logging.getLogger("celery.worker.strategy")

#: Seconds ahead of its eta at which a call may wait in the executor (design decision 8). While it waits there nothing else
#: runs, so many etas in a row would hold each other up: what is due a little later hops and comes within a second of its
#: time. On FIFO it would have to be hidden, at the price of a receive, and its group waits either way.
WAIT_IN_EXECUTOR, WAIT_ON_FIFO = 1.0, 2.0

_STATUS: Mapping[type[MessageError], str] = {
    Undecodable: "undecodable",
    Refused: "refused",
    UnknownTask: "unknown",
    Unsupported: "unsupported",
}


class CeleryRuntime:
    """The runtime of every ``pyqs worker``.

    Parameters:
        config: what to load; without ``app`` the tasks are those of the included modules, or importable by name.
    """

    def __init__(self, config: RuntimeConfig) -> None:
        self.config = config
        self.native = NativeRuntime(config)
        self.accept = Accept.default(config.pickle_allow).with_max_size(config.max_payload)
        self.hostname = f"pyqs@{socket.gethostname()}"
        self._app: Celery | None = None
        #: The tasks that a message may name; there are some after ``boot``.
        self.known_tasks: KnownTasks
        self._events: WorkerEvents | None = None
        self.pid = os.getpid()
        modules = [config.app.partition(":")[0]] if config.app else []
        self._policy = ImportPolicy((*modules, *config.include), config.working_directory)

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
        directory = os.path.abspath(config.working_directory)
        if directory not in sys.path:
            sys.path.insert(0, directory)
        publisher.in_worker(config.connection)
        alias.install_for_worker(config.app)
        if config.app:
            app = find_app(config.app, directory)
            app.set_current()
            app.set_default()
            notes += conf.check_worker_settings(app)
            setup_django()
            imports.import_task_modules(app, config.include)
        report = self.native.boot()  # imports the included modules, too
        if not config.app:
            app = state.get_current_app()
        app.finalize()
        app.backend  # noqa: B018 - one that cannot be made stops the worker, not each task
        self._app = app
        self.known_tasks = KnownTasks(app, self.hostname)
        self.accept, accept_notes = acceptance(
            app, config.app is not None, config.accept, config.pickle_allow, config.max_payload
        )
        names = [name for name in app.tasks if not name.startswith("celery.")]
        if not app.conf.worker_disable_rate_limits:
            rate_limits.check_tasks(app.tasks.values())
        lifecycle.booted.run(app)
        return BootReport(
            tasks=tuple(sorted({*names, *report.tasks})),
            at_most_once=report.at_most_once + sum(1 for name in names if not app.tasks[name].acks_late),
            notes=(*report.notes, *notes, *accept_notes),
        )

    def after_fork(self) -> None:
        """Hooks of a new executor: ``worker_process_init``."""
        self.pid = os.getpid()
        self.app.set_current()
        self.native.after_fork()
        lifecycle.forked.run(self.app)
        self.app.on_after_fork.send(sender=self.app)
        signals.worker_process_init.send(sender=None)

    def close(self) -> None:
        """Hooks of an executor that leaves: ``worker_process_shutdown``."""
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
        lifecycle.closing.run(self.app)
        self.native.close()

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
        self._events.happened(name, details)

    def killed(self, delivery: Delivery, death: Death) -> Outcome:
        """Errbacks, handlers and signals of a task that was killed or lost, and Celery's verdict on its message."""
        read = self._read(delivery)
        if isinstance(read, Native):
            return self.native.killed(delivery, death)
        if isinstance(read, Outcome):  # what the executor could read: a deployment came in between
            return replace(read, verdict=Leave()) if death.acked_early else read
        call, task, rate = read
        return CeleryPrepared(self, delivery, call, task, None, rate).killed(death)

    def prepare(self, delivery: Delivery) -> Prepared | Outcome:
        """Decide on one message, in Celery's order: readable, known, supported, in time, due."""
        read = self._read(delivery)
        if isinstance(read, Native):
            return self.native.prepare(delivery)
        if isinstance(read, Outcome):
            return read
        call, task, rate = read
        now = time.time()
        if call.expires is not None and now > call.expires:
            signals.task_revoked.send(
                sender=task, request=self._request(call, task, delivery), terminated=False, signum=None, expired=True
            )
            return Outcome(Delete(), "expired", (), call.task, call.id, f"expired {now - call.expires:.0f} s ago")
        left = 0.0 if call.eta is None else call.eta - now
        if left > (WAIT_ON_FIFO if delivery.is_fifo else WAIT_IN_EXECUTOR):
            return Outcome(_postpone(delivery, left), "postponed", (), call.task, call.id, f"due in {left:.0f} s")
        return CeleryPrepared(self, delivery, call, task, call.eta if left > 0 else None, rate)

    # -- parts --------------------------------------------------------------------------------------------------------
    def _read(self, delivery: Delivery) -> tuple[CeleryCall, Task, float] | Native | Outcome:
        """The call in a message, its task and that one's rate; what is pyqs's own; or why it cannot be run."""
        if handler_of(delivery.queue) is not None:
            return Native({})
        call: CeleryCall | None = None
        try:
            opened = open_envelope(delivery.message.body)
            if isinstance(opened, Native):
                return opened
            call = decode_envelope(opened, accept=self.accept, queue=delivery.queue)
            task = self._task(call)
            return call, task, self._rate(task) if task.rate_limit else 0.0
        except MessageError as exc:
            return self._left(delivery, exc, call)
        except Exception as exc:  # MemoryError and what nobody thought of: our fault or this machine's, so no policy deletes it
            log.debug("%s: it cannot be read", delivery, exc_info=True)
            return self._left(delivery, Unsupported(f"reading it raised {type(exc).__name__}; it stays on its queue"), call)

    def _task(self, call: CeleryCall) -> Task:
        if call.task in builtin_tasks.NOT_YET:
            raise Unsupported(f"{call.task} needs canvas and results, which are not there yet; it stays on its queue")
        task: Task = self._policy.find(call.task, self.known_tasks)
        problem = continuations.unsupported(call.callbacks, call.errbacks, call.chain, call.chord)
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
        return left(delivery, status, str(exc), task=call.task if call else "", call_id=call.id if call else "")

    def _request(self, call: CeleryCall, task: Task, delivery: Delivery) -> Context:
        return Context(self._request_values(call, task, delivery), called_directly=False)

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


class CeleryPrepared:
    """One Celery call that may start. See ``pyqs.runtime.Prepared``.

    Parameters:
        start_at: wall-clock second before which it must not start, or None.
        rate: tokens per second, 0 for a task without a limit.
    """

    __slots__ = (
        "ack_early", "call", "call_id", "celery_task", "delivery", "rate", "rate_key", "runtime", "soft_time_limit", "start_at",
        "task", "time_limit",
    )  # fmt: skip

    #: The host knows; ``tells`` has it asked.
    if_killed: ClassVar[Verdict | None] = None
    tells: ClassVar[bool] = True
    soft_limit_error: ClassVar[type[BaseException]] = SoftTimeLimitExceeded

    def __init__(
        self, runtime: CeleryRuntime, delivery: Delivery, call: CeleryCall, task: Task, start_at: float | None, rate: float
    ) -> None:
        self.runtime, self.delivery, self.call, self.celery_task = runtime, delivery, call, task
        self.start_at, self.rate = start_at, rate
        self.task, self.call_id = call.task, call.id
        #: The call's own limits, else the task's; seconds.
        self.time_limit: float | None = call.time_limit or task.time_limit or None
        self.soft_time_limit: float | None = call.soft_time_limit or task.soft_time_limit or None
        self.ack_early = not task.acks_late
        self.rate_key = task.name if rate else None

    def run(self) -> Outcome:
        """Run the task with its request, handlers and signals; answer the verdict of Celery's matrix."""
        call, task, runtime = self.call, self.celery_task, self.runtime
        args, kwargs, request = self._call_values()
        context: Context | None = None
        if signals.task_received.receivers:
            context = Context(request, args=args, kwargs=kwargs)
            signals.task_received.send(sender=None, request=context)
        received_log.info("Task %s[%s] received", call.task, call.id)
        outbox: list[FollowUp] = []
        outcome: trace.TraceOutcome | None = None
        ended: BaseException | None = None
        with publisher.collecting(outbox, self.delivery, request["delivery_info"]["routing_key"]):
            try:
                outcome = runtime.known_tasks.tracer(task)(call.id, args, kwargs, request)
            except Reject as exc:  # from a handler: on_success, after_return
                outcome = trace.TraceOutcome(ExceptionInfo.of(exc), trace.TraceInfo(states.REJECTED, exc), 0.0, None)
            except BaseException as exc:
                if os.getpid() != runtime.pid:  # a process that the task forked: it is nobody's executor
                    raise
                ended = exc
                if not is_stopped(exc):
                    context = context or Context(request, args=args, kwargs=kwargs)
                    killed.ended_itself(task, context, call_name(call), exc)
        if outcome is None:
            assert ended is not None
            if is_stopped(ended):
                return stopped(self.delivery, call.task, call.id, acked=self.ack_early)
            return self._outcome(self._after_failure(lost=True), "failed", outbox, f"ended by {type(ended).__name__}")
        if outcome.info is None:
            return self._outcome(Delete(), "succeeded", outbox, "")
        return self._ended(outcome.info, context or Context(request, args=args, kwargs=kwargs), outbox)

    def _call_values(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Arguments and request, as the task gets them."""
        call = self.call
        args: Any = call.args if call.content_type.endswith("python-serialize") else list(call.args)
        return args, dict(call.kwargs), self.runtime._request_values(call, self.celery_task, self.delivery)

    def killed(self, death: Death) -> Outcome:
        """In the host: the task began and its executor is dead."""
        args, kwargs, request = self._call_values()
        context = Context(request, args=args, kwargs=kwargs, called_directly=False)
        outbox: list[FollowUp] = []
        with publisher.collecting(outbox, self.delivery, request["delivery_info"]["routing_key"]):
            status, verdict = self._fate(context, death)
        if death.acked_early:
            verdict = Leave()
        return self._outcome(verdict, status, outbox, death.how)

    def _fate(self, context: Context, death: Death) -> tuple[str, Verdict]:
        """Tell who is to be told; Celery's matrix. What is received again comes back later each time."""
        task = self.celery_task
        again = self._again()
        if death.limit is not None:
            killed.timed_out(task, context, self.time_limit or death.limit)
            return "timed-out", Delete() if self.ack_early or task.acks_on_timeout else again
        exhausted = bool(task.retry_on_worker_lost) and task.max_retries is not None and context.retries >= task.max_retries
        if task.retry_on_worker_lost and not exhausted and killed.retried(task, context, death.how):
            return "retried", Delete()
        if not self.ack_early and task.reject_on_worker_lost and not exhausted:
            return "lost", again
        killed.lost(task, context, death.how)
        return "lost", self._after_failure(lost=False)

    def _ended(self, info: trace.TraceInfo, context: Context, outbox: list[FollowUp]) -> Outcome:
        kind = type(info.retval).__name__
        if info.state == states.RETRY:
            return self._outcome(Delete(), "retried", outbox, _when(info.retval))
        if info.state == states.IGNORED:
            return self._outcome(Delete(), "ignored", outbox, "")
        if isinstance(info.retval, RetryNotSent):
            return self._outcome(Delete() if self.ack_early else self._again(), "rejected", outbox, "its retry cannot be sent")
        if info.state == states.REJECTED:
            requeue = bool(getattr(info.retval, "requeue", False))
            if not requeue:
                einfo = ExceptionInfo.of(info.retval)
                signals.task_failure.send(
                    sender=self.celery_task, task_id=self.call.id, exception=info.retval, args=context.args,
                    kwargs=context.kwargs, traceback=einfo.traceback, einfo=einfo,
                )  # fmt: skip
            verdict = Delete() if self.ack_early else self._reject(requeue)
            return self._outcome(verdict, "rejected", outbox, "to be received again" if requeue else "")
        return self._outcome(self._after_failure(lost=False), "failed", outbox, kind)

    def _after_failure(self, *, lost: bool) -> Verdict:
        """acks_on_failure deletes the message of a failed task, else it is rejected; of a lost one, reject_on_worker_lost
        asks for it again."""
        if self.ack_early:
            return Delete()
        if lost and self.celery_task.reject_on_worker_lost:
            return self._reject(requeue=True)
        return Delete() if self.celery_task.acks_on_failure else self._reject(requeue=False)

    def _reject(self, requeue: bool) -> Verdict:
        """What kombu 5.7 does on SQS: requeueing hides the message for ``wait_time_seconds``; else it is deleted, unless
        the queue has a redrive policy, which then takes it to the dead-letter queue."""
        if requeue:
            return Hide(self.celery_task.app.publisher.transport.requeue_delay)
        return Drop(self._again().seconds)

    def _again(self) -> Hide:
        """It is received again, later each time."""
        return Hide(backoff.retry_seconds(self.delivery.receive_count, held=boottime() - self.delivery.received_at))

    def _outcome(self, verdict: Verdict, status: str, outbox: list[FollowUp], reason: str) -> Outcome:
        return Outcome(verdict, status, tuple(outbox), self.call.task, self.call.id, reason)


def call_name(call: CeleryCall) -> str:
    """The name for the logs."""
    return call.shadow or call.task


def _when(exc: BaseException) -> str:
    humanize: Callable[[], str] | None = getattr(exc, "humanize", None)
    return humanize() if humanize else ""


def _postpone(delivery: Delivery, left: float) -> Verdict:
    """A hop, or, where SQS has no delay for one message, hiding it (which holds its group)."""
    if delivery.is_fifo:
        return Hide(backoff.clamp_visibility(left, held=max(0.0, boottime() - delivery.received_at)))
    return Resend(min(MAX_DELAY, math.ceil(left)), left)
