"""Commands that a project defines for remote control, which nobody can send on SQS.

Owns: ``Panel`` and the decorators that fill it, so that modules that use them can be imported. The functions are kept as they
are and never called; a worker says so when it starts (``conf.check_worker_settings``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

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
