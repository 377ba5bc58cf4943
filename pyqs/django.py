"""Django's tasks framework (``django.tasks``, Django 6.0 and newer) on SQS: ``SqsBackend``.

Owns: the backend that ``TASKS`` names, and how a worker finds and runs what it has enqueued. ``enqueue`` runs in any thread of
any process; tasks run in an executor, or in a Lambda function. Never runs anything but a task of Django's, never
keeps a result, and never has a receiver of a signal decide about a task.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from inspect import isasyncgenfunction
from traceback import format_exception
from typing import Any

from django.core import checks
from django.core.cache import close_caches
from django.db import close_old_connections
from django.dispatch import Signal
from django.tasks import Task, TaskContext, TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TaskError
from django.tasks.exceptions import InvalidTask, InvalidTaskBackend
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone
from django.utils.json import normalize_json

from pyqs import coroutines
from pyqs.codec import encode_call
from pyqs.config import MAX_DELAY, ConnectionConfig
from pyqs.errors import ConfigError
from pyqs.message import Call, Delivery, DescribedCall, OutgoingMessage
from pyqs.native import is_stopped
from pyqs.producer import Producer, check_guards, default_producer
from pyqs.queues.names import FIFO, canonical_name, is_arn, is_url, name_problem
from pyqs.registry import Adapted, registry
from pyqs.task_options import DEFAULTS, TaskOptions

log = logging.getLogger(__name__)

_CONNECTION = ("region", "endpoint_url")
_TASKS = ("retry_backoff", "max_deliveries", "time_limit", "soft_time_limit")
#: All that ``OPTIONS`` may have.
OPTIONS = ("queues", *_CONNECTION, *_TASKS)


class SqsBackend(BaseTaskBackend):  # type: ignore[misc]  # Django has no types
    """Sends tasks to SQS as native messages, which ``pyqs worker`` and ``pyqs.lambda_handler`` run.

    Parameters:
        alias: its name in ``TASKS``.
        params: of ``TASKS``. ``OPTIONS`` may have ``queues`` (Django's name of a queue -> SQS's name, URL or ARN), ``region``
            and ``endpoint_url`` (else those of the environment), and ``retry_backoff``, ``max_deliveries``, ``time_limit`` and
            ``soft_time_limit`` as for ``pyqs.task``, for all of its tasks.

    Raises:
        InvalidTaskBackend: an option that is not known, or cannot be meant.
    """

    supports_defer = True
    supports_async_task = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        given = dict(self.options)
        unknown = sorted(set(given) - set(OPTIONS))
        if unknown:
            raise InvalidTaskBackend(f"TASKS[{alias!r}]: OPTIONS has no {unknown[0]!r}; there are {', '.join(OPTIONS)}")
        self._names: Any = given.get("queues") or {}
        if not isinstance(self._names, Mapping) or not all(isinstance(name, str) for name in self._names.values()):
            raise InvalidTaskBackend(f"TASKS[{alias!r}]: OPTIONS['queues'] maps names of queues to SQS's names, URLs or ARNs")
        try:
            #: What the engine does with its tasks.
            self.task_options = TaskOptions.checked(f"of TASKS[{alias!r}]", *map(given.get, _TASKS))
            self._connection = {name: given[name] for name in _CONNECTION if given.get(name)}
            ConnectionConfig(**self._connection)
        except ConfigError as exc:
            raise InvalidTaskBackend(f"TASKS[{alias!r}]: {exc}") from exc
        _options[alias] = self.task_options
        registry.add_finder(find)

    def validate_task(self, task: Task) -> None:
        """Raises InvalidTask for one that cannot run here, by Django's rules and SQS's."""
        super().validate_task(task)
        if isasyncgenfunction(task.func):
            raise InvalidTask("An async generator cannot be a task: nobody would iterate.")
        if task.run_after is not None and self.sqs_queue(task.queue_name).endswith(FIFO):
            raise InvalidTask(f"Queue '{task.queue_name}' is FIFO, where SQS has no delay for one message: no run_after.")

    def enqueue(self, task: Task, args: Iterable[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Send the call; its id is in the message, and in the worker's log.

        Raises:
            InvalidTask: as ``validate_task``.
            TypeError, ValueError: an argument is not JSON.
            pyqs.errors.TooLarge: more than SQS takes.
            pyqs.errors.BadMessageOption: the queue takes no native messages.
            pyqs.errors.SqsError: SQS refused the message or did not answer.
        """
        self.validate_task(task)
        if task.func.__module__ in ("__main__", "__mp_main__"):
            raise InvalidTask(f"{task.name} is defined in the program that was started: no worker can import it.")
        result = _result(task, str(uuid.uuid4()), self.alias, args, kwargs)
        enqueued_at = timezone.now()
        queue = self.sqs_queue(task.queue_name)
        check_guards(queue)
        eta = None if task.run_after is None else task.run_after.timestamp()
        delay = 0 if eta is None else min(MAX_DELAY, max(0, math.ceil(eta - time.time())))
        django = {"backend": self.alias, "queue_name": task.queue_name, "enqueued_at": enqueued_at.isoformat()}
        about = {"id": result.id, "django": django} | ({} if eta is None else {"eta": eta})
        body = encode_call(task.module_path, result.args, result.kwargs, about)
        sent = self._producer().send(queue, OutgoingMessage(body, delay), task=task.module_path)
        log.debug("sent task %s[%s] to queue %s as message %s", task.module_path, result.id, queue, sent.message_id)
        object.__setattr__(result, "enqueued_at", enqueued_at)
        _tell(task_enqueued, type(self), result)
        return result

    def check(self, **_: Any) -> list[checks.CheckMessage]:
        """Queues that SQS cannot have."""
        found: list[checks.CheckMessage] = []
        for name in sorted({*self.queues, *self._names}):
            queue = self.sqs_queue(name)
            problem = "" if is_url(queue) or is_arn(queue) else name_problem(canonical_name(queue))
            if problem:
                found.append(checks.Error(f"TASKS[{self.alias!r}]: SQS cannot have queue {queue!r}: {problem}", id="pyqs.E001"))
            if self.queues and name not in self.queues:
                found.append(
                    checks.Warning(f"TASKS[{self.alias!r}]: OPTIONS['queues'] names {name!r}, QUEUES does not", id="pyqs.W001")
                )
        return found

    def sqs_queue(self, name: str) -> str:
        """What SQS calls the queue with this name: a name (mapped as everywhere), a URL or an ARN."""
        return str(self._names.get(name, name))

    def _producer(self) -> Producer:
        if not self._connection:
            return default_producer()
        connection = replace(ConnectionConfig.from_environment(), **self._connection)
        # Django makes a backend for each thread and context: they share what has the sockets.
        return _producers.setdefault(connection, Producer(connection))


_producers: dict[ConnectionConfig, Producer] = {}
#: Of each backend of ours that has been made, by its alias.
_options: dict[str, TaskOptions] = {}


def find(name: str) -> None:
    """Register what is a task of Django's under this name, in a module that is loaded."""
    module, _, attribute = name.rpartition(".")
    found: Any = getattr(sys.modules.get(module), "__dict__", {}).get(attribute)
    # Not isinstance, which asks an object for its class: a lazy one would be made for that, because a message names it.
    if issubclass(type(found), Task) and found.module_path == name:
        registry.register(name, DjangoTask(found), _options_of(found))


def _options_of(task: Task) -> TaskOptions:
    """Those of its backend; one that is declared for another's may have been sent ``using(backend=...)`` of ours."""
    backend = task.get_backend()
    return backend.task_options if isinstance(backend, SqsBackend) else next(iter(_options.values()), DEFAULTS)


class DjangoTask(Adapted):
    """A task of Django's as the engine runs it."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def bound(self, delivery: Delivery, call: Call) -> Callable[..., Any]:
        """The function for this delivery, which takes the message's arguments."""
        return _Attempt(self._task, delivery, call)


class _Attempt:
    """One run of a task: signals, context, connections."""

    def __init__(self, task: Task, delivery: Delivery, call: Call) -> None:
        self._delivery, self._call, self._pid = delivery, call, os.getpid()
        about = call.about.get("django") if isinstance(call, DescribedCall) else None
        self._about: Mapping[str, Any] = about if isinstance(about, Mapping) else {}
        self._task = self._as_enqueued(task)

    def _as_enqueued(self, task: Task) -> Task:
        """With the queue and backend that it was sent to, as far as these settings know them."""
        try:
            return task.using(backend=self._about.get("backend"), queue_name=self._about.get("queue_name"))
        except Exception:  # the backend's or Django's; a queue or alias that was renamed since is no reason not to run it
            return task

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Run it. Raises what it raises: the engine decides what becomes of the message."""
        task, sender = self._task, type(self._task.get_backend())
        result = self._started(args, kwargs)
        _close_connections()
        _tell(task_started, sender, result)
        context = (TaskContext(task_result=result),) if task.takes_context else ()
        try:
            answer = task.func(*context, *result.args, **result.kwargs)
            if isinstance(answer, Coroutine):
                answer = coroutines.run(answer, task.module_path)
        except BaseException as exc:
            if os.getpid() == self._pid and not is_stopped(exc):
                result.errors.append(TaskError(exception_class_path=_path(exc), traceback="".join(format_exception(exc))))
                self._finished(result, TaskResultStatus.FAILED, sender)
            raise
        else:
            if os.getpid() == self._pid:
                _keep(result, answer)
                self._finished(result, TaskResultStatus.SUCCESSFUL, sender)
        finally:
            if os.getpid() == self._pid:  # what a process shares with the task that forked it is not its to close
                _close_connections()
                close_caches()

    def _started(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        now = timezone.now()
        result = _result(self._task, self._call.id, self._task.backend, args, kwargs)
        enqueued_at = _moment(self._about.get("enqueued_at"))
        # SQS counts receives: who had the others is not known.
        workers = ["unknown"] * (self._delivery.receive_count - 1) + [f"{socket.gethostname()}:{os.getpid()}"]
        for name, value in {
            "status": TaskResultStatus.RUNNING, "enqueued_at": enqueued_at, "started_at": now, "last_attempted_at": now,
            "worker_ids": workers,
        }.items():  # fmt: skip
            object.__setattr__(result, name, value)
        return result

    def _finished(self, result: TaskResult, status: TaskResultStatus, sender: type) -> None:
        object.__setattr__(result, "finished_at", timezone.now())
        object.__setattr__(result, "status", status)
        _tell(task_finished, sender, result)


def _result(task: Task, id: str, alias: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> TaskResult:
    return TaskResult(
        task=task, id=id, status=TaskResultStatus.READY, enqueued_at=None, started_at=None, finished_at=None,
        last_attempted_at=None, args=list(args), kwargs=dict(kwargs), backend=alias, errors=[], worker_ids=[],
    )  # fmt: skip


def _keep(result: TaskResult, answer: Any) -> None:
    """For receivers of the signal. What is no JSON is a warning: the work is done, and a failure would do it again."""
    try:
        object.__setattr__(result, "_return_value", normalize_json(answer))
    except (TypeError, ValueError) as exc:
        log.warning("task %s[%s] has returned what is not JSON (%s); nobody gets it", result.task.module_path, result.id, exc)


def _tell(signal: Signal, sender: type, result: TaskResult) -> None:
    """Receivers that raise are logged by Django: what has been sent or done is not undone by them."""
    signal.send_robust(sender, task_result=result)


def _close_connections() -> None:
    """Those that have failed or are too old (``CONN_MAX_AGE``), of this thread and of that in which coroutines use the ORM.

    Where several tasks run at a time, each lane's coroutines have such a thread of their own.
    """
    close_old_connections()
    if coroutines.in_use():
        from asgiref.sync import sync_to_async

        coroutines.run(sync_to_async(close_old_connections)(), "closing Django's connections")


def _path(exc: BaseException) -> str:
    return f"{type(exc).__module__}.{type(exc).__qualname__}"


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
