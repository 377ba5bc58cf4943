"""The runtime of native tasks: a JSON body becomes a call of a registered function.

Owns: the native meaning of success (delete), failure (hide for a growing time) and everything that cannot be run
(leave, hidden for a growing time). Runs in an executor's main thread, and in the forkserver while the tasks are loaded.
Never deletes a message whose task did not succeed.
"""

from __future__ import annotations

import copy
import importlib
import logging
import math
import os
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from pyqs import backoff, coroutines, events
from pyqs.clock import boottime
from pyqs.codec import decode_call
from pyqs.config import MAX_DELAY, RuntimeConfig, process_defaults
from pyqs.errors import BootFailed, ConfigError, MessageError, PyQSError, Refused, Undecodable, UnknownTask
from pyqs.import_policy import ImportPolicy
from pyqs.interruption import GivenUp, ShutdownRequested, SoftTimeLimitExceeded, should_stop
from pyqs.message import Call, CalledOff, DeadLetter, Death, Delete, Delivery, FollowUp, Hide, Leave, Resend, Verdict, copy_of
from pyqs.payloads import Payloads
from pyqs.raw import RawHandler, handler_of
from pyqs.registry import Adapted, registry
from pyqs.runtime import BootReport, Outcome
from pyqs.task_options import DEFAULTS, TaskOptions
from pyqs.value import value

log = logging.getLogger(__name__)

#: Seconds for which a message that cannot be run here is hidden after its first receive (doubled for each further one),
#: and the longest: a deployment that brings the missing task finds the message within the hour.
LEAVE_BASE, LEAVE_CAP = 30.0, 3600.0
#: Seconds ahead of its eta at which a call may wait in the executor (design decision 8). While it waits there nothing else
#: runs, so many etas in a row would hold each other up: what is due a little later hops and comes within a second of its
#: time. On FIFO it would have to be hidden, at the price of a receive, and its group waits either way.
WAIT_IN_EXECUTOR, WAIT_ON_FIFO = 1.0, 2.0
#: Characters of a message that are told about it.
_LONGEST_TEXT = 500


class NativeRuntime:
    """Runs messages written by ``@task`` functions and by PyQS 1. A ``pyqs.runtime.TaskRuntime``.

    Parameters:
        config: what to load. Its connection is read in ``after_fork`` at the earliest.
    """

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        limits = (config.time_limit, config.soft_time_limit)
        #: For tasks that have none of their own, (hard, soft) in seconds.
        self._limits = None if limits == (None, None) else limits
        #: Bodies that lie in S3.
        self.payloads = Payloads(config.connection)
        self._policy = ImportPolicy(config.include, config.working_directory or os.sep)

    def boot(self) -> BootReport:
        """Import the included modules, with Django set up first if the environment names its settings.

        Raises:
            BootFailed: one of them does not load.
            ConfigError: Django is asked for and not there.
        """
        setup_django()
        for module in self._config.include:
            try:
                importlib.import_module(module)
            except PyQSError as exc:  # a task that pyqs refuses: its text says which and why
                raise BootFailed(f"module {module} does not load: {exc}") from exc
            except BaseException as exc:  # a module may raise SystemExit
                raise BootFailed(f"module {module} does not load: {type(exc).__name__}: {exc}") from exc
            registry.look_into(module)
        return BootReport(registry.names())

    def set_up_logging(self, level: str) -> bool:
        """As pyqs does it."""
        return False

    def after_fork(self) -> None:
        """Load the hooks, and set the connection that a task's own ``.delay()`` uses."""
        self.payloads = Payloads(self._config.connection)
        process_defaults.configure(self._config.connection, self._config.create_queues)
        events.load(self._config.hooks)

    def prepare(self, delivery: Delivery, text: str | None = None) -> NativeCall | Outcome:
        """Decode the body and find its task, or the handler that takes everything on its queue.

        Parameters:
            text: the body, where it has been fetched already.
        """
        handler = handler_of(delivery.queue)
        if handler is not None:
            return self._raw(delivery, handler)
        try:
            if text is None:
                text = self.payloads.body_of(delivery.message, self._config.max_payload)
            call = decode_call(text, delivery.message.message_id)
        except MessageError as exc:
            return left(delivery, _status(exc), str(exc))
        try:
            function = self._policy.find(call.task, registry)
        except UnknownTask as exc:
            return left(delivery, "unknown", str(exc), task=call.task)
        left_over = 0.0 if call.eta is None else call.eta - time.time()
        if left_over > (WAIT_ON_FIFO if delivery.is_fifo else WAIT_IN_EXECUTOR):
            reason = f"due in {left_over:.0f} s"
            return Outcome(postpone(delivery, left_over), "postponed", (), call.task, _short(call.id), reason)
        if isinstance(function, Adapted):
            function = function.bound(delivery, call)
        options = registry.options(call.task) or DEFAULTS
        if self._limits is not None:
            options = options.limited(*self._limits)
        if options.max_deliveries is not None and delivery.receive_count > options.max_deliveries:
            return _exhausted(delivery, call, options)
        start_at = call.eta if left_over > 0 else None
        if not options.has_own_backoff:
            return NativeCall(delivery, call, function, options, start_at)
        if_killed = Hide(options.pause(call.task, delivery.receive_count, _held(delivery)))
        return NativeCall(delivery, call, function, options, start_at, if_killed=if_killed)

    def _raw(self, delivery: Delivery, handler: RawHandler) -> NativeCall | Outcome:
        try:
            message = handler.message(self._whole(delivery))
        except MessageError as exc:
            return left(delivery, _status(exc), str(exc), task=handler.name)
        return NativeCall(delivery, Call(handler.name, (message,), id=message.id), handler.function)

    def _whole(self, delivery: Delivery) -> Delivery:
        """It with its body, for a handler; a pointer that nobody here is to follow may be what the handler wants."""
        if not self.payloads.buckets:
            return delivery
        body = self.payloads.body_of(delivery.message, self._config.max_payload)
        return replace(delivery, message=replace(delivery.message, body=body))

    def call_off(self, calls: Sequence[CalledOff]) -> None:
        """Nobody watches: native tasks cannot be called off."""

    def look(self) -> None:
        """Nothing to look for."""

    def close(self) -> None:
        """Nothing to give back."""

    def become_host(self) -> None:
        """What hooks and tasks of a host's app may use."""
        self.after_fork()

    def watch(self, tell: Callable[[Sequence[CalledOff]], None]) -> None:
        """Nothing to watch."""

    def killed(self, delivery: Delivery, death: Death) -> Outcome:
        """As any failure: hidden for a growing time, nobody is told."""
        status = "lost" if death.limit is None else "timed-out"
        verdict = Leave() if death.acked_early else Hide(backoff.retry_seconds(delivery.receive_count, held=_held(delivery)))
        return Outcome(verdict, status, call_id=delivery.message.message_id, reason=death.how)

    def worker_event(self, name: str, details: Mapping[str, str | int]) -> None:
        """Nobody is told."""


def postpone(delivery: Delivery, seconds: float) -> Verdict:
    """A hop, or, where SQS has no delay for one message, hiding it (which holds its group)."""
    if delivery.is_fifo:
        return Hide(backoff.clamp_visibility(seconds, held=max(0.0, _held(delivery))))
    return Resend(min(MAX_DELAY, math.ceil(seconds)), seconds)


def left(delivery: Delivery, status: str, reason: str, *, task: str = "", call_id: str = "") -> Outcome:
    """A message that cannot be run here: left on its queue, hidden for longer each time it comes back (design decision 10)."""
    seconds = backoff.retry_seconds(delivery.receive_count, held=_held(delivery), base=LEAVE_BASE, cap=LEAVE_CAP)
    call_id = _short(call_id) or delivery.message.message_id
    return Outcome(Hide(seconds), status, task=_short(task), call_id=call_id, reason=_short(reason))


def _status(exc: MessageError) -> str:
    """How a delivery ends whose message has this wrong with it."""
    if isinstance(exc, Refused):
        return "refused"
    return "undecodable" if isinstance(exc, Undecodable) else "unsupported"


def _short(text: str) -> str:
    """What a log line has room for: the sender of a message nobody can run chose the name and the id in it."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}... ({len(text)} characters)"


def is_stopped(exc: BaseException) -> bool:
    """Whether a task ended by this because its worker stops, or does not wait for it. Given back by a worker that goes on, it
    would run at once. What groups of coroutines raise holds the exception that ended them among others (``exceptions``)."""
    if isinstance(exc, ShutdownRequested):
        return isinstance(exc, GivenUp) or should_stop()
    held = getattr(exc, "exceptions", ())
    return isinstance(held, tuple) and any(is_stopped(one) for one in held if isinstance(one, BaseException))


def stopped(delivery: Delivery, task: str, call_id: str, *, acked: bool = False) -> Outcome:
    """What becomes of it: it has not failed and runs again from its beginning, so nothing that it brought about counts.

    Its message is released. One that was deleted when the task started (``acked``; FIFO queues' never are) is sent again.
    """
    if not acked or delivery.is_fifo:
        return Outcome(Hide(0), "stopped", (), task, call_id, "the worker stops; its message is released")
    again = FollowUp(delivery.queue_url, copy_of(delivery, delay=0))
    return Outcome(Delete(), "stopped", (again,), task, call_id, "the worker stops; its message is sent again")


def _exhausted(delivery: Delivery, call: Call, options: TaskOptions) -> Outcome:
    """A message that was received more often than its task allows: not run, to the dead-letter queue if there is one."""
    reason = f"{call.task} was received {delivery.receive_count} times, its max_deliveries is {options.max_deliveries}"
    verdict = DeadLetter(reason, otherwise=options.longest_pause(_held(delivery)))
    return Outcome(verdict, "exhausted", task=call.task, call_id=call.id, reason=reason)


def setup_django() -> None:
    """``django.setup()`` if DJANGO_SETTINGS_MODULE is set.

    Raises:
        ConfigError: it is set and Django is not installed. Whatever the settings and the apps raise.
    """
    settings = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not settings:
        return
    try:
        django = importlib.import_module("django")
    except ModuleNotFoundError as exc:
        if exc.name != "django":
            raise
        raise ConfigError(f"DJANGO_SETTINGS_MODULE is {settings!r}, but Django is not installed here") from exc
    django.setup()
    if getattr(django, "VERSION", (0, 0)) >= (6, 0):
        _make_task_backends()


def _make_task_backends() -> None:
    """Those of Django's ``TASKS``: ours has Django's tasks found. One that is not installed here is left out."""
    backends = importlib.import_module("django.tasks").task_backends
    for alias in backends:
        try:
            backends[alias]
        except Exception as exc:
            if not isinstance(exc.__cause__, ImportError):
                raise
            log.warning("TASKS[%r]: %s; tasks for it run here under other backends only", alias, exc)


@value
class NativeCall:
    """One native call that may start. A ``pyqs.runtime.Prepared``; its limits are its task's.

    Parameters:
        if_killed: set where the task has a pause of its own, which the worker does not know.
    """

    delivery: Delivery
    call: Call
    function: Any
    options: TaskOptions = DEFAULTS
    start_at: float | None = None
    ack_early: bool = False
    rate_key: str | None = None
    rate: float = 0.0
    if_killed: Verdict | None = None
    tells: bool = False
    soft_limit_error: type[BaseException] = SoftTimeLimitExceeded
    pid: int = field(default_factory=os.getpid)

    @property
    def time_limit(self) -> float | None:
        """The task's hard limit; seconds."""
        return self.options.time_limit

    @property
    def soft_time_limit(self) -> float | None:
        """The task's soft limit; seconds."""
        return self.options.soft_time_limit

    @property
    def task(self) -> str:
        """The task's name."""
        return self.call.task

    @property
    def call_id(self) -> str:
        """The SQS message id, unless the message has one of its own."""
        return self.call.id

    def run(self) -> Outcome:
        """Hooks, task, hooks, as PyQS does it.

        A ``pre_process`` hook may change the arguments in its context; if it raises, the task does not run and counts as
        failed. A ``post_process`` hook runs once the task is decided and before the worker deletes the message; if it
        raises, that is logged and changes nothing. A task that ends by ``ShutdownRequested`` while the worker stops has not
        failed (hooks see the status "stopped"): its message is released at once. A failure hides the message by how often it
        was received, and SQS's redrive does the rest.
        """
        context = self._context()
        after = copy.copy(context)  # what a hook puts in before is not seen after, PyQS's own rule
        began = time.monotonic()
        try:
            for hook in events.get_events().pre_process:
                hook(context)
            answer = self.function(*context["args"], **context["kwargs"])
            if isinstance(answer, Coroutine):
                coroutines.run(answer, self.task)
        except BaseException as exc:  # a task's sys.exit() is its failure, not the executor's end
            if os.getpid() != self.pid:
                raise  # a process that the task forked: it ends by this
            if is_stopped(exc):
                after["status"] = "stopped"
                outcome = stopped(self.delivery, self.task, self.call_id)
            else:
                log.exception("task %s[%s] failed after %.3f s", self.task, self.call_id, time.monotonic() - began)
                after.update(status="exception", exception=traceback.format_exc())
                outcome = self._failed(exc)
        else:
            after["status"] = "success"
            outcome = Outcome(Delete(), "succeeded", task=self.task, call_id=self.call_id)
        if os.getpid() == self.pid:
            self._after(after)
        return outcome

    def _after(self, context: dict[str, Any]) -> None:
        for hook in events.get_events().post_process:
            try:
                hook(context)
            except BaseException:
                log.exception("a post_process hook of task %s[%s] failed", self.task, self.call_id)

    def _failed(self, exc: BaseException) -> Outcome:
        seconds = self.options.pause(self.task, self.delivery.receive_count, _held(self.delivery))
        return Outcome(Hide(seconds), "failed", task=self.task, call_id=self.call_id, reason=type(exc).__name__)

    def _context(self) -> dict[str, Any]:
        """What hooks get: PyQS's keys."""
        return {
            "message_id": self.delivery.message.message_id,
            "task_name": self.task.rpartition(".")[2],
            "args": list(self.call.args),
            "kwargs": dict(self.call.kwargs),
            "full_task_path": self.task,
            "fetch_time": self.delivery.fetched_at,
            "queue_url": self.delivery.queue_url,
            "timeout": self.delivery.visibility,
            "receipt_handle": self.delivery.message.receipt_handle,
        }


def _held(delivery: Delivery) -> float:
    """Seconds since the receive."""
    return boottime() - delivery.received_at
