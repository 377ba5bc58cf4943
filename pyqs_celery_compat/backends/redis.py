"""``redis://``, ``rediss://`` and ``redis+socket://``: results in Redis, under Celery's keys and in Celery's bytes.

Owns: ``RedisBackend``. What is set under a key is also published on a channel of the key's name, which wakes who waits
(``redis_waiting``). Lives in the process that calls a task and in the one that runs it; its connections are the client's
pool, which notices a fork. Opens no connection before it is used, and starts no thread.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pyqs_celery_compat.backends.redis_chords import RedisChords
from pyqs_celery_compat.backends.redis_revoked import RedisRevoked
from pyqs_celery_compat.backends.redis_waiting import Subscription
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.key_value_backend import BaseKeyValueStoreBackend
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.publish_retries import pauses
from pyqs_celery_compat.result_backend import ResultTooLarge
from pyqs_celery_compat.result_values import as_bytes

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

try:
    import redis
except ImportError:  # an extra: said when a backend is made
    redis = None  # type: ignore[assignment]

logger = logging.getLogger("celery.backends.redis")

#: Redis takes no larger value.
MOST_BYTES = 512 * 1024 * 1024
#: What Celery does while Redis is away; ``result_backend_transport_options['retry_policy']`` says otherwise.
RETRY_POLICY: Mapping[str, Any] = {"max_retries": 20, "interval_start": 0, "interval_step": 1, "interval_max": 1}
_MISSING = "the redis package is not installed, which the result backend {url!r} needs: pip install 'pyqs[redis]'"
_CERTIFICATES = (
    "a rediss:// result backend must say how it checks the server's certificate: "
    "rediss://…?ssl_cert_reqs=required (or optional, or none), or redis_backend_use_ssl = {'ssl_cert_reqs': 'required'}"
)


class RedisBackend(RedisChords, RedisRevoked, BaseKeyValueStoreBackend):
    """Keeps results in Redis.

    Parameters:
        host, port, db, password: where it is, if ``url`` does not say; else the settings ``redis_host`` and so on.
        max_connections: of this process; default ``redis_max_connections``, no bound. connection_pool: one of redis-py's.

    Raises:
        ImproperlyConfigured: the redis package is not there. ValueError: the URL names no way to check certificates.
    """

    thread_safe = True
    supports_result_compression = True
    supports_autoexpire = True
    supports_native_join = True

    def __init__(
        self, host: str | None = None, port: int | None = None, db: Any = None, password: str | None = None,
        max_connections: int | None = None, url: str | None = None, connection_pool: Any = None, *, app: Celery, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(app, url=url, **kwargs)
        if redis is None:
            raise ImproperlyConfigured(_MISSING.format(url=self.as_uri()))
        conf = app.conf
        self._pool = connection_pool
        self.max_connections = max_connections or conf.redis_max_connections
        self._given = {"host": host, "port": port, "db": db, "password": password}
        #: What a connection is made with, but for what the URL says.
        self.connparams = self._connection_parameters()

    # -- connections ------------------------------------------------------------------------------------------------
    @cached_property
    def client(self) -> Any:
        """The client, whose pool serves all threads."""
        pool = self._pool or redis.ConnectionPool.from_url(self._redis_url(), **self.connparams)
        return redis.StrictRedis(connection_pool=pool)

    @property
    def connection_errors(self) -> tuple[type[Exception], ...]:
        """What is raised while Redis is away, starts or changes its master."""
        faults = redis.exceptions
        return faults.ConnectionError, faults.TimeoutError, faults.ReadOnlyError, OSError

    @property
    def retry_policy(self) -> dict[str, Any]:
        """How often and after how many seconds something is tried again."""
        options = self.app.conf.result_backend_transport_options or {}
        return {**RETRY_POLICY, **(options.get("retry_policy") or {})}

    def ensure(self, fun: Callable[..., Any], args: Iterable[Any] = (), until: float | None = None, **policy: Any) -> Any:
        """Call it, again while Redis cannot be reached; raises what was raised last.

        Parameters:
            until: no pause ends after this moment of the monotonic clock. policy: instead of the settings' retry policy.
        """
        args, policy = tuple(args), {**self.retry_policy, **policy}
        for done, pause in enumerate(pauses(policy), 1):
            try:
                return fun(*args)
            except self.connection_errors as exc:
                if until is not None and time.monotonic() + pause >= until:
                    raise
                logger.error(
                    "Connection to Redis lost: Retry (%s/%s) in %s s: %s",
                    done,
                    policy["max_retries"],
                    pause,
                    type(exc).__name__,
                )
                time.sleep(pause)
        return fun(*args)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        return isinstance(exc, self.connection_errors)

    def _connection_parameters(self) -> dict[str, Any]:
        """From the settings; redis-py lets the URL's own options win."""
        conf = self.app.conf
        parameters: dict[str, Any] = {
            "max_connections": self.max_connections,
            "socket_timeout": conf.redis_socket_timeout and float(conf.redis_socket_timeout),
            "retry_on_timeout": bool(conf.redis_retry_on_timeout),
            "health_check_interval": int(conf.get("redis_backend_health_check_interval") or 0),
            "username": conf.redis_username,
            "password": self._given["password"] or conf.redis_password,
            "client_name": conf.get("redis_client_name"),
        }
        if not self._is_socket:
            parameters["socket_connect_timeout"] = conf.redis_socket_connect_timeout and float(
                conf.redis_socket_connect_timeout
            )
            parameters["socket_keepalive"] = bool(conf.redis_socket_keepalive)
        provider = conf.get("redis_backend_credential_provider")
        if provider:
            parameters["credential_provider"] = provider
            del parameters["username"], parameters["password"]
        if self._is_tls:
            parameters |= self._tls_parameters()
        return {name: value for name, value in parameters.items() if value is not None}

    def _tls_parameters(self) -> dict[str, Any]:
        given = self.app.conf.redis_backend_use_ssl
        found = dict(given) if isinstance(given, Mapping) else {}
        query = dict(parse_qsl(urlsplit(self.url or "").query))
        if "ssl_cert_reqs" not in found and "ssl_cert_reqs" not in query:
            raise ValueError(_CERTIFICATES)
        if "ssl_cert_reqs" in found:
            found["ssl_cert_reqs"] = _certificate_check(found["ssl_cert_reqs"])
        return found

    @property
    def _is_socket(self) -> bool:
        return (self.url or "").startswith(("redis+socket:", "socket:", "unix:"))

    @property
    def _is_tls(self) -> bool:
        return (self.url or "").startswith("rediss:") or bool(self.app.conf.redis_backend_use_ssl)

    def _redis_url(self) -> str:
        """The URL as redis-py reads it."""
        conf, parts = self.app.conf, urlsplit(self.url or "")
        query = dict(parse_qsl(parts.query))
        database = query.pop("virtual_host", None) or self._given["db"] or conf.redis_db or 0
        if "ssl_cert_reqs" in query:
            query["ssl_cert_reqs"] = _certificate_check(query["ssl_cert_reqs"])
        if self._is_socket:
            query["db"] = str(database).strip("/")
            address = "@".join(filter(None, [parts.netloc.rpartition("@")[0], parts.path]))
            return f"unix://{address}?{urlencode(query)}"
        host = parts.netloc + ("localhost" if parts.netloc.endswith("@") else "")
        if not host:
            host = f"{self._given['host'] or conf.redis_host or 'localhost'}:{self._given['port'] or conf.redis_port or 6379}"
        scheme = "rediss" if self._is_tls else "redis"
        path = unquote(parts.path).strip("/") or database
        return f"{scheme}://{host}/{quote(str(path))}" + (f"?{urlencode(query)}" if query else "")

    # -- what a store does --------------------------------------------------------------------------------------------
    def get(self, key: str) -> bytes | None:
        found: bytes | None = self.ensure(self.client.get, (key,))
        return found

    def mget(self, keys: Iterable[str]) -> list[bytes | None]:
        found: list[bytes | None] = self.ensure(self.client.mget, (list(keys),))
        return found

    def set(self, key: str, value: bytes | str, **retry_policy: Any) -> Any:
        value = as_bytes(value)
        if len(value) > MOST_BYTES:
            raise ResultTooLarge(f"a result of {len(value):,} bytes: Redis takes {MOST_BYTES:,} under a key")
        return self.ensure(self._put, (key, value), **retry_policy)

    def _put(self, key: str, value: bytes) -> None:
        with self.client.pipeline() as pipe:
            pipe.set(key, value, ex=int(self.expires) if self.expires else None)
            pipe.publish(key, value)
            pipe.execute()

    def delete(self, key: str) -> None:
        self.ensure(self.client.delete, (key,))

    def forget(self, task_id: str) -> None:
        """Keep nothing of it."""
        self._forget(task_id)

    def incr(self, key: str) -> int:
        """Count one more under a key."""
        return int(self.client.incr(key))

    def expire(self, key: str, value: float) -> Any:
        """Have a key go after so many seconds."""
        return self.client.expire(key, int(value))

    # -- waiting ----------------------------------------------------------------------------------------------------
    def wait_for(
        self, task_id: str, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True, on_interval: Any = None
    ) -> dict[str, Any]:
        self._ensure_not_eager()
        until = None if timeout is None else time.monotonic() + timeout
        there = self._ended((self.get_key_for_task(task_id),), until)  # often it is, and then nothing is subscribed to
        _, meta = next(there, None) or next(self._as_they_end([task_id], until, on_interval))
        return meta

    def get_many(
        self, task_ids: Iterable[str], timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_message: Any = None, on_interval: Any = None, max_iterations: int | None = None, READY_STATES: Any = None,  # noqa: N803
    ) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
        """Each id with what is known of it, as they come; all are awaited on one connection."""
        until = None if timeout is None else time.monotonic() + timeout
        for task_id, meta in self._as_they_end(list(dict.fromkeys(task_ids)), until, on_interval):
            if on_message is not None:
                on_message(meta)
            yield task_id, meta

    def _as_they_end(self, ids: list[str], until: float | None, on_interval: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ends early only with a TimeoutError, or where Redis stays away."""
        waiting = {self.get_key_for_task(task_id): task_id for task_id in ids}
        with Subscription(self, tuple(waiting), until) as told:
            look_at: Iterable[str] = tuple(waiting)
            while True:
                for key, meta in self._ended(look_at, until):
                    yield waiting.pop(key), meta
                if not waiting:
                    return
                if until is not None and until - time.monotonic() <= 0:
                    raise self.TimeoutError("The operation timed out.")
                if on_interval:
                    on_interval()
                look_at = told.next(waiting)

    def _ended(self, keys: Iterable[str], until: float | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Those of the keys that hold the end of a task."""
        keys = tuple(keys)
        if not keys:
            return
        for key, payload in zip(keys, self.ensure(self.client.mget, (keys,), until), strict=True):
            if payload:
                meta = self.decode(payload)
                if meta["status"] in self.READY_STATES:
                    yield key, self.meta_from_decoded(meta)

    def __reduce__(self) -> Any:
        return _again, (type(self), self.app, self.url, self.expires, self._given, self.max_connections)


def _again(
    kind: type[RedisBackend], app: Celery, url: str | None, expires: Any, given: dict[str, Any], most: int | None
) -> Any:
    return kind(**given, app=app, url=url, expires=expires, max_connections=most)


def _certificate_check(said: Any) -> str:
    """Celery's and ssl's names for it as redis-py's."""
    names = {ssl.CERT_NONE: "none", ssl.CERT_OPTIONAL: "optional", ssl.CERT_REQUIRED: "required"}
    word = names.get(said) or str(said).lower().removeprefix("cert_")
    if word not in names.values():
        raise ValueError(_CERTIFICATES)
    return word


belongs_to("celery.backends.redis", RedisBackend)
