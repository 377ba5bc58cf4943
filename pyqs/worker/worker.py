"""The worker: one process that receives, hands out and settles, from start to an ordered end.

Owns: the services, the order in which they start and stop, and the main thread, which only waits for signals and for
what a service reports. Never runs a task and never decodes a body.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.errors import BootFailed, SqsError
from pyqs.producer import Producer
from pyqs.sqs import Sqs, connect
from pyqs.worker.acker import Acker
from pyqs.worker.credit import Credit
from pyqs.worker.discovery import Discovery
from pyqs.worker.fetcher import Intake, QueueFetchers
from pyqs.worker.heartbeat import Heartbeat
from pyqs.worker.leases import Leases
from pyqs.worker.pool import Pool, Wiring
from pyqs.worker.report import Report
from pyqs.worker.slot import Spawner

log = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_BAD_CONFIG = 2

#: Seconds an executor may take to load the tasks.
BOOT_TIMEOUT = 120.0
#: Seconds for what is left to write to SQS once nothing runs any more.
FLUSH_TIMEOUT = 10.0
#: Seconds after which a long poll that does not come back is abandoned.
_POLL_GRACE = 5.0
_LOOK = 0.2


class Worker:
    """One worker.

    Parameters:
        config: all its settings.
        sqs: for tests: the SQS to use instead of connecting.
    """

    def __init__(self, config: WorkerConfig, sqs: Sqs | None = None) -> None:
        self.config = config
        self.report = Report(progress=config.progress)
        self.credit = Credit(config.prefetch_bound)
        self.leases = Leases()
        self._sqs = sqs
        self._wake = threading.Event()
        self._drain_asked = False
        self._hurry_asked = False
        self._interrupted = False
        self._crash: str | None = None
        self._boot_failure: BootFailed | None = None
        self._deadline: float | None = None
        self._consuming = threading.Event()

    # -- asked from outside --------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Begin the ordered shutdown (the first SIGTERM)."""
        if self._drain_asked:
            self._hurry_asked = True
        self._drain_asked = True
        self._wake.set()

    def stop(self) -> None:
        """Shut down without waiting for running tasks (the second SIGTERM, SIGQUIT)."""
        self._drain_asked = self._hurry_asked = True
        self._wake.set()

    def interrupt(self) -> None:
        """Begin the shutdown and drop the open polls (Ctrl-C)."""
        if self._drain_asked:
            self._hurry_asked = True
        self._drain_asked = self._interrupted = True
        self._wake.set()

    def wait_consuming(self, timeout: float) -> bool:
        """Wait until executors are ready and the first receives are on their way."""
        return self._consuming.wait(timeout)

    # -- the main thread -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until told to stop, until a burst has drained, or until something breaks; the exit code.

        Raises:
            ConfigError, BootFailed: the worker cannot start as it is told.
            SqsError: SQS refused the first calls for good.
        """
        with self._signals():
            spawner = Spawner(self.config.runtime, preload=self.config.preload)
            try:
                return self._run(spawner)
            finally:
                spawner.close()

    def _run(self, spawner: Spawner) -> int:
        self._pool_boot(spawner)
        try:
            self._serve()
        finally:
            self._shut_down()
        if self._boot_failure is not None:
            raise self._boot_failure
        if self._crash is not None:
            log.critical("the worker ends because %s crashed", self._crash)
            return EXIT_CRASHED
        return EXIT_OK

    def _pool_boot(self, spawner: Spawner) -> None:
        """Make everything; the executors first, before any thread is there."""
        config = self.config
        self.sqs = self._sqs if self._sqs is not None else connect(config.connection)
        producer = Producer(config.connection, create_queues=config.runtime.create_queues, connector=lambda _: self.sqs)
        self.acker = Acker(self.sqs, producer, self.leases, self._crashed)
        self.heartbeat = Heartbeat(self.sqs, self.leases, self._crashed)
        wiring = Wiring(self.acker, self.leases, self.credit, self.report, self._boot_failed, self._crashed)
        self.pool = Pool(spawner, config.concurrency, wiring)
        intake = Intake(
            sqs=self.sqs,
            config=config,
            credit=self.credit,
            offer=self.pool.offer,
            release=self.pool.release,
            missing=lambda queue: self.discovery.gone(queue),
            visibility=lambda queue: None if queue in self.heartbeat.denied else config.lease,
            one_by_one=self.pool.one_by_one,
            activity=self._activity,
            crashed=self._crashed,
        )
        self.discovery = Discovery(self.sqs, config, lambda name, url: QueueFetchers(name, url, intake), self._crashed)
        self.pool.spawn()

    def _serve(self) -> None:
        self.pool.start()
        self.acker.start()
        self.heartbeat.start()
        deadline = boottime() + BOOT_TIMEOUT
        while not self.pool.wait_ready(_LOOK):
            if self._must_end():
                return
            if boottime() > deadline:
                self._boot_failed(BootFailed(f"no executor was ready after {BOOT_TIMEOUT:.0f} s"))
                return
        log.info("worker with %d executors, pid %d", self.config.concurrency, os.getpid())
        self._first_look()
        self.discovery.start()
        self.report.open_bar()
        self._consuming.set()
        while not self._must_end():
            if self.config.burst and self._is_drained():
                return
            self._wake.wait(_LOOK if self.config.burst else 1.0)
            self._wake.clear()
            self._reap()

    def _first_look(self) -> None:
        """A worker that starts during an outage waits for its end, like one that runs."""
        from pyqs.backoff import NetworkBackoff

        pauses = NetworkBackoff()
        while not self._must_end():
            try:
                self.discovery.first_look()
                return
            except SqsError as exc:
                if not exc.retryable or self.config.burst or self.config.strict:
                    raise
                pause = pauses.failed()
                if pauses.failures == 1:
                    log.warning("looking for queues fails, and is tried again until it works: %s", exc)
                self._wake.wait(pause)

    def _must_end(self) -> bool:
        return self._drain_asked or self._crash is not None or self._boot_failure is not None

    def _is_drained(self) -> bool:
        return self.credit.total == 0 and self.acker.pending == 0 and self.discovery.quiet()

    def _activity(self) -> int:
        """Changes whenever a delivery has come in or a verdict was carried out: what a burst must wait out."""
        with self.report.changed:
            counts = self.report.counts
            return sum(counts.values()) + self.acker.pending

    # -- shutdown, in the order of design decision 14 ----------------------------------------------------------------------

    def _shut_down(self) -> None:
        self._deadline = None if self.config.shutdown_timeout is None else boottime() + self.config.shutdown_timeout
        self.report.close_bar()
        self._say_stopping()
        self.discovery.stop()
        self.discovery.stop_fetchers()
        self.credit.wake()
        if self._interrupted:
            self._drop_polls()
        self.pool.drain()
        self._finish_running()
        self._finish_polls()
        if not self.acker.flush(FLUSH_TIMEOUT):
            log.warning(
                "%d deletes or releases could not be sent; these messages come back after their lease", self.acker.pending
            )
        self.pool.stop()
        self.pool.join(15)
        self.acker.flush(FLUSH_TIMEOUT)
        self.acker.stop()
        self.heartbeat.stop()
        self.heartbeat.join(2)
        self.sqs.close()
        log.info("stopped: %s", self.report.totals())

    def _say_stopping(self) -> None:
        running = len(self.pool.running)
        if self._drain_asked or running:
            left = "however long they take" if self._deadline is None else f"for up to {self.config.shutdown_timeout:g} s"
            log.info("stopping: nothing more is received%s", f"; {running} running tasks may finish, {left}" if running else "")

    def _drop_polls(self) -> None:
        names = ", ".join(sorted(self.discovery.fetchers)) or "no queue"
        log.warning(
            "open receives are dropped: a message that was just on its way stays hidden for up to %d s (%s)",
            self.config.lease,
            names,
        )
        self.sqs.abort()

    def _finish_running(self) -> None:
        """Run on until nothing runs, the deadline, or a second signal; then kill what is not acked early."""
        spared = False
        while not self.pool.wait_idle(_LOOK):
            if self._interrupted:
                self.sqs.abort()
            if self._hurry_asked or self._crash is not None:
                self._name_lost()
                self.pool.kill_running(spare_acked=False)
            elif self._deadline is not None and boottime() >= self._deadline and not spared:
                spared = True
                self.pool.kill_running(spare_acked=True)

    def _name_lost(self) -> None:
        for delivery, started in self.pool.running:
            if self.acker.is_acked(delivery.id):
                log.error("%s: %s[%s] is killed, and it was acked when it started", delivery, started.task, started.call_id)

    def _finish_polls(self) -> None:
        wait = 1.0 if self._interrupted else self.config.wait + _POLL_GRACE
        if not self.discovery.join_fetchers(wait) and not self._interrupted:
            log.warning("a long poll did not come back; what it may bring stays hidden for up to %d s", self.config.lease)

    # -- told by services ----------------------------------------------------------------------------------------------------

    def _crashed(self, name: str, _exc: BaseException) -> None:
        self._crash = self._crash or name
        self._wake.set()

    def _boot_failed(self, error: BootFailed) -> None:
        self._boot_failure = self._boot_failure or error
        self._wake.set()

    def _reap(self) -> None:
        """As PID 1, collect orphans that were handed to us; never a pid that multiprocessing waits for."""
        if os.getpid() != 1:
            return
        from multiprocessing import forkserver

        own = getattr(forkserver._forkserver, "_forkserver_pid", None)
        with contextlib.suppress(ChildProcessError):
            while True:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or found.si_pid == own:
                    return
                os.waitpid(found.si_pid, os.WNOHANG)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handlers that only take note; the main thread acts. Outside the main thread (tests) none are set."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        actions = {signal.SIGTERM: self.drain, signal.SIGINT: self.interrupt, signal.SIGQUIT: self.stop}

        def handle(number: int, _frame: FrameType | None) -> None:
            actions[signal.Signals(number)]()

        previous = {number: signal.signal(number, handle) for number in actions}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
