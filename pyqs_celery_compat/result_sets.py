"""Several results as one: ``ResultSet`` and ``GroupResult``.

Owns: those classes. Lives in the caller's process. Asks for one result after the other; stores only which ones belong together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import states
from pyqs_celery_compat._state import app_or_default
from pyqs_celery_compat.exceptions import ImproperlyConfigured, TimeoutError
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result import ResultBase, assert_will_not_block

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


class ResultSet(ResultBase):
    """Several results.

    Parameters:
        results: AsyncResults, in the order in which their values are wanted.
    """

    def __init__(self, results: Iterable[Any], app: Celery | None = None, ready_barrier: Any = None, **kwargs: Any) -> None:
        self._app = app
        self.results: list[Any] = list(results)

    @property
    def app(self) -> Celery:
        """Its app, or that of its first result."""
        if self._app is None:
            self._app = self.results[0].app if self.results else app_or_default()
        return self._app

    @app.setter
    def app(self, app: Celery) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        """Where the results are."""
        return self.app.backend if not self.results else self.results[0].backend

    # -- which ones -----------------------------------------------------------------------------------------------
    def add(self, result: Any) -> None:
        """One more, if it is not in it."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """One less, by itself or its id. Raises KeyError if it is not in it."""
        try:
            self.results.remove(self.app.AsyncResult(result) if isinstance(result, str) else result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """The same, without an error."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Those of them that are not in it."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """None are left."""
        self.results[:] = []

    # -- how they are ---------------------------------------------------------------------------------------------
    def successful(self) -> bool:
        """All have succeeded."""
        return all(result.successful() for result in self.results)

    def failed(self) -> bool:
        """One has failed."""
        return any(result.failed() for result in self.results)

    def waiting(self) -> bool:
        """One has not ended."""
        return any(not result.ready() for result in self.results)

    def ready(self) -> bool:
        """All have ended."""
        return all(result.ready() for result in self.results)

    def completed_count(self) -> int:
        """How many have succeeded."""
        return sum(int(result.successful()) for result in self.results)

    def maybe_throw(self, callback: Any = None, propagate: bool = True) -> None:
        """Raise what the first of them that failed has raised."""
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def then(self, callback: Callable[[Any], Any], on_error: Any = None, weak: bool = False) -> Any:
        """Have the callback called with this set when the ends of all that are in it now are read; see ``AsyncResult.then``."""
        from vine import barrier

        every = barrier([result.on_ready for result in self.results], (self,))
        return every.then(callback, on_error)

    def forget(self) -> None:
        """Have all forgotten."""
        for result in self.results:
            result.forget()

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Ask the workers to run none of them; see ``app.control.revoke``."""
        ids = [result.id for result in self.results]
        self.app.control.revoke(ids, connection=connection, timeout=timeout, terminate=terminate, signal=signal, reply=wait)

    @property
    def supports_native_join(self) -> bool:
        """Whether the backend can wait for all at once."""
        return bool(self.results) and bool(self.results[0].supports_native_join)

    # -- waiting --------------------------------------------------------------------------------------------------
    def get(
        self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5, callback: Any = None,
        no_ack: bool = True, on_message: Any = None, disable_sync_subtasks: bool = True, on_interval: Any = None,
    ) -> list[Any]:  # fmt: skip
        """``join_native`` where the backend can wait for all at once, else ``join``."""
        return (self.join_native if self.supports_native_join else self.join)(
            timeout=timeout, propagate=propagate, interval=interval, callback=callback, no_ack=no_ack, on_message=on_message,
            disable_sync_subtasks=disable_sync_subtasks, on_interval=on_interval,
        )  # fmt: skip

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Any = None,
        disable_sync_subtasks: bool = True,
        on_interval: Any = None,
    ) -> list[Any]:
        """Wait for all and answer their values, in their order; nothing where a callback gets them, with the ids.

        Raises:
            TimeoutError: not all are there within ``timeout`` seconds. What the first of them to fail has raised.
        """
        if on_message is not None:
            raise ImproperlyConfigured("join() hears no messages: on_message is for backends that wait for many at once")
        if disable_sync_subtasks:
            assert_will_not_block()
        until = None if timeout is None else time.monotonic() + timeout
        values: list[Any] = []
        for result in self.results:
            left = None if until is None else max(0.0, until - time.monotonic())
            if left == 0.0 and not result.ready():
                raise TimeoutError("join operation timed out")
            value = result.get(
                timeout=left, propagate=propagate, interval=interval, no_ack=no_ack, on_interval=on_interval,
                disable_sync_subtasks=disable_sync_subtasks,
            )  # fmt: skip
            if callback is None:
                values.append(value)
            else:
                callback(result.id, value)
        return values

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """The same, waiting for all at once: the first failure seen is raised; None where a callback gets the values."""
        if disable_sync_subtasks:
            assert_will_not_block()
        values: dict[str, Any] = {}
        for task_id, found in self.iter_native(timeout, interval, no_ack, on_message, on_interval):
            if isinstance(found, list):  # of a set in it
                value: Any = [
                    one.get(
                        timeout=timeout, propagate=propagate, interval=interval, disable_sync_subtasks=disable_sync_subtasks
                    )
                    for one in found
                ]
            else:
                value = found["result"]
                if propagate and found["status"] in states.PROPAGATE_STATES:
                    raise value
            if callback is not None:
                callback(task_id, value)
            else:
                values[task_id] = value
        return None if callback is not None else [values.get(result.id) for result in self.results]

    def _failed_join_report(self) -> Iterator[Any]:
        """Those that are known to have failed."""
        return (one for one in self.results if one.backend.is_cached(one.id) and one.state in states.PROPAGATE_STATES)

    def iter_native(
        self, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True, on_message: Any = None,
        on_interval: Any = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
        """Each id with what is known of it, once it is there."""
        found: Iterator[tuple[str, dict[str, Any]]] = self.backend.iter_native(
            self, timeout=timeout, interval=interval, no_ack=no_ack, on_message=on_message, on_interval=on_interval
        )
        return found

    # -- as a value -----------------------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result) for result in self.results)}]>"

    __class_getitem__: Any = classmethod(GenericAlias)


class GroupResult(ResultSet):
    """The results of a group.

    Parameters:
        id: the group's.
        parent: of a chord's header what came before it.
    """

    def __init__(self, id: str | None = None, results: Iterable[Any] | None = None, parent: Any = None, **kwargs: Any) -> None:
        super().__init__(results or (), **kwargs)
        self.id = id
        self.parent = parent

    def save(self, backend: Any = None) -> Any:
        """Keep which results there are, so that ``restore`` finds them."""
        return (backend or self.backend).save_group(self.id, self)

    def delete(self, backend: Any = None) -> None:
        """Keep it no longer."""
        (backend or self.backend).delete_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Celery | None = None) -> Any:
        """What was saved of a group with this id, or None."""
        own: Any = None if isinstance(cls.app, property) else cls.app  # of an app's own class
        backend = backend or app_or_default(app or own).backend
        if backend is None:
            raise ImproperlyConfigured("a group can be restored from a result backend only")
        return backend.restore_group(id)

    def as_tuple(self) -> Any:
        """``((id, parent), [members])``."""
        return (self.id, self.parent and self.parent.as_tuple()), [result.as_tuple() for result in self.results]

    def as_list(self) -> list[Any]:
        """Its id, and those of what came before it."""
        return [self.id, *(() if self.parent is None else self.parent.as_list())]

    @property
    def children(self) -> list[Any]:
        """The results."""
        return self.results

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __hash__(self) -> int:  # type: ignore[override]  # a set has none, a group has its id's
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (other.id, other.results, other.parent) == (self.id, self.results, self.parent)
        return other == self.id if isinstance(other, str) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupResult, self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        return self.id, self.results, self.parent

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(str(result) for result in self.results)}]>"


belongs_to("celery.result", ResultSet, GroupResult)
