"""The soft time limit: an exception raised inside a task that has run for too long.

Owns: one armed delivery at a time and the signal that reaches it. ``SoftLimit.arm`` and ``disarm`` run in the
executor's main thread around a task; the timer fires in a thread of its own and only sends the signal. Never raises
into anything but the delivery it was armed for: the handler looks again, in the main thread, before it raises.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

#: Free for use in Python programs, and not used by multiprocessing.
SOFT_LIMIT_SIGNAL = signal.SIGUSR1


class SoftLimit:
    """Arms one delivery's soft limit. Made in the main thread, once per executor."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error
        self._armed: int | None = None
        self._fired: int | None = None
        self._timer: threading.Timer | None = None
        self._main = threading.main_thread().ident
        signal.signal(SOFT_LIMIT_SIGNAL, self._raise)

    def arm(self, delivery_id: int, seconds: float | None) -> None:
        """Raise the error in this thread in ``seconds``, unless ``disarm`` comes first. None arms nothing."""
        if seconds is None or seconds <= 0:
            return
        self._fired = None
        self._armed = delivery_id
        self._timer = threading.Timer(seconds, self._fire, (delivery_id,))
        self._timer.daemon = True
        self._timer.name = "pyqs-soft-limit"
        self._timer.start()

    def disarm(self) -> None:
        """Nothing is raised after this returns."""
        self._armed = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self, delivery_id: int) -> None:
        if self._armed == delivery_id and self._main is not None:
            self._fired = delivery_id
            signal.pthread_kill(self._main, SOFT_LIMIT_SIGNAL)

    def _raise(self, _signum: int, _frame: FrameType | None) -> None:
        fired, self._fired = self._fired, None
        if fired is not None and fired == self._armed:
            self._armed = None
            raise self._error()
