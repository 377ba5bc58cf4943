"""Exceptions raised in a thread that runs tasks, from another: its soft limit, and what else must end its task.

Owns: ``ThreadInterrupts``, one for each such thread. ``arm`` and ``disarm`` are called by that thread around a task, the rest
by its reader thread. Never raises into a thread that runs no task. Python raises such an exception between two steps of
Python code: C code, ``time.sleep`` included, ends first.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable

from pyqs.clock import boottime


class ThreadInterrupts:
    """The soft limit of a thread's run, and what else is thrown into it. Made in that thread. A ``Limit``.

    Parameters:
        clock: seconds, as ``boottime``.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._pid = os.getpid()
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._running = False
        self._deadline: float | None = None
        self._error: type[BaseException] = TimeoutError
        self._thrown: tuple[type[BaseException], ...] = ()

    def arm(self, seconds: float | None, error: type[BaseException]) -> None:
        """A run begins; ``error()`` is raised in it after so many seconds, None: never."""
        with self._lock:
            self._running, self._thrown = True, ()
            self._error = error
            self._deadline = None if seconds is None else self._clock() + seconds

    def disarm(self) -> None:
        """It has ended: nothing is raised after this returns."""
        if os.getpid() != self._pid:  # nobody throws anything in a process that the task has forked, nor lets go of the lock
            return
        while True:
            try:
                with self._lock:
                    self._running, self._deadline = False, None
                    if self._thrown:
                        _throw(self._thread, None)
                return
            except BaseException as exc:
                if not isinstance(exc, self._thrown):
                    raise  # not what comes too late

    def remaining(self) -> float | None:
        """Seconds until ``fire`` should be called, 0 at least; None for no need."""
        deadline = self._deadline
        return None if deadline is None else max(0.0, deadline - self._clock())

    def fire(self) -> None:
        """Interrupt the run if it has passed its limit; once for each."""
        with self._lock:
            if self._is_over():
                self._deadline = None
                self._raise(self._error)

    def throw(self, error: type[BaseException]) -> None:
        """Interrupt the run now, if there is one."""
        with self._lock:
            self._raise(error)

    def _is_over(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    def _raise(self, error: type[BaseException]) -> None:
        if self._running:
            self._thrown = (*self._thrown, error)
            _throw(self._thread, error)


def _throw(thread: int, error: type[BaseException] | None) -> None:
    """Have it raised there; None takes back what was not raised yet (Python/C API: PyThreadState_SetAsyncExc)."""
    argument = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)
