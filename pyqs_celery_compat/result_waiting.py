"""Waiting for results by looking at them again and again, for backends that tell of nothing.

Owns: ``SyncBackendMixin``, a part of every backend. Runs in the thread that waits. Never looks more often than who waits has
said, and not longer than it has said.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import exceptions, states
from pyqs_celery_compat.naming import belongs_to

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

_EAGER = (
    "Results are not stored in backend and should not be retrieved when task_always_eager is enabled, unless "
    "task_store_eager_result is enabled."
)
#: Seconds until the second look at a result, where looks are cheap.
_FIRST_PAUSE = 0.005


class SyncBackendMixin:
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
    ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        """The id of each result in a set and what is known of it, once it has ended; of a set in it, its results at once."""
        self._ensure_not_eager()
        ids: dict[str, None] = {}
        for one in result.results:
            if hasattr(one, "results"):
                yield one.id, one.results
            else:
                ids[one.id] = None
        yield from self.get_many(
            ids, timeout=timeout, interval=interval, no_ack=no_ack, on_message=on_message, on_interval=on_interval
        )

    def get_many(
        self, task_ids: Iterable[str], timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_message: Any = None, on_interval: Any = None, max_iterations: int | None = None, READY_STATES: Any = None,  # noqa: N803
    ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        """Each id and what is known of it, as they end.

        Parameters:
            interval: seconds between two rounds. max_iterations: rounds after which it stops with what there is.

        Raises:
            celery.exceptions.TimeoutError: not all have ended within so many seconds.
        """
        ready = self.READY_STATES if READY_STATES is None else READY_STATES
        until = None if timeout is None else time.monotonic() + timeout
        pause = interval if self.longest_pause is None else min(interval, self.longest_pause)
        left, rounds = dict.fromkeys(task_ids), 0
        while left:
            for task_id, meta in self._look_at(list(left)):
                if meta["status"] in ready:
                    del left[task_id]
                    if on_message is not None:
                        on_message(meta)
                    yield task_id, meta
            rounds += 1
            if not left or (max_iterations and rounds >= max_iterations):
                return
            if until is not None and time.monotonic() >= until:
                raise self.TimeoutError(f"Operation timed out ({timeout})")
            if on_interval:
                on_interval()
            time.sleep(pause)

    def _look_at(self, ids: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
        """What is known of each."""
        return ((task_id, self.get_task_meta(task_id)) for task_id in ids)

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:
        """Results are asked for, never waited for in the background."""
        return result

    def remove_pending_result(self, result: Any) -> Any:
        """The same."""
        return result

    @property
    def is_async(self) -> bool:
        """Whether somebody tells of results."""
        return False

    def _ensure_not_eager(self) -> None:
        if self.app.conf.task_always_eager and not self.app.conf.task_store_eager_result:
            warnings.warn(_EAGER, RuntimeWarning, stacklevel=4)


belongs_to("celery.backends.base", SyncBackendMixin)
