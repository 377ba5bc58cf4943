"""What every result backend has: states, failures as data, waiting.

Owns: ``Backend``, of which a store is made by the methods that raise NotImplementedError here. Lives in the process that calls
a task and in the one that runs it. Never publishes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import exceptions, states
from pyqs_celery_compat._state import get_current_task
from pyqs_celery_compat.chord_parts import ChordParts
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_values import Values
from pyqs_celery_compat.result_waiting import SyncBackendMixin
from pyqs_celery_compat.utils.functional import LRUCache
from pyqs_celery_compat.utils.time import get_exponential_backoff_interval

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.request import Context


class ResultTooLarge(exceptions.BackendStoreError):
    """A result is larger than its backend takes, whenever it is tried."""


class _nulldict(dict[str, Any]):  # noqa: N801 - Celery's name
    """A cache that keeps nothing."""

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        """What would write."""

    __setitem__ = update = setdefault = _nothing


class Backend(Values, SyncBackendMixin, ChordParts):
    """A result backend.

    Parameters:
        serializer: of results, by name; default ``result_serializer``.
        expires: seconds, a timedelta, or None for ``result_expires``.
        accept: content types by name; default ``result_accept_content``, else ``accept_content``.
        url: where it is.
    """

    UNREADY_STATES = states.UNREADY_STATES

    #: Whether it keeps anything.
    stores = True
    #: Whether one object serves several threads.
    thread_safe = False
    supports_native_join = False
    #: It keeps which calls are revoked: it has ``add_revoked`` and ``revoked_since``, as ``backends.redis_revoked``; and it is
    #: where they are kept if ``revoke_store`` says nothing.
    keeps_revoked = keeps_revoked_unasked = False
    supports_autoexpire = False
    persistent = True
    subpolling_interval: float | None = None

    def __init__(
        self,
        app: Celery,
        serializer: str | None = None,
        max_cached_results: int | None = None,
        accept: Iterable[str] | None = None,
        expires: float | timedelta | None = None,
        expires_type: Any = None,
        url: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.url = url
        conf = app.conf
        self.thread_safe = bool(conf.get("result_backend_thread_safe", self.thread_safe))
        if conf.result_failure_expires is not None:
            said = f"{type(self).__name__} does not support result_failure_expires: result_expires is for all"
            warnings.warn(said, UserWarning, stacklevel=3)
        self._set_up_values(serializer, accept)
        most = max_cached_results or conf.result_cache_max
        #: What ended, as it was last read; ``result_cache_max`` of them.
        self._cache: Any = _nulldict() if most == -1 else LRUCache(limit=most)  # type: ignore[no-untyped-call]
        self.expires = self.prepare_expires(expires, expires_type)
        #: Seconds for which what is kept of a chord stays.
        self.chord_expires: Any = self.expires if conf.result_chord_expires is None else conf.result_chord_expires
        #: ``result_backend_always_retry`` and what belongs to it; the pauses in milliseconds.
        self.always_retry = bool(conf.result_backend_always_retry)
        self.max_retries: float = conf.result_backend_max_retries
        self.base_sleep_between_retries_ms: int = conf.result_backend_base_sleep_between_retries_ms
        self.max_sleep_between_retries_ms: int = conf.result_backend_max_sleep_between_retries_ms

    # -- what a store does --------------------------------------------------------------------------------------
    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Context | None = None, **kwargs: Any
    ) -> None:
        """Keep a state. What is not JSON has been made so, where the serializer needs it."""
        raise NotImplementedError

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        """What is kept of a task; of an unknown one ``{"status": "PENDING", "result": None}``."""
        raise NotImplementedError

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError("backend does not implement forget.")

    def _save_group(self, group_id: str, result: Any) -> Any:
        raise NotImplementedError

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        raise NotImplementedError

    def _delete_group(self, group_id: str) -> None:
        raise NotImplementedError

    # -- how a task ended ---------------------------------------------------------------------------------------
    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """It runs."""
        return self.store_result(task_id, meta, states.STARTED)

    def mark_as_done(
        self, task_id: str, result: Any, request: Context | None = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        """It returned this."""
        if store_result:
            self.store_result(task_id, result, state, request=request)
        if request is not None and request.chord:
            self.on_chord_part_return(request, state, result)

    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: str | None = None,
        request: Context | None = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """It raised this; what should have followed it in its chain has failed with it."""
        if store_result:
            self.store_result(task_id, exc, state, traceback=traceback, request=request)
        if request is None:
            return
        if request.chord:
            self.on_chord_part_return(request, state, exc)
        self._fail_chain(request.chain, exc, traceback, store_result, state)
        if call_errbacks and request.errbacks:
            from pyqs_celery_compat import continuations
            from pyqs_celery_compat.einfo import ExceptionInfo

            continuations.on_failure(self.app, str(request.get("task")), request, exc, ExceptionInfo.of(exc))

    def mark_as_revoked(
        self, task_id: str, reason: str = "", request: Context | None = None, store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:  # fmt: skip
        """It will not run."""
        self.mark_as_failure(task_id, exceptions.TaskRevokedError(reason), None, request, store_result, False, state)

    def mark_as_retry(
        self, task_id: str, exc: BaseException, traceback: str | None = None, request: Context | None = None,
        store_result: bool = True, state: str = states.RETRY,
    ) -> Any:  # fmt: skip
        """It will run again."""
        return self.store_result(task_id, exc, state, traceback=traceback, request=request) if store_result else None

    def fail_from_current_stack(self, task_id: Any, exc: BaseException | None = None) -> Any:
        """The exception being handled is how it ended; answers its ExceptionInfo."""
        from pyqs_celery_compat.einfo import ExceptionInfo

        einfo = ExceptionInfo.of(exc) if exc is not None else ExceptionInfo()
        assert einfo.raised is not None
        self.mark_as_failure(task_id, einfo.raised, einfo.traceback)
        return einfo

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Context | None = None, **kwargs: Any
    ) -> Any:
        """Keep a state with its result; answers the result as it is kept."""
        result = self.encode_result(result, state)
        self._tried(
            lambda: self._store_result(task_id, result, state, traceback, request=request, **kwargs),
            lambda: exceptions.BackendStoreError("failed to store result on the backend", task_id=task_id, state=state),
        )
        return result

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether another try may help after this one, with ``result_backend_always_retry``."""
        return False

    def _sleep(self, amount: float) -> None:
        time.sleep(amount)

    def _tried(self, call: Callable[[], Any], given_up: Callable[[], Exception]) -> Any:
        """What a call to the store answers; with ``always_retry`` called again, and ``given_up`` when that has an end."""
        retries = 0
        while True:
            try:
                return call()
            except Exception as exc:
                if not (self.always_retry and self.exception_safe_to_retry(exc)):
                    raise
                if retries >= self.max_retries:
                    raise given_up() from exc
            pause = get_exponential_backoff_interval(
                self.base_sleep_between_retries_ms, retries, self.max_sleep_between_retries_ms, True
            )
            self._sleep(pause / 1000)
            retries += 1

    # -- what is kept of one ------------------------------------------------------------------------------------
    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """All that is known of it; with ``result_cache_max`` and ``cache`` what was known of a task that succeeded."""
        if cache and task_id in self._cache:
            known: dict[str, Any] = self._cache[task_id]
            return known
        meta = self.meta_from_decoded(
            self._tried(
                lambda: self._get_task_meta_for(task_id),
                lambda: exceptions.BackendGetMetaError("failed to get meta", task_id=task_id),
            )
        )
        if cache and meta.get("status") == states.SUCCESS:
            self._cache[task_id] = meta
        return meta

    def get_state(self, task_id: str) -> str:
        """Its state."""
        return self.get_task_meta(task_id)["status"]  # type: ignore[no-any-return]

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        """What it returned, or raised."""
        return self.get_task_meta(task_id).get("result")

    def get_traceback(self, task_id: str) -> str | None:
        """Its traceback, as text."""
        return self.get_task_meta(task_id).get("traceback")

    def get_children(self, task_id: str) -> Any:
        """Results of what it called."""
        return self.get_task_meta(task_id).get("children")

    def forget(self, task_id: str) -> None:
        """Keep nothing of it."""
        self._cache.pop(task_id, None)
        self._forget(task_id)

    def is_cached(self, task_id: str) -> bool:
        """Whether it is known to have succeeded."""
        return task_id in self._cache

    def task_result_exists(self, task_id: str) -> bool:
        """Whether anything is kept of it."""
        return bool(self._get_task_meta_for(task_id)["status"] != states.PENDING)

    def reload_task_result(self, task_id: str) -> None:
        """Read it anew, whatever was known."""
        self._cache[task_id] = self.get_task_meta(task_id, cache=False)

    def reload_group_result(self, group_id: str) -> None:
        """The same for a group."""
        self._cache[group_id] = self.get_group_meta(group_id, cache=False)

    # -- groups and chords --------------------------------------------------------------------------------------
    def save_group(self, group_id: str, result: Any) -> Any:
        """Keep which results a group has."""
        return self._save_group(group_id, result)

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        """The group's result, or None."""
        meta = self.get_group_meta(group_id, cache)
        return None if meta is None else meta["result"]

    def get_group_meta(self, group_id: str, cache: bool = True) -> dict[str, Any] | None:
        """What is kept of a group, or None."""
        if cache and group_id in self._cache:
            known: dict[str, Any] = self._cache[group_id]
            return known
        meta = self._restore_group(group_id)
        if cache and meta is not None:
            self._cache[group_id] = meta
        return meta

    def delete_group(self, group_id: str) -> None:
        """Keep nothing of a group."""
        self._cache.pop(group_id, None)
        self._delete_group(group_id)

    # -- what is kept of a task --------------------------------------------------------------------------------
    def prepare_expires(self, value: Any, type: Any = None) -> Any:
        """Seconds after which a result may go, or None for never."""
        value = self.app.conf.result_expires if value is None else value
        if isinstance(value, timedelta):
            value = value.total_seconds()
        return type(value) if value is not None and type else value

    def current_task_children(self, request: Context | None = None) -> list[Any] | None:
        """What the running task has called, as what finds the results again; None where none runs."""
        task = get_current_task()
        request = request or (task.request if task is not None else None)
        return [child.as_tuple() for child in getattr(request, "_children", None) or ()] if request is not None else None

    def _get_result_meta(
        self, result: Any, state: str, traceback: str | None, request: Context | None, format_date: bool = True, **_: Any
    ) -> dict[str, Any]:
        """What is kept of a task, without its id."""
        done: Any = datetime.now(timezone.utc) if state in self.READY_STATES else None
        meta = {
            "status": state,
            "result": result,
            "traceback": traceback,
            "children": self.current_task_children(request),
            "date_done": done.isoformat() if done is not None and format_date else done,
        }
        if request is not None:
            family = {"group_id": request.group, "parent_id": request.parent_id}
            meta.update({key: value for key, value in family.items() if value})
            if self.app.conf.result_extended:
                meta.update(self._extended(request))
        return meta

    @staticmethod
    def _extended(request: Context) -> dict[str, Any]:
        stamped = request.stamped_headers or ()
        stamps = {name: (request.stamps or {}).get(name) for name in stamped}
        return {
            **({"stamped_headers": list(stamped), **stamps} if stamped else {}),
            "name": request.get("task"),
            "args": request.args,
            "kwargs": request.kwargs,
            "worker": request.hostname,
            "retries": request.retries,
            "queue": (request.delivery_info or {}).get("routing_key"),
        }

    # -- housekeeping -------------------------------------------------------------------------------------------
    def on_task_call(self, producer: Any, task_id: str) -> Mapping[str, Any]:
        """A task is about to be published."""
        return {}

    def cleanup(self) -> None:
        """Delete what has expired; where it goes by itself there is nothing to do."""

    def process_cleanup(self) -> None:
        """A process that ran a task is done with it."""

    def as_uri(self, include_password: bool = False) -> str:
        """Where it is, without a password unless that is asked for."""
        from kombu.utils.url import maybe_sanitize_url

        url = self.url or ""
        shown: str = url if include_password else maybe_sanitize_url(url)
        return shown.removesuffix("/") if shown.endswith(":///") else shown


BaseBackend = BaseDictBackend = Backend


belongs_to("celery.backends.base", Backend)
