"""Celery's task message, protocols 1 and 2 and the hybrid of both, as one value.

Owns: ``CeleryCall`` and how envelope and payload become one. Pure; runs in an executor. Never looks a task up, never decides
whether a call may run.

Sources: messages recorded from Celery 3.1 to 5.7, and Celery's worker for what it makes of odd ones. Protocol 2 has its fields
in the headers and ``[args, kwargs, embed]`` as payload; protocol 1 has one dict as payload; a hybrid has such a dict and
protocol 2's headers, and what stands in the dict counts. ``chain`` is stored reversed: the next task is its last element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import date, datetime, time, timezone
from typing import Any

from pyqs.errors import Undecodable
from pyqs.message import EMPTY, Call
from pyqs.value import value
from pyqs_celery_compat.envelope import Envelope


@value
class CeleryCall(Call):
    """One decoded Celery task call.

    Parameters:
        protocol: 1 or 2 (a hybrid counts as 2).
        queue: name of the queue it was read from.
        callbacks, errbacks: signatures (plain dicts) to publish on success and on failure, or None.
        chain: signatures still to come, reversed, or None.
        chord: signature of the chord's body, or None.
        group: id of the group it belongs to; protocol 1 calls it taskset.
        eta_wire, expires_wire: as they stood in the message, or None; ``eta`` and ``expires`` are seconds since the epoch.
        utc: protocol 1's mark; False makes naive times local ones.
        headers: all message headers, custom ones included.
        properties: all message properties.
    """

    protocol: int = 2
    queue: str = ""
    callbacks: Any = field(default=None, repr=False)
    errbacks: Any = field(default=None, repr=False)
    chain: Any = field(default=None, repr=False)
    chord: Any = field(default=None, repr=False)
    group: str | None = None
    group_index: int | None = None
    root_id: str | None = None
    parent_id: str | None = None
    eta_wire: str | None = None
    expires_wire: str | None = None
    utc: bool = True
    headers: Mapping[str, Any] = field(default_factory=lambda: EMPTY, repr=False)
    properties: Mapping[str, Any] = field(default_factory=lambda: EMPTY, repr=False)
    content_type: str = ""
    content_encoding: str = ""

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """Hard and soft limit in seconds, in the order of the wire."""
        return self.time_limit, self.soft_time_limit

    @property
    def compression(self) -> str | None:
        """Value of the ``compression`` header."""
        return self.headers.get("compression")

    @property
    def reply_to(self) -> str | None:
        """Where replies would go; the producer's id."""
        return self.properties.get("reply_to")

    @property
    def correlation_id(self) -> str | None:
        """The task id once more, as a message property."""
        return self.properties.get("correlation_id")

    @property
    def delivery_info(self) -> Mapping[str, Any]:
        """Exchange, routing key and (3.1) priority; the routing key is not the queue."""
        info = self.properties.get("delivery_info")
        return info if type(info) is dict or isinstance(info, Mapping) else EMPTY

    @property
    def priority(self) -> int | None:
        """A number that SQS never sees; 3.1 keeps it in ``delivery_info``."""
        found = self.properties.get("priority")
        return self.delivery_info.get("priority") if found is None else found

    @property
    def shadow(self) -> str | None:
        """Name for the logs instead of the task's."""
        return self.headers.get("shadow")

    @property
    def ignore_result(self) -> bool | None:
        """Per-call setting; None leaves it to the task."""
        return self.headers.get("ignore_result")

    @property
    def origin(self) -> str | None:
        """``gen<pid>@<host>`` of the producer."""
        return self.headers.get("origin")

    @property
    def argsrepr(self) -> str | None:
        """The producer's text of args, for logs and results."""
        return self.headers.get("argsrepr")

    @property
    def kwargsrepr(self) -> str | None:
        """The producer's text of kwargs."""
        return self.headers.get("kwargsrepr")

    @property
    def replaced_task_nesting(self) -> int:
        """How often ``replace`` stood in for this task."""
        found = self.headers.get("replaced_task_nesting")
        return found if isinstance(found, int) else 0

    @property
    def stamped_headers(self) -> list[str]:
        """Names of the stamps."""
        return list(self.headers.get("stamped_headers") or ())

    @property
    def stamps(self) -> Mapping[str, Any]:
        """Stamps by name."""
        found = self.headers.get("stamps")
        return found if isinstance(found, Mapping) else EMPTY


def holds_no_task(envelope: Envelope, payload: object) -> str | None:
    """Why a message is not a task at all (pidbox, events, replies, plain kombu), or None if it may be one."""
    if "task" in envelope.headers:
        return None
    if not isinstance(payload, dict):
        return "it names no task: no task header, and its payload is no dict"
    if "task" in payload and "id" in payload:
        return None
    if "method" in payload and "arguments" in payload:
        return "a remote-control command, not a task"
    if "type" in payload and "timestamp" in payload:
        return "a Celery event, not a task"
    if "ticket" in envelope.headers:
        return "a reply to a remote-control command, not a task"
    return "it names no task: neither a task header nor task and id in its payload"


def read_call(envelope: Envelope, payload: Any, queue: str = "") -> CeleryCall:
    """Put a call together.

    Parameters:
        payload: the envelope's payload, decompressed and deserialised.

    Raises:
        Undecodable: layer "protocol".
    """
    headers = envelope.headers
    if "task" not in headers and (reason := holds_no_task(envelope, payload)) is not None:
        raise Undecodable("protocol", reason)
    if isinstance(payload, (list, tuple)):
        if len(payload) != 3:
            raise Undecodable("protocol", f"a protocol 2 payload has three parts, this one has {len(payload)}")
        args, kwargs, embed = payload
        fields, embed = headers, embed if type(embed) is dict else _embed(embed)
        protocol, group, utc = 2, headers.get("group"), True
    elif isinstance(payload, dict):
        args, kwargs, embed = payload.get("args"), payload.get("kwargs"), payload
        fields, protocol, utc = payload, 1, payload.get("utc", True) is not False
        group = payload.get("taskset") or payload.get("group")
        if "task" in headers:
            fields, protocol = {**headers, **payload}, 2
            group = group or headers.get("group")
    else:
        raise Undecodable("protocol", f"a task's payload cannot be {type(payload).__name__}")
    get, embedded = fields.get, embed.get
    limits, eta, expires = get("timelimit"), get("eta"), get("expires")
    hard, soft = (None, None) if limits is None or limits == _UNLIMITED else _limits(limits)
    # What is as it should be is taken as it is, without a call: this runs for each message.
    task, task_id, retries, root, parent = get("task"), get("id"), get("retries"), get("root_id"), get("parent_id")
    callbacks, errbacks, chain, chord = embedded("callbacks"), embedded("errbacks"), embedded("chain"), embedded("chord")
    # By position, in the order of the fields: by name it would cost three times as much (profiled).
    return CeleryCall(
        task if type(task) is str and task else _needed(fields, "task"),
        tuple(args) if type(args) is list else _args(args),
        {} if kwargs == {} else _kwargs(kwargs),
        task_id if type(task_id) is str and task_id else _needed(fields, "id"),
        retries if type(retries) is int and retries >= 0 else _retries(retries),
        None if eta is None else _moment(eta, "eta", utc),
        None if expires is None else _moment(expires, "expires", utc),
        hard,
        soft,
        protocol,
        queue,
        _signatures(embed, "callbacks") if callbacks else callbacks,
        _signatures(embed, "errbacks") if errbacks else errbacks,
        _signatures(embed, "chain") if chain else chain,
        None if chord is None else _signature(chord, "chord"),
        None if group is None else _id(group, "group"),
        get("group_index"),
        root if root is None or type(root) is str else _id(root, "root_id"),
        parent if parent is None or type(parent) is str else _id(parent, "parent_id"),
        None if eta is None else _wire_time(eta),
        None if expires is None else _wire_time(expires),
        utc,
        headers,
        envelope.properties,
        envelope.content_type,
        envelope.content_encoding,
    )


def _embed(embed: object) -> dict[str, Any]:
    if embed is None:
        return {}
    if not isinstance(embed, dict):
        raise Undecodable("protocol", f"the third part of a protocol 2 payload is {type(embed).__name__}, not a dict")
    return embed


def _text(value: object) -> object:
    """Python 2 with msgpack writes some protocol fields as bytes."""
    return value.decode("utf-8", "replace") if type(value) is bytes else value


def _needed(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if type(value) is str and value:
        return value
    text = _text(value)
    if key == "id" and text is not None and not isinstance(text, (str, dict, list, tuple)):
        return str(text)  # a UUID or a number that a producer chose
    if not isinstance(text, str) or not text:
        raise Undecodable("protocol", f"its {key} is missing or no text")
    return text


def _id(value: object, name: str) -> str | None:
    if value is None or type(value) is str:
        return value
    text = _text(value)
    if isinstance(text, (dict, list, tuple)):
        raise Undecodable("protocol", f"its {name} is {type(text).__name__}, not text")
    return str(text)


def _args(value: object) -> tuple[Any, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise Undecodable("protocol", f"its args are {type(value).__name__}, not a list")
    return tuple(value)


def _kwargs(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Undecodable("protocol", f"its kwargs are {type(value).__name__}, not a dict")
    for key in value:
        if type(key) is not str:
            raise Undecodable("protocol", f"a keyword argument's name is {type(key).__name__}, not text")
    return value


def _retries(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Undecodable("protocol", "its retries are no count")
    return value


_UNLIMITED = [None, None]
#: Seconds, the longest time limit: more than SQS lets anybody hold a message, and countable.
_LONGEST = 1e9


def _limits(value: object) -> tuple[float | None, float | None]:
    if value is None:
        return None, None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Undecodable("protocol", "its timelimit is no pair")
    for limit in value:
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 <= limit <= _LONGEST):
            raise Undecodable("protocol", "its timelimit holds something that is no number of seconds")
    return value[0] or None, value[1] or None


def _signature(value: object, name: str) -> Any:
    """One signature: a dict that names a task (Celery also lets a chord's body be a list form of it)."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Undecodable("protocol", f"its {name} holds {type(value).__name__}, not a signature")
    task = value.get("task")
    if type(task) is bytes:
        value = {**value, "task": _text(task), "subtask_type": _text(value.get("subtask_type"))}
    elif type(task) is not str:
        raise Undecodable("protocol", f"its {name} holds a signature without a task")
    return value


def _signatures(embed: Mapping[str, Any], name: str) -> Any:
    value = embed.get(name)
    if not value:
        return value
    if isinstance(value, dict):  # a single link that was not put into a list
        return [_signature(value, name)]
    if not isinstance(value, (list, tuple)):
        raise Undecodable("protocol", f"its {name} are {type(value).__name__}, not a list")
    return [_signature(item, name) for item in value]


def _wire_time(value: object) -> str:
    if type(value) is str:
        return value
    return value.isoformat() if isinstance(value, (date, time)) else str(_text(value))


def _moment(value: object, name: str, utc: bool) -> float:
    """Seconds since the epoch. A naive time is UTC, but local time where protocol 1 says ``utc: false``."""
    value = _text(value)
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value[:-1] + "+00:00" if value[-1:] in ("Z", "z") else value)
        else:
            raise ValueError
        if moment.tzinfo is None and utc:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        raise Undecodable("protocol", f"its {name} is no ISO 8601 time") from None
