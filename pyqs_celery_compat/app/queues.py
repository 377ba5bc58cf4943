"""The queues that an app knows: ``task_queues``, those that calls name, and which of them a worker consumes.

Owns: ``Queues``, which is ``celery.app.amqp.Queues``. Pure; runs where tasks are called, and where a worker asks what to
consume. Its queues are kombu's, as the user's own are; exchanges exist only as far as they lead to a queue, since SQS has none.
Creates nothing on SQS.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured

#: Kinds of queues in RabbitMQ; SQS has one kind, and the argument that names it goes nowhere.
_QUEUE_TYPES = ("classic", "quorum")


class Queues(dict[str, Any]):
    """Logical name -> ``kombu.Queue``. A missing one is added, or a KeyError where ``create_missing`` is off.

    Parameters:
        queues: ``task_queues``: kombu Queues, names, or a dict of name -> options.
        default_exchange, default_routing_key: of queues that have none.
        create_missing: ``task_create_missing_queues``.
        create_missing_queue_type, create_missing_queue_exchange_type: of those; kept for what reads them.
        autoexchange: the exchange of a missing queue, by the queue's name.
        max_priority: ``task_queue_max_priority``; an argument of the queue that SQS has no use for.
    """

    def __init__(
        self,
        queues: Any = None,
        default_exchange: Any = None,
        create_missing: bool = True,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Callable[[str], Any] | None = None,
        max_priority: int | None = None,
        default_routing_key: str | None = None,
    ) -> None:
        super().__init__()
        self.aliases: dict[str, Any] = {}
        self.default_exchange = default_exchange
        self.default_routing_key = default_routing_key
        self.create_missing = create_missing
        self.create_missing_queue_type = create_missing_queue_type
        self.create_missing_queue_exchange_type = create_missing_queue_exchange_type
        self.autoexchange = autoexchange
        self.max_priority = max_priority
        #: What ``select`` chose; None where nobody has, and then it is what was declared.
        self._consume_from: dict[str, Any] | None = None
        self._declared: dict[str, None] = {}
        for name, queue in _entries(queues):
            added = self.add(name, **queue) if isinstance(queue, Mapping) else self.add(queue)
            self._declared[added.name] = None

    # -- mapping ------------------------------------------------------------------------------------------------------
    def __missing__(self, name: str) -> Any:
        if name in self.aliases:
            return self.aliases[name]
        if not self.create_missing:
            raise KeyError(name)
        return self.add(self.new_missing(name))

    def __setitem__(self, name: str, queue: Any) -> None:
        if self.default_exchange and (not queue.exchange or not queue.exchange.name):
            queue.exchange = self.default_exchange
        if not queue.routing_key:
            queue.routing_key = self.default_routing_key
        if self.max_priority is not None:
            queue.queue_arguments = {"x-max-priority": self.max_priority, **(queue.queue_arguments or {})}
        super().__setitem__(name, queue)
        if queue.alias:
            self.aliases[queue.alias] = queue

    def add(self, queue: Any, **options: Any) -> Any:
        """Put a queue in: one of kombu's, or a name and options as in ``task_queues``. No worker consumes it for that."""
        if isinstance(queue, str):
            queue = self._from_options(queue, options)
        self[queue.name] = queue
        return queue

    def add_compat(self, name: str, **options: Any) -> Any:
        """``add`` of a name and its options."""
        return self.add(name, **options)

    def new_missing(self, name: str) -> Any:
        """The queue of a name that nobody has declared. Raises ValueError for an unknown ``create_missing_queue_type``."""
        from kombu import Exchange, Queue  # type: ignore[attr-defined]

        kind = self.create_missing_queue_type
        if kind not in (None, *_QUEUE_TYPES):
            raise ValueError(f"Invalid queue type '{kind}'. Valid types are 'classic' and 'quorum'.")
        exchange = name if self.autoexchange is None else self.autoexchange(name)
        if not isinstance(exchange, Exchange):
            exchange = Exchange(exchange, type=self.create_missing_queue_exchange_type or "direct")  # type: ignore[no-untyped-call]
        arguments = {"x-queue-type": kind} if kind == "quorum" else None
        return Queue(name, exchange, routing_key=name, queue_arguments=arguments)  # type: ignore[no-untyped-call]

    # -- what a worker consumes ----------------------------------------------------------------------------------------
    @property
    def consume_from(self) -> dict[str, Any]:
        """The queues that a worker consumes where no ``-Q`` says otherwise."""
        if self._consume_from is not None:
            return self._consume_from
        return {name: self[name] for name in self._declared if name in self}

    def select(self, include: str | Iterable[str] | None) -> None:
        """Consume these and no others."""
        if include:
            chosen = [self[name] for name in _names(include)]
            self._consume_from = {queue.name: queue for queue in chosen}

    def select_add(self, queue: Any, **options: Any) -> Any:
        """Consume this one, too."""
        added = self.add(queue, **options)
        if self._consume_from is None:
            self._declared[added.name] = None
        else:
            self._consume_from[added.name] = added
        return added

    def deselect(self, exclude: str | Iterable[str] | None) -> None:
        """Consume these no more."""
        for name in _names(exclude or ()):
            name = self.aliases[name].name if name in self.aliases else name
            (self._declared if self._consume_from is None else self._consume_from).pop(name, None)

    def format(self, indent: int = 0, indent_first: bool = True) -> str:
        """The consumed queues as lines of text."""
        lines = [
            f".> {name:<16} exchange={queue.exchange.name}({queue.exchange.type}) key={queue.routing_key}"
            for name, queue in sorted(self.consume_from.items())
        ]
        text = textwrap.indent("\n".join(lines), " " * indent)
        return text if indent_first else text.lstrip(" ")

    # -- exchanges ----------------------------------------------------------------------------------------------------
    def exchange_kind(self, exchange: str) -> str:
        """The type of a declared queue's exchange with this name; direct where no queue has one."""
        kinds = (bound.type for queue in self.values() for bound, _ in bindings(queue) if bound.name == exchange)
        return next((kind for kind in kinds if kind), "direct")

    def bound_to(self, exchange: str, routing_key: str) -> Any | None:
        """The declared queue that a direct exchange and a routing key lead to."""
        return next((queue for queue in self.values() if is_bound(queue, exchange, routing_key)), None)

    def bind(self, name: str, exchange: str, routing_key: str) -> None:
        """One more way to a queue: by a direct exchange and a routing key."""
        from kombu import Exchange, binding  # type: ignore[attr-defined]

        queue = self[name]
        if not is_bound(queue, exchange, routing_key):
            queue.bindings = {*(queue.bindings or ()), binding(Exchange(exchange), routing_key)}  # type: ignore[no-untyped-call]

    def _from_options(self, name: str, options: Mapping[str, Any]) -> Any:
        from kombu import Queue  # type: ignore[attr-defined]

        given = dict(options)
        given["routing_key"] = given.get("routing_key") or given.pop("binding_key", None) or name
        return Queue.from_dict(name, **given)  # type: ignore[no-untyped-call]


def bindings(queue: Any) -> list[tuple[Any, str]]:
    """Exchange and routing key of every way to a queue."""
    own = [(queue.exchange, queue.routing_key)] if queue.exchange else []
    return own + [(each.exchange, each.routing_key) for each in queue.bindings or () if each.exchange]


def is_bound(queue: Any, exchange: str, routing_key: str) -> bool:
    """True if a message to this exchange with this key comes to the queue."""
    return any(routing_key == key and exchange == bound.name for bound, key in bindings(queue))


def _names(names: str | Iterable[str]) -> Iterable[str]:
    return (names,) if isinstance(names, str) else names


def _entries(queues: Any) -> list[tuple[str, Any]]:
    """Name and queue of each entry of ``task_queues``."""
    if isinstance(queues, Mapping):
        entries = [(str(name), {} if queue is None else queue) for name, queue in queues.items()]
    else:
        entries = [(getattr(queue, "name", ""), queue) for queue in queues or ()]
    for name, queue in entries:
        if not isinstance(queue, (str, Mapping)) and not hasattr(queue, "routing_key"):
            raise ImproperlyConfigured(
                f"task_queues: {queue!r} is neither a Queue, a name nor a dict" + (f" ({name})" if name else "")
            )
    return entries
