"""The runtime of native tasks: a JSON body becomes a call of a registered function.

Owns: the native meaning of success (delete), failure (hide for a growing time) and everything that cannot be run
(leave, hidden for a growing time). Runs in an executor's main thread, and in the forkserver while the tasks are loaded.
Never deletes a message whose task did not succeed.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
import traceback
from dataclasses import dataclass
from typing import Any

from pyqs import backoff, events
from pyqs.codec import decode_call
from pyqs.config import RuntimeConfig, process_defaults
from pyqs.errors import ConfigError, Undecodable, UnknownTask
from pyqs.message import Call, Delete, Delivery, Hide
from pyqs.registry import ImportPolicy, registry
from pyqs.runtime import BootReport, Outcome

log = logging.getLogger(__name__)


class SoftTimeLimitExceeded(Exception):
    """A native task ran longer than its soft limit."""


class NativeRuntime:
    """Runs messages written by ``@task`` functions and by PyQS 1."""

    soft_limit_error: type[BaseException] = SoftTimeLimitExceeded

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._policy = ImportPolicy(config.include, config.working_directory)

    def boot(self) -> BootReport:
        """Import the included modules, with Django set up first if the environment names its settings."""
        setup_django()
        for module in self._config.include:
            importlib.import_module(module)
        return BootReport(registry.names())

    def after_fork(self) -> None:
        """Load the hooks and the connection that a task's own ``.delay()`` uses."""
        process_defaults.configure(self._config.connection, self._config.create_queues)
        events.load(self._config.hooks)

    def prepare(self, delivery: Delivery) -> NativeCall | Outcome:
        """Decode the body and find its task."""
        try:
            call = decode_call(delivery.message.body, delivery.message.message_id)
        except Undecodable as exc:
            return left(delivery, "undecodable", str(exc))
        try:
            function = self._policy.find(call.task, registry)
        except UnknownTask as exc:
            return left(delivery, "unknown", str(exc), task=call.task)
        if not callable(function):
            return left(delivery, "unknown", f"{call.task} is not a native task", task=call.task)
        return NativeCall(delivery, call, function)

    def close(self) -> None:
        """Nothing to give back."""


def left(delivery: Delivery, status: str, reason: str, *, task: str = "", call_id: str = "") -> Outcome:
    """A message that this worker cannot run: left on its queue, hidden for longer each time it comes back."""
    hidden = Hide(backoff.retry_seconds(delivery.receive_count))
    return Outcome(hidden, status, task=task, call_id=call_id or delivery.message.message_id, reason=reason)


def setup_django() -> None:
    """``django.setup()`` if DJANGO_SETTINGS_MODULE is set.

    Raises:
        ConfigError: it is set and Django is not installed.
    """
    settings = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not settings:
        return
    try:
        django = importlib.import_module("django")
    except ModuleNotFoundError as exc:
        raise ConfigError(f"DJANGO_SETTINGS_MODULE is {settings} but Django cannot be imported: {exc}") from exc
    django.setup()


@dataclass(frozen=True, slots=True)
class NativeCall:
    """One native call that may start."""

    delivery: Delivery
    call: Call
    function: Any
    start_at: float | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ack_early: bool = False
    rate_key: str | None = None

    @property
    def task(self) -> str:
        """The task's name."""
        return self.call.task

    @property
    def call_id(self) -> str:
        """The SQS message id: a native message has no other."""
        return self.call.id

    def run(self) -> Outcome:
        """Hooks, task, hooks. A failure hides the message by how often it was received; SQS's redrive does the rest."""
        context = self._context()
        after = copy.copy(context)
        try:
            try:
                self._hooks("pre_process", context)
                self.function(*context["args"], **context["kwargs"])
            except BaseException as exc:  # a task's sys.exit() is its failure, not the executor's end
                log.exception("task %s[%s] failed", self.task, self.call_id)
                after.update(status="exception", exception=traceback.format_exc())
                outcome = self._failed(exc)
            else:
                after["status"] = "success"
                outcome = Outcome(Delete(), "succeeded", task=self.task, call_id=self.call_id)
            self._hooks("post_process", after)
        except BaseException:
            # The task itself is decided: a broken post_process hook must not run it again.
            log.exception("a post_process hook of %s[%s] failed", self.task, self.call_id)
        return outcome

    def _failed(self, exc: BaseException) -> Outcome:
        hidden = Hide(backoff.retry_seconds(self.delivery.receive_count))
        return Outcome(hidden, "failed", task=self.task, call_id=self.call_id, reason=type(exc).__name__)

    def _hooks(self, name: str, context: dict[str, Any]) -> None:
        for hook in getattr(events.get_events(), name):
            hook(context)

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
