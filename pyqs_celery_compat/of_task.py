"""What a running task brings about and its worker sends: retries, links, chains, what replaces it.

Owns: ``collecting``, ``directly`` and ``into_outbox``, and which of them the running code is inside of. Runs where tasks run.
Never sends anything: ``publisher`` asks here where a message is to go.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

from pyqs.message import Delivery, FollowUp

if TYPE_CHECKING:
    from types import TracebackType

#: The ``collecting`` that the running code is inside of, and the ``into_outbox``.
collector: contextvars.ContextVar[collecting | None] = contextvars.ContextVar("collector", default=None)
destination: contextvars.ContextVar[into_outbox | None] = contextvars.ContextVar("destination", default=None)


class collecting:  # noqa: N801 - like a function of contextlib's, whose generator would cost each task three times as much
    """While a worker runs a task: where messages published under ``into_outbox`` go.

    Parameters:
        origin: the task's own delivery. queue: its queue, as the app names it.
    """

    __slots__ = ("_token", "origin", "outbox", "queue")

    def __init__(self, outbox: list[FollowUp], origin: Delivery | None = None, queue: str = "") -> None:
        self.outbox, self.origin, self.queue = outbox, origin, queue

    def __enter__(self) -> None:
        self._token = collector.set(self)

    def __exit__(self, *_: object) -> None:
        collector.reset(self._token)


class directly:  # noqa: N801 - reads as a statement
    """What is published inside is sent at once, also in a worker: who publishes has to know that it is sent."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = collector.set(None)

    def __exit__(self, *_: object) -> None:
        collector.reset(self._token)


class into_outbox:  # noqa: N801 - reads as a statement
    """What is published inside belongs to the end of the running task: in a worker it is sent by the parent process,
    before the task's own message is settled; elsewhere it is sent at once.

    Parameters:
        back: it is the task's own call once more: to the queue it came from it goes by that one's URL.
    """

    __slots__ = ("_token", "back")

    def __init__(self, *, back: bool = False) -> None:
        self.back = back

    def __enter__(self) -> None:
        self._token = destination.set(self)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        destination.reset(self._token)
