"""Makes executors and the host: the forkserver with the app in it, and one child per slot.

Owns: the forkserver's life (started early in the main thread, again when it has died, and without preload when an import leaves
threads running) and the start of each child. Runs in a thread of its own, because a start waits for the forkserver and the
pool must not. Never talks to a child after its start.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext, ForkServerContext
from typing import Protocol

from pyqs.config import RuntimeConfig
from pyqs.executor import host as executor_host
from pyqs.executor import main as executor_main
from pyqs.executor import preload
from pyqs.start_note import StartNote, memory
from pyqs.worker.service import OnCrash, Service
from pyqs.worker.slot import Slot

log = logging.getLogger(__name__)

_PRELOAD_MODULE = preload.__name__

Arrived = Callable[[Slot], object]
Failed = Callable[[int, Exception], object]

_UNWANTED = "it is not wanted any more"


class Spawner(Protocol):
    """What the pool needs of whoever makes executors."""

    def request(self, number: int, arrived: Arrived, failed: Failed) -> None:
        """Make the executor of slot ``number``; one of the two is called later, from any thread."""
        ...

    def request_host(self, arrived: Arrived, failed: Failed) -> None:
        """Make the child that holds the app and runs no task; otherwise as ``request``."""
        ...

    def without_preload(self, forkserver_pid: int) -> bool:
        """From now on children import for themselves; True when that is news."""
        ...

    def cancel(self) -> None:
        """No executor is wanted any more: let those that are on their way fail soon. The host may still be needed."""
        ...


@dataclass(frozen=True, slots=True)
class _Request:
    """One child to make: the executor of this number, or the host (None). Answered once, whatever happens."""

    number: int | None
    arrived: Arrived
    failed: Failed

    def fail(self, exc: BaseException) -> None:
        told = exc if isinstance(exc, Exception) else RuntimeError(repr(exc))
        self.failed(-1 if self.number is None else self.number, told)


class ForkserverSpawner(Service):
    """Executors as children of a forkserver (on macOS: spawned, for development)."""

    def __init__(self, config: RuntimeConfig, on_crash: OnCrash, *, preload_app: bool = True) -> None:
        super().__init__("spawner", on_crash)
        self._config = config
        self._preload = preload_app
        #: Guards what follows, up to the next remark; never held while a child is made.
        self._changed = threading.Condition()
        self._requests: deque[_Request] = deque()
        self._making: _Request | None = None
        self._cancelled = False
        self._ended = False
        #: Guards the forkserver: held while it starts, and while a child is made.
        self._lock = threading.Lock()
        self._ended_servers: set[int] = set()
        self._context: BaseContext = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")

    def prepare(self) -> None:
        """Start the forkserver; the main thread's first act, before there are other threads."""
        if isinstance(self._context, ForkServerContext):
            self._start_server()

    def _start_server(self) -> None:
        assert isinstance(self._context, ForkServerContext)
        self._context.set_forkserver_preload([_PRELOAD_MODULE])
        entries = preload.environment(self._config) if self._preload else {preload.VARIABLE: "null"}
        # A SIGTERM to the group must not end it in its first instants either, so it starts with the signal blocked, which
        # preload undoes when it has a handler. One that comes to us meanwhile is heard afterwards.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            os.environ.update(entries)
            forkserver.ensure_running()
        finally:
            for name in entries:
                os.environ.pop(name, None)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    @property
    def pids(self) -> frozenset[int]:
        """Direct children of this process that multiprocessing waits for itself."""
        from multiprocessing import resource_tracker

        tracker = getattr(resource_tracker._resource_tracker, "_pid", None)
        return frozenset(pid for pid in (self._server_pid, tracker) if pid)

    @property
    def _server_pid(self) -> int | None:
        return getattr(forkserver._forkserver, "_forkserver_pid", None)

    def request(self, number: int, arrived: Arrived, failed: Failed) -> None:
        self._put(_Request(number, arrived, failed))

    def request_host(self, arrived: Arrived, failed: Failed) -> None:
        self._put(_Request(None, arrived, failed))

    def _put(self, request: _Request) -> None:
        with self._changed:
            refused = self._ended or (self._cancelled and request.number is not None)
            if not refused:
                self._requests.append(request)
                self._changed.notify_all()
        if refused:
            request.fail(EOFError(_UNWANTED))

    def without_preload(self, forkserver_pid: int) -> bool:
        with self._lock:
            # A child that reports after its forkserver has been replaced may name whoever adopted it: that one is not ours.
            if not self._preload or forkserver_pid in self._ended_servers:
                return False
            self._ended_servers.add(forkserver_pid)
            self._preload = False
            if isinstance(self._context, ForkServerContext) and forkserver_pid == self._server_pid:
                _end(forkserver_pid)  # the next child brings about a new one
            return True

    def cancel(self) -> None:
        with self._changed:
            self._cancelled = True
            unwanted = [request for request in self._requests if request.number is not None]
            self._requests = deque(request for request in self._requests if request.number is None)
            making = self._making
        for request in unwanted:
            request.fail(EOFError(_UNWANTED))
        if making is not None and making.number is not None:
            self._kill_server()

    def stop(self) -> None:
        super().stop()
        self.cancel()
        with self._changed:
            self._changed.notify_all()
            making = self._making
        if making is not None:
            self._kill_server()

    def _kill_server(self) -> None:
        """It may be in an import that takes long, or for ever; a child that it has just forked ends by its lifeline."""
        server = self._server_pid
        if server:
            self._ended_servers.add(server)
            with suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)

    def run(self) -> None:
        """Make one child after the other. However this ends, nobody is left without an answer."""
        try:
            while (request := self._next()) is not None:
                try:
                    slot = self._spawn(request.number)
                except BaseException as exc:
                    request.fail(exc)
                    if not isinstance(exc, OSError | EOFError):
                        raise
                else:
                    request.arrived(slot)
        finally:
            with self._changed:
                self._ended = True
                self._making = None
                left = list(self._requests)
                self._requests.clear()
            for request in left:
                request.fail(EOFError(_UNWANTED))

    def _next(self) -> _Request | None:
        with self._changed:
            self._making = None
            self._changed.wait_for(lambda: self._requests or self.stopping.is_set())
            if self.stopping.is_set():
                return None
            self._making = self._requests.popleft()
            return self._making

    def _revive_server(self, number: int | None) -> None:
        """Start a dead forkserver again, as it was: one that multiprocessing starts by itself would not import the tasks.

        Raises:
            EOFError: it was ended because this executor is not wanted any more.
        """
        server = self._server_pid
        if not isinstance(self._context, ForkServerContext) or (server is not None and _lives(server)):
            return
        if self._cancelled and number is not None:
            raise EOFError(_UNWANTED)
        if server is not None and server not in self._ended_servers:
            then = "imports the tasks once more" if self._preload else "is started again"
            log.warning("the forkserver (pid %d) has died; a new one %s", server, then)
            self._ended_servers.add(server)
        self._start_server()

    def _spawn(self, number: int | None) -> Slot:
        """A child: the executor of this number, or the host."""
        name, target = ("host", executor_host.run) if number is None else (f"executor-{number}", executor_main.run)
        # A connection is what multiprocessing knows how to hand over. The host runs no task and notes none; an executor that
        # runs several at a time tells of each start.
        lanes = self._config.async_slots
        note_ends = [] if number is None or lanes > 1 else [Connection(memory())]
        ours, theirs = socket.socketpair()
        read_end, write_end = self._context.Pipe(duplex=False)
        try:
            note = StartNote(note_ends[0].fileno()) if note_ends else None
            with self._lock:
                self._revive_server(number)
                process = self._context.Process(  # type: ignore[attr-defined]
                    target=target,
                    args=(theirs, read_end, self._config, *note_ends),
                    name=f"pyqs-{name}",
                    daemon=False,
                )
                process.start()
        except BaseException:
            ours.close()
            write_end.close()
            raise
        finally:
            theirs.close()
            for end in (read_end, *note_ends):
                end.close()
        if number is None:
            return Slot(-1, ours, process.pid, process, write_end, "the host")
        return Slot(number, ours, process.pid, process, write_end, note=note, lanes=lanes)


def _lives(pid: int) -> bool:
    """Whether our forkserver runs. One that has died is left to multiprocessing to reap."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # the kernel has reaped it (SIGCHLD is ignored): multiprocessing could not do so
        forkserver._forkserver._forkserver_pid = None  # type: ignore[attr-defined]
        return False


def _end(pid: int) -> None:
    """Kill our forkserver and wait until it is dead, leaving it to multiprocessing to reap."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except (ProcessLookupError, ChildProcessError):
        pass
