"""Which queue a call goes to: ``task_routes``, ``task_queues``, the default queue.

Owns: ``QueueTable`` (the queues the app knows), ``MapRoute`` and ``Router``. Pure; runs where tasks are called. Exchanges
exist only as far as they lead to one queue: SQS has none.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured, QueueNotFound
from pyqs_celery_compat.local import maybe_evaluate

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


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


class MapRoute:
    """Routes by task name: exact names first, then globs and regular expressions in their order."""

    def __init__(self, routes: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        self.map: dict[str, Any] = {}
        self.patterns: dict[re.Pattern[str], Any] = {}
        for key, value in routes.items() if isinstance(routes, Mapping) else routes:
            if isinstance(key, re.Pattern):
                self.patterns[key] = value
            elif "*" in key:
                self.patterns[re.compile(fnmatch.translate(key))] = value
            else:
                self.map[key] = value

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        if name in self.map:
            return _as_route(self.map[name])
        for pattern, route in self.patterns.items():
            if pattern.match(name):
                return _as_route(route)
        return None


def _as_route(route: Any) -> dict[str, Any]:
    return {"queue": route} if isinstance(route, str) or hasattr(route, "routing_key") else dict(route)


def prepare_routes(routes: Any) -> list[Any]:
    """``task_routes`` as a list of routers."""
    if routes is None:
        return []
    prepared: list[Any] = []
    for route in routes if isinstance(routes, (list, tuple)) else (routes,):
        if isinstance(route, (Mapping, list, tuple)):
            prepared.append(MapRoute(route))
        elif isinstance(route, str):
            prepared.append(_DottedRouter(route))
        else:
            prepared.append(route)
    return prepared


class _DottedRouter:
    """A router named by its path, imported when the first call is routed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._router: Any = None

    def __maybe_evaluate__(self) -> Any:
        if self._router is None:
            module, _, name = self.path.replace(":", ".").rpartition(".")
            router = getattr(importlib.import_module(module), name)
            self._router = router() if hasattr(router, "route_for_task") else router
        return self._router


class Router:
    """Picks the queue of a call.

    The call's own options win over the route, the route over the default queue (observed on Celery 5.7: a task's ``queue``
    attribute counts as the call's own).
    """

    def __init__(self, routes: list[Any], queues: QueueTable, app: Celery) -> None:
        self.routes, self.queues, self.app = routes, queues, app

    def route(
        self, options: dict[str, Any], name: str, args: Any = (), kwargs: Mapping[str, Any] | None = None, task_type: Any = None
    ) -> dict[str, Any]:
        """The options with ``queue`` filled in. Raises QueueNotFound."""
        options = self.expand_destination(options)
        found = self.lookup_route(name, args, kwargs or {}, options, task_type) if self.routes else None
        if found:
            return _merge(self.expand_destination(found), options)
        if "queue" not in options:
            options = _merge(self.expand_destination(self.app.conf.task_default_queue), options)
        return options

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """A route with its queue's name looked up."""
        if isinstance(route, str):
            queue, expanded = route, {}
        else:
            expanded = dict(route)
            queue = expanded.pop("queue", None)
        if queue:
            if not hasattr(queue, "routing_key"):
                try:
                    queue = self.queues[queue]
                except KeyError:
                    raise QueueNotFound(f"Queue {queue!r} missing from task_queues") from None
            expanded["queue"] = queue
        return expanded

    def lookup_route(self, name: str, args: Any, kwargs: Any, options: dict[str, Any], task_type: Any) -> Any:
        """The first router's answer that is not None."""
        for router in self.routes:
            route = self.query_router(maybe_evaluate(router), name, args, kwargs, options, task_type)
            if route is not None:
                return route
        return None

    def query_router(
        self, router: Callable[..., Any], name: str, args: Any, kwargs: Any, options: dict[str, Any], task_type: Any
    ) -> Any:
        """Ask one router, a function or an object with ``route_for_task``."""
        if hasattr(router, "route_for_task"):
            return router.route_for_task(name, args, kwargs)
        return router(name, args, kwargs, options, task=task_type)


def _merge(route: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The route under the options; an option that is None leaves the route's value."""
    return {**route, **{key: value for key, value in options.items() if value is not None or key not in route}}
