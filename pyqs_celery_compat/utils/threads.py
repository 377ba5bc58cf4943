"""What a thread has of its own, and threads that run until they are told to stop.

Owns: ``LocalStack`` (the stack of running tasks is one), ``Local``, ``LocalManager``, ``bgThread``. Used in every thread of a
caller or an executor. Never shares anything between threads.
"""

from __future__ import annotations

import contextvars
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Generic, TypeVar

__all__ = [
    "Local",
    "LocalManager",
    "LocalStack",
    "bgThread",
    "default_socket_timeout",
    "get_ident",
]

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds that a wait may be told to take.
THREAD_TIMEOUT_MAX = threading.TIMEOUT_MAX


class LocalStack(Generic[T]):
    """A stack that every thread (and every asyncio task) has of its own."""

    def __init__(self) -> None:
        self._var: contextvars.ContextVar[tuple[T, ...]] = contextvars.ContextVar("stack")

    def push(self, item: T) -> tuple[T, ...]:
        """Put an item on top; answers the stack."""
        below = self._var.get(())
        items = (*below, item) if below else (item,)
        self._var.set(items)
        return items

    def pop(self) -> T | None:
        """Take the top item off; None from an empty stack."""
        items = self._var.get(())
        if not items:
            return None
        self._var.set(items[:-1])
        return items[-1]

    @property
    def stack(self) -> list[T]:
        """All items, the oldest first."""
        return list(self._var.get(()))

    @property
    def top(self) -> T | None:
        """The newest item, or None."""
        items = self._var.get(())
        return items[-1] if items else None

    def __len__(self) -> int:
        return len(self._var.get(()))


_LocalStack = _FastLocalStack = LocalStack


class Local:
    """An object whose attributes each thread has of its own; iterating gives (thread, attributes)."""

    __slots__ = ("__ident_func__", "__storage__")

    def __init__(self) -> None:
        object.__setattr__(self, "__storage__", {})
        object.__setattr__(self, "__ident_func__", get_ident)

    def __iter__(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        return iter(list(_storage(self).items()))

    def __release_local__(self) -> None:
        _storage(self).pop(object.__getattribute__(self, "__ident_func__")(), None)

    def __getattr__(self, name: str) -> Any:
        try:
            return _storage(self)[object.__getattribute__(self, "__ident_func__")()][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        _storage(self).setdefault(object.__getattribute__(self, "__ident_func__")(), {})[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del _storage(self)[object.__getattribute__(self, "__ident_func__")()][name]
        except KeyError:
            raise AttributeError(name) from None


def _storage(local: Local) -> dict[Any, dict[str, Any]]:
    return object.__getattribute__(local, "__storage__")  # type: ignore[no-any-return]


def release_local(local: Any) -> None:
    """Forget what the calling thread has in a ``Local``."""
    local.__release_local__()


class LocalManager:
    """Several ``Local`` objects that are released together.

    Parameters:
        locals: one or several of them. ident_func: says which thread is calling.
    """

    def __init__(self, locals: Any = None, ident_func: Callable[[], Any] | None = None) -> None:
        one = locals is None or not isinstance(locals, Iterable) or isinstance(locals, Local)
        self.locals: list[Any] = ([] if locals is None else [locals]) if one else list(locals)
        self.ident_func = ident_func or get_ident
        if ident_func is not None:
            for local in self.locals:
                object.__setattr__(local, "__ident_func__", ident_func)

    def get_ident(self) -> Any:
        """Which thread is calling."""
        return self.ident_func()

    def cleanup(self) -> None:
        """Release all of them for the calling thread."""
        for local in self.locals:
            release_local(local)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} storages: {len(self.locals)}>"


class bgThread(threading.Thread):  # noqa: N801 - Celery's name
    """A daemon thread that calls ``body`` until ``stop()``; an exception in it ends the process, as it does in Celery."""

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or type(self).__name__, daemon=True, **kwargs)
        self._is_shutdown = threading.Event()
        self._is_stopped_now = threading.Event()

    def body(self) -> None:
        """One round of the work."""
        raise NotImplementedError

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Log what went wrong; called while the exception is handled."""
        log.critical(msg, *fmt, exc_info=True)

    def run(self) -> None:
        """Call ``body`` until told to stop."""
        try:
            while not self._is_shutdown.is_set():
                try:
                    self.body()
                except Exception as exc:
                    try:
                        self.on_crash("%r crashed: %r", self.name, exc)
                    finally:
                        self._is_stopped_now.set()
                        os._exit(1)
        finally:
            self._is_stopped_now.set()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._is_shutdown.set()
        if self.is_alive():
            self._is_stopped_now.wait()
            self.join(THREAD_TIMEOUT_MAX)


@contextmanager
def default_socket_timeout(timeout: float | None) -> Iterator[None]:
    """Sockets made inside have this timeout, in seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
