"""One event loop for the coroutines of several tasks, in the main thread of their process.

Owns: ``SharedLoop``, and ``SharedRun``, one coroutine in it: which coroutines each task has started, what is thrown into
which, and what becomes of those that are left. A lane's thread waits for its coroutine; all that happens to the loop happens
in the main thread. Never raises into the loop's own code or into another task's coroutine, and never has one task wait for
another's.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import signal
import threading
from asyncio import AbstractEventLoop, CancelledError, Task
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, NoReturn

from pyqs import coroutines
from pyqs.coroutine_steps import Body, Steps, Take
from pyqs.executor import lifeline
from pyqs.executor.endings import end_of_fork
from pyqs.executor.limits import SOFT_LIMIT_SIGNAL
from pyqs.executor.process import guarded
from pyqs.interruption import GivenUp

log = logging.getLogger(__name__)

#: Threads for ``asyncio.to_thread`` beside one for each task: as many as asyncio would have for all of them.
_THREADS = min(32, (os.cpu_count() or 1) + 4)
#: Seconds that coroutines have to end whose task was given up. Its worker waits for that, and kills the process soon.
_GIVEN_UP = 1.0
#: Frames of these stand for themselves: what they call, asyncio has not called.
_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
#: The run to which what is done here belongs.
_owner: contextvars.ContextVar[SharedRun | None] = contextvars.ContextVar("owner", default=None)


class SharedLoop:
    """The loop. Made in the main thread.

    Parameters:
        tasks: how many may use it at a time.
    """

    def __init__(self, tasks: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(_owned)
        self._loop.set_default_executor(ThreadPoolExecutor(_THREADS + tasks, thread_name_prefix="asyncio"))
        self._main = threading.get_ident()
        self.pid = os.getpid()
        self._ended = False
        #: In a process that a coroutine has forked: what its parent's loop was about to do.
        self._parents: Any = None
        #: By the task that makes its steps. Main thread only.
        self._runs: dict[Task[Any] | None, SharedRun] = {}
        signal.signal(SOFT_LIMIT_SIGNAL, self._interrupted)
        os.register_at_fork(after_in_child=self._forked)

    def serve(self) -> None:
        """Run it until ``end``. Main thread only."""
        while not self._ended:
            try:
                self._loop.run_forever()
            except BaseException as exc:
                self._end_if_forked()
                if isinstance(exc, Exception):
                    raise
                self._escaped(exc)  # a SystemExit or KeyboardInterrupt
            self._end_if_forked()

    def end(self) -> None:
        """Have ``serve`` return. In any thread."""

        def end() -> None:
            self._ended = True
            self._loop.stop()

        self._loop.call_soon_threadsafe(end)

    def close(self) -> None:
        """Cancel what is left in it. Main thread only."""
        coroutines.close_loop(self._loop, "the executor")

    def begin(self, run: SharedRun, context: contextvars.Context) -> None:
        """Have its first step made, in this context. In any thread."""
        self._loop.call_soon_threadsafe(lambda: guarded("the event loop", lambda: self._begin(run)), context=context)

    def strike(self, run: SharedRun) -> None:
        """Have what is due raised in it: where it waits, at the next turn, and where it computes by a signal. In any thread."""
        self._loop.call_soon_threadsafe(run.struck)
        self.interrupt()

    def interrupt(self) -> None:
        """Have the one that computes now ask what is due in it. In any thread."""
        signal.pthread_kill(self._main, SOFT_LIMIT_SIGNAL)

    # -- main thread --------------------------------------------------------------------------------------------------

    def _begin(self, run: SharedRun) -> None:
        self._end_if_forked()
        task = run.begin(self._loop)
        self._runs[task] = run
        task.add_done_callback(lambda task: guarded("the event loop", lambda: self._over(task)))

    def _over(self, task: Task[Any]) -> None:
        lifeline.keep_signals()
        self._runs.pop(task).over()

    def _interrupted(self, _signum: int, frame: FrameType | None) -> None:
        """Something is due in some run: raised here, if that is it which computes."""
        run = self._runs.get(asyncio.current_task(self._loop)) if self._runs else None
        if run is not None and run.is_inside(frame) and not _is_asyncios(frame):
            error = run.due()
            if error is not None:
                raise error

    def _escaped(self, exc: BaseException) -> None:
        """asyncio lets these out of the loop, out of whatever they were raised in: they are the end of that one's task only."""
        for run in self._runs.values():
            if run.has_raised(exc):
                run.fail(exc)
                return
        log.error("a callback in the event loop raised %s, which ends nothing", type(exc).__name__, exc_info=exc)

    def _forked(self) -> None:
        """In a process that a coroutine has forked: no other coroutine of its parent's may go on there."""
        if threading.get_ident() == self._main and self._loop.is_running():
            for run in self._runs.values():  # by themselves, too: not every loop can be kept from its next callbacks
                run.goes_astray(self._end_forked)
            if hasattr(self._loop, "_ready"):  # what would run before the stop; none of it is to end here, either
                self._parents, self._loop._ready = self._loop._ready, _Nothing()
            self._loop.stop()

    def _end_if_forked(self) -> None:
        if os.getpid() != self.pid:
            self._end_forked()

    def _end_forked(self) -> NoReturn:
        log.error("a process that an async task has forked has come to an await, and ends: its event loop is its parent's")
        end_of_fork(RuntimeError())


class SharedRun(Steps):
    """One coroutine in the shared loop. Made in the thread that waits for it.

    Parameters:
        due: asked in the main thread: what is to be raised in it now.
    """

    def __init__(self, shared: SharedLoop, body: Body, name: str, due: Take) -> None:
        super().__init__(body, name)
        self._shared = shared
        self.due = due
        #: What it has started, and what these have, as long as it runs.
        self._children: set[Task[Any]] = set()
        self._answer: Any = None
        self._error: BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()

    def to_its_end(self) -> Any:
        """What it answers, waited for; raises what it raises."""
        context = contextvars.copy_context()
        context.run(_owner.set, self)
        self._shared.begin(self, context)
        self._ended.acquire()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._answer
        finally:
            error = None  # its traceback refers to this frame

    def strike(self) -> None:
        """Something is due. In any thread."""
        self._shared.strike(self)

    def strike_again(self) -> None:
        """It may compute where it could not be interrupted. In any thread."""
        self._shared.interrupt()

    # -- main thread --------------------------------------------------------------------------------------------------

    def begin(self, loop: AbstractEventLoop) -> Task[Any]:
        """The task that makes its steps; it has a copy of this context, and is nobody's child."""
        self._loop = loop
        self._task = Task(self._main(), loop=loop, name=self.name)
        if self._early is not None:  # before its first step
            self._deliver(self._early)
        return self._task

    async def _main(self) -> None:
        try:
            self._answer = await self._steps()
        except BaseException as exc:
            self._error = exc
        self._over = True
        if os.getpid() != self._shared.pid:
            end_of_fork(self._error)

    def over(self) -> None:
        """Its last step is made: let it go, or first what it has left running."""
        self._over = True
        assert self._task is not None
        if self._task.cancelled():  # before its first step
            self._error = self._thrown or CancelledError()
        self._thrown = None
        self._body.close()
        if self._children:
            assert self._loop is not None
            tidy = Task(self._tidy(), loop=self._loop)
            tidy.add_done_callback(lambda task: guarded("the event loop", lambda: self._tidied(task)))
        else:
            self._ended.release()

    async def _tidy(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # for what is as good as done, such as an async generator's aclose()
        patience = _GIVEN_UP if isinstance(self._error, GivenUp) else coroutines.PATIENCE
        until = loop.time() + patience
        cancelled: set[Task[Any]] = set()
        while self._children and (left := until - loop.time()) > 0:
            if not cancelled:
                coroutines.warn_of_left_over(self.name, self._children)
            for one in self._children - cancelled:
                one.cancel()
            cancelled |= self._children
            await asyncio.wait(set(self._children), timeout=left)
        if self._children:
            rest, names = len(self._children), coroutines.named(self._children)
            log.warning("%s: %d of them do not end within %g s and go on: %s", self.name, rest, patience, names)

    def _tidied(self, task: Task[None]) -> None:
        task.result()
        self._ended.release()

    def goes_astray(self, end: Callable[[], NoReturn]) -> None:
        """This is a process that another coroutine, or it itself, has forked: where it would make a step, it calls this."""
        self._stray = end

    def own(self, task: Task[Any]) -> None:
        """It, or what it has started, has started this."""
        self._children.add(task)
        task.add_done_callback(self._children.discard)

    def struck(self) -> None:
        """At a turn of the loop: throw what is due."""
        if self._task is None:
            self._early = self.due
        else:
            self._deliver(self.due)

    def has_raised(self, exc: BaseException) -> bool:
        """Whether one of those that it has started has just ended by this very exception."""
        return any(one.done() and not one.cancelled() and one.exception() is exc for one in self._children)

    def fail(self, exc: BaseException) -> None:
        """Have it raised in the coroutine."""
        self._deliver(lambda: exc)

    def is_here(self) -> bool:
        """Whether the caller is this coroutine, not one that it has started, nor another thread. In any thread."""
        try:
            return asyncio.current_task() is self._task
        except RuntimeError:  # no loop runs in this thread
            return False


class _Nothing(deque[Any]):
    """What is to run next in an event loop that must not go on."""

    def popleft(self) -> Any:
        """Ends the turn of the loop."""
        raise RuntimeError("this event loop is that of the parent process")


def _owned(loop: AbstractEventLoop, coro: Any, **options: Any) -> Task[Any]:
    """The loop's task factory: it notes to whose run a coroutine belongs."""
    task: Task[Any] = Task(coro, loop=loop, **options)
    run = _owner.get()
    if run is not None and not task.done():
        run.own(task)
    return task


def _is_asyncios(frame: FrameType | None) -> bool:
    """Whether asyncio's own code is at work in the innermost coroutine, whose state an exception might break for all."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "asyncio":
            return True
        if frame.f_code.co_flags & _COROUTINE:
            return False
        frame = frame.f_back
    return False
