"""One executor: it receives deliveries over the pipe, runs them one at a time, and answers with verdicts.

Owns: the child process from its first statement to its exit. The main thread runs tasks; the reader thread owns the
pipe's reading end, what is held and not started, and handing it back. Never talks to SQS, never outlives the worker.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from multiprocessing.connection import Connection

from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.executor import preload
from pyqs.executor.limits import SoftLimit
from pyqs.message import Hide
from pyqs.runtime import Outcome, Prepared, TaskRuntime
from pyqs.wire import Done, Frame, FrameReader, HandedBack, NotReady, Ready, Recall, Run, Started, Stop, encode

log = logging.getLogger(__name__)

#: Seconds of one task after which what waits behind it is handed back (design decision 4).
HAND_BACK_AFTER = 0.5
_CHUNK = 256 * 1024


def run(channel: socket.socket, lifeline: Connection, config: RuntimeConfig) -> None:
    """The target of the child process: take over signals, load the tasks, serve until told to stop or the worker is gone."""
    _own_signals()
    _arm_lifeline(lifeline)
    state = preload.preloaded
    if state is not None and state.threads:
        names = ", ".join(state.threads)
        reason = f"importing the app left threads running ({names})"
        channel.sendall(encode(NotReady(reason, "", os.getppid(), retry_without_preload=True)))
        return
    was_preloaded = state is not None
    if state is None:
        state = preload.boot(config)
    if state.runtime is None or state.report is None:
        channel.sendall(encode(NotReady(state.failure, state.details, os.getppid())))
        return
    preload.prepare_path(config.working_directory)
    try:
        state.runtime.after_fork()
    except BaseException as exc:
        import traceback

        channel.sendall(encode(NotReady(f"{type(exc).__name__}: {exc}", traceback.format_exc(), os.getppid())))
        return
    report = state.report
    ready = Ready(os.getpid(), os.getppid(), report.tasks, report.at_most_once, report.notes, was_preloaded)
    Executor(channel, state.runtime).serve(ready)
    # Threads that a task left behind must not keep the process.
    _flush()
    os._exit(0)


def _own_signals() -> None:
    # First of all: Ctrl-C and a SIGTERM to everyone are the worker's to act on. A handler, not SIG_IGN, for SIGTERM: what a
    # task starts would inherit SIG_IGN and could not be terminated.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.setpgid(0, 0)


def _arm_lifeline(lifeline: Connection) -> None:
    """End this process when the worker, the only holder of the other end, is gone, whatever this process is doing.

    O_ASYNC makes the kernel send SIGIO when the pipe closes; at its default action that ends a process even while
    a C function holds the GIL. A pipe's EOF alone reaches only an executor that reads.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fd = lifeline.fileno()
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    if lifeline.poll(0):  # it closed before it was armed
        os._exit(0)


class Executor:
    """The two threads of an executor and what they share."""

    def __init__(self, channel: socket.socket, runtime: TaskRuntime) -> None:
        self._channel = channel
        self._runtime = runtime
        self._write_lock = threading.Lock()
        self._changed = threading.Condition()
        self._held: deque[Run] = deque()
        self._busy_since: float | None = None
        self._stopping = False
        self._limit = SoftLimit(runtime.soft_limit_error)

    def serve(self, ready: Ready) -> None:
        """Say that we are ready, then run what comes until Stop."""
        self._send(ready)
        threading.Thread(target=self._read, name="pyqs-reader", daemon=True).start()
        threading.Thread(target=self._watch, name="pyqs-hand-back", daemon=True).start()
        while (frame := self._next()) is not None:
            try:
                self._send(self._process(frame))
            finally:
                with self._changed:
                    self._busy_since = None
        self._runtime.close()

    # -- main thread ----------------------------------------------------------------------------------------------

    def _next(self) -> Run | None:
        while True:
            with self._changed:
                while not self._held:
                    if self._stopping:
                        return None
                    self._changed.wait()
                frame = self._held.popleft()
                if boottime() < frame.start_before:
                    self._busy_since = boottime()
                    self._changed.notify_all()
                    return frame
            self._send(HandedBack((frame.delivery.id,)))

    def _process(self, frame: Run) -> Frame:
        delivery = frame.delivery
        prepared = self._runtime.prepare(delivery)
        if isinstance(prepared, Outcome):
            return _done(delivery.id, prepared, 0.0)
        if prepared.start_at is not None:
            time.sleep(max(0.0, prepared.start_at - time.time()))
            if boottime() >= frame.start_before:
                return HandedBack((delivery.id,))
        self._send(
            Started(
                delivery.id,
                prepared.task,
                prepared.call_id,
                prepared.time_limit,
                prepared.soft_time_limit,
                prepared.ack_early,
                prepared.rate_key,
            )
        )
        begun = boottime()
        outcome = self._run(delivery.id, prepared)
        _flush()
        return _done(delivery.id, outcome, boottime() - begun)

    def _run(self, delivery_id: int, prepared: Prepared) -> Outcome:
        try:
            self._limit.arm(delivery_id, prepared.soft_time_limit)
            try:
                return prepared.run()
            finally:
                self._limit.disarm()
        except BaseException as exc:  # the soft limit came in the last instants, outside the runtime's own guard
            log.exception("delivery %d: %s ended outside its own guard", delivery_id, prepared.task)
            return Outcome(Hide(30.0), "failed", task=prepared.task, call_id=prepared.call_id, reason=type(exc).__name__)

    # -- reader thread --------------------------------------------------------------------------------------------

    def _read(self) -> None:
        reader = FrameReader()
        while True:
            try:
                data = self._channel.recv(_CHUNK)
            except OSError:
                data = b""
            if not data:
                # The worker is gone: whatever runs here will be handed out again, so it must not go on.
                os._exit(0)
            for frame in reader.feed(data):
                self._accept(frame)

    def _accept(self, frame: Frame) -> None:
        with self._changed:
            match frame:
                case Run():
                    self._held.append(frame)
                case Recall():
                    self._hand_back()
                case Stop():
                    self._hand_back()
                    self._stopping = True
            self._changed.notify_all()

    def _watch(self) -> None:
        """Hand back what waits behind a task that turned out to be long."""
        with self._changed:
            while True:
                if self._busy_since is None or not self._held:
                    self._changed.wait()
                    continue
                left = self._busy_since + HAND_BACK_AFTER - boottime()
                if left > 0:
                    self._changed.wait(left)
                    continue
                self._hand_back()

    def _hand_back(self) -> None:
        if self._held:
            ids = tuple(frame.delivery.id for frame in self._held)
            self._held.clear()
            self._send(HandedBack(ids))

    def _send(self, frame: Frame) -> None:
        data = encode(frame)
        try:
            with self._write_lock:
                self._channel.sendall(data)
        except OSError:
            os._exit(0)


def _done(delivery_id: int, outcome: Outcome, seconds: float) -> Done:
    return Done(
        delivery_id, outcome.verdict, outcome.follow_ups, outcome.status, outcome.task, outcome.call_id, outcome.reason, seconds
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # the task closed it
