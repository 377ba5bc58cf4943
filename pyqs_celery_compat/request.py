"""What a task knows about its own call: ``self.request``.

Owns: ``Context``. An attribute bag: what is not set falls back to the class's value, ``vars(request)`` shows what was
set. Lives in the process that runs the task.
"""

from __future__ import annotations

from typing import Any

#: Headers that name no user value although Context has no attribute for them.
_PROTOCOL_KEYS = frozenset({"lang", "task", "argsrepr", "kwargsrepr", "compression"})


#: RabbitMQ's record of where a message was dead-lettered, which one that is sent again must not carry.
_OF_A_DEATH = frozenset({
    "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
    "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason",
})  # fmt: skip


class Context:
    """The request of one call. ``request.headers`` holds the headers that are not Celery's own, or None."""

    _children: list[Any] | None = None
    _protected = 0
    args: Any = None
    callbacks: Any = None
    called_directly = True
    chain: Any = None
    chord: Any = None
    correlation_id: str | None = None
    #: How often SQS has handed the message out; not Celery's. 1 outside a worker.
    delivery_count = 1
    delivery_info: dict[str, Any] | None = None
    errbacks: Any = None
    eta: str | None = None
    expires: str | None = None
    group: str | None = None
    group_index: int | None = None
    headers: dict[str, Any] | None = None
    hostname: str | None = None
    id: str | None = None
    ignore_result: bool | None = False
    is_eager = False
    kwargs: Any = None
    logfile: str | None = None
    loglevel: int | None = None
    origin: str | None = None
    parent_id: str | None = None
    properties: dict[str, Any] | None = None
    retries = 0
    reply_to: str | None = None
    replaced_task_nesting = 0
    root_id: str | None = None
    shadow: str | None = None
    taskset: str | None = None
    timelimit: Any = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    utc: bool | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._take(dict(*args, **kwargs))

    def _take(self, values: dict[str, Any]) -> None:
        if "timelimit" in values:
            values["time_limit"], values["soft_time_limit"] = _limits(values["timelimit"])
        if values.get("headers") is None:
            values["headers"] = None if _NOT_CUSTOM.issuperset(values) else _custom_headers(values)
        self.__dict__ = values

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set attributes as ``dict.update`` would; ``timelimit`` sets the two limits with it."""
        new = dict(*args, **kwargs)
        self.__dict__.update(new)
        if "timelimit" in new:
            self.time_limit, self.soft_time_limit = _limits(new["timelimit"])

    def clear(self) -> None:
        """Forget everything that was set."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute, or ``default``."""
        return getattr(self, key, default)

    def as_execution_options(self) -> dict[str, Any]:
        """The options that publish this call again."""
        hard, soft = self.timelimit or (None, None)
        stamped, stamps = self.stamped_headers, self.stamps or {}
        return {
            # What is no declared stamp does not travel, and a stamp stands back behind an option of the same name.
            **({} if stamped is None else {"stamped_headers": list(stamped)}),
            **{name: stamps[name] for name in stamped or () if name in stamps},
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": soft,
            "time_limit": hard,
            "headers": {key: value for key, value in (self.headers or {}).items() if key not in _OF_A_DEATH},
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }

    @property
    def children(self) -> list[Any]:
        """Results of the tasks that this one has called."""
        if self._children is None:
            self._children = []
        return self._children

    def __repr__(self) -> str:
        return f"<Context: {vars(self)!r}>"


def request_of(values: dict[str, Any]) -> Context:
    """A request that takes the dict over, which nobody else keeps: a copy less than by ``Context(values)``."""
    request = Context.__new__(Context)
    request._take(values)
    return request


def _limits(limits: Any) -> tuple[Any, Any]:
    if isinstance(limits, (list, tuple)) and len(limits) >= 2:
        return limits[0], limits[1]
    return None, None


def _custom_headers(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _NOT_CUSTOM}


#: Names that are no user's header.
_NOT_CUSTOM = _PROTOCOL_KEYS | frozenset(dir(Context))
