"""How a task is called: published, run on the spot, or written down as a signature.

Owns: ``Calling``, a part of ``Task``. Runs in the caller's thread, in any process. Never waits for what it has published.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import states
from pyqs_celery_compat._state import _task_stack
from pyqs_celery_compat.einfo import ExceptionInfo
from pyqs_celery_compat.exceptions import Retry
from pyqs_celery_compat.signatures import Signature, signature
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.eager_result import EagerResult
    from pyqs_celery_compat.result import AsyncResult

#: Task attributes that are options of every call of it.
EXEC_OPTIONS = (
    "queue", "routing_key", "exchange", "priority", "expires", "serializer", "delivery_mode", "compression",
    "time_limit", "soft_time_limit", "immediate", "mandatory",
)  # fmt: skip


def list_of(value: Any) -> list[Any] | None:
    """None as None, a list or tuple as a list, anything else alone in one."""
    if value is None:
        return None
    return list(value) if isinstance(value, (list, tuple)) else [value]


class Calling:
    """The calls of a task."""

    name: str
    typing: bool | None
    app: Any
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool | None
    _exec_options: dict[str, Any] | None
    #: Of a task with ``pydantic=True``: what its annotations say.
    _models: Any = None

    if TYPE_CHECKING:

        @classmethod
        def _get_app(cls) -> Celery: ...

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
        if self._models is not None:
            args, kwargs = self._models.dumped(args, kwargs)
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

    def _get_exec_options(self) -> dict[str, Any]:
        if self._exec_options is None:  # of this task, which may have been given attributes since it was declared
            found = {key: getattr(self, key, None) for key in EXEC_OPTIONS}
            self._exec_options = {key: value for key, value in found.items() if value is not None}
        return self._exec_options

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
        from pyqs_celery_compat.eager_result import EagerResult

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
        if stamped := options.get("stamped_headers"):
            request |= {"stamped_headers": stamped, "stamps": {name: list_of(options.get(name)) for name in stamped}}
        tracer = trace.build_tracer(task.name, task, eager=True, propagate=throw, app=app)
        outcome = tracer(task_id, args, kwargs, request)
        retval: Any = outcome.retval
        tb: str | None = None
        if isinstance(retval, ExceptionInfo):
            tb, retval = retval.traceback, retval.raised
        if isinstance(retval, Retry) and retval.sig is not None:
            return retval.sig.apply(retries=retries + 1)  # type: ignore[no-any-return]
        state = states.SUCCESS if outcome.info is None else outcome.info.state
        return EagerResult(task_id, retval, state, traceback=tb, name=self.name)

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult:  # noqa: N802 - Celery's public name
        """The result with this id."""
        result: AsyncResult = self._get_app().AsyncResult(task_id, task_name=self.name, **kwargs)
        return result

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
        """A canvas that calls it with each item's arguments, ``n`` items to a message."""
        from pyqs_celery_compat.canvas import chunks

        return chunks(self.s(), it, n, app=self.app)

    def map(self, it: Any) -> Any:
        """A canvas that calls it with each item, in one message."""
        from pyqs_celery_compat.canvas import xmap

        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Any) -> Any:
        """A canvas that calls it with each item's arguments, in one message."""
        from pyqs_celery_compat.canvas import xstarmap

        return xstarmap(self.s(), it, app=self.app)
