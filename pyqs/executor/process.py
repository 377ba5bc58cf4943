"""What every child of a worker does before its work and after it, be it an executor or the host.

Owns: the steps from a child's first statement to the report that it is ready, its pipe to the worker, and its exit. Runs in
the child's main thread; ``Pipe.send`` in any. Never runs a task, never talks to SQS, never outlives the worker.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import NoReturn, TypeVar

from pyqs import logs
from pyqs.config import RuntimeConfig
from pyqs.errors import app_traceback
from pyqs.executor import lifeline, preload
from pyqs.executor.endings import flush
from pyqs.runtime import Outcome, TaskRuntime
from pyqs.wire import Done, Frame, NotReady, Ready, encode

log = logging.getLogger(__name__)

#: Exit code of an executor with a fault of its own.
EXIT_FAULT = 70

T = TypeVar("T")


class Pipe:
    """The writing side of the channel, for every thread."""

    def __init__(self, fd: int) -> None:
        # Out of the way of tasks that close file descriptors; without the timeout that socket.setdefaulttimeout may ask for.
        self.socket = socket.socket(fileno=lifeline.move_up(fd))
        self.socket.settimeout(None)
        self.fd = self.socket.fileno()
        self._lock = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Write one whole frame. Without a worker to read it this process ends.

        Raises:
            TypeError, ValueError: it holds more than primitives, or too much; nothing was written.
        """
        data = encode(frame)
        try:
            with self._lock:
                self.socket.sendall(data)
        except OSError:
            lifeline.end_group()


def begin(channel: socket.socket, lifeline_end: Connection) -> Pipe:
    """Take over signals, process group and lifeline; the pipe to the worker."""
    lifeline.own_signals()
    line = lifeline.own_pipe(_taken(lifeline_end))
    lifeline.end_with(line)
    _let_forkserver_go()
    pipe = Pipe(channel.detach())
    os.register_at_fork(after_in_child=lambda: _forget(pipe.fd, line))
    return pipe


def boot(pipe: Pipe, config: RuntimeConfig, begin_work: Callable[[TaskRuntime], T]) -> tuple[TaskRuntime, Ready, T]:
    """The runtime and the report to send when it may work; a process that cannot load it says why and ends.

    Parameters:
        begin_work: what is done first in this process; its answer is the third part of ours.
    """
    booted = _boot(config, begin_work)
    if isinstance(booted, NotReady):
        leave(pipe, booted, 1)
    return booted


def _boot(config: RuntimeConfig, begin_work: Callable[[TaskRuntime], T]) -> tuple[TaskRuntime, Ready, T] | NotReady:
    """The runtime from the forkserver, or loaded here; or what to report instead."""
    server = os.getppid()
    booted = preload.preloaded
    own = booted is None
    if booted is not None and booted.unforkable:
        return NotReady(booted.unforkable, "", server, retry_without_preload=True)
    if booted is not None and booted.config != preload.without_connection(config):
        return NotReady("the forkserver was started for other settings", "", server, retry_without_preload=True)
    if booted is None:
        booted = preload.boot(config)
    else:
        preload.working_directory_first(config.working_directory)  # multiprocessing has put the worker's sys.path in place
        preload.complete(booted, config)
    runtime, report = booted.runtime, booted.report
    if runtime is None or report is None:
        return NotReady(booted.reason, booted.details, server)
    try:
        secrets = (config.connection.secret_access_key, config.connection.session_token)
        logs.know(secrets)
        logs.choose(config.log_format)
        if runtime.set_up_logging(config.log_level):
            logs.calm(config.log_level)
        else:
            logs.configure(config.log_level, secrets=secrets)
        begun = begin_work(runtime)
    except BaseException as exc:
        return NotReady(preload.reason_of(exc), app_traceback(exc), server)
    tasks, notes = report.tasks, report.notes
    ready = Ready(os.getpid(), server, tasks, report.at_most_once, notes, preloaded=not own, watches=report.watches)
    return runtime, ready, begun


def done(delivery_id: int, end: Outcome, seconds: float | None) -> Done:
    """The frame about a delivery that has ended."""
    return Done(delivery_id, end.verdict, end.follow_ups, end.status, end.task, end.call_id, end.reason, seconds)


def leave(pipe: Pipe, last: Frame | None, code: int) -> NoReturn:
    """End this process, after a last word."""
    if last is not None:
        pipe.send(last)
    flush()
    try:
        logging.shutdown()
    except Exception:
        pass  # a handler that a task or the app has made: there is nobody left to tell
    os._exit(code)


def guarded(what: str, loop: Callable[[], None]) -> None:
    """Run what this process cannot do without: an executor that no longer listens must not seem alive."""
    try:
        loop()
    except BaseException:
        log.critical("%s of executor %d failed", what, os.getpid(), exc_info=True)
        flush()
        os._exit(EXIT_FAULT)


def _forget(*fds: int) -> None:
    """In a process that a task has forked: let go of what would make us look alive after our end."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:  # the task has closed it before
            pass


def _let_forkserver_go() -> None:
    """Close our copy of the forkserver's lifeline, so that it ends with the worker and not with its last child."""
    fd = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_alive_fd", None)
    if isinstance(fd, int):
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
        os.close(fd)


def _taken(connection: Connection) -> int:
    """The file descriptor of a connection, which then no longer closes it."""
    fd = os.dup(connection.fileno())
    connection.close()
    return fd
