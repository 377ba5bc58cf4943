"""A worker in this process: the worker's own threads on any SQS, with executors that are threads, too.

Owns: ``InProcessWorker`` and the runtime of native tasks in it. What a message meets is what it meets in ``pyqs worker``:
fetchers, leases, rate limits, acks, verdicts, follow-ups, an ordered stop; only executors and the host are threads
(``threads``). Runs in tests, in threads of its own. Never forks, and leaves this process's signals, connection and hooks alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.errors import BootFailed
from pyqs.message import CalledOff
from pyqs.native import NativeRuntime
from pyqs.runtime import TaskRuntime
from pyqs.sqs import Sqs
from pyqs.testing.threads import ThreadSpawner
from pyqs.worker.report import Totals
from pyqs.worker.worker import EXIT_OK, Worker

#: Seconds in which a worker is ready, and in which it has stopped.
READY, STOPPED = 30.0, 10.0
#: Seconds for the end of a worker whose tasks were given up.
AFTER_A_KILL = 5.0
_LOOK = 0.02


class NativeTasks(NativeRuntime):
    """The runtime of native tasks in a process that has them already, with its hooks and its connection."""

    def after_fork(self) -> None:
        """Nothing was forked."""

    def become_host(self) -> None:
        """Nothing was forked."""


class _Worker(Worker):
    """The worker, and what is not asked of it elsewhere."""

    def run(self) -> int:
        """As any, and then give back what in a process of its own ends with the process."""
        try:
            return super().run()
        finally:
            for part in (self, getattr(self, "_pool", None), getattr(self, "_host", None)):
                if part is not None:
                    part._bell.close()

    def call_off(self, calls: Sequence[CalledOff]) -> None:
        """These calls must not start any more, and some of them not go on."""
        self._pool.call_off(calls)

    @property
    def running(self) -> list[str]:
        """What runs at this moment: the names of tasks, with their ids."""
        return [str(one) for slot in self._pool.slots for one in slot.running.copy().values()]

    @property
    def idle(self) -> bool:
        """Whether nothing is held, and nothing waits to be sent, deleted or hidden."""
        return not (self._credit.held or self._acker.pending)

    @property
    def crashed(self) -> bool:
        """Whether a part of it has."""
        return self._crashed

    @property
    def reason(self) -> Exception | None:
        """Why it could not go on."""
        return self._error


class InProcessWorker:
    """One worker. ``start`` and ``stop`` it, or use it as a context manager.

    Parameters:
        config: as for any worker. Its soft limits are raised in tasks between two steps of Python code; at a hard limit a task
            is given up and counts as killed, but its thread lives until it returns to Python code.
        sqs: the client, which is the worker's alone: a stop breaks off its polls.
        runtime: not booted; None makes that of native tasks.
        begin: called first in each thread that runs tasks.
        name: in front of the names of these threads.
    """

    def __init__(
        self,
        config: WorkerConfig,
        sqs: Sqs,
        runtime: TaskRuntime | None = None,
        *,
        begin: Callable[[], object] = lambda: None,
        name: str = "pyqs-task",
    ) -> None:
        self.config = replace(config, shutdown_timeout=None, progress=False)
        self._sqs = sqs
        self._runtime = NativeTasks(config.runtime) if runtime is None else runtime
        self._begin = begin
        self._name = name
        self._worker: _Worker | None = None
        self._code: int | None = None
        self._asked = False
        self._running = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> InProcessWorker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- its life -----------------------------------------------------------------------------------------------------
    def boot(self) -> None:
        """Load the tasks, in this thread; once.

        Raises:
            ConfigError, BootFailed: what ``pyqs worker`` would end for. Whatever imports of task modules raise.
        """
        report = self._runtime.boot()
        self._runtime.become_host()
        self._runtime.after_fork()
        spawner = ThreadSpawner(self._runtime, report, begin=self._begin, name=self._name)
        self._worker = _Worker(self.config, self._sqs, spawner=spawner)

    def run(self) -> int:
        """Work in this thread until stopped, or, in a burst, until the queues are drained; the worker's exit code."""
        if self._worker is None:
            self.boot()
        with self._running:
            self._code = self._booted.run()
        return self._code

    def start(self, timeout: float = READY) -> None:
        """Run in a thread from now on; returns when messages are received.

        Raises:
            BootFailed: it has ended, or is not ready in time. And what ``boot`` raises.
        """
        if self._worker is None:
            self.boot()
        self._thread = threading.Thread(target=self.run, name=f"{self._name}-worker", daemon=True)
        self._thread.start()
        self.wait_ready(timeout)

    def wait_ready(self, timeout: float = READY) -> None:
        """Wait until messages are received; ``run`` was called, or is called in another thread.

        Raises:
            BootFailed: it has ended, or is not ready in time.
        """
        deadline = boottime() + timeout
        while not self._booted.wait_ready(_LOOK):
            if self._code is not None:
                if self._code == EXIT_OK:
                    return  # a burst
                raise BootFailed(f"the worker in this process has ended: {self._booted.reason or 'the log says why'}")
            if boottime() >= deadline:
                self._booted.stop()
                raise BootFailed(f"the worker in this process is not ready after {timeout:g} s; the log says what it waits for")

    def ask_to_stop(self) -> None:
        """Receive no more; what runs goes on, and what has not started is given back."""
        if self._worker is not None and not self._asked:  # twice would be a hurry
            self._asked = True
            self._worker.interrupt()

    def stop_at_once(self) -> None:
        """Receive no more, and give up what runs."""
        if self._worker is not None:
            self._worker.stop()

    def stop(self, timeout: float = STOPPED) -> None:
        """Stop and wait for what runs.

        Raises:
            RuntimeError: tasks run for longer, which are given up then; or a part of the worker has crashed.
        """
        self.ask_to_stop()
        self.wait_stopped(timeout)

    def wait_stopped(self, timeout: float = STOPPED) -> None:
        """Wait until it has ended, which it was asked to. Raises as ``stop``."""
        if self._worker is None:
            return
        late = ""
        if not self.ends_within(timeout):
            late = ", ".join(self.running) or "its threads"
            self._worker.stop()
            self.ends_within(AFTER_A_KILL)
        if self._thread is not None:
            self._thread.join(AFTER_A_KILL)
        self._sqs.close()
        if late:
            raise RuntimeError(
                f"the worker in this process has not stopped within {timeout:g} s, {late} still ran and was given up; if tasks "
                "take that long, give it longer (shutdown_timeout)"
            )
        if self._worker.crashed:
            raise RuntimeError("a part of the worker in this process has crashed; the log says which")

    def ends_within(self, timeout: float) -> bool:
        """Whether ``run`` has come back, waited for."""
        if self._running.acquire(timeout=timeout):
            self._running.release()
            return True
        return False

    def wait_until(self, happened: Callable[[], object], timeout: float = READY) -> None:
        """Wait until this is true, while the worker works. Raises TimeoutError if it is not within so many seconds."""
        deadline = boottime() + timeout
        while not happened():
            if boottime() >= deadline:
                raise TimeoutError(f"not within {timeout:g} s; the worker in this process so far: {self.totals}")
            time.sleep(_LOOK)

    # -- meanwhile ----------------------------------------------------------------------------------------------------
    def call_off(self, calls: Sequence[CalledOff]) -> None:
        """These calls must not start any more; those with a signal do not go on, either."""
        self._booted.call_off(calls)

    @property
    def running(self) -> list[str]:
        """Tasks that run at this moment and have done so for a while: ``name[id]``."""
        return self._booted.running

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do at this moment: nothing is held, sent, deleted or hidden."""
        return self._booted.idle

    @property
    def totals(self) -> Totals:
        """What it has done so far: ``totals.done["succeeded"]`` and the like."""
        return self._booted.totals

    @property
    def _booted(self) -> _Worker:
        if self._worker is None:
            raise RuntimeError("this worker was not started")
        return self._worker
