"""Coroutines of tasks: each is run to its end, in one event loop that is kept from task to task.

Owns: this process's loop, the coroutine that runs in it, and how an exception from outside gets into that (``strike``). ``run``
and ``close`` are called in the thread that runs tasks, ``strike`` by handlers of signals. Never runs two tasks at a time, and
never leaves what one has started to the next: it is cancelled. Loads asyncio when the first coroutine comes.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

#: Seconds that coroutines have to end after they were cancelled. A loop with some that do not is given up.
PATIENCE = 5.0
#: Names of coroutines that a warning has room for.
_NAMED = 3

Body = Coroutine[Any, Any, Any]


def run(body: Body, name: str, *, keep: bool = True) -> Any:
    """Its answer, waited for; raises what it raises.

    Parameters:
        name: the task's, for the log.
        keep: in this process's loop. Without it the coroutine has a loop of its own, which is closed at its end.

    Inside a running event loop it runs in a thread of its own, with a loop of its own, while that loop stands still.
    """
    if _in_a_loop():
        return _in_a_thread(body, name)
    loop = _kept.loop() if keep else None
    if loop is None:
        return _in_a_fresh_loop(_Run(body, name))

    def after() -> None:
        if not _cancelled(loop, name):
            _kept.given_up()

    return _Run(body, name).to_its_end(loop, after)


def in_use() -> bool:
    """Whether a coroutine has been run in this process's loop."""
    return _kept.made


def close() -> None:
    """Cancel what is left in this process's loop, and close it; the next coroutine gets a new one."""
    _kept.close()


def strike(frame: types.FrameType | None, take: Callable[[], BaseException | None]) -> None:
    """Raise something in the running task: here, or inside the coroutine that the task is. Main thread only.

    Between two steps of the coroutine the event loop runs here, and what is raised in that reaches no task; so it is thrown
    into the coroutine where that waits, as a cancellation would be.

    Parameters:
        frame: what the signal has interrupted.
        take: what to raise, asked at the moment when it would be; None if it has come too late.
    """
    running = _running
    if running is not None and not running.is_inside(frame):
        running.throw(take)
        return
    error = take()
    if error is not None:
        raise error


def in_a_child() -> bool:
    """Whether the caller is a coroutine that the task's own has started: ``strike`` does not reach it."""
    running = _running
    return running is not None and running.is_beside_it()


class _Run:
    """One coroutine on its way to its end."""

    def __init__(self, body: Body, name: str) -> None:
        self._body = body
        self.name = name
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: What was to be thrown before there was a task.
        self._early: Callable[[], BaseException | None] | None = None
        #: On its way into the coroutine.
        self._thrown: BaseException | None = None
        self._over = False

    def to_its_end(self, loop: asyncio.AbstractEventLoop, after: Callable[[], None]) -> Any:
        """From its first step to its last, then what comes after it; all that time nothing is raised but in its own code."""
        global _running
        before, is_main, pid = _running, threading.current_thread() is threading.main_thread(), os.getpid()
        if is_main:
            _running = self
        try:
            return self._run(loop)
        finally:
            self._over = True
            try:
                if os.getpid() == pid:  # a process that it has forked leaves its parent's loop alone
                    after()
            finally:
                if is_main:
                    _running = before

    def _run(self, loop: asyncio.AbstractEventLoop) -> Any:
        from asyncio import CancelledError

        self._loop = loop
        # The task has a copy of this thread's context: what the coroutine sets in it, the next one does not see.
        self._task = task = loop.create_task(self._main(), name=self.name)
        if self._early is not None:
            self.throw(self._early)
        try:
            return loop.run_until_complete(task)
        except CancelledError:
            if self._thrown is not None:  # before its first step
                raise self._thrown from None
            raise
        finally:
            if task.done():
                self._body.close()  # one that never began would be told of as never awaited
                if not task.cancelled():
                    task.exception()  # has been raised; of a SystemExit asyncio would say that it was not

    async def _main(self) -> Any:
        return await self._steps()

    @types.coroutine
    def _steps(self) -> Generator[Any, Any, Any]:
        """The coroutine's steps, passed on as they are, but for what is thrown into it from outside."""
        given: Any = None
        error: BaseException | None = None
        try:
            while True:
                if self._thrown is not None:
                    error, self._thrown = self._thrown, None
                    self._uncancel()
                try:
                    waits_for = self._body.send(given) if error is None else self._body.throw(error)
                except StopIteration as end:
                    return end.value
                given = error = None
                try:
                    given = yield waits_for
                except BaseException as exc:
                    error = exc
        finally:
            error = None  # its traceback refers to this frame

    def _uncancel(self) -> None:
        """To asyncio's own timeouts and groups it was no cancellation."""
        uncancel = getattr(self._task, "uncancel", None)  # since 3.11
        if uncancel is not None:
            uncancel()

    def throw(self, take: Callable[[], BaseException | None]) -> None:
        """At the loop's next turn, unless the coroutine has ended by then."""
        if self._loop is None or self._task is None:
            self._early = take
        elif not self._over:
            self._loop.call_soon_threadsafe(self._deliver, take)

    def _deliver(self, take: Callable[[], BaseException | None]) -> None:
        if self._over or self._task is None or self._task.done():
            return
        self._thrown = take()
        if self._thrown is not None:
            self._task.cancel()  # wakes it wherever it waits, and cancels what it waits for

    def cancel(self) -> None:
        """From another thread."""
        if self._loop is not None and self._task is not None and not self._over:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def is_inside(self, frame: types.FrameType | None) -> bool:
        """Whether this frame belongs to the coroutine, or to what it has called."""
        own = getattr(self._body, "cr_frame", None)
        while own is not None and frame is not None:
            if frame is own:
                return True
            frame = frame.f_back
        return False

    def is_beside_it(self) -> bool:
        from asyncio import current_task

        return self._loop is not None and current_task(self._loop) is not self._task


class _Kept:
    """The loop of the thread that runs this process's tasks."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self.pid = 0
        self._thread = 0

    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Made at the first call; None in other threads than that one's."""
        from asyncio import new_event_loop

        if not self.made:  # a fork must not touch its parent's
            self._loop, self.pid, self._thread = new_event_loop(), os.getpid(), threading.get_ident()
        return self._loop if self._thread == threading.get_ident() else None

    @property
    def made(self) -> bool:
        """Whether there is one, in this process."""
        return self._loop is not None and self.pid == os.getpid()

    def given_up(self) -> None:
        """It is used no more, and what still runs in it runs no further."""
        if self._loop is not None:
            self._loop.close()
        self._loop = None

    def close(self) -> None:
        if self._loop is not None and self.made and self._thread == threading.get_ident():
            _close(self._loop, "the executor")
        self._loop = None


_kept = _Kept()
#: What runs in the main thread; the thread's other loops are inside of it.
_running: _Run | None = None


def _in_a_loop() -> bool:
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def _cancelled(loop: asyncio.AbstractEventLoop, name: str) -> bool:
    """Cancel whatever still runs in a loop whose task has ended; False if it does not end."""
    import asyncio

    if not asyncio.all_tasks(loop):
        return True
    loop.run_until_complete(asyncio.sleep(0))  # for what is as good as done, such as an async generator's aclose()
    rest = asyncio.all_tasks(loop)
    if not rest:
        return True
    names = sorted(getattr(one.get_coro(), "__qualname__", one.get_name()) for one in rest)
    shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    log.warning("%s has ended and left %d coroutine(s) running, which are cancelled: %s", name, len(rest), shown)
    for one in rest:
        one.cancel()
    _, pending = loop.run_until_complete(asyncio.wait(rest, timeout=PATIENCE))
    if pending:
        log.warning("%s: %d of them do not end within %g s: their event loop is given up", name, len(pending), PATIENCE)
    return not pending


def _close(loop: asyncio.AbstractEventLoop, name: str) -> None:
    import asyncio

    try:
        if _cancelled(loop, name):
            loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), PATIENCE))
    except Exception:
        log.exception("%s: closing its event loop failed", name)
    finally:
        loop.close()


def _in_a_fresh_loop(one: _Run) -> Any:
    from asyncio import new_event_loop

    loop = new_event_loop()
    return one.to_its_end(loop, lambda: _close(loop, one.name))


def _in_a_thread(body: Body, name: str) -> Any:
    """In a loop of its own in a thread of its own, with the caller's context."""
    from concurrent.futures import Future

    one, ended, context = _Run(body, name), Future[Any](), contextvars.copy_context()

    def work() -> None:
        try:
            ended.set_result(context.run(_in_a_fresh_loop, one))
        except BaseException as exc:
            ended.set_exception(exc)

    thread = threading.Thread(target=work, name=f"pyqs-{name}", daemon=True)
    thread.start()
    try:
        return ended.result()
    finally:
        if not ended.done():  # the caller was interrupted: it must not go on by itself
            one.cancel()
            thread.join(PATIENCE)
