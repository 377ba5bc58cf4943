"""Commands that a project defines for remote control, which nobody can send on SQS.

Owns: ``Panel`` and the decorators that fill it, so that modules that use them can be imported. The functions are kept as they
are and never called; a worker says so when it starts (``conf.check_worker_settings``). Celery's own commands can be imported,
for projects whose commands call them, and are an error when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

__all__ = ["Panel"]

F = TypeVar("F", bound=Callable[..., Any])


class Panel(dict[str, Any]):
    """Commands by name."""

    data: dict[str, Any] = {}  # noqa: RUF012 - one for all, as Celery's
    meta: dict[str, Any] = {}  # noqa: RUF012

    @classmethod
    def register(cls, *args: Any, **kwargs: Any) -> Any:
        """A decorator that notes a command, with or without arguments."""
        if args:
            return cls._register(**kwargs)(args[0])
        return cls._register(**kwargs)

    @classmethod
    def _register(cls, name: str | None = None, alias: str | None = None, **about: Any) -> Callable[[F], F]:
        def noted(function: F) -> F:
            called = name or function.__name__
            cls.data[called] = function
            cls.meta[called] = about
            if alias:
                cls.data[alias] = function
            return function

        return noted


def control_command(**kwargs: Any) -> Callable[[F], F]:
    """A decorator for a command that changes something."""
    found: Callable[[F], F] = Panel.register(type="control", **kwargs)
    return found


def inspect_command(**kwargs: Any) -> Callable[[F], F]:
    """A decorator for a command that asks something."""
    found: Callable[[F], F] = Panel.register(type="inspect", **kwargs)
    return found


def _named(name: str) -> Callable[..., NoReturn]:
    def command(state: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"the command {name!r} of Celery's remote control is not here: SQS cannot reach a worker")

    command.__name__ = command.__qualname__ = name
    command.__doc__ = "One of Celery's commands. Raises NotImplementedError."
    return command


#: All of Celery 5.7's own.
_CELERYS = (
    "active", "active_queues", "add_consumer", "autoscale", "cancel_consumer", "clock", "conf", "disable_events", "election",
    "enable_events", "heartbeat", "hello", "memdump", "memsample", "objgraph", "ping", "pool_grow", "pool_restart",
    "pool_shrink", "query_task", "rate_limit", "registered", "report", "reserved", "revoke", "revoke_by_stamped_headers",
    "revoked", "scheduled", "shutdown", "stats", "terminate", "time_limit",
)  # fmt: skip
globals().update({name: _named(name) for name in _CELERYS})
