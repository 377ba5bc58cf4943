"""Being told by Redis that results have changed.

Owns: ``Subscription``, one connection on which any number of results are awaited. Lives in the waiting thread and ends with its
wait. What it is told is only a reason to look: a message that got lost, with a connection or at a failover, delays a
result by ``LOOK_AGAIN`` and loses none.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat.backends.redis import RedisBackend

#: Seconds after which all that is awaited is looked at, whatever has been told.
LOOK_AGAIN = 1.0
#: Seconds that Redis has to confirm a subscription.
_CONFIRMED_IN = 5.0
#: Channels of one SUBSCRIBE, and messages that are taken together.
_AT_ONCE = 500


class Subscription:
    """The channels of some keys, for one thread, as a context manager.

    Parameters:
        keys: they are subscribed to when the context begins: what is stored later is told.
        until: when the wait ends, on the monotonic clock; None for never.
    """

    def __init__(self, backend: RedisBackend, keys: tuple[str, ...], until: float | None) -> None:
        self._backend, self._keys, self._until = backend, keys, until
        self._channel: Any = None

    def __enter__(self) -> Subscription:
        self._subscribe(self._keys)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def next(self, waiting: Collection[str]) -> Iterable[str]:
        """Wait until something is told, or it is time to look or to end; answers the keys to look at."""
        seconds = LOOK_AGAIN if self._until is None else max(0.0, min(self._until - time.monotonic(), LOOK_AGAIN))
        try:
            first = self._channel.get_message(timeout=seconds)
            if first is None:
                return tuple(waiting)
            changed = {_key(first)}
            while len(changed) < _AT_ONCE and (more := self._channel.get_message(timeout=0.0)) is not None:
                changed.add(_key(more))
            return tuple(changed.intersection(waiting))
        except self._backend.connection_errors:
            self._close()
            self._subscribe(tuple(waiting))
            return tuple(waiting)

    def _subscribe(self, keys: tuple[str, ...]) -> None:
        self._backend.ensure(self._try_to_subscribe, (keys,), self._until)

    def _try_to_subscribe(self, keys: tuple[str, ...]) -> None:
        """Returns when Redis has confirmed all: a look at a result after it misses nothing."""
        self._close()
        self._channel = self._backend.client.pubsub()
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            self._channel.subscribe(*some)
            confirmed = 0
            while confirmed < len(some):
                message = self._channel.get_message(timeout=_CONFIRMED_IN)
                if message is None:
                    raise TimeoutError("Redis does not confirm a subscription")
                confirmed += message["type"] == "subscribe"

    def _close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


def _key(message: dict[str, Any]) -> str:
    channel = message["channel"]
    return channel.decode() if isinstance(channel, bytes) else str(channel)
