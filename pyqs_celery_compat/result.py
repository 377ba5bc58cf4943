"""What a call answers: its id, and, where there is a result backend, its result.

Owns: ``AsyncResult``. Lives in the caller's process. Reads results from the app's backend and stores none;
without a backend reading one raises what Celery raises, it never waits for what cannot come. Sets of results are in
``result_sets``, those of calls in place in ``eager_result``.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import _state, states
from pyqs_celery_compat._state import app_or_default
from pyqs_celery_compat.exceptions import IncompleteStream
from pyqs_celery_compat.naming import belongs_to

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

WOULD_BLOCK = """\
Never call result.get() within a task!
See https://docs.celeryq.dev/en/latest/userguide/tasks.html#avoid-launching-synchronous-subtasks
"""


def assert_will_not_block() -> None:
    """Raises where waiting for a result would hold up a worker."""
    if _state.task_join_will_block():
        raise RuntimeError(WOULD_BLOCK)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Inside, a task may wait for another's result."""
    yield from _blocking(False)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Inside, it may not."""
    yield from _blocking(True)


def _blocking(blocks: bool) -> Iterator[None]:
    before = _state.task_join_will_block()
    _state._set_task_join_will_block(blocks)
    try:
        yield
    finally:
        _state._set_task_join_will_block(before)


class ResultBase:
    """What results and sets of them have in common."""

    parent: Any = None


class AsyncResult(ResultBase):
    """The result a call will have.

    Parameters:
        id: the task id. backend, task_name, app, parent: as in Celery.
    """

    app: Any = None

    def __init__(
        self, id: str, backend: Any = None, task_name: str | None = None, app: Celery | None = None, parent: Any = None
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self.app = app_or_default(app or self.app)
        self.id = id
        self.backend = backend or self.app.backend
        self.parent = parent
        self.task_name = task_name
        self._ignored = False
        #: What is known of it, once that is final.
        self._cache: dict[str, Any] | None = None
        #: Those who want to know when it is: a vine promise, made for the first of them.
        self._promise: Any = None

    @property
    def task_id(self) -> str:
        """The id."""
        return self.id

    @task_id.setter
    def task_id(self, value: str) -> None:
        self.id = value

    @property
    def ignored(self) -> bool:
        """Whether the call ignores its result, so that there is nothing to wait for."""
        return bool(getattr(self, "_ignored", False))

    @ignored.setter
    def ignored(self, value: bool) -> None:
        self._ignored = value

    # -- waiting --------------------------------------------------------------------------------------------------
    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Any = None,
        on_message: Any = None,
        on_interval: Any = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: Any = states.EXCEPTION_STATES,  # noqa: N803 - Celery's name
        PROPAGATE_STATES: Any = states.PROPAGATE_STATES,  # noqa: N803
    ) -> Any:
        """Wait for the result and answer it; None for a call that ignores its result.

        Parameters:
            timeout: seconds. interval: between two looks, in seconds.
            propagate: raise what the task raised, and with ``follow_parents`` what one before it in its chain did.

        Raises:
            TimeoutError: it is not there in time. NotImplementedError: there is no result backend.
        """
        if self.ignored:
            return None
        if disable_sync_subtasks:
            assert_will_not_block()
        if self._cache is not None:
            if propagate:
                self.maybe_throw(callback=callback)
            return self.result
        of_parents = propagate and follow_parents and self.parent is not None
        if of_parents:
            self._throw_of_parents()
        try:
            return self.backend.wait_for_pending(
                self,
                timeout=timeout,
                interval=interval,
                no_ack=no_ack,
                on_interval=on_interval,
                propagate=propagate,
                callback=callback,
            )
        except Exception:
            if of_parents and self._cache is not None:
                self._throw_of_parents()  # what the header's task raised, rather than the body's ChordError of it
            raise

    def _throw_of_parents(self) -> None:
        for parent in self._parents():
            parent.maybe_throw()

    wait = get

    def maybe_throw(self, propagate: bool = True, callback: Any = None) -> Any:
        """Raise what the task raised; else answer what is known as its result."""
        meta = self._get_task_meta()
        state, value = meta["status"], meta.get("result")
        if state in states.PROPAGATE_STATES and propagate:
            raise value if isinstance(value, BaseException) else Exception(value)
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def throw(self, *args: Any, **kwargs: Any) -> Any:
        """``maybe_throw``."""
        return self.maybe_throw(*args, **kwargs)

    @property
    def on_ready(self) -> Any:
        """A vine promise that is fulfilled with this result when its end is read: by ``get``, ``ready`` and so on."""
        if self._promise is None:
            from vine import promise

            self._promise = promise()
            if self._cache is not None:
                self._promise(self)
        return self._promise

    def then(self, callback: Callable[[Any], Any], on_error: Any = None, weak: bool = False) -> Any:
        """Have the callback called with this result when its end is read, at once if it was: nothing waits in the background.

        Answers a vine promise."""
        self.backend.add_pending_result(self, weak=weak)
        return self.on_ready.then(callback, on_error)

    def exists(self) -> bool:
        """Whether the backend has anything of it. Raises NotImplementedError without one."""
        return bool(self.backend.task_result_exists(self.id))

    def forget(self) -> None:
        """Have it forgotten, and those before it."""
        self._cache = None
        if self.parent is not None:
            self.parent.forget()
        self.backend.forget(self.id)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Ask the workers not to run it; see ``app.control.revoke``."""
        self.app.control.revoke(self.id, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout)

    def revoke_by_stamped_headers(
        self,
        headers: Any,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Nobody hears it; see ``app.control.revoke_by_stamped_headers``."""
        self.app.control.revoke_by_stamped_headers(
            headers, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    # -- what is known --------------------------------------------------------------------------------------------
    def _get_task_meta(self) -> dict[str, Any]:
        if self._cache is None:
            meta: dict[str, Any] = self._maybe_set_cache(self.backend.get_task_meta(self.id))
            return meta
        return self._cache

    def _maybe_set_cache(self, meta: dict[str, Any] | None) -> Any:
        if meta and meta["status"] in states.READY_STATES:
            children = meta.get("children")
            if children:
                meta["children"] = [result_from_tuple(child, self.app) for child in children]
            self._cache = meta
            if self._promise is not None and not self._promise.ready:
                self._promise(self)
        return meta

    def _known(self, key: str) -> Any:
        return self._get_task_meta().get(key)

    @property
    def state(self) -> str:
        """The state. Raises NotImplementedError without a backend."""
        return self._get_task_meta()["status"]  # type: ignore[no-any-return]

    status = state

    @property
    def result(self) -> Any:
        """The return value or the exception. Raises NotImplementedError without a backend."""
        return self._known("result")

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback as text."""
        return self._known("traceback")  # type: ignore[no-any-return]

    @property
    def children(self) -> list[Any] | None:
        """Results of what the task has called."""
        return self._known("children")  # type: ignore[no-any-return]

    @property
    def date_done(self) -> datetime | None:
        """When it ended."""
        said = self._known("date_done")
        return datetime.fromisoformat(said) if isinstance(said, str) else said

    @property
    def name(self) -> str | None:
        """The task's name, with ``result_extended``."""
        return self._known("name")  # type: ignore[no-any-return]

    @property
    def args(self) -> Any:
        """Its arguments, with ``result_extended``."""
        return self._known("args")

    @property
    def kwargs(self) -> Any:
        """Its keyword arguments, with ``result_extended``."""
        return self._known("kwargs")

    @property
    def worker(self) -> str | None:
        """Who ran it, with ``result_extended``."""
        return self._known("worker")  # type: ignore[no-any-return]

    @property
    def retries(self) -> int | None:
        """How often it was run again, with ``result_extended``."""
        return self._known("retries")  # type: ignore[no-any-return]

    @property
    def queue(self) -> str | None:
        """Where it came from, with ``result_extended``."""
        return self._known("queue")  # type: ignore[no-any-return]

    def ready(self) -> bool:
        """True if the task has ended. Raises NotImplementedError without a backend."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """True if it succeeded."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """True if it failed."""
        return self.state == states.FAILURE

    @property
    def supports_native_join(self) -> bool:
        """Whether its backend can wait for many at once."""
        return bool(self.backend.supports_native_join)

    # -- what belongs to it ---------------------------------------------------------------------------------------
    def _parents(self) -> Iterator[Any]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Each (parent, result) of what it has called, and so on; IncompleteStream if one is not ready."""
        todo: deque[tuple[Any, Any]] = deque([(None, self)])
        while todo:
            parent, node = todo.popleft()
            yield parent, node
            if node.ready():
                todo.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """Each result of ``iterdeps`` with its value, waited for."""
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**kwargs)

    def get_leaf(self) -> Any:
        """The value of the last of ``iterdeps``."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def as_tuple(self) -> Any:
        """``((id, parent), None)``."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self) -> list[str]:
        """Its id, and those of what came before it."""
        return [self.id, *(() if self.parent is None else self.parent.as_list())]

    def __str__(self) -> str:
        return str(self.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return bool(other.id == self.id)
        return other == self.id if isinstance(other, str) else NotImplemented

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __copy__(self) -> AsyncResult:
        return type(self)(self.id, self.backend, self.task_name, self.app, self.parent)

    def __reduce__(self) -> tuple[Any, ...]:
        return AsyncResult, self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        return self.id, None, self.task_name, None, self.parent

    __class_getitem__: Any = classmethod(types.GenericAlias)


def result_from_tuple(r: Any, app: Celery | None = None) -> Any:
    """What ``as_tuple`` made, as a result again; a result as it is."""
    if isinstance(r, ResultBase):
        return r
    app = app_or_default(app)
    found, members = r
    task_id, parent = found if isinstance(found, (list, tuple)) else (found, None)
    parent = result_from_tuple(parent, app) if parent else None
    if members is None:
        return app.AsyncResult(task_id, parent=parent)
    return app.GroupResult(task_id, [result_from_tuple(member, app) for member in members], parent=parent)


def __getattr__(name: str) -> Any:
    """The sets, and results in place, which most programs do without."""
    home = {"ResultSet": "result_sets", "GroupResult": "result_sets", "EagerResult": "eager_result"}.get(name)
    if home is not None:
        return getattr(import_module(f"pyqs_celery_compat.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def task_join_will_block() -> bool:
    """Whether waiting for a result here holds up a worker."""
    return _state.task_join_will_block()


belongs_to("celery.result", ResultBase, AsyncResult)
