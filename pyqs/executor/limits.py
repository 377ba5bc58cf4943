"""Exceptions raised inside a task from outside: when it has run for too long, and when the worker stops.

Owns: one armed run at a time and the signals that reach it. ``arm`` and ``disarm`` are called by the executor's main
thread around a task; ``remaining`` and ``fire`` by its reader thread, which keeps the time. Never raises into
anything but the run that was armed: the handlers look again, in the main thread, before they raise.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from pyqs.clock import boottime
from pyqs.coroutines import strike
from pyqs.interruption import shutdown

#: A real-time signal where there are some: nothing else sends it, and SIGUSR1 and SIGALRM stay the tasks' own.
SOFT_LIMIT_SIGNAL: int = signal.SIGRTMIN + 4 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR1


#: The same for a stop inside an ``interruptible`` block.
STOP_SIGNAL: int = signal.SIGRTMIN + 5 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2


def serve_interruptions() -> None:
    """Let ``shutdown.begin`` reach the blocks of this process's tasks. Main thread only."""
    main = threading.get_ident()
    signal.signal(STOP_SIGNAL, lambda _signum, frame: strike(frame, shutdown.take))
    shutdown.serve(lambda: signal.pthread_kill(main, STOP_SIGNAL))


@dataclass(eq=False, slots=True)
class _Armed:
    """One run with a limit. Compared by identity: a signal that comes late finds another run, or none."""

    deadline: float
    error: type[BaseException]
    fired: bool = False
    raised: bool = False


class Limit(Protocol):
    """What keeps the soft limit of the run in hand."""

    def arm(self, seconds: float | None, error: type[BaseException]) -> None:
        """A run begins, in the thread that asks; ``error()`` is raised in it after so many seconds, None: never."""
        ...

    def disarm(self) -> None:
        """It has ended: nothing is raised after this returns."""
        ...

    def remaining(self) -> float | None:
        """Seconds until ``fire`` should be called; None for no need."""
        ...

    def fire(self) -> None:
        """Interrupt the run if it has passed its limit."""
        ...


class SoftLimit:
    """The soft limit of the run in hand, by a signal. Made in the main thread, once per executor.

    Parameters:
        clock: seconds, as ``boottime``.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._armed: _Armed | None = None
        self._main = threading.get_ident()
        signal.signal(SOFT_LIMIT_SIGNAL, self._raise)

    def arm(self, seconds: float | None, error: type[BaseException]) -> None:
        """Raise ``error()`` in this thread once ``seconds`` have passed, unless ``disarm`` comes first. None arms nothing."""
        self._armed = None if seconds is None else _Armed(self._clock() + seconds, error)

    def disarm(self) -> None:
        """Nothing is raised after this returns."""
        self._armed = None

    def remaining(self) -> float | None:
        """Seconds until ``fire`` should be called, 0 at least; None when nothing is armed that has not fired."""
        armed = self._armed
        return None if armed is None or armed.fired else max(0.0, armed.deadline - self._clock())

    def fire(self) -> None:
        """Interrupt the main thread if its run has passed the limit; once per run."""
        armed = self._armed
        if armed is not None and not armed.fired and self._clock() >= armed.deadline:
            armed.fired = True
            signal.pthread_kill(self._main, SOFT_LIMIT_SIGNAL)

    def _raise(self, _signum: int, frame: FrameType | None) -> None:
        armed = self._armed
        strike(frame, lambda: self._take(armed))

    def _take(self, armed: _Armed | None) -> BaseException | None:
        """The error of this run, once, while it is the one that is armed."""
        if armed is None or armed is not self._armed or not armed.fired or armed.raised:
            return None
        armed.raised = True
        return armed.error()
