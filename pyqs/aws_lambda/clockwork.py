"""The times of an invocation: a task's soft and hard limit, and the moment from which the function's own time is up.

Owns: one thread that keeps them, and ``Estimates``, how long tasks take. ``arm`` and ``disarm`` are called around a task, in
the thread that runs it. What is to happen is given by the caller and happens in the thread of this. Never ends a process.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from pyqs.clock import boottime
from pyqs.executor.limits import SoftLimit, serve_interruptions
from pyqs.runtime import Prepared

log = logging.getLogger(__name__)

#: Runs of a task that count for its estimate.
RUNS = 50
#: Tasks whose runs are remembered.
MOST_TASKS = 1000


class Estimates:
    """How long a task is expected to run: the longest of its last runs here; before the first its own limit."""

    def __init__(self) -> None:
        self._runs: dict[str, deque[float]] = {}

    def ran(self, task: str, seconds: float) -> None:
        """It ran so long."""
        if task not in self._runs and len(self._runs) >= MOST_TASKS:
            self._runs.clear()
        self._runs.setdefault(task, deque(maxlen=RUNS)).append(seconds)

    def expected(self, prepared: Prepared, whole: float) -> float:
        """Seconds. A limit beyond ``whole``, all the time of an invocation, says nothing: the task could never start."""
        runs = self._runs.get(prepared.task)
        if runs:
            return max(runs)
        limit = prepared.time_limit or prepared.soft_time_limit or 0.0
        return limit if limit < whole else 0.0


class Clockwork:
    """Keeps the times of one process's invocations. Made in the main thread, where soft limits can be raised.

    Parameters:
        on_hard_limit: called with the running task when it has passed its hard limit; it may have ended meanwhile.
    """

    def __init__(self, on_hard_limit: Callable[[Prepared], None]) -> None:
        self._on_hard_limit = on_hard_limit
        self._on_time_up: Callable[[], None] = lambda: None
        self._owner = threading.get_ident()
        is_main = threading.current_thread() is threading.main_thread()
        self._soft = SoftLimit() if is_main else None
        self._changed = threading.Condition()
        self._hard: tuple[float, Prepared] | None = None
        self._time_up: float | None = None
        self._thread: threading.Thread | None = None
        self._said = False

    def begin(self, time_up: float | None, on_time_up: Callable[[], None]) -> None:
        """An invocation begins.

        Parameters:
            time_up: when its time is up (boot-time clock), None for never.
            on_time_up: called then; the invocation may have ended meanwhile.
        """
        if self._raises_here:
            serve_interruptions()
        with self._changed:
            self._time_up, self._on_time_up = time_up, on_time_up
            self._wake()

    def end(self) -> None:
        """It has ended."""
        with self._changed:
            self._time_up = self._hard = None

    def arm(self, prepared: Prepared) -> None:
        """Its task starts, in this thread."""
        soft = prepared.soft_time_limit
        with self._changed:
            self._hard = None if prepared.time_limit is None else (boottime() + prepared.time_limit, prepared)
            if soft is not None and not self._raises_here:
                self._cannot(prepared)
            elif self._soft is not None:
                self._soft.arm(soft, prepared.soft_limit_error)
            if soft is not None or self._hard is not None:
                self._wake()

    def disarm(self) -> None:
        """It has ended: nothing is raised after this returns."""
        if self._soft is not None:
            self._soft.disarm()
        self._hard = None

    @property
    def _raises_here(self) -> bool:
        """Whether a signal reaches the running thread: Python's handlers run in the main thread only."""
        return self._soft is not None and threading.get_ident() == self._owner

    def _cannot(self, prepared: Prepared) -> None:
        if not self._said:
            self._said = True
            log.warning("soft limits are kept in a process's main thread only, and %s runs in another", prepared.task)

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # a fork has none of its parent's
            self._thread = threading.Thread(target=self._run, name="pyqs-clockwork", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                now, hard, time_up = boottime(), self._hard, self._time_up
                waits = [] if hard is None else [hard[0] - now]
                waits += [] if time_up is None else [time_up - now]
                if self._soft is not None and (left := self._soft.remaining()) is not None:
                    waits.append(left)
                due = min(waits, default=None)
                if due is None or due > 0:
                    self._changed.wait(due)
                    continue
                if self._soft is not None:
                    self._soft.fire()
                happens: list[Callable[[], None]] = []
                if time_up is not None and time_up <= now:
                    self._time_up = None
                    happens.append(self._on_time_up)
                if hard is not None and hard[0] <= now:
                    self._hard = None
                    happens.append(partial(self._on_hard_limit, hard[1]))
            for one in happens:
                _guarded(one)


def _guarded(happens: Callable[[], None]) -> None:
    try:
        happens()
    except Exception:
        log.exception("what was to happen at the end of a time has failed")
