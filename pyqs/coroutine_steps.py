"""A coroutine taken step by step, into which an exception from outside can be thrown where it waits.

Owns: ``Steps``, from which what runs a coroutine in an event loop is made. Its steps are made in the thread of that loop;
``throw`` may be called in any. Never throws into anything but its own coroutine. Loads asyncio when the first coroutine
comes.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import asyncio

Body = Coroutine[Any, Any, Any]
#: Asked at the moment when something would be raised: what, or None if it has come too late.
Take = Callable[[], BaseException | None]


class Steps:
    """One coroutine on its way to its end.

    Parameters:
        body: the coroutine. name: the task's, for the log.
    """

    def __init__(self, body: Body, name: str) -> None:
        self._body = body
        self.name = name
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: What was to be thrown before there was a task.
        self._early: Take | None = None
        #: On its way into the coroutine.
        self._thrown: BaseException | None = None
        self._over = False
        #: In a process in which it makes no further step: what is called instead, and does not return.
        self._stray: Callable[[], NoReturn] | None = None

    @types.coroutine
    def _steps(self) -> Generator[Any, Any, Any]:
        """The coroutine's steps, passed on as they are, but for what is thrown into it from outside."""
        given: Any = None
        error: BaseException | None = None
        late: BaseException | None = None
        try:
            while True:
                if self._thrown is not None:
                    late, self._thrown = self._thrown, None
                    self._uncancel()
                    if _waits_for_a_group(self._body):
                        error = _cancelled()  # by which the group ends its coroutines; anything else would leave them running
                if late is not None and not _waits_for_a_group(self._body):
                    error, late = late, None
                if self._stray is not None:
                    self._stray()
                try:
                    waits_for = self._body.send(given) if error is None else self._body.throw(error)
                except StopIteration as end:
                    return end.value
                given = error = None
                if self._stray is not None:
                    self._stray()
                try:
                    given = yield waits_for
                except BaseException as exc:
                    error = exc
        finally:
            error = late = None  # its traceback refers to this frame

    def _uncancel(self) -> None:
        """To asyncio's own timeouts and groups it was no cancellation."""
        uncancel = getattr(self._task, "uncancel", None)  # since 3.11
        if uncancel is not None:
            uncancel()

    def throw(self, take: Take) -> None:
        """At the loop's next turn, unless the coroutine has ended by then."""
        if self._loop is None or self._task is None:
            self._early = take
        elif not self._over:
            self._loop.call_soon_threadsafe(self._deliver, take)

    def _deliver(self, take: Take) -> None:
        if self._over or self._task is None or self._task.done():
            return
        if self._thrown is not None:  # one after the other
            self.throw(take)
            return
        self._thrown = take()
        if self._thrown is not None:
            self._task.cancel()  # wakes it wherever it waits, and cancels what it waits for

    def is_inside(self, frame: types.FrameType | None) -> bool:
        """Whether this frame belongs to the coroutine, or to what it has called."""
        own = getattr(self._body, "cr_frame", None)
        while own is not None and frame is not None:
            if frame is own:
                return True
            frame = frame.f_back
        return False

    def is_beside_it(self) -> bool:
        """Whether the caller is another coroutine of its loop."""
        from asyncio import current_task

        return self._loop is not None and current_task(self._loop) is not self._task


def _waits_for_a_group(body: Any) -> bool:
    """Whether it waits at the end of an ``asyncio.TaskGroup`` for coroutines that have not ended."""
    while hasattr(inner := getattr(body, "cr_await", None), "cr_await"):
        body = inner
    if getattr(body, "__qualname__", "") != "TaskGroup.__aexit__" or body.cr_frame is None:
        return False
    return bool(getattr(body.cr_frame.f_locals.get("self"), "_tasks", ()))


def _cancelled() -> BaseException:
    from asyncio import CancelledError

    return CancelledError()
