"""What is raised in the task of one lane from outside: its soft limit, and a stop inside its ``interruptible`` blocks.

Owns: ``LaneInterrupts`` and ``LaneShutdown``, a pair for each lane. A plain task is interrupted in the lane's thread, as
``ThreadInterrupts`` does it; while that waits for a coroutine, all goes to the coroutine. The reader thread says when, the
lane's and the main thread look again before anything is raised. Never raises into another lane, or into a thread that waits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from pyqs.clock import boottime
from pyqs.executor.interrupts import ThreadInterrupts
from pyqs.executor.shared_loop import SharedRun
from pyqs.interruption import OTHER_COROUTINE, OTHER_THREAD, Shutdown, ShutdownRequested

#: Seconds between two attempts at a coroutine that computes, and could not be interrupted just then.
RETRY = 0.02


class LaneInterrupts(ThreadInterrupts):
    """The ``Limit`` of a lane.

    Parameters:
        clock: seconds, as ``boottime``.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        super().__init__(clock)
        self.shutdown = LaneShutdown(self, self._lock)
        #: For which the lane's thread waits.
        self.run: SharedRun | None = None
        #: Whether something is due in it that it does not have yet.
        self._struck = False

    def settle_in(self) -> None:
        """This is the lane's thread."""
        self._thread = threading.get_ident()
        self.shutdown.serve(self._stop)

    def hand_over(self, run: SharedRun) -> None:
        """The lane's thread is about to wait for this: from here on all goes there. What was thrown here before is raised."""
        with self._lock:
            let_it_be_raised()
            self.run, self._struck = run, False

    def take_back(self) -> None:
        """It has ended. What was due and not raised in it is raised in what follows in this task."""
        with self._lock:
            self.run = None

    def fire(self) -> None:
        """Interrupt what has passed its limit; a coroutine that could not be interrupted at the last look is tried again."""
        with self._lock:
            if self.run is None:
                if self._is_over():
                    self._deadline = None
                    self._raise(self._error)
            elif not (self._is_over() or (self.shutdown.begun and self.shutdown.depth)):
                self._struck = False
            elif self._struck:
                self.run.strike_again()
            else:
                self._strike(self.run)

    def remaining(self) -> float | None:
        """Seconds until ``fire`` should be called; None for no need."""
        return RETRY if self._struck and self.run is not None else super().remaining()

    def due(self) -> BaseException | None:
        """What is to be raised in the coroutine now. Main thread only, in handlers of signals, too: so without the lock."""
        if self._is_over():
            self._deadline = None
            return self._error()
        return self.shutdown.take()

    def _is_over(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    def _strike(self, run: SharedRun) -> None:
        self._struck = True
        run.strike()

    def _stop(self) -> None:
        with self._lock:
            if self.run is not None:
                self._strike(self.run)
            elif self.shutdown.depth:
                self.shutdown.depth = 0
                self._raise(ShutdownRequested)


class LaneShutdown(Shutdown):
    """Whether the worker stops, for the tasks of one lane.

    Parameters:
        limit: of the lane. lock: its own.
    """

    def __init__(self, limit: LaneInterrupts, lock: threading.Lock) -> None:
        super().__init__()
        self._limit = limit
        self._lock = lock
        self._pid = os.getpid()

    def enter(self) -> None:
        """A block begins."""
        if self._in_thread:
            with self._lock:  # a stop that begins now comes before it or after it
                super().enter()
        else:
            super().enter()

    def leave(self) -> None:
        """It has ended. A stop that has begun inside of it is raised here at the latest."""
        if self._in_thread:
            with self._lock:
                let_it_be_raised()
                super().leave()
        else:
            super().leave()

    @property
    def _in_thread(self) -> bool:
        """Whether the caller is a plain task: coroutines are stopped in the main thread, which must not wait for the lock."""
        return threading.get_ident() == self._main and os.getpid() == self._pid

    @property
    def reaches_here(self) -> bool:
        """Whether a block can be interrupted here. Raises RuntimeError where it cannot."""
        run = self._limit.run
        if run is None:
            if threading.get_ident() != self._main:
                raise RuntimeError(OTHER_THREAD)
        elif not run.is_here():
            raise RuntimeError(OTHER_COROUTINE)
        return True


def let_it_be_raised() -> None:
    """Python raises what another thread has thrown into this one between two steps of Python code: here are some."""
    for _ in range(3):
        _step()


def _step() -> None:
    pass
