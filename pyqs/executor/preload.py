"""What the forkserver imports before it forks: the app, once, inside a guard.

Owns: the forkserver's signals and lifetime, and the booted runtime that executors inherit. Importing it acts only in a
forkserver (``set_forkserver_preload``); elsewhere it is a module like any other. Never lets an exception out: a failed
import is kept as text and reported by the executors, because multiprocessing drops an ImportError here in silence and
dies of anything else.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import os
import socket
import stat
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from pyqs import logs
from pyqs.config import ConnectionConfig, RuntimeConfig
from pyqs.errors import ConfigError, PyQSError, app_traceback
from pyqs.executor import lifeline
from pyqs.runtime import BootReport, TaskRuntime

#: Holds what a forkserver is to load, as JSON; taken out of the environment before the app can see it.
VARIABLE = "_PYQS_PRELOAD"
#: What each child would load for itself, and then have to itself: more than a megabyte.
_CHILDREN_LOAD = ("multiprocessing.popen_forkserver", "pyqs.executor.host", "pyqs.executor.main")
#: Seconds that threads of an import have to end by themselves.
_THREADS_END = 0.5


@dataclass(frozen=True, slots=True)
class Booted:
    """A runtime with its tasks loaded, or why there is none.

    Parameters:
        config: what it was booted with; without the connection if that was in a forkserver.
        reason: one line; details: a traceback.
        unforkable: why executors should not be forked from it, "" if they can: the import has left threads running, or
            opened connections that processes must not share.
    """

    config: RuntimeConfig
    runtime: TaskRuntime | None = None
    report: BootReport | None = None
    reason: str = ""
    details: str = ""
    unforkable: str = ""


#: Set in a forkserver that was told to preload, and so in its children.
preloaded: Booted | None = None


def environment(config: RuntimeConfig) -> dict[str, str]:
    """The variables with which a forkserver started now preloads these tasks. They hold no secret: no connection.

    Without them, or with "null", ``pyqs.executor.preload`` in ``set_forkserver_preload`` loads nothing, and still takes
    care of the forkserver's signals and end.
    """
    fields = {name: value for name, value in _fields(config).items() if name != "connection"}
    return {VARIABLE: json.dumps({"config": fields, "path": sys.path, "lifeline": _workers_pipe()})}


def _workers_pipe() -> str:
    """The read end of a pipe that closes with this process, as a path that a forkserver can open."""
    global _pipe
    pid = os.getpid()
    if _pipe is None or _pipe[0] != pid:
        _pipe = (pid, *os.pipe())
    return f"/proc/{pid}/fd/{_pipe[1]}"


_pipe: tuple[int, int, int] | None = None


def boot(config: RuntimeConfig) -> Booted:
    """Import the app and the tasks; whatever goes wrong comes back as text."""
    logs.choose(config.log_format)
    try:
        working_directory_first(config.working_directory)
        runtime = _load(config)
        report = runtime.boot()
    except BaseException as exc:  # a module may raise SystemExit while it is imported
        return Booted(config, reason=reason_of(exc), details=app_traceback(exc))
    return Booted(config, runtime, report)


def reason_of(exc: BaseException) -> str:
    """One line that says what is wrong."""
    text = str(exc) if isinstance(exc, PyQSError) else f"{type(exc).__name__}: {exc}"
    return " ".join(text.split())


def working_directory_first(directory: str) -> None:
    """Import from this directory before all others, as ``python -m`` does."""
    wanted = os.path.abspath(directory)
    sys.path[:] = [wanted, *(entry for entry in sys.path if entry not in ("", wanted))]
    importlib.invalidate_caches()


def running_threads(patience: float = 0.0) -> tuple[str, ...]:
    """Names of the threads beside this one, native ones by what the kernel calls them; () if they end within ``patience``."""
    deadline = time.monotonic() + patience
    while True:
        names = _thread_names()
        if not names or time.monotonic() >= deadline:
            return names
        time.sleep(0.02)


def _thread_names() -> tuple[str, ...]:
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    own = threading.get_native_id()
    try:
        ids = [int(task) for task in os.listdir("/proc/self/task")]
    except OSError:  # no /proc: only the threads that Python knows
        ids = [number for number in known if number is not None]
    return tuple(known.get(number) or _kernel_name(number) for number in sorted(ids) if number != own)


def _kernel_name(number: int) -> str:
    try:
        with open(f"/proc/self/task/{number}/comm", encoding="utf-8", errors="replace") as comm:
            return f"native thread {comm.read().strip()}"
    except OSError:
        return f"native thread {number}"


def open_connections() -> dict[int, str]:
    """The stream sockets of this process that are connected, by inode, with the address of their peers."""
    found: dict[int, str] = {}
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc: not known
        return found
    for number in numbers:
        try:
            status = os.fstat(number)
            if not stat.S_ISSOCK(status.st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as one:
                if one.type == socket.SOCK_STREAM:
                    found[status.st_ino] = _peer(one.getpeername())
        except OSError:  # closed by now, or not connected
            continue
    return found


def _peer(address: Any) -> str:
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    return (address.decode(errors="replace") if isinstance(address, bytes) else str(address)) or "a local socket"


def _unforkable(before: dict[int, str]) -> str:
    threads = running_threads(_THREADS_END)
    if threads:
        return f"importing the tasks left threads running ({', '.join(threads)})"
    opened = [peer for inode, peer in open_connections().items() if inode not in before]
    if opened:
        return f"importing the tasks opened connections ({', '.join(opened)}), which processes must not share"
    return ""


def _load(config: RuntimeConfig) -> TaskRuntime:
    module, _, name = config.runtime.partition(":")
    if not name:
        raise ConfigError(f"a runtime is named module:Class, not {config.runtime!r}")
    return getattr(importlib.import_module(module), name)(config)  # type: ignore[no-any-return]


def _fields(config: RuntimeConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def without_connection(config: RuntimeConfig) -> RuntimeConfig:
    """The settings as a forkserver has them."""
    return dataclasses.replace(config, connection=ConnectionConfig())


def complete(booted: Booted, config: RuntimeConfig) -> None:
    """Give a runtime that was booted in the forkserver the connection, which was kept out of its environment."""
    # In place, frozen or not: runtimes and apps have kept this very object, and nothing has connected before the fork.
    for field in dataclasses.fields(ConnectionConfig):
        object.__setattr__(booted.config.connection, field.name, getattr(config.connection, field.name))


def _server_frame() -> FrameType | None:
    """The running ``multiprocessing.forkserver.main``, if this import happens inside it and not in a child it has forked."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_serve_one" and frame.f_globals.get("__name__") == "multiprocessing.forkserver":
            return None  # the server's frames are below, its descriptors are closed
        if frame.f_code.co_name == "main" and frame.f_globals.get("__name__") == "multiprocessing.forkserver":
            return frame
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _serve(frame: FrameType) -> Booted | None:
    """Become a forkserver of ours. Everything here happens before it takes its first request."""
    lifeline.own_signals()
    alive = frame.f_locals.get("alive_r")
    if isinstance(alive, int):
        # The worker holds the other end (executors close theirs). Reading it, as the server does, is not enough: a
        # non-daemon thread of the app would keep the server after its last statement.
        lifeline.end_with(alive)
    told = json.loads(os.environ.pop(VARIABLE, "null"))
    if told is None:
        return None
    try:
        # While an import hangs, the other pipe is kept open by the worker's own request, which waits here unread.
        lifeline.end_with(os.open(told["lifeline"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:  # no /proc, or the worker has gone already: then the other pipe tells
        pass
    sys.path[:] = [entry for entry in told["path"] if entry]
    config = RuntimeConfig(**{name: _tuples(value) for name, value in told["config"].items()})
    before = open_connections()
    booted = boot(config)
    if booted.runtime is not None:
        booted = dataclasses.replace(booted, unforkable=_unforkable(before))
    for name in (*_CHILDREN_LOAD, *(("pyqs.executor.lanes",) if config.async_slots > 1 else ())):
        importlib.import_module(name)
    # What is loaded now stays for good: out of the collector's sight it is not written to, so its pages stay shared.
    gc.collect()
    gc.freeze()
    return booted


_frame = _server_frame()
if _frame is not None:
    preloaded = _serve(_frame)
del _frame
