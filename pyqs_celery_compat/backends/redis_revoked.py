"""Which calls were revoked, kept in Redis: a stream, of which each worker reads once a second what is new.

Owns: ``RedisRevoked``, a part of ``RedisBackend``: one key, its connections and its bounds. Runs where somebody revokes, and in
a worker's host. Never waits long: whoever revokes is to be told soon that Redis is away, and a worker's start waits for the
first read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyqs.message import CalledOff

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: Behind the prefix of all keys.
KEY = "pyqs-revoked"
#: How many entries the stream keeps, about; the oldest go first. Workers keep no more.
MOST = 50_000
#: So many are written or read at once.
AT_ONCE = 1000
#: Seconds for a connection and for an answer.
PATIENCE = 3.0


class RedisRevoked:
    """The part of a Redis backend that keeps which calls were revoked."""

    keeps_revoked = keeps_revoked_unasked = True

    app: Celery
    client: Any
    connparams: Mapping[str, Any]
    task_keyprefix: str
    _pool: Any
    _redis_url: Any

    @property
    def revoked_key(self) -> str:
        """Where they are."""
        return f"{self.task_keyprefix.removesuffix('celery-task-meta-')}{KEY}"

    def add_revoked(self, calls: Iterable[CalledOff]) -> None:
        """Keep that these calls are not to be run. Raises redis-py's errors."""
        calls = list(calls)
        for at in range(0, len(calls), AT_ONCE):
            some = calls[at : at + AT_ONCE]
            last = max(one.until for one in some)
            with self._impatient.pipeline(transaction=True) as pipe:
                for one in some:
                    fields = {"id": one.call_id, "until": repr(one.until), "signal": one.signal}
                    pipe.xadd(self.revoked_key, fields, maxlen=MOST, approximate=True)
                pipe.expire(self.revoked_key, max(1, round(last - time.time())))
                pipe.execute()

    def revoked_since(self, mark: str | None) -> tuple[str | None, list[CalledOff]]:
        """The mark for the next time, and what was added after this one (None: all). Raises redis-py's errors."""
        found: list[CalledOff] = []
        while True:
            answer = self._impatient.xread({self.revoked_key: mark or "0-0"}, count=AT_ONCE)
            entries = answer[0][1] if answer else []
            for entry, fields in entries:
                mark = entry.decode() if isinstance(entry, bytes) else str(entry)
                one = _read(fields)
                if one is not None:
                    found.append(one)
            if len(entries) < AT_ONCE:
                return mark, found

    @cached_property
    def _impatient(self) -> Any:
        """A client that gives up soon."""
        if self._pool is not None:
            return self.client
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        parameters = {**self.connparams, "socket_timeout": PATIENCE, "retry": Retry(NoBackoff(), 1)}  # 1: it was closed idle
        if "socket_keepalive" in parameters:  # no Unix socket
            parameters["socket_connect_timeout"] = PATIENCE
        return redis.StrictRedis(connection_pool=redis.ConnectionPool.from_url(self._redis_url(), **parameters))


def _read(fields: Mapping[Any, Any]) -> CalledOff | None:
    """One entry; None for one that is not of our making."""
    said = {_text(name): _text(value) for name, value in fields.items()}
    try:
        return CalledOff(said["id"], float(said["until"]), int(said["signal"]))
    except (KeyError, ValueError):
        return None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
