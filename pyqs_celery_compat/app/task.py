"""A task: what ``@app.task`` makes of a function, and the base class of class-based ones.

Owns: ``Task``: its attributes and its running; how it is called is in ``calling.py``. One instance per app and process, shared
by its threads; what belongs to a call is in ``self.request``. Lives in the caller's process and in executors.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pyqs_celery_compat import retrying
from pyqs_celery_compat._state import _task_stack, current_app
from pyqs_celery_compat.app.annotations import resolve_all
from pyqs_celery_compat.app.calling import Calling
from pyqs_celery_compat.app.registry import _unpickle_task_v2
from pyqs_celery_compat.exceptions import CDeprecationWarning, MaxRetriesExceededError, Retry
from pyqs_celery_compat.local import unwrap
from pyqs_celery_compat.request import Context
from pyqs_celery_compat.signatures import Signature
from pyqs_celery_compat.utils.threads import LocalStack

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: Task attribute -> setting it is taken from while it is None.
_FROM_CONFIG = {
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


R_UNBOUND_TASK, R_BOUND_TASK, R_INSTANCE = (
    "<unbound {0.name}{flags}>",
    "<class {0.name} of {app}{flags}>",
    "<@task: {0.name} of {app}{flags}>",
)
#: Task attributes that Celery wants to be said by routes.
_DEPRECATED = ("queue", "exchange", "exchange_type", "routing_key", "delivery_mode", "priority")


class _App:
    """``Task.app``: a property that works on the class as well."""

    def __get__(self, obj: Any, cls: type[Task]) -> Any:
        return cls._app if cls.__bound__ and cls._app is not None else cls._get_app()

    def __set__(self, obj: Any, value: Any) -> None:
        type(obj).bind(value)


class Task(Calling):
    """Base of every task. Attributes that are None are taken from the app's settings when the task is bound."""

    __trace__: Any = None
    __v2_compat__ = False
    __bound__ = False
    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError: ClassVar[Any] = None

    _app: ClassVar[Any] = None
    _backend: Any = None
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
    _exec_options: dict[str, Any] | None = None
    abstract = True
    from_config: ClassVar[tuple[tuple[str, str], ...]] = tuple(_FROM_CONFIG.items())

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
        if not was_bound:
            cls._warn_of_routing()
        for attribute, setting in cls.from_config:
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
    def _warn_of_routing(cls) -> None:
        for attribute in _DEPRECATED:
            if getattr(cls, attribute, None) is not None:
                warnings.warn(
                    f"The {attribute!r} task attribute is deprecated in Celery, for 6.0; say it in task_routes",
                    CDeprecationWarning, stacklevel=3,
                )  # fmt: skip

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

    app: Any = _App()

    @classmethod
    def annotate(cls) -> None:
        """Apply ``task_annotations``: attributes for all tasks (``"*"``), then for this one; ``@attr`` wraps a method."""
        for found in resolve_all(cls._app.annotations, cls):
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
            answer = self.run(*args, **kwargs)
        finally:
            self.pop_request()
            _task_stack.pop()
        return self._awaited(answer, args, kwargs) if isinstance(answer, Coroutine) else answer

    async def _awaited(self, body: Coroutine[Any, Any, Any], args: Any, kwargs: Any) -> Any:
        """The body of an ``async def`` task, with its request from its first step to its last."""
        _task_stack.push(self)
        self.push_request(args=args, kwargs=kwargs)
        try:
            return await body
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

    # -- again ----------------------------------------------------------------------------------------------------
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

    # -- results --------------------------------------------------------------------------------------------------
    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any) -> None:
        """Store a state of this call; without a result backend nowhere."""
        self.backend.store_result(task_id or self.request.id, meta, state, request=self.request, **kwargs)

    @property
    def backend(self) -> Any:
        """Its own result backend, else the app's."""
        return self._get_app().backend if self._backend is None else self._backend

    @backend.setter
    def backend(self, value: Any) -> None:
        self._backend = value

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """SQS carries no events: nobody could hear of it."""

    def replace(self, sig: Any) -> Any:
        """Have another signature take this call's place: under its id, with its links, group, chord and the rest of its chain.

        Raises:
            Ignore: it was published. In eager mode the answer is its value instead.
            ImproperlyConfigured: an empty chain, or one that belongs to a chord.
        """
        from pyqs_celery_compat import replacing

        return replacing.replace(self, sig)

    def on_replace(self, sig: Any) -> Any:
        """Called by ``replace`` with what is to be published; for subclasses."""
        from pyqs_celery_compat import replacing

        return replacing.on_replace(self, sig)

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Have the running chord wait for one more task.

        Raises:
            ValueError: this call is in no chord. NotImplementedError: the result backend cannot.
        """
        from pyqs_celery_compat import replacing

        return replacing.add_to_chord(self, sig, lazy)

    def add_trail(self, result: Any) -> Any:
        """Note the result of a task that this one has called."""
        if self.trail:
            self.request.children.append(result)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_task_v2, (self.name, type(self).__module__), None

    def __repr__(self) -> str:
        return _reprtask(self, R_INSTANCE)

    @property
    def __name__(self) -> str:
        return type(self).__name__  # type: ignore[return-value]

    __class_getitem__: Any = classmethod(types.GenericAlias)


def _reprtask(task: Any, fmt: str | None = None, flags: Iterable[str] | None = None) -> str:
    """A task or its class as text; the format gets ``task`` and ``flags``."""
    if not fmt:
        fmt = R_BOUND_TASK if task._app else R_UNBOUND_TASK
    said = [*(flags or ()), *(("v2 compatible",) if task.__v2_compat__ else ())]
    app = task._app
    name = f"{app.main or '__main__'} at {id(unwrap(app)):#x}" if app is not None else "None"
    return fmt.format(task, flags=f" ({', '.join(said)})" if said else "", app=name)


BaseTask = Task
