"""What the forkserver imports before it forks: the app, once, inside a guard.

Owns: the forkserver's signals, its lifetime, and the booted runtime that executors inherit. Runs in the forkserver when
it starts, and is asked by each executor. Never raises: a failed import is kept as text and reported by the executors,
because multiprocessing drops an ImportError here in silence and dies of anything else.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs.config import RuntimeConfig
    from pyqs.runtime import BootReport, TaskRuntime

VARIABLE = "_PYQS_PRELOAD"
_FIELDS = ("runtime", "app", "include", "accept", "pickle_allow", "working_directory", "log_level")


@dataclass(frozen=True)
class Preloaded:
    """What the forkserver has: a booted runtime, or why not."""

    runtime: TaskRuntime | None = None
    report: BootReport | None = None
    failure: str = ""
    details: str = ""
    threads: tuple[str, ...] = ()


def environment(config: RuntimeConfig) -> dict[str, str]:
    """The environment entries that make a forkserver started now preload this app. Holds no secret."""
    return {VARIABLE: json.dumps({name: getattr(config, name) for name in _FIELDS})}


def prepare_path(working_directory: str) -> None:
    """Make modules under the working directory importable, first of all."""
    directory = os.path.abspath(working_directory)
    if directory not in sys.path:
        sys.path.insert(0, directory)


def load_runtime(config: RuntimeConfig) -> TaskRuntime:
    """The runtime named by ``config.runtime``, not booted yet."""
    import importlib

    module, _, name = config.runtime.partition(":")
    return getattr(importlib.import_module(module), name)(config)  # type: ignore[no-any-return]


def boot(config: RuntimeConfig) -> Preloaded:
    """Import the app and the tasks; whatever goes wrong comes back as text."""
    prepare_path(config.working_directory)
    try:
        runtime = load_runtime(config)
        report = runtime.boot()
    except BaseException as exc:  # an app may raise SystemExit while it is imported
        text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
        summary = f"{type(exc).__name__}: {exc}"
        return Preloaded(failure=summary, details=text)
    return Preloaded(runtime=runtime, report=report)


def running_threads() -> tuple[str, ...]:
    """Names of the threads beside this one; native ones, which Python does not know, by their kernel name."""
    names = [t.name for t in threading.enumerate() if t is not threading.current_thread()]
    try:
        tasks = os.listdir("/proc/self/task")
    except OSError:
        return tuple(names)
    for _ in range(len(tasks) - 1 - len(names)):
        names.append("a native thread")
    return tuple(names)


def _preload(raw: dict[str, Any]) -> Preloaded:
    from pyqs.config import RuntimeConfig

    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    result = boot(RuntimeConfig(**fields))
    threads = running_threads()
    if threads and not result.failure:
        return Preloaded(threads=threads)
    gc.collect()
    gc.freeze()
    return result


#: Set once, at import in the forkserver; None in a process that was not forked from a preloading one.
preloaded: Preloaded | None = None

if VARIABLE in os.environ:
    # A SIGTERM to the whole group or cgroup must not take the forkserver: executors would look dead.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _raw = json.loads(os.environ.pop(VARIABLE))
    preloaded = _preload(_raw) if _raw is not None else None
