"""What an imported app tells a check: its settings, without secrets, and the names of its tasks and queues.

Owns: ``facts``. Runs in the short-lived process that has imported the app (``appinfo``). Talks to nobody. Of text only what is
a name of something known leaves the process: of a URL its scheme.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import conf
from pyqs_celery_compat.app.defaults import DEFAULTS
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

_URLS = ("broker_url", "broker_read_url", "broker_write_url", "result_backend")
#: Settings whose text is a name and no secret.
_NAMES = ("task_serializer", "result_serializer", "worker_pool", "broker_transport", "task_compression")


def facts(app: Celery) -> dict[str, Any]:
    """``{settings: [{name, known, value}], serializers, tasks, named: [[how, name]], queues, errors}``."""
    from kombu.serialization import registry

    errors: list[str] = []
    try:
        conf.check_worker_settings(app)
    except ImproperlyConfigured as exc:
        errors = [str(exc)]
    try:
        names = [name for name in DEFAULTS if app.conf.value_set_for(name)]
    except ImproperlyConfigured as exc:
        return {"settings": [], "serializers": [], "tasks": [], "named": [], "queues": [], "errors": [str(exc)]}
    app.finalize()
    return {
        "settings": [{"name": name, **_fit(name, app.conf[name])} for name in names],
        "serializers": sorted(registry.name_to_type),
        "tasks": sorted(app.tasks),
        "named": [list(one) for one in _named(app)],
        "queues": sorted(_queues(app)) if not errors else [],
        "errors": errors,
    }


def _fit(name: str, value: Any) -> dict[str, Any]:
    """A value, as far as it may leave the process: whether it is all of it, and it."""
    if value is None or isinstance(value, (bool, int, float)):
        return {"known": True, "value": value}
    if name in _URLS and isinstance(value, str):
        scheme, separator, _ = value.partition("://")
        if separator:
            return {"known": False, "value": f"{scheme}://"}
        return {"known": True, "value": value if value.isidentifier() or value in ("", "django-db", "django-cache") else "?"}
    if name in _NAMES and isinstance(value, str):
        return {"known": True, "value": value}
    if name in ("accept_content", "result_accept_content") and isinstance(value, (list, tuple, set, frozenset)):
        return {"known": True, "value": [str(one) for one in value]}
    return {"known": bool(not value), "value": None}


def _named(app: Celery) -> Iterable[tuple[str, str]]:
    """Tasks that settings name."""
    schedule = app.conf.beat_schedule
    if isinstance(schedule, Mapping):
        for entry in schedule.values():
            if isinstance(entry, Mapping) and isinstance(entry.get("task"), str):
                yield "beat_schedule", entry["task"]
    routes = app.conf.task_routes
    if isinstance(routes, Mapping):
        yield from (("task_routes", name) for name in routes if isinstance(name, str))


def _queues(app: Celery) -> set[str]:
    return {str(name) for name in app.amqp.queues.consume_from}
