"""Celery's monitoring events, which SQS cannot carry: nothing is ever sent, and nobody can listen.

Owns: ``Event``, ``EventDispatcher``, which lets everything go, and ``EventReceiver``, which says so where it is told to listen.
Loaded by those who ask for it only. Signals and the worker's metrics are what monitoring is made of here (docs/health.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NoReturn

__all__ = ["Event", "EventDispatcher", "EventReceiver"]

_NO_EVENTS = (
    "events cannot be received: SQS has no broadcast, so Celery's workers send none there and neither do these; use signals in "
    "the worker, and its metrics (pyqs worker --health)"
)


def Event(type: str, _fields: Any = None, __dict__: Any = dict, __now__: Any = time.time, **fields: Any) -> dict[str, Any]:  # noqa: N802
    """An event, as a dict with a timestamp."""
    event: dict[str, Any] = __dict__(_fields or {}, **fields)
    event.setdefault("timestamp", __now__())
    event["type"] = type
    return event


class EventDispatcher:
    """Takes events and lets them go. Celery's parameters are accepted."""

    def __init__(
        self, connection: Any = None, hostname: str | None = None, enabled: bool = True, *args: Any, **kwargs: Any
    ) -> None:
        self.connection = connection
        self.hostname = hostname
        self.enabled = False
        self.on_enabled: set[Any] = set()
        self.on_disabled: set[Any] = set()

    def __enter__(self) -> EventDispatcher:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def send(self, type: str, *args: Any, **fields: Any) -> None:
        """Nothing happens."""

    def publish(self, type: str, fields: Any, producer: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing happens."""

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Nothing happens."""

    def enable(self) -> None:
        """Nothing happens: it stays disabled."""

    def disable(self) -> None:
        """It is disabled."""

    def close(self) -> None:
        """Nothing happens."""


class EventReceiver:
    """Cannot listen. Celery's parameters are accepted."""

    def __init__(self, channel: Any = None, handlers: Any = None, *args: Any, **kwargs: Any) -> None:
        self.channel = channel
        self.handlers = handlers or {}

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> NoReturn:
        """Raises NotImplementedError, which says what there is instead."""
        raise NotImplementedError(_NO_EVENTS)

    def itercapture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> Iterable[Any]:
        """Raises NotImplementedError, which says what there is instead."""
        raise NotImplementedError(_NO_EVENTS)

    def wakeup_workers(self, channel: Any = None) -> None:
        """Nothing happens."""
