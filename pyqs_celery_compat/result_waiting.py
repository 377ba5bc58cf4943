"""Waiting for results by looking at them again and again, for backends that tell of nothing.

Owns: ``Waiting``, a part of every backend. Runs in the thread that waits. Never looks more often than who waits has said, and
not longer than it has said.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import exceptions, states

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

_EAGER = (
    "Results are not stored in backend and should not be retrieved when task_always_eager is enabled, unless "
    "task_store_eager_result is enabled."
)
#: Seconds until the second look at a result, where looks are cheap.
_FIRST_PAUSE = 0.005


class Waiting:
    """How a backend waits."""

    if TYPE_CHECKING:
        app: Celery

        def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
            """The backend's."""

    READY_STATES = states.READY_STATES
    TimeoutError = exceptions.TimeoutError
    #: Seconds between two looks at most, where a look costs next to nothing; None: what who waits says, as looks are paid for.
    longest_pause: float | None = None

    def wait_for(
        self, task_id: str, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True, on_interval: Any = None
    ) -> dict[str, Any]:
        """What is known of it once it has ended.

        Raises:
            celery.exceptions.TimeoutError: it has not within so many seconds.
        """
        self._ensure_not_eager()
        until = None if timeout is None else time.monotonic() + timeout
        most = interval if self.longest_pause is None else min(interval, self.longest_pause)
        pause = most if self.longest_pause is None else min(most, _FIRST_PAUSE)
        while True:
            meta = self.get_task_meta(task_id)
            if meta["status"] in self.READY_STATES:
                return meta
            if on_interval:
                on_interval()
            left = pause if until is None else min(pause, until - time.monotonic())
            if left <= 0:
                raise self.TimeoutError("The operation timed out.")
            time.sleep(left)
            pause = min(2 * pause, most)

    def wait_for_pending(
        self, result: Any, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True, on_interval: Any = None,
        callback: Any = None, propagate: bool = True,
    ) -> Any:  # fmt: skip
        """The same for an AsyncResult, which gets what is known; answers the return value or raises."""
        meta = self.wait_for(result.id, timeout, interval, no_ack, on_interval)
        result._maybe_set_cache(meta)
        return result.maybe_throw(propagate=propagate, callback=callback)

    def iter_native(
        self, result: Any, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True, on_message: Any = None,
        on_interval: Any = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
        """Each result of a set with its id, in their order, once it is there."""
        for one in result.results:
            yield one.id, self.wait_for(one.id, timeout, interval, no_ack, on_interval)

    def _ensure_not_eager(self) -> None:
        if self.app.conf.task_always_eager and not self.app.conf.task_store_eager_result:
            warnings.warn(_EAGER, RuntimeWarning, stacklevel=4)
