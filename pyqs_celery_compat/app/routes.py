"""Which queue a call goes to: its own, that of ``task_routes``, the default queue.

Owns: ``MapRoute`` and ``Router``. Pure; runs where tasks are called. The queues themselves are in ``queues.py``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.exceptions import QueueNotFound
from pyqs_celery_compat.local import maybe_evaluate
from pyqs_celery_compat.utils import imports

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


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


def expand_router_string(router: Any) -> Any:
    """The router with this dotted name: a function, or what a class with ``route_for_task`` makes."""
    found = imports.symbol_by_name(router)
    return found() if hasattr(found, "route_for_task") else found


def prepare(routes: Any) -> Any:
    """``task_routes`` as a list of routers; what is a dotted name is imported when the first call is routed."""
    if routes is None:
        return ()
    return [_prepared(route) for route in (routes if isinstance(routes, (list, tuple)) else (routes,))]


def _prepared(route: Any) -> Any:
    if isinstance(route, (Mapping, list, tuple)):
        return MapRoute(route)
    if not isinstance(route, str):
        return route
    from pyqs_celery_compat.utils.functional import mlazy

    return mlazy(expand_router_string, route)  # type: ignore[no-untyped-call]


def _evaluated(router: Any) -> Any:
    from kombu.utils.functional import maybe_evaluate as imported

    return maybe_evaluate(imported(router))  # type: ignore[no-untyped-call]


class Router:
    """Picks the queue of a call.

    The call's own options win over the route, the route over the default queue (observed on Celery 5.7: a task's ``queue``
    attribute counts as the call's own).
    """

    def __init__(self, routes: Any = None, queues: Any = None, create_missing: bool = False, app: Celery | None = None) -> None:
        self.app: Any = app
        self.queues: Any = {} if queues is None else queues
        self.routes = [] if routes is None else routes
        self.create_missing = create_missing

    def route(
        self, options: dict[str, Any], name: str, args: Any = (), kwargs: Mapping[str, Any] | None = None, task_type: Any = None
    ) -> dict[str, Any]:
        """The options with ``queue`` filled in. Raises QueueNotFound."""
        options = self.expand_destination(options)
        found = self.lookup_route(name, args, kwargs or {}, options, task_type) if self.routes else None
        if found:
            return _merge(self.expand_destination(found), options)
        if "queue" not in options:
            return {**self.expand_destination(self.app.conf.task_default_queue), **options}
        return options

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """A route with its queue's name looked up."""
        if isinstance(route, str):
            queue, expanded = route, {}
        else:
            expanded = dict(route)
            queue = expanded.pop("queue", None)
        if queue:
            expanded["queue"] = queue if hasattr(queue, "routing_key") else self._queue(queue)
        return expanded

    def _queue(self, name: str) -> Any:
        try:
            return self.queues[name]
        except KeyError:
            if self.create_missing:
                return self.queues.add(name)
            raise QueueNotFound(f"Queue {name!r} missing from task_queues") from None

    def lookup_route(self, name: str, args: Any, kwargs: Any, options: dict[str, Any], task_type: Any) -> Any:
        """The first router's answer that is not None."""
        for router in self.routes:
            if type(router) is not MapRoute:
                router = _evaluated(router)
            route = self.query_router(router, name, args, kwargs, options, task_type)
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
