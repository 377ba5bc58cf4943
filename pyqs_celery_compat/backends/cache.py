"""``cache+memory://``: results in the memory of this process.

Owns: ``CacheBackend`` and ``DummyClient``, a store that all apps of the process share. For tests, eager mode and tasks that are
run where they are called: a worker's processes do not see it, which is why no worker starts with it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.key_value_backend import KeyValueStoreBackend
from pyqs_celery_compat.naming import belongs_to

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

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

    def set(self, key: str, value: bytes) -> None:
        self.client.set(key, value)

    def delete(self, key: str) -> None:
        self.client.delete(key)

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        return "memory:///"


belongs_to("celery.backends.cache", CacheBackend, DummyClient)
