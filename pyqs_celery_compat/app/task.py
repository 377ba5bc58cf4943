"""A task: what ``@app.task`` makes of a function, and the base class of class-based ones.

Owns: ``Task``. One instance per app and process, shared by its threads; what belongs to a call is in ``self.request``.
Lives in the caller's process (publishing) and in executors (running).
"""

from __future__ import annotations

import socket
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pyqs.errors import Unsupported
from pyqs_celery_compat import retrying, states
from pyqs_celery_compat._state import LocalStack, _task_stack, current_app
from pyqs_celery_compat.canvas import CANVAS_LATER, Signature, signature
from pyqs_celery_compat.einfo import ExceptionInfo
from pyqs_celery_compat.exceptions import MaxRetriesExceededError, Retry
from pyqs_celery_compat.local import unwrap
from pyqs_celery_compat.request import Context
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.result import AsyncResult, EagerResult

#: Task attribute -> setting it is taken from while it is None.
FROM_CONFIG = {
    "serializer": "task_serializer",
    "rate_limit": "task_default_rate_limit",
    "priority": "task_default_priority",
    "time_limit": "task_time_limit",
    "soft_time_limit": "task_soft_time_limit",
    "track_started": "task_track_started",
    "acks_late": "task_acks_late",
    "acks_on_failure_or_timeout": "task_acks_on_failure_or_timeout",
    "acks_on_failure": "task_acks_on_failure",
    "acks_on_timeout": "task_acks_on_timeout",
    "reject_on_worker_lost": "task_reject_on_worker_lost",
    "retry_on_worker_lost": "task_retry_on_worker_lost",
    "ignore_result": "task_ignore_result",
    "store_eager_result": "task_store_eager_result",
    "store_errors_even_if_ignored": "task_store_errors_even_if_ignored",
}
#: Task attributes that are options of every call of it.
EXEC_OPTIONS = (
    "queue", "routing_key", "exchange", "priority", "expires", "serializer", "delivery_mode", "compression",
    "time_limit", "soft_time_limit", "immediate", "mandatory",
)  # fmt: skip


class _ClassOrInstance:
    """A property that works on the class as well: ``Task.app``."""

    def __init__(self, get: Callable[[type[Task]], Any]) -> None:
        self.get = get

    def __get__(self, obj: Any, cls: type[Task]) -> Any:
        return self.get(cls)

    def __set__(self, obj: Any, value: Any) -> None:
        type(obj).bind(value)


def list_of(value: Any) -> list[Any] | None:
    """None as None, a list or tuple as a list, anything else alone in one."""
    if value is None:
        return None
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _unpickle_task(name: str, module: str | None = None) -> Task:
    if module:
        __import__(module)
    return current_app.tasks[name]  # type: ignore[no-any-return]


class Task:
    """Base of every task. Attributes that are None are taken from the app's settings when the task is bound."""

    __trace__: Any = None
    __v2_compat__ = False
    __bound__ = False
    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError: ClassVar[Any] = None

    _app: ClassVar[Any] = None
    name: str = None  # type: ignore[assignment]
    typing: bool | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 3 * 60
    rate_limit: str | None = None
    ignore_result: bool | None = None
    trail = True
    send_events = True
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    serializer: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    track_started: bool | None = None
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    throws: tuple[type[BaseException], ...] = ()
    expires: Any = None
    priority: int | None = None
    resultrepr_maxsize = 1024
    request_stack: LocalStack[Context] = LocalStack()
    override_max_retries: int | None
    _orig_run: Callable[..., Any]
    _exec_options: ClassVar[dict[str, Any] | None] = None
    abstract = True

    # -- belonging to an app --------------------------------------------------------------------------------------
    @classmethod
    def bind(cls, app: Celery) -> Celery:
        """Take what is unset from the app's settings."""
        was_bound, cls.__bound__ = cls.__bound__, True
        cls._app = app
        cls._exec_options = None
        conf = unwrap(app).conf
        if cls.typing is None:
            cls.typing = app.strict_typing
        for attribute, setting in FROM_CONFIG.items():
            if getattr(cls, attribute, None) is None:
                setattr(cls, attribute, conf[setting])
        both = cls.acks_on_failure_or_timeout
        for attribute in ("acks_on_failure", "acks_on_timeout"):
            if getattr(cls, attribute) is None:
                setattr(cls, attribute, True if both is None else both)
        if not was_bound:
            cls.annotate()
            cls.request_stack = LocalStack()
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Called when the class has been bound; for subclasses."""

    @classmethod
    def _get_app(cls) -> Celery:
        if cls._app is None:
            cls._app = current_app
        if not cls.__bound__:
            cls.bind(cls._app)
        return cls._app  # type: ignore[no-any-return]

    app: Any = _ClassOrInstance(lambda cls: cls._get_app())

    @classmethod
    def annotate(cls) -> None:
        """Apply ``task_annotations``: attributes for all tasks (``"*"``), then for this one; ``@attr`` wraps a method."""
        for found in cls._app.annotations_for(cls):
            for key, value in found.items():
                if key.startswith("@"):
                    cls.add_around(key[1:], value)
                else:
                    setattr(cls, key, value)

    @classmethod
    def add_around(cls, attr: str, around: Callable[[Any], Any]) -> None:
        """Wrap a method of the class."""
        original = getattr(cls, attr)
        original = getattr(original, "__wrapped__", original)
        method = around(original)
        method.__wrapped__ = original
        setattr(cls, attr, method)

    # -- running --------------------------------------------------------------------------------------------------
    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body."""
        raise NotImplementedError("Tasks must define the run method.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        top = self.request_stack.top
        if top is not None and not top.called_directly and not top._protected and _task_stack.top is self:
            # A subclass's __call__ that calls super(): the worker has pushed the request already.
            top._protected = 1
            return self.run(*args, **kwargs)
        _task_stack.push(self)
        self.push_request(args=args, kwargs=kwargs)
        try:
            return self.run(*args, **kwargs)
        finally:
            self.pop_request()
            _task_stack.pop()

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Put a request on the stack."""
        self.request_stack.push(Context(*args, **kwargs))

    def pop_request(self) -> None:
        """Take it off again."""
        self.request_stack.pop()

    @property
    def request(self) -> Context:
        """The call that runs now; outside of one a default with ``called_directly``."""
        top = self.request_stack.top
        if top is not None:
            return top
        default: Context | None = self.__dict__.get("_default_request")
        if default is None:
            default = self.__dict__["_default_request"] = Context()
        return default

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before the body."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called after the body returned."""

    def on_retry(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task is to be retried."""

    def on_failure(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task has failed."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after success and failure."""

    # -- calling --------------------------------------------------------------------------------------------------
    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult | EagerResult:
        """Publish a call with these arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult | EagerResult:
        """Publish a call.

        Parameters:
            args, kwargs: the arguments, checked against the function's signature unless ``typing=False``.
            task_id: the id; a new one if None.
            link, link_error: signatures for success and failure.
            shadow: a name for logs.
            options: countdown, eta, expires (seconds or a moment), queue, routing_key, exchange, headers, serializer,
                compression, priority, time_limit, soft_time_limit, ignore_result, MessageGroupId,
                MessageDeduplicationId, message_attributes, delay_seconds, ...; the rest becomes message properties.

        Raises:
            TypeError: the function does not take these arguments.
            kombu.exceptions.EncodeError: an argument cannot be written.
            kombu.exceptions.OperationalError: SQS did not take the message.
        """
        if self.soft_time_limit and self.time_limit and self.soft_time_limit > self.time_limit:
            raise ValueError("soft_time_limit must be less than or equal to time_limit")
        header = getattr(self, "__header__", None)
        if self.typing and header is not None:
            header(*(args or ()), **(kwargs or {}))
        shadow = shadow or self.shadow_name(args, kwargs, options)
        options = {**self._get_exec_options(), **options}
        options.setdefault("ignore_result", self.ignore_result)
        app = self._get_app()
        if app.conf.task_always_eager:
            args, kwargs = app.amqp.round_trip(args, kwargs, options.get("serializer"))
            return self.apply(args, kwargs, task_id=task_id or uuid(), link=link, link_error=link_error, **options)
        return app.send_task(
            self.name, args, kwargs, task_id=task_id, producer=producer, link=link, link_error=link_error,
            result_cls=self.AsyncResult, shadow=shadow, task_type=self, **options,
        )  # fmt: skip

    def shadow_name(self, args: Any, kwargs: Any, options: dict[str, Any]) -> str | None:
        """A name for logs, by call; for subclasses."""
        return None

    @classmethod
    def _get_exec_options(cls) -> dict[str, Any]:
        if cls._exec_options is None:
            found = {key: getattr(cls, key, None) for key in EXEC_OPTIONS}
            cls._exec_options = {key: value for key, value in found.items() if value is not None}
        return cls._exec_options

    def apply(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult:
        """Run it here and now, retries included and without their waits; answers the result it had."""
        from pyqs_celery_compat.app import trace
        from pyqs_celery_compat.result import EagerResult

        app = self._get_app()
        task = app._tasks[self.name]
        args, kwargs, task_id, retries = args or (), kwargs or {}, task_id or uuid(), retries or 0
        throw = bool(app.conf.task_eager_propagates) if throw is None else throw
        parent = _task_stack.top
        request = {
            "id": task_id,
            "task": self.name,
            "parent_id": parent.request.id if parent else None,
            "root_id": (parent.request.root_id if parent else None) or task_id,
            "retries": retries,
            "is_eager": True,
            "logfile": logfile,
            "loglevel": loglevel or 0,
            "hostname": socket.gethostname(),
            "callbacks": list_of(link),
            "errbacks": list_of(link_error),
            "headers": headers,
            "timelimit": None if self.time_limit is self.soft_time_limit is None else [self.time_limit, self.soft_time_limit],
            "ignore_result": options.get("ignore_result", self.ignore_result),
            "delivery_info": {
                "is_eager": True,
                "exchange": options.get("exchange"),
                "routing_key": options.get("routing_key"),
                "priority": options.get("priority"),
            },
        }
        tracer = trace.build_tracer(task.name, task, eager=True, propagate=throw, app=app)
        outcome = tracer(task_id, args, kwargs, request)
        retval: Any = outcome.retval
        tb: str | None = None
        if isinstance(retval, ExceptionInfo):
            tb, retval = retval.traceback, retval.exception
        if isinstance(retval, Retry) and retval.sig is not None:
            return retval.sig.apply(retries=retries + 1)  # type: ignore[no-any-return]
        state = states.SUCCESS if outcome.info is None else outcome.info.state
        return EagerResult(task_id, retval, state, traceback=tb, name=self.name)

    def retry(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Run this call again later, under the same id. Raises Retry (``throw=False`` answers it instead).

        Parameters:
            args, kwargs: in place of the call's own.
            exc: raised when there have been too many retries (else MaxRetriesExceededError).
            countdown: seconds; default ``default_retry_delay``. eta: a moment instead.
            max_retries: this time's limit; None takes the task's, whose None means no limit.

        Raises:
            Retry: as said. Reject: the new message could not be written.
        """
        return retrying.retry(self, args, kwargs, exc, throw, eta, countdown, max_retries, options)

    def signature_from_request(
        self, request: Context | None = None, args: Any = None, kwargs: Any = None, queue: Any = None, **extra: Any
    ) -> Signature:
        """The running call as a signature."""
        return retrying.signature_from_request(self, request, args, kwargs, queue, **extra)

    subtask_from_request = signature_from_request

    # -- signatures and results -----------------------------------------------------------------------------------
    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult:  # noqa: N802 - Celery's public name
        """The result with this id."""
        return self._get_app().AsyncResult(task_id, task_name=self.name, **kwargs)

    def signature(self, args: Any = None, *rest: Any, **options: Any) -> Signature:
        """A call of this task to be made later."""
        options.setdefault("app", self.app)
        return signature(self, args, *rest, **options)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """``signature(args, kwargs)``."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """The same, immutable: it takes no more arguments."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it: Any, n: int) -> Any:
        """Not there yet."""
        raise _later("task.chunks")

    def map(self, it: Any) -> Any:
        """Not there yet."""
        raise _later("task.map")

    def starmap(self, it: Any) -> Any:
        """Not there yet."""
        raise _later("task.starmap")

    def replace(self, sig: Any) -> Any:
        """Not there yet."""
        raise _later("task.replace")

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Not there yet."""
        raise _later("task.add_to_chord")

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any) -> None:
        """Store a state of this call; without a result backend nowhere."""
        self._get_app().backend.store_result(task_id or self.request.id, meta, state, request=self.request, **kwargs)

    @property
    def backend(self) -> Any:
        """The app's result backend."""
        return self._get_app().backend

    def add_trail(self, result: Any) -> Any:
        """Note the result of a task that this one has called."""
        if self.trail:
            self.request.children.append(result)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_task, (self.name, type(self).__module__), None

    def __repr__(self) -> str:
        return f"<@task: {self.name}>" if not self.__bound__ else f"<@task: {self.name} of {self._app!r}>"

    @property
    def __name__(self) -> str:
        return type(self).__name__  # type: ignore[return-value]

    __class_getitem__: Any = classmethod(types.GenericAlias)


BaseTask = Task


def _later(what: str) -> Unsupported:
    return Unsupported(CANVAS_LATER.format(what))
