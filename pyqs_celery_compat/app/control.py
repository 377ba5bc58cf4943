"""Remote control, as far as there is any: Celery workers on SQS hear no commands, and neither do ours.

Owns: ``Control`` (``app.control``) and ``Inspect``. Runs where code asks. Nobody answers, so nothing is sent and nothing is
waited for: what Celery says after its timeout (nobody has replied) is said at once, with one warning in a process. Only
``purge`` does what it says, and ``revoke`` where there is a store that workers look into (``revoking.py``). Never raises for a
command that cannot be heard, never claims that one was.

Observed on Celery 5.7 with kombu's SQS transport: a command is None, with ``reply=True`` an empty list, everything that
``Inspect`` asks is None.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

__all__ = ["Control", "Inspect"]

log = logging.getLogger("pyqs_celery_compat.control")

#: What does in fact what a command is sent for.
INSTEAD = {
    "revoke": "have a redis:// result backend or broker_transport_options['revoke_store'], or give the call `expires`",
    "terminate": "have a redis:// result backend or broker_transport_options['revoke_store'], or give the task a `time_limit`",
    "revoke_by_stamped_headers": "revoke the tasks by their ids, or give the calls `expires`",
    "rate_limit": "set the task's `rate_limit` and restart the workers",
    "time_limit": "set the task's `time_limit` and restart the workers",
    "add_consumer": "start a worker with -Q, or name queues by a pattern: those that come are found",
    "cancel_consumer": "stop the worker that has the queue",
    "pool_grow": "start more workers, or one with another -c",
    "pool_shrink": "start a worker with another -c",
    "pool_restart": "restart the worker",
    "autoscale": "scale the number of workers by the queue's depth, which CloudWatch has",
    "shutdown": "stop the worker's process (SIGTERM)",
    "ping": "ask a worker's health port (pyqs worker --health), or look at its heartbeat file",
}
_INSTEAD_OF_ASKING = "a worker's health port and metrics say what it does (pyqs worker --health)"
_told = False


def _tell(command: str) -> None:
    """Say once in a process that nobody hears this, and what to do instead."""
    global _told
    if not _told:
        _told = True
        hint = INSTEAD.get(command, _INSTEAD_OF_ASKING)
        log.warning("remote control: SQS cannot reach workers, so nobody hears %r (nor any other command): %s", command, hint)


class Inspect:
    """What is asked of workers, none of which answers: everything is None, as after Celery's timeout.

    Parameters:
        All are Celery's and have no effect, but for app.
    """

    app: Any = None

    def __init__(
        self,
        destination: Any = None,
        timeout: float = 1.0,
        callback: Any = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: Any = None,
    ) -> None:
        self.app = app or self.app
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.connection = connection
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _request(self, command: str, **kwargs: Any) -> None:
        _tell(command)

    def report(self) -> None:
        """Nobody answers."""
        return self._request("report")

    def clock(self) -> None:
        """Nobody answers."""
        return self._request("clock")

    def active(self, safe: Any = None) -> None:
        """Nobody answers."""
        return self._request("active", safe=safe)

    def scheduled(self, safe: Any = None) -> None:
        """Nobody answers."""
        return self._request("scheduled")

    def reserved(self, safe: Any = None) -> None:
        """Nobody answers."""
        return self._request("reserved")

    def stats(self) -> None:
        """Nobody answers."""
        return self._request("stats")

    def revoked(self) -> None:
        """Nobody answers."""
        return self._request("revoked")

    def registered(self, *taskinfoitems: Any) -> None:
        """Nobody answers."""
        return self._request("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def ping(self, destination: Any = None) -> None:
        """Nobody answers."""
        return self._request("ping")

    def active_queues(self) -> None:
        """Nobody answers."""
        return self._request("active_queues")

    def query_task(self, *ids: Any) -> None:
        """Nobody answers."""
        return self._request("query_task", ids=ids)

    def conf(self, with_defaults: bool = False) -> None:
        """Nobody answers."""
        return self._request("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> None:
        """Nobody answers."""
        return self._request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> None:
        """Nobody answers."""
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> None:
        """Nobody answers."""
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> None:
        """Nobody answers."""
        return self._request("objgraph", num=n, max_depth=max_depth, type=type)


class Control:
    """Commands for workers. Celery's parameters are accepted; what they would choose among is nobody."""

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @property
    def inspect(self) -> type[Inspect]:
        """``Inspect``, with this app."""
        return type("Inspect", (Inspect,), {"app": self.app})

    @cached_property
    def revoked_store(self) -> Any:
        """The backend that keeps which calls are revoked; None where there is none. See ``revoking.store_of``."""
        from pyqs_celery_compat import revoking

        return revoking.store_of(self.app)

    @property
    def mailbox(self) -> NoReturn:
        """Celery's way to workers, which leads nowhere on SQS. Raises NotImplementedError."""
        raise NotImplementedError(
            "app.control.mailbox: there are no mailboxes on SQS; the methods of app.control say what there is"
        )

    def purge(self, connection: Any = None) -> int:
        """Delete all messages of the app's queues (``task_queues``, or the default one); how many were visible before.

        Raises:
            kombu.exceptions.OperationalError: SQS refuses; it purges a queue once in 60 seconds at most.
        """
        app: Celery = self.app
        with app.connection_or_acquire(connection) as taken:
            return sum(taken.default_channel.queue_purge(name) for name in app.amqp.queues.consume_from)

    discard_all = purge

    def broadcast(
        self,
        command: str,
        arguments: Any = None,
        destination: Any = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Any = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: Any = None,
        **extra_kwargs: Any,
    ) -> list[Any] | None:
        """None, or no replies. Every other command is this one."""
        _tell("terminate" if isinstance(arguments, dict) and arguments.get("terminate") is True else command)
        return [] if reply else None

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> list[Any] | None:
        """No replies."""
        return self.broadcast("ping", reply=True, destination=destination, timeout=timeout, **kwargs)

    def revoke(
        self, task_id: Any, destination: Any = None, terminate: bool = False, signal: str = "SIGTERM", **kwargs: Any
    ) -> list[Any] | None:
        """Have no worker run these tasks (one id or several), and with ``terminate`` have those killed that run.

        Without a store nobody hears it. With one all workers that share it do, whatever ``destination`` says; none replies.

        Raises:
            kombu.exceptions.OperationalError: the store is away: nothing is revoked. ValueError: there is no such signal.
        """
        store = self.revoked_store
        if store is None:
            arguments = {"task_id": task_id, "terminate": terminate, "signal": signal}
            return self.broadcast("revoke", arguments=arguments, destination=destination, **kwargs)
        from pyqs_celery_compat import revoking

        revoking.revoke(self.app, store, task_id, revoking.signal_number(signal or "SIGTERM") if terminate else 0)
        return [] if kwargs.get("reply") else None

    def revoke_by_stamped_headers(
        self, headers: Any, destination: Any = None, terminate: bool = False, signal: str = "SIGTERM", **kwargs: Any
    ) -> list[Any] | None:
        """Nobody hears it: the tasks run."""
        arguments = {"headers": headers, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments=arguments, destination=destination, **kwargs)

    def terminate(self, task_id: Any, destination: Any = None, signal: str = "SIGTERM", **kwargs: Any) -> list[Any] | None:
        """``revoke`` with ``terminate``."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def rate_limit(self, task_name: str, rate_limit: Any, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast(
            "rate_limit", arguments={"task_name": task_name, "rate_limit": rate_limit}, destination=destination, **kwargs
        )

    def time_limit(
        self, task_name: str, soft: float | None = None, hard: float | None = None, destination: Any = None, **kwargs: Any
    ) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast(
            "time_limit", arguments={"task_name": task_name, "soft": soft, "hard": hard}, destination=destination, **kwargs
        )

    def add_consumer(
        self,
        queue: str,
        exchange: Any = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Any = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> list[Any] | None:
        """Nobody hears it."""
        arguments = {"queue": queue, "exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
        return self.broadcast("add_consumer", arguments={**arguments, **(options or {})}, destination=destination, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("cancel_consumer", arguments={"queue": queue}, destination=destination, **kwargs)

    def enable_events(self, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("enable_events", destination=destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("disable_events", destination=destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("pool_grow", arguments={"n": n}, destination=destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("pool_shrink", arguments={"n": n}, destination=destination, **kwargs)

    def pool_restart(
        self, modules: Any = None, reload: bool = False, reloader: Any = None, destination: Any = None, **kwargs: Any
    ) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast(
            "pool_restart",
            arguments={"modules": modules, "reload": reload, "reloader": reloader},
            destination=destination,
            **kwargs,
        )

    def autoscale(self, max: int, min: int, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("autoscale", arguments={"max": max, "min": min}, destination=destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("heartbeat", destination=destination, **kwargs)

    def shutdown(self, destination: Any = None, **kwargs: Any) -> list[Any] | None:
        """Nobody hears it: the workers run on."""
        return self.broadcast("shutdown", destination=destination, **kwargs)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> list[Any] | None:
        """Nobody hears it."""
        return self.broadcast("election", arguments={"id": id, "topic": topic, "action": action}, connection=connection)
