"""Executors and the host as threads of this process: what ``pyqs.executor`` is in a process of its own.

Owns: ``ThreadSpawner``, which the worker's pool asks for executors, and the two kinds of threads that it makes. They speak the
same frames over a socket pair, hold deliveries in the same ``Inbox`` and run them by the same code. Runs in tests. Never ends
the process and never sends a signal: a thread cannot be killed, so one that must be is told by an exception, is not heard any
more, and another takes its place.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import select
import socket
import threading
from collections.abc import Callable

from pyqs.config import RuntimeConfig
from pyqs.executor.host import Host
from pyqs.executor.interrupts import ThreadInterrupts
from pyqs.executor.limits import Limit
from pyqs.executor.main import Executor
from pyqs.executor.process import Pipe
from pyqs.executor.retirement import Retirement
from pyqs.interruption import GivenUp, Shutdown, ShutdownRequested, have_own
from pyqs.message import Delivery
from pyqs.runtime import BootReport, Outcome, Prepared, TaskRuntime
from pyqs.wire import Done, Frame, FrameReader, Ready, encode
from pyqs.worker.slot import Slot

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024


class ThreadPipe(Pipe):
    """The writing side of a thread's channel. Without a worker to read it nothing is written."""

    def __init__(self, channel: socket.socket) -> None:
        self.socket = channel
        self.fd = channel.fileno()
        self._lock = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Write one whole frame."""
        data = encode(frame)
        try:
            with self._lock:
                self.socket.sendall(data)
        except OSError:
            if isinstance(frame, Done):
                log.warning("delivery %d: %s has ended, which does not count any more", frame.delivery_id, frame.task)

    def end(self) -> None:
        """Let the worker, and our own reader, see the end."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the worker has ended it


class ThreadExecutor(Executor):
    """An executor whose tasks run in the thread in which it is made.

    Parameters:
        pipe: to the worker.
        runtime: booted, and ready to run tasks; other threads have the same one.
    """

    _limit: ThreadInterrupts

    def __init__(self, pipe: ThreadPipe, runtime: TaskRuntime) -> None:
        super().__init__(pipe, runtime, Retirement(RuntimeConfig()))
        self._ended = pipe.end
        self._gone = False
        self._shutdown = Shutdown()
        self._shutdown.serve(self._strike)
        have_own(self._shutdown)

    def _be_interruptible(self) -> Limit:
        return ThreadInterrupts()

    def _strike(self) -> None:
        if self._shutdown.depth:
            self._shutdown.depth = 0
            self._limit.throw(ShutdownRequested)

    def _clean_up(self) -> None:
        """Signals and streams are the test's."""

    def serve(self, ready: Ready) -> None:
        """Say that we are ready, then run what comes until Stop, or until we are given up."""
        reader = threading.Thread(target=self._read, name=f"{threading.current_thread().name}-reader", daemon=True)
        self._pipe.send(ready)
        reader.start()
        try:
            while self.run_one():
                pass
        finally:
            self._ended()
            reader.join()
            self._pipe.socket.close()

    def _call(self, delivery: Delivery, prepared: Prepared, began: float) -> Outcome:
        try:
            return super()._call(delivery, prepared, began)
        finally:
            self._limit.disarm()  # what was thrown may have kept it from being done before

    # -- reader thread ------------------------------------------------------------------------------------------------
    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._pipe.fd, select.POLLIN)
        frames = FrameReader()
        while not self._gone:
            waits = [wait for wait in (self._inbox.look(), self._limit.remaining()) if wait is not None]
            events = poll.poll(math.ceil(min(waits) * 1000) if waits else None)
            self._limit.fire()
            if events:
                self._hear(frames)

    def _worker_gone(self) -> None:
        """We were given up: what runs is ended if it can be, and how it ends does not count."""
        self._gone = True
        self._shutdown.begun = True
        self._inbox.stop()
        self._limit.throw(GivenUp)


class ThreadHost(Host):
    """The host as a thread: it is asked what becomes of a task that was given up. What happens to the worker is told by whoever
    has made it, in this same process."""

    def serve(self) -> None:
        """Until Stop, or until the worker has gone."""
        frames = FrameReader()
        with self._pipe.socket:
            while not self._stopping:
                try:
                    data = self._pipe.socket.recv(_CHUNK)
                except OSError:
                    data = b""
                if not data:
                    return
                for frame in frames.feed(data):
                    self._take(frame)


class ThreadSpawner:
    """Makes threads where a worker wants executors. A ``pyqs.worker.spawner.Spawner``.

    Parameters:
        runtime: booted, shared by all of them.
        report: of its boot.
        begin: called first in each thread.
        name: what the threads' names begin with.
    """

    def __init__(self, runtime: TaskRuntime, report: BootReport, *, begin: Callable[[], object], name: str) -> None:
        self._runtime = runtime
        self._report = report
        self._begin = begin
        self._name = name
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    @property
    def running(self) -> list[str]:
        """Names of the threads that have not ended."""
        with self._lock:
            return [thread.name for thread in self._threads if thread.is_alive()]

    def request(self, number: int, arrived: Callable[[Slot], object], failed: Callable[[int, Exception], object]) -> None:
        """Make the executor of slot ``number``."""
        self._make(f"{self._name}-{number}", number, self._execute, arrived, failed)

    def request_host(self, arrived: Callable[[Slot], object], failed: Callable[[int, Exception], object]) -> None:
        """Make the host."""
        self._make(f"{self._name}-host", -1, self._host, arrived, failed)

    def without_preload(self, forkserver_pid: int) -> bool:
        """Nothing is preloaded."""
        return False

    def cancel(self) -> None:
        """Nothing is ever on its way."""

    def _make(
        self,
        name: str,
        number: int,
        target: Callable[[ThreadPipe], None],
        arrived: Callable[[Slot], object],
        failed: Callable[[int, Exception], object],
    ) -> None:
        ours, theirs = socket.socketpair()
        thread = threading.Thread(
            target=self._run, args=(ThreadPipe(theirs), target), name=f"{name}.{next(self._numbers)}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as exc:  # no more threads
            ours.close()
            theirs.close()
            failed(number, exc)
            return
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        arrived(Slot(number, ours, name="the host" if number < 0 else f"executor thread {number}"))

    def _run(self, pipe: ThreadPipe, target: Callable[[ThreadPipe], None]) -> None:
        try:
            self._begin()
            target(pipe)
        except GivenUp:
            log.debug("%s was given up", threading.current_thread().name)
        except BaseException:
            log.critical("%s failed", threading.current_thread().name, exc_info=True)
        finally:
            pipe.end()

    def _execute(self, pipe: ThreadPipe) -> None:
        ThreadExecutor(pipe, self._runtime).serve(self._ready())

    def _host(self, pipe: ThreadPipe) -> None:
        pipe.send(self._ready())
        ThreadHost(pipe, self._runtime).serve()

    def _ready(self) -> Ready:
        report = self._report
        return Ready(os.getpid(), 0, report.tasks, report.at_most_once, report.notes, preloaded=False, watches=report.watches)
