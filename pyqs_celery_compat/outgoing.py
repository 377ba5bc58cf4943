"""A call as Celery writes it: protocol 2 (headers and a three-part body) and protocol 1 (one dict).

Owns: ``TaskMessage``, ``as_task_v2``, ``as_task_v1``. Pure; runs where tasks are called. Writes the fields of Celery 5.7 (celery-wire:
recorded messages) and none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pyqs_celery_compat.saferepr import saferepr
from pyqs_celery_compat.uuids import anon_nodename


class TaskMessage(NamedTuple):
    """Headers, properties and body of one message, before serialization. ``sent_event`` is Celery's, always None here."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: Any
    sent_event: Any = None


def as_task_v2(
    task_id: str,
    name: str,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    countdown: float | None = None,
    eta: Any = None,
    group_id: str | None = None,
    group_index: int | None = None,
    expires: Any = None,
    retries: int = 0,
    chord: Any = None,
    callbacks: Any = None,
    errbacks: Any = None,
    reply_to: str | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    root_id: str | None = None,
    parent_id: str | None = None,
    shadow: str | None = None,
    chain: Any = None,
    *,
    now: datetime,
    origin: str | None = None,
    ignore_result: bool | None = False,
    argsrepr: str | None = None,
    kwargsrepr: str | None = None,
    stamped_headers: list[str] | None = None,
    replaced_task_nesting: int = 0,
    repr_levels: int = 3,
    **options: Any,
) -> TaskMessage:
    """Protocol 2. ``now`` is the moment countdown and expires are counted from, in the app's timezone.

    Raises:
        TypeError: args or kwargs of the wrong kind.
    """
    args, kwargs = _arguments(args, kwargs)
    headers = {
        "lang": "py",
        "task": name,
        "id": task_id,
        "shadow": shadow,
        "eta": moment(eta, countdown, now),
        "expires": moment(expires, None, now),
        "group": group_id,
        "group_index": group_index,
        "retries": retries,
        "timelimit": [time_limit, soft_time_limit],
        "root_id": root_id or task_id,
        "parent_id": parent_id,
        "argsrepr": saferepr(args, levels=repr_levels) if argsrepr is None else argsrepr,
        "kwargsrepr": saferepr(kwargs, levels=repr_levels) if kwargsrepr is None else kwargsrepr,
        "origin": origin or anon_nodename(),
        "ignore_result": ignore_result,
        "replaced_task_nesting": replaced_task_nesting,
        "stamped_headers": stamped_headers,
        "stamps": {header: options[header] for header in stamped_headers or []},
    }
    body = (args, kwargs, {"callbacks": callbacks, "errbacks": errbacks, "chain": chain, "chord": chord})
    return TaskMessage(headers, {"correlation_id": task_id, "reply_to": reply_to or ""}, body)


def as_task_v1(
    task_id: str,
    name: str,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    countdown: float | None = None,
    eta: Any = None,
    group_id: str | None = None,
    group_index: int | None = None,
    expires: Any = None,
    retries: int = 0,
    chord: Any = None,
    callbacks: Any = None,
    errbacks: Any = None,
    reply_to: str | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    *,
    now: datetime,
    utc: bool = True,
    **options: Any,
) -> TaskMessage:
    """Protocol 1, for workers older than Celery 4. It has no chain, root or parent: those are dropped, as Celery does.

    Raises:
        TypeError: args or kwargs of the wrong kind.
    """
    args, kwargs = _arguments(args, kwargs)
    body = {
        "task": name,
        "id": task_id,
        "args": args,
        "kwargs": kwargs,
        "group": group_id,
        "group_index": group_index,
        "retries": retries,
        "eta": moment(eta, countdown, now),
        "expires": moment(expires, None, now),
        "utc": utc,
        "callbacks": callbacks,
        "errbacks": errbacks,
        "timelimit": (time_limit, soft_time_limit),
        "taskset": group_id,
        "chord": chord,
    }
    return TaskMessage({}, {"correlation_id": task_id, "reply_to": reply_to or ""}, body)


def moment(value: Any, countdown: float | None, now: datetime) -> str | None:
    """A time as it stands in a message: ISO 8601 text, or None.

    Parameters:
        value: None, text (kept), a datetime (a naive one stays naive: workers read it as UTC), a timedelta or seconds.
        countdown: seconds from now; wins over ``value`` unless it is 0.
    """
    if countdown:
        return (now + timedelta(seconds=countdown)).isoformat()
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, timedelta):
        return (now + value).isoformat()
    if isinstance(value, (int, float)):
        return (now + timedelta(seconds=value)).isoformat()
    return value.isoformat()  # type: ignore[no-any-return]


def _arguments(args: Any, kwargs: Mapping[str, Any] | None) -> tuple[Any, Any]:
    args, kwargs = args or (), kwargs or {}
    if not isinstance(args, (list, tuple)):
        raise TypeError("task args must be a list or tuple")
    if not isinstance(kwargs, Mapping):
        raise TypeError("task keyword arguments must be a mapping")
    return args, kwargs
