"""One executor: it receives deliveries over a pipe, runs them one at a time, and answers each with a verdict.

Owns: the child process from its first statement to its exit. The main thread runs tasks; the reader thread owns the
pipe's reading end and the clock (hand-backs, the soft limit). Never talks to SQS, never outlives the worker, never ends
because of what a task raised.
"""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import threading
from multiprocessing.connection import Connection

from pyqs import coroutines
from pyqs.config import RuntimeConfig
from pyqs.executor import lifeline, process
from pyqs.executor.inbox import Inbox
from pyqs.executor.limits import Limit, SoftLimit, serve_interruptions
from pyqs.executor.process import Pipe, guarded
from pyqs.executor.retirement import Retirement
from pyqs.executor.work import Work
from pyqs.interruption import shutdown
from pyqs.runtime import TaskRuntime
from pyqs.start_note import StartNote
from pyqs.wire import Admitted, CallOff, Frame, FrameReader, HandedBack, Leaving, Postponed, Ready, Recall, Run, Stop

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024


def run(channel: socket.socket, lifeline_end: Connection, config: RuntimeConfig, note_end: Connection | None = None) -> None:
    """The target of the child process: load the tasks, report, serve until told to stop.

    Parameters:
        channel: our end of a socket pair that carries ``pyqs.wire`` frames.
        lifeline_end: the read end of a pipe whose write end only the worker has.
        config: what to load.
        note_end: the memory of a ``StartNote``; without it the worker hears of every start.
    """
    pipe = process.begin(channel, lifeline_end)
    note = None
    if note_end is not None:
        note = StartNote(note_end.fileno())
        note_end.close()
    runtime, ready, retirement = process.boot(pipe, config, lambda runtime: _begin_work(runtime, config))
    if config.async_slots > 1:
        from pyqs.executor.lanes import LanedExecutor

        LanedExecutor(pipe, runtime, retirement, config.async_slots).serve(ready)
    else:
        Executor(pipe, runtime, retirement, note).serve(ready)
    # Not a return: threads that a task has left behind must not keep the process.
    process.leave(pipe, None, 0)


def _begin_work(runtime: TaskRuntime, config: RuntimeConfig) -> Retirement:
    runtime.after_fork()
    return Retirement(config)


class Executor(Work):
    """The two threads of an executor that runs one task at a time.

    Parameters:
        pipe: to the worker.
        runtime: booted.
        retirement: says when it is time to leave.
        note: where a start is noted, instead of being told.
    """

    def __init__(self, pipe: Pipe, runtime: TaskRuntime, retirement: Retirement, note: StartNote | None = None) -> None:
        inbox = Inbox(lambda ids: pipe.send(HandedBack(ids)))
        super().__init__(pipe, runtime, inbox, retirement, self._be_interruptible(), shutdown, note)
        self._retirement = retirement

    def _be_interruptible(self) -> Limit:
        """What is raised in a task from outside comes by signals, which interrupt the main thread."""
        serve_interruptions()
        return SoftLimit()

    def serve(self, ready: Ready) -> None:
        """Say that we are ready, then run what comes until Stop."""
        self._pipe.send(ready)
        threading.Thread(target=guarded, args=("the reader", self._read), name="pyqs-reader", daemon=True).start()
        while self.run_one():
            reason = self._retirement.due()
            if reason is not None:
                self._pipe.send(Leaving(reason))
                self._inbox.close()  # what the worker sends until it hears of it goes back, too
        try:
            self._runtime.close()
        except BaseException:
            log.exception("closing the runtime failed")
        coroutines.close()

    # -- reader thread ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._pipe.fd, select.POLLIN)
        frames = FrameReader()
        while True:
            waits = [wait for wait in (self._inbox.look(), self._limit.remaining()) if wait is not None]
            events = poll.poll(math.ceil(min(waits) * 1000) if waits else None)
            self._limit.fire()
            if events:
                self._hear(frames)

    def _hear(self, frames: FrameReader) -> None:
        try:
            data = self._pipe.socket.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._worker_gone()
        for frame in frames.feed(data):
            self.take_in(frame)

    def _worker_gone(self) -> None:
        """The worker is gone or has given us up: what runs here will be handed out again, so it must not go on."""
        if self._inbox.running:
            lifeline.end_group()
        os._exit(0)

    def take_in(self, frame: Frame) -> None:
        """What the worker says.

        Raises:
            ValueError: it is for somebody else.
        """
        match frame:
            case Run():
                self._inbox.put(frame)
            case Recall():
                self._shutdown.begin()
                self._inbox.recall()
            case Stop():
                self._inbox.stop()
            case Admitted() | Postponed():
                self._inbox.answer(frame)
            case CallOff(calls):
                self._runtime.call_off(calls)
            case _:
                raise ValueError(f"a {type(frame).__name__} frame is not for an executor")
