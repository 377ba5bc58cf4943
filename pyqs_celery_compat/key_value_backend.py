"""A result backend on anything that keeps a value under a key.

Owns: ``KeyValueStoreBackend``: Celery's keys and what is kept under them. Lives in the process that calls a task and in the one
that runs it. It does not count a chord's tasks yet. A success that is kept is never written over: a message that comes
twice must not take a result back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import states
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_backend import Backend

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.request import Context

#: What ends a prefix of all keys; where none of them does, "_" is added.
_AFTER_A_PREFIX = ":_-."


class KeyValueStoreBackend(Backend):
    """Keeps results as bytes under keys; a subclass says how."""

    task_keyprefix = "celery-task-meta-"
    group_keyprefix = "celery-taskset-meta-"
    chord_keyprefix = "chord-unlock-"

    def __init__(self, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        prefix = (app.conf.result_backend_transport_options or {}).get("global_keyprefix")
        if prefix:
            prefix = prefix if prefix[-1] in _AFTER_A_PREFIX else f"{prefix}_"
            for name in ("task_keyprefix", "group_keyprefix", "chord_keyprefix"):
                setattr(self, name, f"{prefix}{getattr(self, name)}")

    # -- what a store does --------------------------------------------------------------------------------------
    def get(self, key: str) -> bytes | None:
        """What is kept under a key, or None."""
        raise NotImplementedError("Must implement the get method.")

    def set(self, key: str, value: bytes | str) -> Any:
        """Keep it."""
        raise NotImplementedError("Must implement the set method.")

    def _set_with_state(self, key: str, value: Any, state: str) -> Any:
        """Keep it, knowing in which state its task is; subclasses of others' have one of the two."""
        return self.set(key, value)

    def incr(self, key: str) -> int:
        """Count one more, where ``implements_incr`` is set."""
        raise NotImplementedError("Does not implement incr")

    def delete(self, key: str) -> Any:
        """Keep it no longer."""
        raise NotImplementedError("Must implement the delete method")

    def mget(self, keys: Iterable[str]) -> list[bytes | None]:
        """Several at once."""
        return [self.get(key) for key in keys]

    def _look_at(self, ids: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
        for task_id in ids:
            if task_id in self._cache:
                yield task_id, self._cache[task_id]
        asked = [task_id for task_id in ids if task_id not in self._cache]
        for task_id, payload in zip(asked, self.mget([self.get_key_for_task(one) for one in asked]), strict=True):
            if payload:
                meta = self._cache[task_id] = self.decode_result(payload)
                yield task_id, meta

    # -- keys -----------------------------------------------------------------------------------------------------
    def get_key_for_task(self, task_id: str, key: str = "") -> str:
        """Where a task's result is."""
        return f"{self.task_keyprefix}{_there(task_id)}{key}"

    def get_key_for_group(self, group_id: str, key: str = "") -> str:
        """Where the ids of a group are."""
        return f"{self.group_keyprefix}{_there(group_id)}{key}"

    def get_key_for_chord(self, group_id: str, key: str = "") -> str:
        """Where a chord's tasks are counted."""
        return f"{self.chord_keyprefix}{_there(group_id)}{key}"

    # -- results --------------------------------------------------------------------------------------------------
    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Context | None = None, **kwargs: Any
    ) -> None:
        if self._get_task_meta_for(task_id)["status"] == states.SUCCESS:
            return
        meta = self._get_result_meta(result, state, traceback, request)
        self._set_with_state(self.get_key_for_task(task_id), self.encode({**meta, "task_id": str(task_id)}), state)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        kept = self.get(self.get_key_for_task(task_id))
        if not kept:
            return {"status": states.PENDING, "result": None}
        found: dict[str, Any] = self.decode(kept)
        return found

    def task_result_exists(self, task_id: str) -> bool:
        return self.get(self.get_key_for_task(task_id)) is not None

    def chord_is_over(self, group_id: str, deps: Any) -> None:
        """Its header and its counter go, where there is one."""
        if self.implements_incr:
            deps.delete(backend=self)
            self.delete(self.get_key_for_chord(group_id))

    def _forget(self, task_id: str) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _save_group(self, group_id: str, result: Any) -> Any:
        payload = self.encode({"result": result.as_tuple()})
        self._set_with_state(self.get_key_for_group(group_id), payload, states.SUCCESS)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        from pyqs_celery_compat.result import result_from_tuple

        kept = self.get(self.get_key_for_group(group_id))
        if not kept:
            return None
        meta: dict[str, Any] = self.decode(kept)
        return {**meta, "result": result_from_tuple(meta["result"], self.app)}

    def _delete_group(self, group_id: str) -> None:
        self.delete(self.get_key_for_group(group_id))


def _there(part: Any) -> Any:
    """The id of a key; without one every task would be kept under the same."""
    if not part:
        raise ValueError(f"a key needs an id, not {part!r}")
    return part


#: Celery has two names for it.
BaseKeyValueStoreBackend = KeyValueStoreBackend


belongs_to("celery.backends.base", KeyValueStoreBackend)
