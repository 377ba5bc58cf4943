"""What is raised in the task of one lane from outside: its limits, a stop inside its ``interruptible`` blocks, a call off.

A hard limit need not cost the process, in which others run: ``GivenUp`` is raised in the task, and if it ends soon after that,
it has ended alone (``was_given_up``). If it does not, the worker kills the process.

Owns: ``LaneInterrupts`` and ``LaneShutdown``, a pair for each lane. A plain task is interrupted in the lane's thread, as
``ThreadInterrupts`` does it; while that waits for a coroutine, all goes to the coroutine. The reader thread says when, the
lane's and the main thread look again before anything is raised. Never raises into another lane, or into a thread that waits.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any

from pyqs.called_off import CalledOffCalls
from pyqs.clock import boottime
from pyqs.coroutine_steps import Body
from pyqs.executor.interrupts import ThreadInterrupts
from pyqs.executor.shared_loop import SharedLoop, SharedRun
from pyqs.interruption import OTHER_COROUTINE, OTHER_THREAD, GivenUp, Shutdown, ShutdownRequested

#: Seconds between two attempts at a coroutine that computes, and could not be interrupted just then.
RETRY = 0.02


class LaneInterrupts(ThreadInterrupts):
    """The ``Limit`` of a lane.

    Parameters:
        called_off: the calls that were called off.
        clock: seconds, as ``boottime``.
    """

    def __init__(self, called_off: CalledOffCalls, clock: Callable[[], float] = boottime) -> None:
        super().__init__(clock)
        self._called_off = called_off
        self._call_id, self._time_limit = "", math.inf
        #: Boot-time second from which on the task is given up.
        self._hard = math.inf
        self._raised = False
        #: Whether the last task had been given up when it ended.
        self.was_given_up = False
        self._given_up = self._own_error()
        self.shutdown = LaneShutdown(self, self._lock)
        #: For which the lane's thread waits.
        self.run: SharedRun | None = None
        #: Whether something is due in it that it does not have yet.
        self._struck = False

    def _own_error(self) -> type[GivenUp]:
        limits = self

        class GivenUpHere(GivenUp):
            """Python makes one when it raises it: what was thrown too late is never made."""

            def __init__(self, *args: object) -> None:
                super().__init__(*args)
                limits._raised = True

        return GivenUpHere

    def expect(self, call_id: str, time_limit: float | None) -> None:
        """What will be armed next.

        Parameters:
            call_id: of a call that is ended where it runs when it is called off, else "".
            time_limit: seconds, the hard one.
        """
        self._call_id, self._time_limit = call_id, math.inf if time_limit is None else time_limit

    def arm(self, seconds: float | None, error: type[BaseException]) -> None:
        """A run begins."""
        with self._lock:
            self._raised = self.was_given_up = False
            self._hard = self._clock() + self._time_limit
        super().arm(seconds, error)
        self.look_for_call_off()

    def disarm(self) -> None:
        """It has ended."""
        if self._running:
            self.was_given_up = self._raised  # what is raised from here on comes too late
            self._hard = math.inf
        super().disarm()

    def look_for_call_off(self) -> None:
        """Give up what runs, if that was asked for."""
        with self._lock:
            call = self._called_off.by_id.get(self._call_id) if self._call_id and self._running else None
            if call is not None and call.signal and not self._raised:
                self._hard = min(self._hard, self._clock())

    def settle_in(self) -> None:
        """This is the lane's thread."""
        self._thread = threading.get_ident()
        self.shutdown.serve(self._stop)

    def wait_for(self, loop: SharedLoop, body: Body, name: str) -> Any:
        """What this coroutine of the lane's task answers; raises what it raises.

        From the beginning of the wait on all goes there; what was thrown into the thread before is raised first. What was due
        and not raised in the coroutine is raised in what follows in this task.
        """
        run = SharedRun(loop, body, name, self.due)
        try:
            with self._lock:
                let_it_be_raised()
                self.run, self._struck = run, False
        except BaseException:
            body.close()
            raise
        try:
            return run.to_its_end()
        finally:
            with self._lock:
                self.run = None

    def fire(self) -> None:
        """Interrupt what has passed its limit; a coroutine that could not be interrupted at the last look is tried again."""
        with self._lock:
            if self.run is None:
                if self._is_given_up():
                    self._hard = math.inf
                    self._raise(self._given_up)
                elif self._is_over():
                    self._deadline = None
                    self._raise(self._error)
            elif not (self._is_given_up() or self._is_over() or (self.shutdown.begun and self.shutdown.depth)):
                self._struck = False
            elif self._struck:
                self.run.strike_again()
            else:
                self._strike(self.run)

    def remaining(self) -> float | None:
        """Seconds until ``fire`` should be called; None for no need."""
        if self._struck and self.run is not None:
            return RETRY
        moment = self._hard if self._deadline is None else min(self._hard, self._deadline)
        return None if moment == math.inf else max(0.0, moment - self._clock())

    def due(self) -> BaseException | None:
        """What is to be raised in the coroutine now. Main thread only, in handlers of signals, too: so without the lock."""
        if self._is_given_up():
            self._hard = math.inf
            return self._given_up()
        if self._is_over():
            self._deadline = None
            return self._error()
        return self.shutdown.take()

    def _is_given_up(self) -> bool:
        return self._clock() >= self._hard

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
