"""Coroutines of tasks: each is run to its end, in one event loop that is kept from task to task.

Owns: this process's loop, the coroutine that runs in it, and how an exception from outside gets into that (``strike``).
``run`` and ``close`` are called in the thread that runs tasks, ``strike`` by handlers of signals. Never runs two tasks at a
time, and never leaves what one has started to the next: it is cancelled. Where several tasks run at a time, each in a thread,
those threads say where theirs are run instead (``run_at``). Loads asyncio when the first coroutine comes.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import types
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from pyqs.coroutine_steps import Body, Steps, Take

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

#: Seconds that coroutines have to end after they were cancelled. A loop with some that do not is given up.
PATIENCE = 5.0
#: Names of coroutines that a warning has room for.
_NAMED = 3


class Place(Protocol):
    """Where one thread's coroutines are run."""

    @property
    def in_use(self) -> bool:
        """Whether one has been."""
        ...

    def run(self, body: Body, name: str) -> Any:
        """As ``run``, in the thread that has this place."""
        ...


def run(body: Body, name: str, *, keep: bool = True) -> Any:
    """Its answer, waited for; raises what it raises.

    Parameters:
        name: the task's, for the log.
        keep: in this process's loop. Without it the coroutine has a loop of its own, which is closed at its end.

    Inside a running event loop it runs in a thread of its own, with a loop of its own, while that loop stands still.
    """
    if _in_a_loop():
        return _in_a_thread(body, name)
    if keep and _places is not None and (place := _place()) is not None:
        return place.run(body, name)
    loop = _kept.loop() if keep else None
    if loop is None:
        return _in_a_fresh_loop(_Run(body, name))

    def after() -> None:
        if not _cancelled(loop, name):
            _kept.given_up()

    return _Run(body, name).to_its_end(loop, after)


def run_at(place: Place) -> None:
    """This thread's coroutines are run there from now on; those of a process that it forks are not."""
    global _places
    if _places is None:
        _places = threading.local()
    _places.own = (place, os.getpid())


def _place() -> Place | None:
    own = getattr(_places, "own", None)
    return own[0] if own is not None and own[1] == os.getpid() else None


def in_use() -> bool:
    """Whether a coroutine has been run in this process's loop; where each thread has a place of its own, for this thread."""
    place = _place()
    return _kept.made if place is None else place.in_use


def close() -> None:
    """Cancel what is left in this process's loop, and close it; the next coroutine gets a new one."""
    _kept.close()


def strike(frame: types.FrameType | None, take: Take) -> None:
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


class _Run(Steps):
    """One coroutine that has its thread, or its process, to itself."""

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

    def cancel(self) -> None:
        """From another thread."""
        if self._loop is not None and self._task is not None and not self._over:
            self._loop.call_soon_threadsafe(self._task.cancel)


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
            close_loop(self._loop, "the executor")
        self._loop = None


_kept = _Kept()
#: What this process's threads have said to ``run_at``; None in nearly all processes.
_places: threading.local | None = None
#: What runs in the main thread; the thread's other loops are inside of it.
_running: _Run | None = None


def _in_a_loop() -> bool:
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def named(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """What these are called, as far as a line of the log has room for it."""
    names = sorted(getattr(one.get_coro(), "__qualname__", one.get_name()) for one in tasks)
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def warn_of_left_over(name: str, tasks: Collection[asyncio.Task[Any]]) -> None:
    """The line about what a task has left running."""
    log.warning("%s has ended and left %d coroutine(s) running, which are cancelled: %s", name, len(tasks), named(tasks))


def _cancelled(loop: asyncio.AbstractEventLoop, name: str) -> bool:
    """Cancel whatever still runs in a loop whose task has ended; False if it does not end."""
    import asyncio

    if not asyncio.all_tasks(loop):
        return True
    loop.run_until_complete(asyncio.sleep(0))  # for what is as good as done, such as an async generator's aclose()
    rest = asyncio.all_tasks(loop)
    if not rest:
        return True
    warn_of_left_over(name, rest)
    for one in rest:
        one.cancel()
    _, pending = loop.run_until_complete(asyncio.wait(rest, timeout=PATIENCE))
    if pending:
        log.warning("%s: %d of them do not end within %g s: their event loop is given up", name, len(pending), PATIENCE)
    return not pending


def close_loop(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Cancel what still runs in it, finish its async generators, and close it. In its thread, which does not run it now."""
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
    return one.to_its_end(loop, lambda: close_loop(loop, one.name))


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
