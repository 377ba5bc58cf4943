"""``app.pool`` and ``app.producer_pool``.

Owns: ``Pool``. Runs in the threads that borrow from it; a child of a fork has pools of its own. What it lends holds no
sockets, which are the publisher's: a pool bounds how many are borrowed at once, because its users count on that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kombu.resource import Resource
from kombu.utils.functional import lazy

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


class Pool(Resource):
    """Things to borrow: ``acquire(block=True)`` and ``release``, or ``with pool.acquire(block=True) as one``.

    Parameters:
        make: makes one.
        limit: how many there are at most; none or 0 for any number.
    """

    def __init__(self, make: Callable[[], Any], limit: int | None) -> None:
        self._make = make
        super().__init__(limit=limit or None)  # type: ignore[no-untyped-call]

    def setup(self) -> None:
        """Put in as many as there may be, to be made when they are needed."""
        for _ in range(self.limit or 0):
            self._resource.put_nowait(lazy(self.new))  # type: ignore[no-untyped-call]

    def new(self) -> Any:
        """Make one."""
        return self._make()

    def prepare(self, resource: Any) -> Any:
        """The thing itself."""
        return resource() if isinstance(resource, lazy) else resource

    def close_resource(self, resource: Any) -> None:
        """It holds nothing."""


def connections(app: Celery) -> Pool:
    """Connections for publishing, as many as ``broker_pool_limit`` says."""
    return Pool(app.connection_for_write, app.conf.broker_pool_limit)


def producers(app: Celery) -> Pool:
    """Producers, as many as there are connections."""
    return Pool(lambda: app.amqp.Producer(app.connection_for_write()), app.pool.limit)
