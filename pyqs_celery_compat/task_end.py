"""What a running task brings about: the messages that belong to its end.

Owns: ``collecting`` and ``into_outbox``, and which of them is in force in this context. Runs where a task runs; ``publisher``
asks. In a worker these messages are sent by the parent process before it settles the task's own.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

from pyqs.message import Delivery, FollowUp

if TYPE_CHECKING:
    from types import TracebackType

_collecting: contextvars.ContextVar[collecting | None] = contextvars.ContextVar("collecting", default=None)
_into_outbox: contextvars.ContextVar[into_outbox | None] = contextvars.ContextVar("into_outbox", default=None)


class collecting:  # noqa: N801 - like a function of contextlib's, whose generator would cost each task three times as much
    """While a worker runs a task: where messages published under ``into_outbox`` go.

    Parameters:
        origin: the task's own delivery. queue: its queue, as the app names it.
    """

    __slots__ = ("_token", "origin", "outbox", "queue")

    def __init__(self, outbox: list[FollowUp], origin: Delivery | None = None, queue: str = "") -> None:
        self.outbox, self.origin, self.queue = outbox, origin, queue

    def __enter__(self) -> None:
        self._token = _collecting.set(self)

    def __exit__(self, *_: object) -> None:
        _collecting.reset(self._token)


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
        self._token = _into_outbox.set(self)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        _into_outbox.reset(self._token)


def collected() -> collecting | None:
    """Where the messages of the running task's end go; None where no worker runs one."""
    return _collecting.get()


def belongs() -> into_outbox | None:
    """Whether what is published now belongs to a task's end, and how; None if it does not."""
    return _into_outbox.get()
