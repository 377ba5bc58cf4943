"""Writing a task call as Celery 5.7 writes it: headers, properties, body, and the sealed SQS text.

Owns: ``as_task_v2``, ``as_task_v1`` and ``seal_task``. Pure; runs where a task is called, and where a worker publishes what
follows a task. Never routes, sends or looks a task up, and writes nothing that only our own reader would understand.

Source: messages recorded from Celery 5.7.0 with kombu 5.7.0. Custom headers are merged at the top level and overwrite the
protocol's own; options that nothing else consumes become message properties.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from pyqs.errors import BadMessageOption, NotSerializable

from . import serialization
from .argument_repr import argument_repr
from .envelope import seal_envelope
from .uuids import anon_nodename

#: AMQP's "persistent"; SQS ignores it, kombu always says it.
PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task message before it is serialised; ``before_task_publish`` may change its three parts in place."""

    headers: dict[str, Any] = field(repr=False)
    properties: dict[str, Any] = field(repr=False)
    body: Any = field(repr=False)


def as_task_v2(
    task_id: str,
    name: str,
    args: Any = None,
    kwargs: Any = None,
    *,
    countdown: float | None = None,
    eta: datetime | str | None = None,
    expires: float | datetime | str | None = None,
    group_id: str | None = None,
    group_index: int | None = None,
    retries: int = 0,
    chord: Any = None,
    callbacks: Any = None,
    errbacks: Any = None,
    chain: Any = None,
    reply_to: str | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    root_id: str | None = None,
    parent_id: str | None = None,
    shadow: str | None = None,
    ignore_result: bool | None = False,
    argsrepr: str | None = None,
    kwargsrepr: str | None = None,
    origin: str | None = None,
    replaced_task_nesting: int = 0,
    stamped_headers: Iterable[str] | None = None,
    headers: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    **options: Any,
) -> TaskMessage:
    """A call in protocol 2.

    Parameters:
        args, kwargs: a list or tuple, and a mapping.
        countdown: seconds from ``now``; becomes ``eta``.
        eta, expires: a datetime (a naive one goes out naive and is read as UTC) or ISO text; ``expires`` also seconds.
        callbacks, errbacks, chain, chord: signatures (dicts, or their subclasses); ``chain`` reversed, next task last.
        stamped_headers: names in ``options`` that are stamps.
        headers: custom headers.
        now: aware, in the app's time zone; default the present in UTC.
        options: whatever else the caller gave; becomes message properties.

    Raises:
        TypeError: args or kwargs of the wrong kind.
        BadMessageOption: a countdown or an expiry out of range.
    """
    args, kwargs = _arguments(args, kwargs)
    now = now or datetime.now(timezone.utc)
    stamps = {stamp: options.pop(stamp) for stamp in stamped_headers or ()}
    fields: dict[str, Any] = {
        "lang": "py",
        "task": name,
        "id": task_id,
        "shadow": shadow,
        "eta": _iso(later(now, countdown, "countdown") if countdown else eta),
        "expires": _iso(_expiry(expires, now)),
        "group": group_id,
        "group_index": group_index,
        "retries": retries,
        "timelimit": [time_limit, soft_time_limit],
        "root_id": root_id or task_id,
        "parent_id": parent_id,
        "argsrepr": argument_repr(args) if argsrepr is None else argsrepr,
        "kwargsrepr": argument_repr(kwargs) if kwargsrepr is None else kwargsrepr,
        "origin": origin or anon_nodename(),
        "ignore_result": ignore_result,
        "replaced_task_nesting": replaced_task_nesting,
        "stamped_headers": None if stamped_headers is None else list(stamped_headers),
        "stamps": stamps,
        **(headers or {}),
    }
    # Celery leaves these three in its options, so they are properties as well.
    seen = {"argsrepr": argsrepr, "kwargsrepr": kwargsrepr, "origin": origin}
    options.update({key: value for key, value in seen.items() if value is not None})
    embed = {"callbacks": plain(callbacks), "errbacks": plain(errbacks), "chain": plain(chain), "chord": plain(chord)}
    return TaskMessage(fields, _properties(task_id, reply_to, expires, now, options), (args, kwargs, embed))


def as_task_v1(
    task_id: str,
    name: str,
    args: Any = None,
    kwargs: Any = None,
    *,
    countdown: float | None = None,
    eta: datetime | str | None = None,
    expires: float | datetime | str | None = None,
    group_id: str | None = None,
    group_index: int | None = None,
    retries: int = 0,
    chord: Any = None,
    callbacks: Any = None,
    errbacks: Any = None,
    reply_to: str | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    utc: bool = True,
    stamped_headers: Iterable[str] | None = None,
    headers: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    **options: Any,
) -> TaskMessage:
    """A call in protocol 1, as Celery 5.7 writes it with ``task_protocol=1``.

    It has no place for ``chain`` (chains are nested callbacks), ``root_id``, ``parent_id``, ``shadow``, ``ignore_result`` and
    stamps: they are dropped. Parameters and errors as for ``as_task_v2``; ``utc`` is the app's ``enable_utc``.
    """
    args, kwargs = _arguments(args, kwargs)
    now = now or datetime.now(timezone.utc)
    for lost in ("chain", "root_id", "parent_id", "shadow", "ignore_result", "replaced_task_nesting", *(stamped_headers or ())):
        options.pop(lost, None)
    body = {
        "task": name,
        "id": task_id,
        "args": args,
        "kwargs": kwargs,
        "group": group_id,
        "group_index": group_index,
        "retries": retries,
        "eta": _iso(later(now, countdown, "countdown") if countdown else eta),
        "expires": _iso(_expiry(expires, now)),
        "utc": utc,
        "callbacks": plain(callbacks),
        "errbacks": plain(errbacks),
        "timelimit": (time_limit, soft_time_limit),
        "taskset": group_id,
        "chord": plain(chord),
    }
    return TaskMessage(dict(headers or {}), _properties(task_id, reply_to, expires, now, options), body)


def seal_task(
    message: TaskMessage,
    *,
    routing_key: str,
    exchange: str = "",
    serializer: str = "json",
    compression: str | None = None,
    priority: int | None = None,
    delivery_mode: int = PERSISTENT,
    outer_base64: bool = True,
) -> str:
    """The SQS body of a task message.

    Parameters:
        routing_key: the queue's logical name, without prefix, as Celery writes it.
        serializer, compression: names as in the app's settings.
        priority: a number that SQS never sees.
        outer_base64: the broker's ``sqs_base64_encoding``.

    Raises:
        NotSerializable: an argument, a header or a property that the format has no place for.
        ConfigError: an unknown serializer or compression, or a library that is not installed.
    """
    payload = serialization.dumps(message.body, serializer, compression)
    headers = message.headers
    if payload.compression is not None:
        headers = {**headers, "compression": payload.compression}
    properties = {
        "delivery_mode": delivery_mode,
        "priority": priority or 0,
        **message.properties,
        "delivery_info": {"exchange": exchange, "routing_key": routing_key},
    }
    try:
        return seal_envelope(
            payload.payload,
            content_type=payload.content_type,
            content_encoding=payload.content_encoding,
            headers=headers,
            properties=properties,
            outer_base64=outer_base64,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise NotSerializable(f"a header or option cannot be written as JSON: {error}") from error


def plain(value: Any) -> Any:
    """Signatures as plain dicts: a pickle or YAML of our own classes would be unreadable to Celery."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()} if type(value) is not dict or "task" in value else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return tuple(plain(item) for item in value) if type(value) is tuple else value


def later(now: datetime, seconds: float, what: str) -> datetime:
    """A moment so many seconds after ``now``, in its time zone.

    Raises:
        BadMessageOption: not a number, or out of the calendar's range.
    """
    try:
        moment = (now.astimezone(timezone.utc) if now.tzinfo else now) + timedelta(seconds=seconds)
        return moment.astimezone(now.tzinfo) if now.tzinfo else moment
    except (OverflowError, ValueError, TypeError):
        raise BadMessageOption(f"{what} must be seconds within the calendar's range, not {seconds!r}") from None


def _arguments(args: Any, kwargs: Any) -> tuple[Any, Any]:
    args, kwargs = args or (), kwargs or {}
    if not isinstance(args, (list, tuple)):
        raise TypeError("task args must be a list or tuple")
    if not isinstance(kwargs, Mapping):
        raise TypeError("task keyword arguments must be a mapping")
    return args, kwargs


def _expiry(expires: float | datetime | str | None, now: datetime) -> datetime | str | None:
    return later(now, expires, "expires") if isinstance(expires, (int, float)) else expires


def _iso(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment or None


def _properties(
    task_id: str, reply_to: str | None, expires: float | datetime | str | None, now: datetime, options: dict[str, Any]
) -> dict[str, Any]:
    """Message properties; an expiry is also there, as text in milliseconds (AMQP's ``expiration``)."""
    if expires is not None:
        options = {"expiration": _milliseconds(expires, now), **options}
    return {"correlation_id": task_id, "reply_to": reply_to or "", **options}


def _milliseconds(expires: float | datetime | str, now: datetime) -> str:
    if isinstance(expires, str):
        try:
            expires = datetime.fromisoformat(expires[:-1] + "+00:00" if expires[-1:] in ("Z", "z") else expires)
        except ValueError:
            raise BadMessageOption(f"expires must be an ISO 8601 time, not {expires!r}") from None
    if isinstance(expires, datetime):
        aware = expires if expires.tzinfo else expires.replace(tzinfo=timezone.utc)
        expires = (aware - (now if now.tzinfo else now.replace(tzinfo=timezone.utc))).total_seconds()
    return str(int(max(expires, 0) * 1000)) if math.isfinite(expires) else "0"
