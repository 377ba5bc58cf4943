"""A thread that calls functions later: what bootsteps hang their heartbeats on.

Owns: ``Timer`` and its thread, ``Entry``. Runs in the process that uses it, a daemon; there is none before the first
entry. Never used by the worker itself.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Entry", "Timer"]

log = logging.getLogger(__name__)


class Entry:
    """A call that is to be made; ``every`` so many seconds, unless None, until it is cancelled."""

    every: float | None = None

    def __init__(self, fun: Callable[..., Any], args: Any = None, kwargs: Mapping[str, Any] | None = None) -> None:
        self.fun = fun
        self.args = tuple(args or ())
        self.kwargs = dict(kwargs or {})
        self.canceled = False

    def __call__(self) -> Any:
        return self.fun(*self.args, **self.kwargs)

    def cancel(self) -> None:
        """It is not called any more."""
        self.canceled = True

    @property
    def cancelled(self) -> bool:
        """The same as ``canceled``."""
        return self.canceled

    def __repr__(self) -> str:
        return f"<Entry: {getattr(self.fun, '__name__', self.fun)}{' (canceled)' if self.canceled else ''}>"


class Timer:
    """Calls entries when they are due, one after the other, by the monotonic clock.

    Parameters:
        on_error: told what an entry raises, which is logged otherwise.
    """

    def __init__(self, *args: Any, on_error: Callable[[BaseException], Any] | None = None, **kwargs: Any) -> None:
        self.on_error = on_error
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, int, Entry]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def call_after(self, secs: float, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0) -> Entry:
        """Call it once, ``secs`` seconds from now."""
        return self.enter_after(secs, Entry(fun, args, kwargs), priority)

    def call_at(self, eta: float, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0) -> Entry:
        """Call it once, at this second of the monotonic clock."""
        return self.enter_at(Entry(fun, args, kwargs), eta, priority)

    def call_repeatedly(
        self, secs: float, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """Call it every ``secs`` seconds until its entry is cancelled; what it raises does not end that."""
        entry = Entry(fun, args, kwargs)
        entry.every = secs
        return self.enter_after(secs, entry, priority)

    def enter_after(self, secs: float, entry: Entry, priority: int = 0) -> Entry:
        """Put an entry in, due in so many seconds."""
        return self.enter_at(entry, time.monotonic() + secs, priority)

    def enter_at(self, entry: Entry, eta: float | None = None, priority: int = 0) -> Entry:
        """Put an entry in, due at this second of the monotonic clock, or now."""
        with self._changed:
            heapq.heappush(self._heap, (time.monotonic() if eta is None else eta, priority, next(self._numbers), entry))
            self._changed.notify()
        self.ensure_started()
        return entry

    def cancel(self, tref: Entry) -> None:
        """Do not call this entry any more."""
        tref.cancel()

    def clear(self) -> None:
        """Forget all entries."""
        with self._changed:
            self._heap.clear()

    def ensure_started(self) -> None:
        """Have the thread run, unless it was stopped."""
        with self._changed:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="timer", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread, when what it calls just now has returned."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            try:
                entry()
            except Exception as exc:
                if self.on_error is not None:
                    self.on_error(exc)
                else:
                    log.exception("%r failed", entry)
            if entry.every is not None and not entry.canceled:
                self.enter_after(entry.every, entry)

    def _next(self) -> Entry | None:
        """The next entry, when it is due; None when the timer was stopped."""
        with self._changed:
            while not self._stopped:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is not None and wait <= 0.0:
                    entry = heapq.heappop(self._heap)[3]
                    if not entry.canceled:
                        return entry
                    continue
                self._changed.wait(wait)
        return None
