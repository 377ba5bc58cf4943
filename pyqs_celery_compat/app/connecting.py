"""The connections of an app, and producers on them.

Owns: ``Connecting``, a part of ``Celery``. Runs in the caller's thread, in any process; a child of a fork has pools of its own.
Calls need none of this: they go over the app's publisher, as every connection to the same broker does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from pyqs_celery_compat import conf
from pyqs_celery_compat.publisher import Publisher

if TYPE_CHECKING:
    from pyqs_celery_compat.app.amqp import AMQP
    from pyqs_celery_compat.app.base import Celery
    from pyqs_celery_compat.connection import Connection
    from pyqs_celery_compat.settings import Settings


class Connecting:
    """The connections of an app."""

    amqp: AMQP
    conf: Settings
    publisher: Publisher
    on_after_fork: Any
    #: Publishers of other brokers than the app's own, by URL.
    _other_publishers: dict[str, Publisher] | None = None
    _pool: Any = None
    _pool_pid = 0

    def connection(
        self,
        hostname: str | None = None,
        userid: str | None = None,
        password: str | None = None,
        virtual_host: str | None = None,
        port: int | None = None,
        ssl: Any = None,
        connect_timeout: float | None = None,
        transport: str | None = None,
        **kwargs: Any,
    ) -> Connection:
        """A connection to the broker, or to another one.

        Parameters:
            hostname: another broker's URL, or its host.
            userid, password, port, transport: of another broker that is not given by URL.
            The rest: as kombu's, without a meaning on SQS.

        Raises:
            ImproperlyConfigured: another broker than SQS, once something is done with it.
        """
        url = hostname or ""
        if "://" not in url and (hostname or userid or password or port or transport):
            key = f"{quote(userid or '', safe='')}:{quote(password or '', safe='')}@" if userid or password else ""
            url = f"{transport or 'sqs'}://{key}{hostname or ''}{f':{port}' if port else ''}"
        return self._connection_to(url or self.conf.broker_write_url)

    broker_connection = connection

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Connection:
        """A connection to the broker that a worker receives from (``broker_read_url``)."""
        return self._connection_to(url or self.conf.broker_read_url)

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Connection:
        """A connection to the broker that calls go to (``broker_write_url``)."""
        return self._connection_to(url or self.conf.broker_write_url)

    @contextmanager
    def connection_or_acquire(self, connection: Any = None, pool: bool = True, *_: Any, **__: Any) -> Iterator[Any]:
        """``with app.connection_or_acquire() as connection``: the one given, or one of the pool's."""
        if connection is not None:
            yield connection
            return
        with self._acquire_connection(pool) as borrowed:
            yield borrowed

    default_connection = connection_or_acquire

    @contextmanager
    def producer_or_acquire(self, producer: Any = None) -> Iterator[Any]:
        """``with app.producer_or_acquire() as producer``: the one given, or one of the pool's."""
        if producer is not None:
            yield producer
            return
        with self._acquire_producer(self.conf.broker_pool_acquire_timeout) as borrowed:
            yield borrowed

    default_producer = producer_or_acquire

    @property
    def pool(self) -> Any:
        """Connections to borrow: at most ``broker_pool_limit`` at a time."""
        if self._pool is None or self._pool_pid != os.getpid():
            from pyqs_celery_compat.pools import connections

            self._pool = connections(cast("Celery", self))
            self._pool_pid = os.getpid()
            self.amqp._producer_pool = None
        return self._pool

    @property
    def producer_pool(self) -> Any:
        """Producers to borrow, as many as there are connections."""
        return self.amqp.producer_pool

    def _acquire_connection(self, pool: bool = True) -> Any:
        if not pool:
            return self.connection_for_write()
        return self._borrowed("connection", self.pool, self.conf.broker_pool_acquire_timeout)

    def _acquire_producer(self, timeout: float | None = None) -> Any:
        return self._borrowed("producer", self.producer_pool, timeout)

    def _borrowed(self, what: str, pool: Any, timeout: float | None) -> Any:
        from kombu.exceptions import LimitExceeded, OperationalError

        try:
            return pool.acquire(block=True, timeout=timeout)
        except LimitExceeded as exc:
            raise OperationalError(
                f"no broker {what} came free within {timeout} s (broker_pool_acquire_timeout): "
                f"all {self.conf.broker_pool_limit} of broker_pool_limit are borrowed"
            ) from exc

    def _after_fork(self) -> None:
        """In a child: forget what was borrowed in its parent, and tell whoever wants to know."""
        self._pool = None
        self.on_after_fork.send(sender=self)

    def select_queues(self, queues: Any = None) -> None:
        """Have workers consume these queues only."""
        self.amqp.queues.select(queues)

    def close_connections(self) -> None:
        """Forget all of them but the publisher's; what is asked for later is new."""
        self._pool = None
        for publisher in (self._other_publishers or {}).values():
            publisher.close()
        self._other_publishers = None

    def _connection_to(self, url: str | None) -> Connection:
        from pyqs_celery_compat.connection import Connection

        app = cast("Celery", self)
        if not url or url == self.conf.broker_write_url:
            return Connection(app, self.publisher)
        others = self._other_publishers = self._other_publishers or {}
        if url not in others:
            others[url] = Publisher(
                lambda: conf.read_transport(self.conf, url=url),
                create_missing=lambda: bool(self.conf.task_create_missing_queues),
            )
        return Connection(app, others[url])
