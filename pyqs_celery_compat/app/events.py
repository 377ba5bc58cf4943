"""``app.events``: the way to Celery's monitoring events, which do not exist on SQS.

Owns: ``Events``. Runs where code asks. Never sends anything; who listens is told that nothing can come.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pyqs_celery_compat.events import EventDispatcher, EventReceiver

__all__ = ["Events"]


class Events:
    """Dispatchers and receivers of an app."""

    receiver_cls: Any = EventReceiver
    dispatcher_cls: Any = EventDispatcher

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @property
    def Receiver(self) -> Any:  # noqa: N802 - Celery's name
        """A class of receivers."""
        return partial(self.receiver_cls, app=self.app)

    @property
    def Dispatcher(self) -> Any:  # noqa: N802 - Celery's name
        """A class of dispatchers."""
        return partial(self.dispatcher_cls, app=self.app)

    @contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[EventDispatcher]:
        """A dispatcher for a with block."""
        yield self.Dispatcher(None, hostname, enabled)
