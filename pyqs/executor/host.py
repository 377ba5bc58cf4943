"""The host: the child that holds the app and runs no task. It hears of what happens to the worker and of killed tasks.

It writes the worker's own log lines, where the app's handlers are.

Owns: the host process from its first statement to its exit. Its main thread takes one frame after the other: what an app's
handlers do here happens where Celery's users expect it, in a main thread, and once in a worker. Where calls can be called off,
a thread of the runtime's looks for them. Never runs a task,
never talks to SQS, never outlives the worker. What hangs here is the worker's to end.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

from pyqs import backoff, log_fields
from pyqs.clock import boottime
from pyqs.config import RuntimeConfig
from pyqs.executor import lifeline, process
from pyqs.executor.endings import flush
from pyqs.executor.process import Pipe
from pyqs.message import CalledOff, Hide, Leave
from pyqs.runtime import Outcome, TaskRuntime
from pyqs.wire import CallOff, Event, Frame, FrameReader, Killed, Line, Stop, Written

log = logging.getLogger(__name__)

#: What ``ps`` shows instead of Python's name, so that a person can tell it from the executors.
NAME = "pyqs-host"
_CHUNK = 256 * 1024


def run(channel: socket.socket, lifeline_end: Connection, config: RuntimeConfig) -> None:
    """The target of the child process: load the app, report, answer until told to stop. Parameters as an executor's."""
    _show_name()
    pipe = process.begin(channel, lifeline_end)
    runtime, ready, _ = process.boot(pipe, config, lambda runtime: runtime.become_host())
    pipe.send(ready)
    host = Host(pipe, runtime)
    if ready.watches:
        runtime.watch(host.call_off)
    host.serve()
    process.leave(pipe, None, 0)


class Host:
    """Answers the worker.

    Parameters:
        pipe: to the worker.
        runtime: booted.
    """

    def __init__(self, pipe: Pipe, runtime: TaskRuntime) -> None:
        self._pipe = pipe
        self._runtime = runtime
        self._stopping = False

    def serve(self) -> None:
        """Until Stop, or until the worker has gone."""
        frames = FrameReader()
        while not self._stopping:
            data = self._pipe.socket.recv(_CHUNK)
            if not data:
                lifeline.end_group()
            lines = 0
            for frame in frames.feed(data):
                self._take(frame)
                if isinstance(frame, Line):
                    lines += 1
                else:
                    flush()
                    lifeline.keep_signals()
            if lines:
                self._pipe.send(Written(lines))

    def call_off(self, calls: Sequence[CalledOff]) -> None:
        """Tell the worker. In the thread of whoever watches."""
        self._pipe.send(CallOff(tuple(calls)))

    def _take(self, frame: Frame) -> None:
        match frame:
            case Killed():
                self._answer(frame)
            case Line(details):
                self._write(details)
            case Event(name, details):
                try:
                    self._runtime.worker_event(name, details)
                except BaseException:  # a handler's sys.exit() is not the host's end
                    log.exception("the host: what is called when the worker is %s failed", name)
            case Stop():
                self._stopping = True
            case _:
                raise ValueError(f"a {type(frame).__name__} frame is not for the host")

    def _write(self, details: Mapping[str, str | int | float]) -> None:
        """A line of the worker's own, to whatever handlers the app has set up here."""
        try:
            given = dict(details)
            record = logging.makeLogRecord({"created": int(given.pop("created_us")) / 1e6, **given})
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        except BaseException:  # a handler's sys.exit() is not the host's end
            log.exception("the host: a line of the worker could not be logged")

    def _answer(self, frame: Killed) -> None:
        delivery, death = frame.delivery, frame.death
        log_fields.begin(delivery.queue, delivery.message.message_id)
        try:
            outcome = self._runtime.killed(delivery, death)
            self._pipe.send(process.done(delivery.id, outcome, None))
        except BaseException as exc:
            log.exception("%s: its failure could not be dealt with", delivery)
            seconds = backoff.retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at)
            verdict = Leave() if death.acked_early else Hide(seconds)
            failed = Outcome(verdict, "lost", reason=f"its failure path raised {type(exc).__name__}")
            self._pipe.send(process.done(delivery.id, failed, None))
        finally:
            log_fields.end()


def _show_name() -> None:
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as comm:
            comm.write(NAME)
    except OSError:  # no Linux
        pass
