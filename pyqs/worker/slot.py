"""The worker's end of one executor: its process, its pipe, what it holds.

Owns: the child process and the non-blocking socket to it. Belongs to the pool thread; only ``spawn`` runs elsewhere, on
the main thread at start. Never blocks: what the socket does not take waits in a buffer of the slot's own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
from collections import OrderedDict
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.executor import main as executor
from pyqs.message import Delivery
from pyqs.wire import Frame, FrameReader, Ready, Run, Started, encode

#: Bytes of frames above which only an executor that waits gets one: it would fill a busy one's socket.
LARGE_FRAME = 32 * 1024
_CHUNK = 256 * 1024


@dataclass(slots=True)
class Held:
    """A delivery in this executor. ``sent`` is False while no byte of its frame has been written: it can be taken back."""

    delivery: Delivery
    frame: bytes | None
    sent: bool = False


@dataclass(eq=False)
class Slot:
    """One executor as the pool sees it."""

    number: int
    process: Any
    channel: socket.socket
    pidfd: int | None
    held: OrderedDict[int, Held] = field(default_factory=OrderedDict)
    running: Started | None = None
    running_since: float = 0.0
    kill_at: float | None = None
    ready: Ready | None = None
    killed_for: str = ""
    leaving: bool = False
    reader: FrameReader = field(default_factory=FrameReader)
    outgoing: bytearray = field(default_factory=bytearray)
    busy_since: float = 0.0

    @property
    def idle(self) -> bool:
        """Ready, and nothing in hand."""
        return self.ready is not None and not self.held and not self.outgoing and not self.leaving

    def give(self, delivery: Delivery, start_before: float) -> None:
        """Queue a Run frame for this executor."""
        if not self.held:
            self.busy_since = boottime()
        self.held[delivery.id] = Held(delivery, encode(Run(delivery, start_before)))
        self.write()

    def send(self, frame: Frame) -> None:
        """Queue a frame that is not about a delivery."""
        self.outgoing += encode(frame)
        self.write()

    def write(self) -> None:
        """Write as much as the socket takes now."""
        while True:
            if not self.outgoing:
                held = next((h for h in self.held.values() if not h.sent), None)
                if held is None or held.frame is None:
                    return
                self.outgoing += held.frame
                held.frame = None
                held.sent = True
            try:
                count = self.channel.send(self.outgoing)
            except BlockingIOError:
                return
            except OSError:
                self.outgoing.clear()
                return  # the reading side sees the end of the pipe
            del self.outgoing[:count]

    @property
    def wants_to_write(self) -> bool:
        """True while something waits for room in the socket."""
        return bool(self.outgoing)

    def read(self) -> list[Frame] | None:
        """The frames that have come; None when the executor has closed its end or speaks another language."""
        frames: list[Frame] = []
        while True:
            try:
                data = self.channel.recv(_CHUNK)
            except BlockingIOError:
                return frames
            except OSError:
                data = b""
            if not data:
                return frames or None
            try:
                frames += self.reader.feed(data)
            except ValueError:
                return frames or None
            if len(data) < _CHUNK:
                return frames

    def take_back_unsent(self) -> list[Delivery]:
        """Deliveries of which the executor has not seen a byte."""
        unsent = [h.delivery for h in self.held.values() if not h.sent]
        for delivery in unsent:
            del self.held[delivery.id]
        return unsent

    def kill(self) -> None:
        """SIGKILL the executor and whatever its task started."""
        pid = self.process.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            # Before its first statements the child is not in a group of its own yet.
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Give the descriptors back."""
        self.channel.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        with contextlib.suppress(ValueError):
            self.process.close()


class Spawner:
    """Makes executors from one forkserver.

    Parameters:
        config: what the executors load.
        preload: let the forkserver import the app first.
    """

    def __init__(self, config: RuntimeConfig, *, preload: bool) -> None:
        self._config = config
        self._context: BaseContext = multiprocessing.get_context("forkserver" if os.uname().sysname == "Linux" else "spawn")
        self._lifeline_read, self._lifeline_write = multiprocessing.Pipe(duplex=False)
        self._numbers = 0
        self.preloading = preload and self._context.get_start_method() == "forkserver"

    def spawn(self) -> Slot:
        """Start one executor; it reports Ready or NotReady over its pipe."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
        self._numbers += 1
        process = self._context.Process(  # type: ignore[attr-defined]
            target=executor.run,
            args=(theirs, self._lifeline_read, self._config),
            name=f"pyqs-executor-{self._numbers}",
            daemon=False,
        )
        with self._environment():
            process.start()
        theirs.close()
        return Slot(self._numbers, process, ours, _pidfd(process.pid))

    @contextlib.contextmanager
    def _environment(self) -> Any:
        """What the forkserver, started by the first spawn, sees of our wishes."""
        from pyqs.executor import preload

        if self._context.get_start_method() != "forkserver":
            yield
            return
        self._context.set_forkserver_preload(["pyqs.executor.preload"])
        entries = preload.environment(self._config) if self.preloading else {}
        os.environ.update(entries)
        try:
            yield
        finally:
            for name in entries:
                os.environ.pop(name, None)

    def restart_without_preload(self, forkserver_pid: int) -> None:
        """Let the next spawn start a forkserver that imports nothing."""
        self.preloading = False
        with contextlib.suppress(ProcessLookupError):
            os.kill(forkserver_pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the lifeline: every executor that is still there ends."""
        for end in (self._lifeline_read, self._lifeline_write):
            assert isinstance(end, Connection)
            end.close()


def _pidfd(pid: int | None) -> int | None:
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
