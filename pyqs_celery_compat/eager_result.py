"""The result of a call that was run in place.

Owns: ``EagerResult``. Lives in the caller's process. It has its value, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyqs_celery_compat import states
from pyqs_celery_compat.exceptions import TaskRevokedError
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result import AsyncResult, assert_will_not_block


class EagerResult(AsyncResult):
    """The result of a task that was run in place.

    Parameters:
        id: task id, may be None. ret_value: what it returned, or the exception. state: how it ended. traceback: as text.
    """

    def __init__(
        self, id: str | None, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        self.id = id  # type: ignore[assignment]
        self._result, self._state, self._traceback, self._name = ret_value, state, traceback, name
        self.task_name = name
        self.parent = None
        self._ignored = False
        self._promise = None

    def _get_task_meta(self) -> dict[str, Any]:
        return {
            "task_id": self.id, "result": self._result, "status": self._state, "traceback": self._traceback, "name": self._name,
        }  # fmt: skip

    @property
    def _cache(self) -> dict[str, Any]:  # type: ignore[override]
        return self._get_task_meta()

    def then(self, callback: Callable[[Any], Any], on_error: Any = None, weak: bool = False) -> Any:
        """It is there: the callback is called with this result at once."""
        return callback(self)

    def get(  # type: ignore[override]  # Celery's signature
        self, timeout: float | None = None, propagate: bool = True, disable_sync_subtasks: bool = True, **kwargs: Any
    ) -> Any:
        """The return value; raises what the task raised (``propagate=False`` answers it)."""
        if disable_sync_subtasks:
            assert_will_not_block()
        if self.successful():
            return self._result
        if self._state in states.PROPAGATE_STATES:
            if propagate:
                raise self._result if isinstance(self._result, BaseException) else Exception(self._result)
            return self._result
        return None

    wait = get  # type: ignore[assignment]

    def ready(self) -> bool:
        """Always."""
        return True

    def forget(self) -> None:
        """Nothing was stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Too late to stop it; it only counts as revoked."""
        self._state, self._result, self._traceback = states.REVOKED, TaskRevokedError("revoked"), None

    @property
    def supports_native_join(self) -> bool:
        """There is nothing to wait for."""
        return False

    def __copy__(self) -> EagerResult:
        return type(self)(self.id, self._result, self._state, self._traceback, self._name)

    def __reduce__(self) -> tuple[Any, ...]:
        return EagerResult, (self.id, self._result, self._state, self._traceback, self._name)

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"


belongs_to("celery.result", EagerResult)
