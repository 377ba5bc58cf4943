"""Running one task with everything around it: request, handlers, signals, log lines, continuations.

Owns: ``build_tracer`` and what it answers. Runs in the thread that runs the task, in an executor or (``apply``) in the
caller's process. Decides the state, never the verdict on a message. The worker looks ``build_tracer`` up here at call
time, because tracing libraries put their own in its place.

Order (observed on Celery 5.7): task_prerun, before_start, run, continuations, on_success, task_success, after_return,
task_postrun; a failure: errbacks, on_failure, task_failure, after_return, task_postrun; a retry: on_retry, task_retry,
task_postrun.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pyqs import coroutines
from pyqs_celery_compat import continuations, retrying, signals, states, storing
from pyqs_celery_compat._state import _task_stack
from pyqs_celery_compat.einfo import ExceptionInfo
from pyqs_celery_compat.exceptions import Ignore, InvalidTaskError, Reject, Retry
from pyqs_celery_compat.request import Context, request_of
from pyqs_celery_compat.result_backend import ResultTooLarge
from pyqs_celery_compat.storing import ResultNotStored

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task

logger = logging.getLogger("celery.app.trace")

LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
LOG_FAILURE = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_INTERNAL_ERROR = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_IGNORED = "Task %(name)s[%(id)s] %(description)s"
LOG_REJECTED = "Task %(name)s[%(id)s] %(exc)s"
LOG_RETRY = "Task %(name)s[%(id)s] retry: %(exc)s"

#: Those that a task that nobody has given one is not asked for.
_HANDLERS = ("before_start", "on_success", "on_failure", "after_return")
#: After these no after_return is called.
IGNORE_STATES = frozenset({states.IGNORED, states.RETRY, states.REJECTED})


class TraceInfo(NamedTuple):
    """How a task ended when it did not succeed: state, and the exception that said so."""

    state: str
    retval: BaseException


class TraceOutcome(NamedTuple):
    """What a tracer answers: the return value or an ExceptionInfo, the TraceInfo (None on success), seconds, repr."""

    retval: Any
    info: TraceInfo | None
    runtime: float
    retstr: str | None


Tracer = Callable[..., TraceOutcome]


def task_has_custom(task: Task, attr: str) -> bool:
    """True if the task's class, or one between it and ``Task``, has the method, or somebody has put another into ``Task``."""
    from pyqs_celery_compat.app.task import Task as Base

    for cls in type(task).__mro__:
        if attr in vars(cls):
            if cls is Base:  # what agents put there says that it comes from elsewhere
                return getattr(vars(cls)[attr], "__module__", None) not in (None, Base.run.__module__)
            return cls is not object
    return False


def setup_worker_optimizations(app: Celery, hostname: str | None = None) -> None:
    """Nothing is left to do when a process of a worker begins and calls this; libraries put themselves around it."""


def reset_worker_optimizations(app: Celery | None = None) -> None:
    """The reverse of that."""


def build_tracer(
    name: str,
    task: Task,
    loader: Any = None,
    hostname: str | None = None,
    store_errors: bool = True,
    eager: bool = False,
    propagate: bool = False,
    app: Celery | None = None,
    **_: Any,
) -> Tracer:
    """A function ``(uuid, args, kwargs, request)`` that runs the task and answers a ``TraceOutcome``.

    Parameters:
        hostname: the node's name, for the request.
        eager: it runs in the caller's process; handler errors reach the caller.
        propagate: raise what the task raises, calling no failure handler.
    """
    from pyqs_celery_compat.loaders.base import has_task_hooks

    app = app or task.app
    loader = app.loader if loader is None else loader
    kind = _HookedTracer if has_task_hooks(loader) else _TaskTracer
    tracer = kind(name, task, app, hostname or socket.gethostname(), eager, propagate)
    if isinstance(tracer, _HookedTracer):
        tracer.loader = loader
    return tracer


class _TaskTracer:
    def __init__(self, name: str, task: Task, app: Celery, hostname: str, eager: bool, propagate: bool) -> None:
        self.name, self.task, self.app, self.hostname = name, task, app, hostname
        self.eager, self.propagate = eager, propagate
        self.call = task if task_has_custom(task, "__call__") else task.run
        self.handlers = frozenset(filter(lambda name: task_has_custom(task, name), _HANDLERS))
        backend = task.backend
        stores = getattr(backend, "stores", True) and (not eager or task.store_eager_result)
        #: Where results go; None keeps none.
        self.backend: Any = backend if stores else None
        self.tracks = bool(stores and task.track_started and not eager)
        self.deduplicates = bool(stores and task.acks_late and not eager and app.conf.worker_deduplicate_successful_tasks)

    def __call__(
        self, uuid: str, args: Any, kwargs: Mapping[str, Any], request: Mapping[str, Any] | None = None
    ) -> TraceOutcome:
        context: Context | None = None
        started = time.monotonic()
        try:
            if not hasattr(kwargs, "items"):
                raise InvalidTaskError("Task keyword arguments is not a mapping")
            values = dict(request or ())
            values["args"], values["kwargs"], values["called_directly"] = args, kwargs, False
            context = request_of(values)
            return self._run(uuid, args, kwargs, context, started)
        except (MemoryError, Reject):
            raise
        except Exception as exc:
            # Outside the body: a handler, a continuation that cannot be written, a bug of ours.
            if self.propagate or self.eager:
                raise
            self._internal_error(uuid, args, kwargs, request, exc)
            info, retval = self._failed(context or Context(id=uuid), exc, internal=True)
            return TraceOutcome(retval, info, time.monotonic() - started, None)

    def _run(self, uuid: str, args: Any, kwargs: Any, context: Context, started: float) -> TraceOutcome:
        task = self.task
        state: str | None = None
        retval: Any = None
        _task_stack.push(task)
        task.request_stack.push(context)
        try:
            # What nobody hears of, and nothing that is not there, is not called: this runs for each message.
            if signals.task_prerun.receivers:
                signals.task_prerun.send(sender=task, task_id=uuid, task=task, args=args, kwargs=kwargs)
            info, retval = self._call_body(uuid, args, kwargs, context)
            if info is None and (context.callbacks or context.chain or self.backend is not None):
                info, retval = self._continue(uuid, context, retval)
            runtime = time.monotonic() - started
            if info is None:
                state = states.SUCCESS
                retstr = self._succeeded(uuid, args, kwargs, context, retval, runtime)
                outcome = TraceOutcome(retval, None, runtime, retstr)
            else:
                state = info.state
                outcome = TraceOutcome(retval, info, runtime, None)
                retval = info.retval
            if "after_return" in self.handlers and state not in IGNORE_STATES:
                self._handler("after_return", uuid, state, retval, uuid, args, kwargs, None)
            return outcome
        finally:
            try:
                if signals.task_postrun.receivers:
                    signals.task_postrun.send(
                        sender=task, task_id=uuid, task=task, args=args, kwargs=kwargs, retval=retval, state=state
                    )
            finally:
                _task_stack.pop()
                task.request_stack.pop()

    def _call_body(self, uuid: str, args: Any, kwargs: Any, context: Context) -> tuple[TraceInfo | None, Any]:
        try:
            if self.deduplicates and (context.delivery_info or {}).get("redelivered"):
                known = self._known(uuid)
                if known is not None:
                    data = self._data(context, description="Task already completed successfully.")
                    logger.info(LOG_IGNORED, data, extra={"data": data})
                    return None, known.get("result")
            if self.tracks and not retrying.actual_ignore_result(self.task, context):
                self._store(uuid, self.backend.mark_as_started, uuid, pid=os.getpid(), hostname=self.hostname)
            if "before_start" in self.handlers:
                self.task.before_start(uuid, args, kwargs)
            answer = self.call(*args, **kwargs)
            if isinstance(answer, Coroutine):
                answer = coroutines.run(answer, self.name, keep=not self.eager)
            return None, answer
        except Reject as exc:
            return self._stopped(context, states.REJECTED, exc, logging.WARNING, LOG_REJECTED)
        except Ignore as exc:
            return self._stopped(context, states.IGNORED, exc, logging.INFO, LOG_IGNORED)
        except Retry as exc:
            if self.propagate:
                raise
            return self._retried(context, exc)
        except Exception as exc:
            if self.propagate:
                raise
            return self._failed(context, exc)

    def _continue(self, uuid: str, context: Context, retval: Any) -> tuple[TraceInfo | None, Any]:
        """Publish what follows and store the result; one that cannot be written makes the task a failed one, as in Celery."""
        from kombu.exceptions import EncodeError, OperationalError

        try:
            if context.callbacks or context.chain:
                continuations.on_success(self.app, context, retval, uuid)
            if self.backend is not None:
                stored = not retrying.actual_ignore_result(self.task, context)
                self._store(uuid, self.backend.mark_as_done, uuid, retval, context, stored)
        except (EncodeError, OperationalError, ResultTooLarge) as exc:
            if self.propagate:
                raise
            return self._failed(context, exc)
        return None, retval

    def _succeeded(self, uuid: str, args: Any, kwargs: Any, context: Context, retval: Any, runtime: float) -> str:
        retstr = shorten(retval, self.task.resultrepr_maxsize)
        if "on_success" in self.handlers:
            self._handler("on_success", uuid, retval, uuid, args, kwargs)
        if signals.task_success.receivers:
            signals.task_success.send(sender=self.task, result=retval, runtime=runtime)
        if logger.isEnabledFor(logging.INFO):
            data = self._data(context, return_value=retstr, runtime=runtime)
            logger.info(LOG_SUCCESS, data, extra={"data": data})
        return retstr

    def _handler(self, handler: str, uuid: str, *arguments: Any) -> None:
        """A handler of a task that has ended: its error is logged, because the outcome stands already."""
        try:
            getattr(self.task, handler)(*arguments)
        except (Reject, MemoryError):
            raise
        except Exception as exc:
            if self.eager:
                raise
            logger.exception("Task %s[%s] %s handler raised: %r", self.name, uuid, handler, exc)

    # -- the other ends -----------------------------------------------------------------------------------------
    def _stopped(self, context: Context, state: str, exc: Exception, level: int, form: str) -> tuple[TraceInfo, ExceptionInfo]:
        einfo = ExceptionInfo.of(exc, internal=True)
        description = "rejected" if state == states.REJECTED else "ignored"
        data = self._data(context, exc=safe_repr(exc), description=description, internal=True)
        logger.log(level, form, data, extra={"data": data}, exc_info=exc if level > logging.INFO else None)
        return TraceInfo(state, exc), einfo

    def _retried(self, context: Context, exc: Retry) -> tuple[TraceInfo, ExceptionInfo]:
        einfo = ExceptionInfo.of(exc)
        if self.backend is not None:
            mark = self.backend.mark_as_retry
            try:
                self._store(
                    context.id, mark, context.id, exc.exc, einfo.traceback, context, storing.stores_errors(self.task, context)
                )
            except ResultNotStored:
                pass  # it is logged; the next run is on its way, and its state will be the news
        self.task.on_retry(exc.exc, context.id, context.args, context.kwargs, einfo)
        signals.task_retry.send(sender=self.task, request=context, reason=exc, einfo=einfo)
        data = self._data(context, exc=str(exc))
        logger.info(LOG_RETRY, data, extra={"data": data})
        return TraceInfo(states.RETRY, exc), einfo

    def _failed(self, context: Context, exc: BaseException, *, internal: bool = False) -> tuple[TraceInfo, ExceptionInfo]:
        heard = self.eager or self.backend is not None or signals.task_failure.receivers or "on_failure" in self.handlers
        einfo = _pickleable(exc) if heard else ExceptionInfo.of(exc)
        if self.backend is not None:
            stored = storing.stores_errors(self.task, context)
            mark = self.backend.mark_as_failure
            try:
                self._store(context.id, mark, context.id, einfo.raised, einfo.traceback, context, stored, call_errbacks=False)
            except ResultTooLarge as larger:  # what the exception holds, or its traceback
                self._store(context.id, mark, context.id, larger, None, context, stored, call_errbacks=False)
        continuations.on_failure(self.app, self.name, context, exc, einfo)
        self.task.on_failure(einfo.raised, context.id, context.args, context.kwargs, einfo)
        signals.task_failure.send(
            sender=self.task, task_id=context.id, exception=einfo.raised, args=context.args, kwargs=context.kwargs,
            traceback=exc.__traceback__, einfo=einfo,
        )  # fmt: skip
        expected = not internal and isinstance(exc, tuple(self.task.throws))
        level = logging.CRITICAL if internal else logging.INFO if expected else logging.ERROR
        what = "INTERNAL ERROR" if internal else "raised expected" if expected else "raised unexpected"
        data = self._data(context, exc=safe_repr(exc), traceback=einfo.traceback, description=what, internal=False)
        logger.log(level, LOG_FAILURE, data, extra={"data": data}, exc_info=None if expected else exc)
        return TraceInfo(states.FAILURE, exc), einfo

    def _known(self, uuid: str) -> dict[str, Any] | None:
        """What is kept of a call that has succeeded already: its body is not run again, what follows it is sent again."""
        try:
            meta: dict[str, Any] = self.backend.get_task_meta(uuid)
        except Exception as exc:
            logger.warning("Task %s[%s]: whether it has succeeded before cannot be read: %r", self.name, uuid, exc)
            return None
        return meta if meta.get("status") == states.SUCCESS else None

    def _store(self, uuid: Any, store: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Tell the backend; in place there is no message that could stay, so whatever it raises is the caller's."""
        if self.eager:
            store(*args, **kwargs)
        else:
            storing.stored(uuid, self.name, store, *args, **kwargs)

    def _internal_error(self, uuid: str, args: Any, kwargs: Any, request: Any, exc: Exception) -> None:
        signals.task_internal_error.send(
            sender=self.task, task_id=uuid, args=args, kwargs=kwargs, request=request, exception=exc,
            traceback=exc.__traceback__, einfo=ExceptionInfo.of(exc),
        )  # fmt: skip

    def _data(self, context: Context, **more: Any) -> dict[str, Any]:
        """What log handlers find as ``record.data``: names Celery's users rely on."""
        return {
            "hostname": context.hostname or self.hostname,
            "id": context.id,
            "name": context.shadow or self.name,
            "args": context.get("argsrepr") or LazyRepr(context.args),
            "kwargs": context.get("kwargsrepr") or LazyRepr(context.kwargs),
            "pid": os.getpid(),
            **more,
        }


class _HookedTracer(_TaskTracer):
    """The same for an app whose loader wants to know when a task begins and has ended."""

    loader: Any

    def __call__(
        self, uuid: str, args: Any, kwargs: Mapping[str, Any], request: Mapping[str, Any] | None = None
    ) -> TraceOutcome:
        try:
            return super().__call__(uuid, args, kwargs, request)
        finally:
            if not self.eager:
                self._cleanup(uuid)

    def _call_body(self, uuid: str, args: Any, kwargs: Any, context: Context) -> tuple[TraceInfo | None, Any]:
        self.loader.on_task_init(uuid, self.task)
        return super()._call_body(uuid, args, kwargs, context)

    def _cleanup(self, uuid: str) -> None:
        try:
            self.loader.on_process_cleanup()
        except Exception as exc:  # the task has ended, whatever this is
            logger.error("Process cleanup failed: %r", exc, exc_info=True)


def _pickleable(exc: BaseException) -> ExceptionInfo:
    """As handlers and signals of a failure get it: with an exception that can be pickled."""
    from pyqs_celery_compat.utils.serialization import get_pickleable_exception

    einfo = ExceptionInfo.of(exc)
    einfo.raised = get_pickleable_exception(exc)
    return einfo


class LazyRepr:
    """The repr of a value, made only if a log format asks for it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return safe_repr(self.value)


def safe_repr(value: Any) -> str:
    """``repr`` that does not raise."""
    try:
        return repr(value)
    except Exception as exc:
        return f"<{type(value).__name__}: repr raised {type(exc).__name__}>"


def shorten(value: Any, limit: int) -> str:
    """``safe_repr`` cut to a number of characters."""
    text = safe_repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
