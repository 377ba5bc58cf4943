"""What a call answers: its id, and, once there are result backends, its result.

Owns: ``AsyncResult``, ``EagerResult``, ``DisabledBackend``. Lives in the caller's process. No result is stored anywhere
yet: reading one raises what Celery raises without a backend, it never waits for what cannot come.
"""

from __future__ import annotations

import types
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from pyqs_celery_compat import states
from pyqs_celery_compat._state import app_or_default

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

NO_BACKEND = "No result backend is configured.\nPlease see the documentation for more information."
NOT_YET = "result_backend is set, but this version of pyqs_celery_compat has no result backends: results are not stored."


class NoBackendError(NotImplementedError, AttributeError):
    """There is no result backend. Celery raises one of the two, depending on what is asked."""


class DisabledBackend:
    """The backend of an app without one: forgets what it is told, has nothing to tell."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Store nothing, as Celery does without a backend."""

    def process_cleanup(self) -> None:
        """Nothing to clean."""

    def _is_disabled(self, *args: Any, **kwargs: Any) -> NoReturn:
        configured = self.app.conf.result_backend not in (None, "", "disabled", "disabled://")
        raise NoBackendError(NOT_YET if configured else NO_BACKEND)

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        """``disabled://``."""
        return "disabled://"

    get_state = get_status = get_result = get_traceback = get_task_meta_for = wait_for = get_many = _is_disabled


class AsyncResult:
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
        self.ignored: bool | None = None

    @property
    def task_id(self) -> str:
        """The id."""
        return self.id

    def get(self, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        """Wait for the result. Without a backend: NotImplementedError; None for a call that ignores its result."""
        if self.ignored:
            return None
        return self.backend.wait_for(self, timeout=timeout, **kwargs)

    wait = get

    @property
    def state(self) -> str:
        """The state. Raises NotImplementedError without a backend."""
        return self.backend.get_state(self.id)  # type: ignore[no-any-return]

    status = state

    @property
    def result(self) -> Any:
        """The return value or the exception. Raises NotImplementedError without a backend."""
        return self.backend.get_result(self.id)

    info = result

    def ready(self) -> bool:
        """True if the task has ended. Raises NotImplementedError without a backend."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """True if it succeeded."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """True if it failed."""
        return self.state == states.FAILURE

    def forget(self) -> None:
        """Forget the result."""
        self.backend.get_result(self.id)

    def as_tuple(self) -> Any:
        """``((id, parent), None)``."""
        return (self.id, self.parent and self.parent.as_tuple()), None

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

    def __reduce__(self) -> tuple[Any, ...]:
        return AsyncResult, (self.id, None, self.task_name, None, self.parent)

    __class_getitem__: Any = classmethod(types.GenericAlias)


class EagerResult(AsyncResult):
    """The result of a task that was run in place.

    Parameters:
        id: task id, may be None. ret_value: what it returned, or the exception. state: how it ended. traceback: as text.
    """

    def __init__(
        self, id: str | None, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        self.id = id  # type: ignore[assignment]
        self._result, self._state, self._traceback = ret_value, state, traceback
        self.task_name = name
        self.parent = None
        self.ignored = None
        self.on_ready: list[Any] = []
        self.date_done = datetime.now(timezone.utc) if state in states.READY_STATES else None

    def get(
        self, timeout: float | None = None, propagate: bool = True, disable_sync_subtasks: bool = True, **kwargs: Any
    ) -> Any:
        """The return value; raises what the task raised (``propagate=False`` answers it)."""
        if self.successful():
            return self._result
        if self._state in states.PROPAGATE_STATES:
            if propagate:
                raise self._result if isinstance(self._result, BaseException) else Exception(self._result)
            return self._result
        return None

    wait = get

    @property
    def state(self) -> str:
        """How it ended."""
        return self._state

    status = state

    @property
    def result(self) -> Any:
        """The return value or the exception."""
        return self._result

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback as text."""
        return self._traceback

    def ready(self) -> bool:
        """Always."""
        return True

    def forget(self) -> None:
        """Nothing was stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Too late to stop it; it only counts as revoked."""
        self._state = states.REVOKED

    def __reduce__(self) -> tuple[Any, ...]:
        return EagerResult, (self.id, self._result, self._state, self._traceback, self.task_name)

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"
