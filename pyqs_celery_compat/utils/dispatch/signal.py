"""Signals: who wants to hear of an event, and telling them.

Owns: ``Signal``. Runs in whatever thread sends. A receiver's exception is logged and returned, never raised: a
broken hook must not break a publish or a task.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from pyqs_celery_compat.local import Proxy, unwrap

logger = logging.getLogger("celery.utils.dispatch.signal")

Receiver = Callable[..., Any]


def _identity(target: Any) -> Any:
    """What makes two senders, or two receivers, the same: text by value, methods by object and function."""
    target = unwrap(target)
    if isinstance(target, (str, bytes)):
        return target
    if hasattr(target, "__func__"):
        return id(target.__self__), id(target.__func__)
    return id(target)


_NO_SENDER = _identity(None)
#: Seconds before a receiver with ``retry`` is called again: the first time, then growing by as much, at most (observed on 5.7).
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0


def _until_it_succeeds(receiver: Receiver, call: Callable[[], Any]) -> Any:
    pause = _FIRST_PAUSE
    while True:
        try:
            return call()
        except Exception as exc:
            logger.exception("Signal handler %r raised: %r; it is called again in %g s", receiver, exc, pause)
        time.sleep(pause)
        pause = min(pause + _FIRST_PAUSE, _LONGEST_PAUSE)


class Signal:
    """One kind of event.

    Parameters:
        providing_args: names of the keywords it is sent with, for readers.
        use_caching: accepted and of no effect.
        name: shown in its repr.
    """

    def __init__(self, providing_args: Iterable[str] | None = None, use_caching: bool = False, name: str | None = None) -> None:
        self.receivers: list[tuple[tuple[Any, Any], Any]] = []
        self.providing_args = set(providing_args or ())
        self.use_caching = use_caching
        self.name = name
        self.lock = threading.Lock()
        #: Keys of receivers that are called until they succeed.
        self._retried: set[tuple[Any, Any]] = set()

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Register a receiver, directly or as a decorator with or without arguments.

        Parameters:
            sender: only events of this sender (an object, or text where the sender is a task's name).
            weak: True holds the receiver weakly: a closure nobody else holds vanishes.
            dispatch_uid: a second receiver with the same one replaces nothing and is not added.
            retry: a receiver that raises is called again, after 2 s, 4 s .. 30 s, until it does not; whoever sends waits.
        """

        def register(
            receiver: Receiver, sender: Any = None, weak: bool = True, dispatch_uid: Any = None, retry: bool = False
        ) -> Receiver:
            self._connect(receiver, sender, weak, dispatch_uid, retry)
            return receiver

        if args and callable(args[0]):
            return register(*args, **kwargs)
        return lambda receiver: register(receiver, *args, **kwargs)

    def _connect(self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Any, retry: bool) -> None:
        if not callable(receiver):
            raise TypeError("Signal receivers must be callable.")
        key = (dispatch_uid or _identity(receiver), _identity(sender))
        if isinstance(sender, Proxy) and type(sender) is not Proxy:
            # A lazily made task: made now, so that its identity is the one the event will have.
            key = (key[0], _identity(unwrap(sender)))
        reference: Any = receiver
        if weak:
            maker = weakref.WeakMethod if hasattr(receiver, "__self__") and hasattr(receiver, "__func__") else weakref.ref
            reference = maker(receiver)
        with self.lock:
            self._drop_dead()
            if all(key != known for known, _ in self.receivers):
                self.receivers.append((key, reference))
                (self._retried.add if retry else self._retried.discard)(key)

    def disconnect(
        self, receiver: Receiver | None = None, sender: Any = None, weak: Any = None, dispatch_uid: Any = None
    ) -> bool:
        """Take a receiver out again; True if it was there."""
        key = (dispatch_uid or _identity(receiver), _identity(sender))
        with self.lock:
            self._drop_dead()
            before = len(self.receivers)
            self.receivers[:] = [entry for entry in self.receivers if entry[0] != key]
            return len(self.receivers) < before

    def has_listeners(self, sender: Any = None) -> bool:
        """True if an event of this sender would reach anyone."""
        return bool(self._live_receivers(sender))

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Tell every receiver; answers ``(receiver, answer or exception)`` pairs."""
        if not self.receivers:
            return []
        answers: list[tuple[Receiver, Any]] = []
        for key, receiver in self._live_receivers(sender):
            try:
                call = partial(receiver, signal=self, sender=sender, **named)
                answer = _until_it_succeeds(receiver, call) if key in self._retried else call()
            except Exception as exc:
                logger.exception("Signal handler %r raised: %r", receiver, exc)
                answers.append((receiver, exc))
            else:
                answers.append((receiver, answer))
        return answers

    send_robust = send

    def _live_receivers(self, sender: Any) -> list[tuple[tuple[Any, Any], Receiver]]:
        wanted = _identity(sender)
        live, dead = [], False
        for key, reference in list(self.receivers):
            receiver = reference() if isinstance(reference, weakref.ReferenceType) else reference
            if receiver is None:
                dead = True
            elif key[1] in (_NO_SENDER, wanted):
                live.append((key, receiver))
        if dead:
            with self.lock:
                self._drop_dead()
        return live

    def _drop_dead(self) -> None:
        self.receivers[:] = [
            (key, ref) for key, ref in self.receivers if not (isinstance(ref, weakref.ReferenceType) and ref() is None)
        ]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} providing_args={self.providing_args!r}>"

    __str__ = __repr__
