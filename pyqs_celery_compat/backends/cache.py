"""``cache+memory://``: results in the memory of this process.

Owns: ``CacheBackend`` and ``DummyClient``, a store that all apps of the process share. For tests, eager mode and tasks that are
run in this process, by a worker of its tests or where they are called: a worker's processes do not see it, which is why none
starts with it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.chord_parts import CLAIM
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.key_value_backend import KeyValueStoreBackend
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.result_values import as_bytes

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.request import Context

#: Results kept; the one that was read or written least recently goes first.
MOST_KEPT = 5000
_kept: OrderedDict[str, Any] = OrderedDict()
_lock = threading.RLock()


class DummyClient:
    """A cache's client that keeps everything here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.cache = _kept

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """The value, or None."""
        with _lock:
            if key in self.cache:
                self.cache.move_to_end(key)
            return self.cache.get(key)

    def get_multi(self, keys: Any) -> dict[str, Any]:
        """Those that are there."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def set(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Keep it."""
        with _lock:
            self.cache[key] = value
            self.cache.move_to_end(key)
            while len(self.cache) > MOST_KEPT:
                self.cache.popitem(last=False)

    def incr(self, key: str, delta: int = 1) -> int:
        """Add to a number, which is 0 where there is none."""
        with _lock:
            value: int = (self.get(key) or 0) + delta
            self.set(key, value)
            return value

    def delete(self, key: str, *args: Any, **kwargs: Any) -> None:
        """Keep it no longer."""
        with _lock:
            self.cache.pop(key, None)


class CacheBackend(KeyValueStoreBackend):
    """Keeps results in the memory of this process.

    Raises:
        ImproperlyConfigured: another cache than ``memory`` is asked for.
    """

    thread_safe = True
    supports_autoexpire = True
    supports_native_join = True
    implements_incr = True
    longest_pause = 0.02

    def __init__(
        self, app: Celery, expires: Any = None, backend: str | None = None, options: Any = None, url: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(app, expires=expires, url=url, **kwargs)
        named = url or backend or app.conf.cache_backend or ""
        self.backend = named.removeprefix("cache+").partition("://")[0]
        if self.backend != "memory":
            raise ImproperlyConfigured(f"the cache backend {self.backend or None!r} is not there: cache+memory:// is")
        self.client = DummyClient()

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self.client.get(key)
        return found

    def set(self, key: str, value: bytes | str) -> None:
        self.client.set(key, as_bytes(value))

    def delete(self, key: str) -> None:
        self.client.delete(key)

    # -- chords: what is kept of one is a count, then the word that it is over -------------------------------------------
    def incr(self, key: str) -> int:
        """Count one more."""
        return self.client.incr(key)

    def count_chord_part(self, request: Context) -> int | None:
        key = self.get_key_for_chord(str(request.group))
        with _lock:
            if self.client.get(f"{key}.over"):
                return None
            counted: set[Any] = self.client.get(f"{key}.counted") or set()
            if (part := (request.id, request.group_index)) not in counted:
                self.client.set(f"{key}.counted", counted | {part})
                return self.incr(key)
            return int(self.client.get(key) or 0)

    def claim_chord(self, group_id: str, seconds: float = CLAIM) -> bool | None:
        key = self.get_key_for_chord(group_id)
        with _lock:
            if self.client.get(f"{key}.over"):
                return None
            claimed_until = self.client.get(f"{key}.claim")
            if claimed_until is not None and claimed_until > time.monotonic():
                return False
            self.client.set(f"{key}.claim", time.monotonic() + seconds)
            return True

    def chord_is_over(self, group_id: str, deps: Any) -> None:
        key = self.get_key_for_chord(group_id)
        with _lock:
            self.client.set(f"{key}.over", True)
            for ending in ("", ".counted", ".claim"):
                self.client.delete(f"{key}{ending}")
        deps.delete(backend=self)

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        return "memory:///"


belongs_to("celery.backends.cache", CacheBackend, DummyClient)
