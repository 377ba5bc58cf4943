"""One Celery call that may start: running it, and Celery's acknowledgement matrix as verdicts on its message.

Owns: ``CeleryPrepared``. Runs in an executor, in a thread that runs tasks; ``killed`` in the host. What must be sent goes into
the outcome's outbox. Never calls SQS, never deletes a message whose task's end is not kept where the app keeps results.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pyqs import backoff
from pyqs.clock import boottime
from pyqs.message import Death, Delete, Delivery, Drop, FollowUp, Hide, Leave, Verdict
from pyqs.native import is_stopped, stopped
from pyqs.runtime import Outcome
from pyqs_celery_compat import killed, of_task, signals, states, storing
from pyqs_celery_compat.app import trace
from pyqs_celery_compat.einfo import ExceptionInfo
from pyqs_celery_compat.exceptions import Reject, SoftTimeLimitExceeded
from pyqs_celery_compat.protocol import CeleryCall
from pyqs_celery_compat.request import Context
from pyqs_celery_compat.retrying import RetryNotSent
from pyqs_celery_compat.storing import ResultNotStored

if TYPE_CHECKING:
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.runtime import CeleryRuntime

received_log = logging.getLogger("celery.worker.strategy")

#: Why a message stays that was run to its end.
RESULT_NOT_STORED = "its result backend did not take how it ended"


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
        if runtime.called_off and call.id in runtime.called_off:  # while it waited for its eta or its rate limit
            return runtime.discard(call, task, self.delivery)
        args, kwargs, request = self._call_values()
        context: Context | None = None
        if signals.task_received.receivers:
            context = Context(request, args=args, kwargs=kwargs)
            signals.task_received.send(sender=None, request=context)
        received_log.info("Task %s[%s] received", call.task, call.id)
        outbox: list[FollowUp] = []
        outcome: trace.TraceOutcome | None = None
        ended: BaseException | None = None
        with of_task.collecting(outbox, self.delivery, request["delivery_info"]["routing_key"]):
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
                    try:
                        killed.ended_itself(task, context, call_name(call), exc)
                    except ResultNotStored:
                        return self._not_stored(outbox, acked=False)
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
        with of_task.collecting(outbox, self.delivery, request["delivery_info"]["routing_key"]):
            try:
                status, verdict = self._fate(context, death)
            except ResultNotStored:
                return self._not_stored(outbox, acked=death.acked_early)
        if death.acked_early:
            verdict = Leave()
        return self._outcome(verdict, status, outbox, death.how)

    def _fate(self, context: Context, death: Death) -> tuple[str, Verdict]:
        """Tell who is to be told; Celery's matrix. What is received again comes back later each time."""
        task = self.celery_task
        again = self._again()
        if death.signal:
            killed.terminated(task, context, death.signal)
            return "revoked", Delete()
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
        if isinstance(info.retval, ResultNotStored):
            return self._not_stored(outbox, acked=False)
        if isinstance(info.retval, RetryNotSent):
            return self._outcome(Delete() if self.ack_early else self._again(), "rejected", outbox, "its retry cannot be sent")
        if info.state == states.REJECTED:
            requeue = bool(getattr(info.retval, "requeue", False))
            if not requeue:
                try:
                    storing.failed(self.celery_task, context, info.retval, None)
                except ResultNotStored:
                    return self._not_stored(outbox, acked=False)
                einfo = ExceptionInfo.of(info.retval)
                signals.task_failure.send(
                    sender=self.celery_task, task_id=self.call.id, exception=info.retval, args=context.args,
                    kwargs=context.kwargs, traceback=einfo.traceback, einfo=einfo,
                )  # fmt: skip
            verdict = Delete() if self.ack_early else self._reject(requeue)
            return self._outcome(verdict, "rejected", outbox, "to be received again" if requeue else "")
        return self._outcome(self._after_failure(lost=False), "failed", outbox, kind)

    def _not_stored(self, outbox: list[FollowUp], *, acked: bool) -> Outcome:
        """It runs again, and then sends what it sends; of a call that was acknowledged at its start nothing else will."""
        if self.ack_early:
            return self._outcome(Leave() if acked else Delete(), "rejected", outbox, RESULT_NOT_STORED)
        return self._outcome(self._again(), "rejected", [], RESULT_NOT_STORED)

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
        the queue has a redrive policy, which then takes it to the dead-letter queue, or a backoff policy for the task."""
        transport, delivery = self.celery_task.app.publisher.transport, self.delivery
        if requeue:
            return Hide(transport.requeue_delay)
        again = self._again()
        policy = transport.backoff(delivery.queue, self.task)
        if policy is None:
            return Drop(again.seconds)
        given = policy.get(delivery.receive_count)
        return again if given is None else Hide(backoff.clamp_visibility(given, held=boottime() - delivery.received_at))

    def _again(self) -> Hide:
        return again(self.delivery)

    def _outcome(self, verdict: Verdict, status: str, outbox: list[FollowUp], reason: str) -> Outcome:
        return Outcome(verdict, status, tuple(outbox), self.call.task, self.call.id, reason)


def again(delivery: Delivery) -> Hide:
    """It is received again, later each time."""
    return Hide(backoff.retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at))


def call_name(call: CeleryCall) -> str:
    """The name for the logs."""
    return call.shadow or call.task


def _when(exc: BaseException) -> str:
    humanize: Callable[[], str] | None = getattr(exc, "humanize", None)
    return humanize() if humanize else ""
