"""Threads that cannot die in silence, and what wakes them.

Owns: ``Service`` (one named thread: start, stop, join; a crash is reported), ``Pulse`` (the sign of life of a thread that
loops) and ``Bell`` (wakes a selector from any thread or signal handler). Used by every thread of the worker. Never swallows
what ends a thread.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable

from pyqs.clock import boottime

log = logging.getLogger(__name__)

#: Told the service's name and what ended it.
OnCrash = Callable[[str, BaseException], None]


class Pulse:
    """The sign of life of one thread that loops. The thread beats, others look how long ago; no lock is needed.

    Parameters:
        name: what beats.
        tolerance: seconds without a beat after which it counts as hung.
        lacking: what a missing beat means, for people.
    """

    def __init__(self, name: str, tolerance: float, *, lacking: str = "no round") -> None:
        self.name = name
        self.lacking = lacking
        self.tolerance = tolerance
        #: Boot-time second of the last beat; None before the first one and while it rests.
        self.beaten_at: float | None = None

    def beat(self) -> None:
        """It loops."""
        self.beaten_at = boottime()

    def rest(self) -> None:
        """Nothing is expected of it until its next beat: it has ended, or waits for what may take any time."""
        self.beaten_at = None


class Service:
    """One named thread. ``stop`` asks it to end, before or after ``start``, any number of times.

    Parameters:
        name: of the thread, for logs and debuggers.
        on_crash: called in the thread when ``run`` raises.
        tolerance: seconds without a ``beat`` of the running thread after which it counts as hung; None for one that may
            wait for ever, whose end is all there is to notice.
    """

    def __init__(self, name: str, on_crash: OnCrash, *, tolerance: float | None = None) -> None:
        self.name = name
        self.pulse = None if tolerance is None else Pulse(name, tolerance)
        self.stopping = threading.Event()
        self._on_crash = on_crash
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """The thread's work; returns soon after ``stopping`` is set."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None and not self.stopping.is_set():
            # A daemon: a poll that hangs must not keep the process when everything else has ended.
            self._thread = threading.Thread(target=self._main, name=f"pyqs-{self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self.stopping.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end at most ``timeout`` seconds; True when it has ended, or never began."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.alive

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def beat(self) -> None:
        """The thread's own word that it loops; only for a service with a tolerance."""
        if self.pulse is not None:
            self.pulse.beat()

    def _main(self) -> None:
        try:
            self.beat()
            self.run()
        except BaseException as exc:
            log.critical("%s crashed; the worker drains and exits", self.name, exc_info=True)
            self._on_crash(self.name, exc)
        finally:
            if self.pulse is not None:
                self.pulse.rest()


class Bell:
    """Wakes whoever waits for it. Ringing takes no lock, so that a signal handler may do it, too."""

    def __init__(self) -> None:
        self._ear, self._clapper = socket.socketpair()
        self._ear.setblocking(False)
        self._clapper.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """Readable when it was rung."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake the waiter. What it should look at must be in its place before."""
        if not self._rung:
            self._rung = True
            try:
                self._clapper.send(b"!")
            except OSError:
                pass  # full: it will wake anyway; closed: nobody waits

    def hush(self) -> None:
        """Forget the ringing so far; look at what was left for you after this, not before."""
        try:
            while self._ear.recv(64):
                pass
        except OSError:
            pass
        self._rung = False

    def wait(self, timeout: float | None) -> None:
        """Wait until it rings, at most ``timeout`` seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            selector.select(timeout)
        self.hush()

    def close(self) -> None:
        """Ringing does nothing from now on."""
        self._rung = True
        self._ear.close()
        self._clapper.close()
