"""PyQS's hooks: functions called before and after each native task.

Owns: the registered hooks of this process and their way into executors. Hooks registered in the worker's process
(before ``pyqs.main._main()``) cross as dotted paths, because nothing registered there exists in a child. Runs in
the process that registers, and in executors' main threads. Never swallows a wrong event name.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from pyqs.errors import ConfigError

Context = dict[str, Any]
Hook = Callable[[Context], Any]

EVENTS = ("pre_process", "post_process")


class NoEventException(ConfigError):
    """No such event. PyQS's name for it."""


class Events:
    """The hooks by event, in the order in which they were registered."""

    def __init__(self) -> None:
        self.pre_process: list[Hook] = []
        self.post_process: list[Hook] = []

    def clear(self) -> None:
        """Forget all hooks."""
        self.pre_process = []
        self.post_process = []


_events = Events()


def register_event(name: str, callback: Hook) -> None:
    """Call ``callback(context)`` at this event.

    Parameters:
        name: ``pre_process`` (before a task; context has message_id, task_name, args, kwargs, full_task_path,
            fetch_time, queue_url, timeout, receipt_handle) or ``post_process`` (the same and status, "success" or
            "exception", and then exception: the traceback as text).

    Raises:
        NoEventException: there is no such event.
    """
    if name not in EVENTS:
        raise NoEventException(f"{name!r} is not a pyqs event; there are {' and '.join(EVENTS)}")
    if not callable(callback):
        raise ConfigError(f"a hook for {name} must be callable, not {type(callback).__name__}")
    if inspect.iscoroutinefunction(callback):
        raise ConfigError(f"the {name} hook {callback!r} is an async function: hooks are called between tasks and not awaited")
    getattr(_events, name).append(callback)


def get_events() -> Events:
    """The hooks of this process."""
    return _events


def clear_events() -> None:
    """Forget the hooks of this process."""
    _events.clear()


def dotted_paths() -> tuple[tuple[str, str], ...]:
    """Every hook as (event, ``module:function``), to be loaded in an executor.

    Raises:
        ConfigError: a hook has no path by which another process could find it.
    """
    return tuple((name, _path(name, hook)) for name in EVENTS for hook in getattr(_events, name))


def load(paths: Iterable[tuple[str, str]]) -> None:
    """Register hooks by path; one that is registered already (its module did so on import) is not added twice.

    Raises:
        ConfigError: a path leads nowhere.
    """
    for name, path in paths:
        hook = _resolve(path)
        if hook not in getattr(_events, name):
            register_event(name, hook)


def _path(event: str, hook: Hook) -> str:
    module, qualname = getattr(hook, "__module__", None), getattr(hook, "__qualname__", None)
    advice = "define it with def at the top of a module and register that"
    if not module or not qualname:
        raise ConfigError(f"the {event} hook {hook!r} has no name by which an executor could import it; {advice}")
    if "<" in qualname:
        raise ConfigError(
            f"the {event} hook {module}.{qualname} is a lambda or a nested function, which an executor cannot import; {advice}"
        )
    if module == "__main__":
        raise ConfigError(
            f"the {event} hook {qualname} is defined in the program that was started, which an executor does not run; "
            f"move it to a module and register it from there"
        )
    path = f"{module}:{qualname}"
    if _resolve(path) != hook:  # a method of an object, a function that a decorator has replaced
        raise ConfigError(f"the {event} hook {module}.{qualname} is not what that name stands for in its module; {advice}")
    return path


def _resolve(path: str) -> Hook:
    module, _, qualname = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f"the hook {path} cannot be imported: {exc}") from exc
    return found  # type: ignore[no-any-return]
