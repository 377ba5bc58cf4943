"""The queues that an app knows: ``task_queues``, and those that calls name.

Owns: ``QueueTable`` and ``DeclaredQueue``. Pure; runs where tasks are called, and where a worker asks what to consume.
Exchanges exist only as far as they lead to one queue: SQS has none. Creates nothing on SQS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured


class DeclaredQueue:
    """A queue by its logical name, with the attributes that code reads of a ``kombu.Queue``."""

    def __init__(self, name: str, exchange: str = "", routing_key: str | None = None) -> None:
        self.name = name
        self.exchange_name = exchange
        self.routing_key = routing_key or name
        self.alias: str | None = None

    def to_kombu(self) -> Any:
        """The same as a ``kombu.Queue``."""
        from kombu import Exchange, Queue  # type: ignore[attr-defined]

        exchange = Exchange(self.exchange_name or self.name, type="direct")  # type: ignore[no-untyped-call]
        return Queue(self.name, exchange, routing_key=self.routing_key)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"<DeclaredQueue {self.name!r}>"


class QueueTable(dict[str, Any]):
    """Logical name -> queue. A missing one is added, or refused where ``create_missing`` is off.

    Parameters:
        queues: ``task_queues``: kombu Queues, names, or a dict of name -> options.
        default: name of the default queue, declared when ``queues`` is empty.
        create_missing: ``task_create_missing_queues``.
    """

    def __init__(self, queues: Any, *, default: str, create_missing: bool) -> None:
        super().__init__()
        self.create_missing = create_missing
        self.aliases: dict[str, Any] = {}
        for queue in _declared(queues) or ([DeclaredQueue(default)] if default else []):
            self.add(queue)
        #: What a worker consumes where no ``-Q`` says otherwise.
        self.consume_from = dict(self)

    def add(self, queue: Any) -> Any:
        """Put a queue in."""
        if isinstance(queue, str):
            queue = DeclaredQueue(queue)
        self[queue.name] = queue
        if getattr(queue, "alias", None):
            self.aliases[queue.alias] = queue
        return queue

    def __missing__(self, name: str) -> Any:
        if name in self.aliases:
            return self.aliases[name]
        if not self.create_missing:
            raise KeyError(name)
        return self.add(DeclaredQueue(name))

    def bound_to(self, exchange: str, routing_key: str) -> Any | None:
        """The declared queue that an exchange and a routing key lead to."""
        for queue in self.values():
            bound = getattr(getattr(queue, "exchange", None), "name", None) or getattr(queue, "exchange_name", "")
            if routing_key == queue.routing_key and exchange in (bound, ""):
                return queue
        return None


def _declared(queues: Any) -> list[Any]:
    found = []
    entries: Iterable[Any] = queues.items() if isinstance(queues, Mapping) else queues or ()
    for entry in entries:
        name, queue = entry if isinstance(queues, Mapping) else (None, entry)
        if isinstance(queue, str):
            queue = DeclaredQueue(queue)
        elif isinstance(queue, Mapping):
            options = dict(queue)
            kind = options.get("exchange_type", "direct")
            if kind != "direct":
                raise ImproperlyConfigured(f"task_queues[{name!r}]: SQS has no {kind} exchanges; use one queue per route")
            routing_key = options.get("routing_key") or options.get("binding_key")
            queue = DeclaredQueue(str(name), str(options.get("exchange") or ""), routing_key)
        elif not hasattr(queue, "name"):
            raise ImproperlyConfigured(f"task_queues: {queue!r} is neither a Queue, a name nor a dict")
        kind = getattr(getattr(queue, "exchange", None), "type", None) or "direct"
        if kind != "direct":
            raise ImproperlyConfigured(f"task_queues: queue {queue.name!r} has a {kind} exchange, which SQS has not")
        found.append(queue)
    return found
