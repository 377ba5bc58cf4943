"""Writing a task call as Celery 5.7 writes it: headers, properties, body, and the sealed SQS text.

Owns: ``as_task_v2``, ``as_task_v1`` and ``seal_task``. Pure; runs where a task is called, and where a worker publishes what
follows a task. Never routes, sends or looks a task up, and writes nothing that only our own reader would understand.

Source: messages recorded from Celery 5.7.0 with kombu 5.7.0. Custom headers are merged at the top level and overwrite the
protocol's own; options that nothing else consumes become message properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from pyqs.errors import BadMessageOption, NotSerializable
from pyqs_celery_compat import serialization
from pyqs_celery_compat.argument_repr import MAX_CHARACTERS, MAX_LEVELS, argument_repr
from pyqs_celery_compat.envelope import seal_envelope
from pyqs_celery_compat.uuids import anon_nodename

#: What stands beside the arguments in a body of protocol 2: signatures, of which there may be none.
NOTHING_EMBEDDED: Mapping[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
#: AMQP's "persistent"; SQS ignores it, kombu always says it.
PERSISTENT = 2


class TaskMessage(NamedTuple):
    """A task message before it is serialised; ``before_task_publish`` may change its parts in place.

    Parameters:
        sent_event: what an event dispatcher is told of it, where the caller has one.
    """

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: Any
    sent_event: dict[str, Any] | None = None

    def __repr__(self) -> str:  # arguments are nobody's business
        return f"<{type(self).__name__}>"


def as_task_v2(
    task_id: str,
    name: str,
    args: Any = None,
    kwargs: Any = None,
    *,
    headers: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    repr_sizes: tuple[int, int] = (MAX_CHARACTERS, MAX_CHARACTERS),
    repr_levels: int = MAX_LEVELS,
    **options: Any,
) -> TaskMessage:
    """A call in protocol 2.

    Parameters:
        args, kwargs: a list or tuple, and a mapping.
        headers: custom headers.
        now: aware, in the app's time zone; default the present in UTC.
        repr_sizes, repr_levels: of ``argsrepr`` and ``kwargsrepr``.
        countdown: seconds from ``now``; becomes ``eta``.
        eta, expires: a datetime (a naive one goes out naive and is read as UTC) or ISO text; ``expires`` also seconds.
        callbacks, errbacks, chain, chord: signatures (dicts, or their subclasses); ``chain`` reversed, next task last.
        time_limit, soft_time_limit: seconds.
        group_id, group_index, root_id, parent_id, retries, reply_to, shadow, ignore_result, argsrepr, kwargsrepr, origin,
            replaced_task_nesting: as in the header or property of that name; ``root_id`` defaults to ``task_id``.
        stamped_headers: names of those options that are stamps.
        options: whatever else the caller gave becomes a message property.

    Raises:
        TypeError: args or kwargs of the wrong kind.
        BadMessageOption: a countdown or an expiry out of range.
    """
    args, kwargs = _arguments(args, kwargs)
    take, kept = options.pop, options.get
    stamped = take("stamped_headers", None)
    eta, expires, expiration = _times(options, now)
    # Celery leaves these three in its options, so they are properties as well.
    argsrepr, kwargsrepr, origin = kept("argsrepr"), kept("kwargsrepr"), kept("origin")
    fields: dict[str, Any] = {
        "lang": "py",
        "task": name,
        "id": task_id,
        "shadow": take("shadow", None),
        "eta": eta,
        "expires": expires,
        "group": take("group_id", None),
        "group_index": take("group_index", None),
        "retries": take("retries", 0),
        "timelimit": [take("time_limit", None), take("soft_time_limit", None)],
        "root_id": take("root_id", None) or task_id,
        "parent_id": take("parent_id", None),
        "argsrepr": argument_repr(args, repr_sizes[0], repr_levels) if argsrepr is None else argsrepr,
        "kwargsrepr": argument_repr(kwargs, repr_sizes[1], repr_levels) if kwargsrepr is None else kwargsrepr,
        "origin": origin or anon_nodename(),
        "ignore_result": take("ignore_result", False),
        "replaced_task_nesting": take("replaced_task_nesting", 0),
        "stamped_headers": None if stamped is None else list(stamped),
        "stamps": {stamp: take(stamp) for stamp in stamped} if stamped else {},
        **(headers or {}),
    }
    embed = {key: plain(take(key, None)) for key in NOTHING_EMBEDDED}
    return TaskMessage(fields, _properties(task_id, expiration, options), (args, kwargs, embed))


#: options of protocol 2 that protocol 1 has no place for
_ONLY_V2 = ("chain", "root_id", "parent_id", "shadow", "ignore_result", "replaced_task_nesting")


def as_task_v1(
    task_id: str,
    name: str,
    args: Any = None,
    kwargs: Any = None,
    *,
    headers: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    utc: bool = True,
    **options: Any,
) -> TaskMessage:
    """A call in protocol 1, as Celery 5.7 writes it with ``task_protocol=1``.

    It has no place for ``chain`` (chains are nested callbacks), ``root_id``, ``parent_id``, ``shadow``, ``ignore_result`` and
    stamps: they are dropped. Parameters and errors as for ``as_task_v2``; ``utc`` is the app's ``enable_utc``.
    """
    args, kwargs = _arguments(args, kwargs)
    take = options.pop
    for lost in (*_ONLY_V2, *(take("stamped_headers", None) or ())):
        take(lost, None)
    eta, expires, expiration = _times(options, now)
    group = take("group_id", None)
    body = {
        "task": name,
        "id": task_id,
        "args": args,
        "kwargs": kwargs,
        "group": group,
        "group_index": take("group_index", None),
        "retries": take("retries", 0),
        "eta": eta,
        "expires": expires,
        "utc": utc,
        "callbacks": plain(take("callbacks", None)),
        "errbacks": plain(take("errbacks", None)),
        "timelimit": (take("time_limit", None), take("soft_time_limit", None)),
        "taskset": group,
        "chord": plain(take("chord", None)),
    }
    return TaskMessage(dict(headers or {}), _properties(task_id, expiration, options), body)


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
    if value is None:
        return None
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
    if not isinstance(kwargs, (dict, Mapping)):
        raise TypeError("task keyword arguments must be a mapping")
    return args, kwargs


def _times(options: dict[str, Any], now: datetime | None) -> tuple[str | None, str | None, str | None]:
    """Take eta and expires out of the options: both as ISO text, and the expiry once more as AMQP's ``expiration``."""
    countdown, eta, expires = options.pop("countdown", None), options.pop("eta", None), options.pop("expires", None)
    if not countdown and expires is None:
        return _iso(eta), None, None
    now = now or datetime.now(timezone.utc)
    if countdown:
        eta = later(now, countdown, "countdown")
    if isinstance(expires, (int, float)):
        expires = later(now, expires, "expires")
    return _iso(eta), _iso(expires), None if expires is None else _milliseconds(expires, now)


def _iso(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment or None


def _milliseconds(expires: datetime | str, now: datetime) -> str:
    """How long from now, as text; never negative."""
    if isinstance(expires, str):
        try:
            expires = datetime.fromisoformat(expires[:-1] + "+00:00" if expires[-1:] in ("Z", "z") else expires)
        except ValueError:
            raise BadMessageOption(f"expires must be an ISO 8601 time, not {expires!r}") from None
    moments = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc) for moment in (expires, now))
    left = next(moments) - next(moments)
    return str(max(int(left.total_seconds() * 1000), 0))


def _properties(task_id: str, expiration: str | None, options: dict[str, Any]) -> dict[str, Any]:
    reply_to = options.pop("reply_to", None) or ""
    if expiration is not None:
        options.setdefault("expiration", expiration)
    return {"correlation_id": task_id, "reply_to": reply_to, **options}
