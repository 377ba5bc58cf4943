"""What may interrupt a task from outside: its soft limit, and a worker that stops.

Owns: the exceptions, ``should_stop`` and ``interruptible``, and whether this process's worker has begun to stop. The reader
thread of an executor says that it has (``shutdown.begin``); tasks ask in the main thread, or, where several run at a time,
each in a context that has a ``Shutdown`` of its own (``have_own``). Never interrupts anything but the inside of an
``interruptible`` block, and each block at most once.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from pyqs.coroutines import in_a_child

OTHER_THREAD = "interruptible() is for the thread that the task was called in"
OTHER_COROUTINE = "interruptible() is for the coroutine that the task is, not for one that it has started"


class SoftTimeLimitExceeded(Exception):
    """Raised in a native task that has run for its ``soft_time_limit``: clean up and end, before the hard limit kills."""


class ShutdownRequested(BaseException):
    """Raised inside ``with interruptible():`` when the worker stops; a task may raise it, too, once ``should_stop()`` is True.

    The task has not failed then: its message is given back at once, and another worker runs it from its beginning. Not an
    ``Exception``, so that a task's ``except Exception`` does not swallow it.
    """


class GivenUp(ShutdownRequested):
    """Raised in a task for which the worker does not wait any more, where that is a thread or a coroutine beside others: a hard
    limit, a revoke, or a stop at once. How the task ends after that does not count."""


class Shutdown:
    """Whether the worker stops, as far as this process knows.

    It is told in executors only. A process that a task has started is not: one that was forked keeps what was true then.
    """

    def __init__(self) -> None:
        self.begun = False
        self.depth = 0
        self._main: int | None = None
        self._interrupt: Callable[[], None] = lambda: None

    def serve(self, interrupt: Callable[[], None]) -> None:
        """This is an executor's main thread; ``interrupt`` has ``strike`` called in it, from any thread."""
        self._main = threading.get_ident()
        self._interrupt = interrupt

    def begin(self) -> None:
        """The worker stops. From any thread."""
        self.begun = True  # before the look at depth: a block that is just being entered looks the other way round
        if self.depth:
            self._interrupt()

    def over(self) -> None:
        """What was to stop has ended: what follows in this process does not stop, nor is anything served."""
        self.begun, self.depth = False, 0
        self._main, self._interrupt = None, lambda: None

    def take(self) -> ShutdownRequested | None:
        """What to raise in the main thread, in which this runs, if it is inside a block."""
        if not (self.begun and self.depth):
            return None
        self.depth = 0  # first: what is raised while a block is entered does not pass through its end
        return ShutdownRequested()

    def strike(self) -> None:
        """Raise it."""
        error = self.take()
        if error is not None:
            raise error

    def enter(self) -> None:
        """A block begins, where ``reaches_here``."""
        self.depth += 1
        self.strike()

    def leave(self) -> None:
        """It has ended."""
        if self.depth:
            self.depth -= 1

    def task_ended(self) -> None:
        """No block outlives its task."""
        self.depth = 0

    @property
    def reaches_here(self) -> bool:
        """Whether a block can be interrupted in this process.

        Raises:
            RuntimeError: it can, but not in this thread, or not in this coroutine.
        """
        if self._main is None:
            return False
        if threading.get_ident() != self._main:
            raise RuntimeError(OTHER_THREAD)
        if in_a_child():
            raise RuntimeError(OTHER_COROUTINE)
        return True


#: This process's.
shutdown = Shutdown()
_own: contextvars.ContextVar[Shutdown | None] = contextvars.ContextVar("shutdown", default=None)


def have_own(own: Shutdown) -> None:
    """This context is that of tasks in a process in which others run, too: what runs in it is told for itself of a stop."""
    _own.set(own)


def _mine() -> Shutdown:
    return _own.get() or shutdown


def should_stop() -> bool:
    """Whether the worker that runs this task has begun to stop (SIGTERM, Ctrl-C): save what is done, and end soon.

    False outside a worker, and for ever in a process that the task started before the stop began.
    """
    return _mine().begun


def interruptible() -> AbstractContextManager[None]:
    """``with interruptible():`` the block ends with ``ShutdownRequested`` as soon as the worker begins to stop, or has begun.

    For parts of a long task that may be broken off anywhere and run again. C code is interrupted when it returns to Python.
    Only in the thread, and the coroutine, in which the task was called; outside a worker, and in processes that a task starts,
    nothing happens.

    Raises:
        RuntimeError: in another thread of an executor, or in another coroutine.
    """
    return _Block()


class _Block(AbstractContextManager[None]):
    """One block. What the signal's handler raises inside ``__enter__`` or ``__exit__`` leaves the depth at 0."""

    def __enter__(self) -> None:
        self._shutdown = _mine()
        self._counts = self._shutdown.reaches_here
        if self._counts:
            self._shutdown.enter()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._counts:
            self._shutdown.leave()
