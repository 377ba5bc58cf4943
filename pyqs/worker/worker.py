"""The worker: composes its services, starts them, acts on signals, and stops them in order.

Owns: the main thread of the parent process from ``run`` to the exit code, signals included (their handlers only take a note
and ring). The walk of a message is fetcher -> pool -> executor -> runtime -> acker; everything here is set-up and end.
Never touches a message.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque

from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.errors import BootFailed, PyQSError, SqsError
from pyqs.queues.discovery import Found
from pyqs.sqs import Sqs, connect
from pyqs.wire import Ready
from pyqs.worker.acker import Acker
from pyqs.worker.beats import Beats
from pyqs.worker.burst import Burst
from pyqs.worker.credit import Credit
from pyqs.worker.discovery import Discovery
from pyqs.worker.facts import Facts
from pyqs.worker.fetcher import Tools
from pyqs.worker.fetchers import Fetchers
from pyqs.worker.health import Health
from pyqs.worker.heartbeat import Heartbeat
from pyqs.worker.host import Host
from pyqs.worker.in_flight import InFlight
from pyqs.worker.leases import Leases
from pyqs.worker.payloads import LargePayloads
from pyqs.worker.pool import Pool
from pyqs.worker.progress import ProgressLine
from pyqs.worker.quota import Quota
from pyqs.worker.reaper import reap_orphans
from pyqs.worker.relay import Relay
from pyqs.worker.report import Totals
from pyqs.worker.service import Bell, Pulse
from pyqs.worker.shutdown import Parts, Shutdown
from pyqs.worker.signals import Signals
from pyqs.worker.spawner import ForkserverSpawner, Spawner
from pyqs.worker.watched import Watched

log = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_CONFIG = 2

#: Seconds between looks of the main thread at what nobody rings for.
TICK = 1.0
#: Seconds without a look after which this thread counts as hung.
TOLERANCE = 30.0
PROGRESS_TICK = 0.1
#: The same while it stops: threads end without a word.
SHUTDOWN_TICK = 0.02
#: Seconds that deletes and releases have after the deadline, at least.
FLUSH_GRACE = 3.0
#: Seconds for them when there is no deadline.
FLUSH_PATIENCE = 30.0
HEARTBEATS = 2
#: Celery's words for what an order means, for those who hear of it.
_SIGNALS = {"drain": ("SIGTERM", "Warm"), "interrupt": ("SIGINT", "Warm"), "stop": ("SIGQUIT", "Cold")}
#: Most queues that are named at the start.
_QUEUES_SHOWN = 50


class Worker:
    """One worker. ``run`` blocks in the main thread; everything else may be called from any thread.

    Parameters:
        config: all settings.
        sqs: the client; None connects as the settings say.
        spawner: makes executors; None uses a forkserver.
        health: answers probes; started and ended by whoever made it.
        signals: taken already, by whoever gives them back; None takes them for the time of ``run``.
    """

    def __init__(
        self,
        config: WorkerConfig,
        sqs: Sqs | None = None,
        *,
        spawner: Spawner | None = None,
        health: Health | None = None,
        signals: Signals | None = None,
    ) -> None:
        self.config = config
        self.totals = Totals()
        self._given_sqs = sqs
        self._given_spawner = spawner
        self._health = health
        self._signals = signals or Signals()
        self._pulse = Pulse("main", TOLERANCE)
        self._bell = Bell()
        self._orders: deque[str] = deque()
        self._ready = threading.Event()
        self._executors: list[Ready] = []
        self._found: Found | None = None
        self._error: Exception | None = None
        self._crashed = False
        #: Somebody outside has asked for the end.
        self._told = False
        self._burst = Burst()
        self._announced = False
        self._said: set[str] = set()

    # -- any thread -----------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Stop receiving, let running tasks end, leave (the first SIGTERM)."""
        self._order("drain")

    def interrupt(self) -> None:
        """The same, without waiting for open polls (Ctrl-C). Asked for twice, it hurries."""
        self._order("interrupt")

    def stop(self) -> None:
        """Kill what runs and leave (the second SIGTERM, SIGQUIT)."""
        self._order("stop")

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until every executor is ready and queues were looked for; False when that took longer."""
        return self._ready.wait(timeout)

    @property
    def held(self) -> int:
        """Deliveries that are held: waiting or running."""
        return self._credit.held

    @property
    def executors(self) -> list[int]:
        """Pids of the executors."""
        return [slot.pid for slot in self._pool.slots if slot.pid is not None]

    @property
    def leases(self) -> Leases:
        """The leases held."""
        return self._leases

    def _order(self, what: str) -> None:
        self._orders.append(what)
        self._bell.ring()

    # -- the main thread ------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Work until told to stop, or until a burst has drained its queues.

        Returns:
            ``EXIT_OK``, ``EXIT_CONFIG`` (settings, credentials at a burst, an app that does not load; the reason is logged),
            or ``EXIT_CRASHED`` (a service died, or somebody asked for a stop at once).
        """
        taken = self._signals.take()
        self._signals.tell(self._order)
        try:
            try:
                self._compose()
            except PyQSError as exc:
                return self._give_up(exc)
            self._start()
            progress = ProgressLine(self.config.progress and self.config.burst)
            try:
                self._supervise(progress)
            finally:
                progress.close()
                self._finish()
                self._relay.end()
        finally:
            if taken:
                self._signals.give_back()
        if self._error is not None:
            return self._give_up(self._error)
        return EXIT_CRASHED if self._crashed or self._shutdown.hurried else EXIT_OK

    def _give_up(self, exc: Exception) -> int:
        details = f"\n{exc.details.rstrip()}" if isinstance(exc, BootFailed) and exc.details else ""
        log.critical("the worker cannot go on: %s%s", exc, details, extra={"verbatim": True})
        return EXIT_CONFIG

    def _compose(self) -> None:
        """Make every part; the forkserver first, while there is one thread."""
        config = self.config
        self._own_spawner: ForkserverSpawner | None = None
        if self._given_spawner is None:
            self._own_spawner = ForkserverSpawner(config.runtime, self._on_crash, preload_app=config.preload)
            self._own_spawner.prepare()
        spawner = self._given_spawner or self._own_spawner
        assert spawner is not None
        self._sqs = self._given_sqs or connect(config.connection)
        self._leases = Leases(
            config.lease,
            self.totals,
            on_lost=lambda one: self._pool.forget(one),
            on_ceiling=lambda *at: self._pool.held_long(*at),
        )
        self._facts = Facts(self._sqs, self._on_crash)
        self._in_flight = InFlight(self._facts)
        self._payloads = LargePayloads(config.connection, self._on_crash)
        self._acker = Acker(
            self._sqs,
            self._leases,
            self.totals,
            self._facts,
            self._on_crash,
            payloads=self._payloads,
            on_change=self._on_settled,
            on_refused=self._on_refused,
        )
        self._quota = Quota(config.max_tasks, self.totals)
        self._credit = Credit(bound=config.most_held, quota=self._quota, backlog=self._acker.pending_on)
        self._host = Host(
            spawner, self._on_crash, at_start=config.runtime.app is not None, beats=config.runtime.beat,
            on_called_off=lambda calls: self._pool.call_off(calls),
        )  # fmt: skip
        self._relay = Relay(self._host.log)
        self._pool = Pool(
            config, spawner=spawner, leases=self._leases, acker=self._acker, credit=self._credit, facts=self._facts,
            totals=self.totals, host=self._host, on_ready=self._on_ready, on_failed=self._on_failed, on_crash=self._on_crash,
        )  # fmt: skip
        self._compose_line()

    def _compose_line(self) -> None:
        """The parts that bring deliveries, keep them and watch, on those that are made."""
        config = self.config
        tools = Tools(
            config,
            self._sqs,
            self._credit,
            self._leases,
            self._facts,
            self._in_flight,
            self._acker,
            self.totals,
            self._pool,
            self._on_crash,
            on_gone=lambda queue, exc: self._discovery.gone(queue, exc),
            on_answer=self._on_answer,
            on_failure=self._on_failure,
        )
        self._fetchers = Fetchers(tools)
        self._discovery = Discovery(
            config, self._sqs, self._fetchers, on_found=self._on_found, on_failed=self._on_failed, on_crash=self._on_crash
        )
        self._heartbeats = [
            Heartbeat(number, self._sqs, self._leases, self._facts, self._on_crash) for number in range(HEARTBEATS)
        ]
        parts = Parts(config, self._sqs, self._discovery, self._fetchers, self._pool, self._leases)
        self._shutdown = Shutdown(parts, on_begin=self._host.end_beat)
        watched = self._watched()
        self._beats = Beats(self._host.beat, *self._pool.pulses, *watched.pulses)
        if self._health is not None:
            self._health.attach(watched)

    def _watched(self) -> Watched:
        """What probes look at."""
        return Watched(
            self.config,
            self.totals,
            self._pool,
            self._fetchers,
            self._acker,
            self._credit,
            self._leases,
            self._in_flight,
            pulses=(self._pulse, *(heartbeat.pulse for heartbeat in self._heartbeats)),
            found=lambda: self._found is not None,
            stopping=lambda: self._shutdown.begun,
            on_crash=self._on_crash,
        )

    def _start(self) -> None:
        if self._own_spawner is not None:
            self._own_spawner.start()
        self._acker.start()
        self._facts.start()
        self._payloads.start()
        for heartbeat in self._heartbeats:
            heartbeat.start()
        self._host.start()
        if self.config.runtime.app is not None:
            self._relay.begin()
        self._host.tell(
            "starting", concurrency=self.config.concurrency, pid=os.getpid(), log_level=self.config.runtime.log_level
        )
        self._pool.start()
        self._discovery.start()

    def _supervise(self, progress: ProgressLine) -> None:
        """Until only the flush is left."""
        while True:
            pause = PROGRESS_TICK if progress.enabled else TICK
            if self._shutdown.begun:
                pause = min(pause, SHUTDOWN_TICK)
            self._pulse.beat()
            self._bell.wait(pause)
            while self._orders:
                self._obey(self._orders.popleft())
            self._announce()
            if self._announced and not self._crashed:
                self._beats.look()
            progress.update(self.totals, self._credit.held)
            if self._own_spawner is not None:
                reap_orphans(self._own_spawner.pids)
            if not self._shutdown.begun:
                self._look()
            elif self._shutdown.step():
                return

    def _look(self) -> None:
        """Reasons to stop that nobody has to ask for."""
        why = self._fetchers.watch()
        if why is not None:
            log.critical("%s; the worker drains and exits", why)
            self._note_crash(why)
            self._shutdown.begin("polls without answers")
        elif self._quota.reason:
            self._shutdown.begin(self._quota.reason)
        elif self.config.burst and self._found is not None and self._announced:
            holds_nothing = not self._credit.held and not self._acker.pending
            if holds_nothing and self._burst.drained(self._fetchers.queues) and not self._credit.held:
                # Its polls are short; one that is dropped could leave a message hidden that SQS has just handed to it.
                self._shutdown.begin("every queue is drained")

    def _obey(self, order: str) -> None:
        """What somebody has asked for from outside, or a part of the worker. Only the former makes it hurry."""
        again = self._told
        if order in _SIGNALS:
            self._told = True
            if not again:
                sig, how = _SIGNALS[order]
                self._host.tell("stopping", sig=sig, how=how, exitcode=EXIT_CRASHED if order == "stop" else EXIT_OK)
                if self._shutdown.begun:
                    log.info("told to stop (%s): it stops already", sig)
        if order == "stop" or (again and order in _SIGNALS):
            self._shutdown.hurry("told to stop at once")
        elif order == "drain":
            self._shutdown.begin("told to stop")
        elif order == "interrupt":
            self._shutdown.interrupt("interrupted")
        elif order == "fail":
            self._shutdown.interrupt("cannot go on")
        elif order == "crash":
            self._shutdown.begin("a service crashed")

    def _announce(self) -> None:
        """The start line, once everything is ready."""
        if self._announced or self._found is None or len(self._executors) < self.config.concurrency:
            return
        self._announced = True
        queues = self._fetchers.queues
        for name in queues[:_QUEUES_SHOWN]:
            log.info("queue %s: consuming", name)
        first = self._executors[0]
        log.info(
            "ready: %d queues, %d executors%s, %d registered tasks, %d of them at-most-once by their settings",
            len(queues), self.config.concurrency, self.config.runtime.slots_told, len(first.tasks), first.at_most_once,
        )  # fmt: skip
        self._host.tell("ready")
        self._ready.set()

    def _flush(self) -> None:
        """Step 4: what SQS has not accepted yet, until the deadline. A second signal is heard here, too."""
        now = boottime()
        deadline = now + FLUSH_PATIENCE if self._shutdown.deadline is None else max(self._shutdown.deadline, now + FLUSH_GRACE)
        self._acker.close()
        self._host.tell("stopped")
        self._host.close()
        while not self._acker.flushed or self._host.alive:
            if self._shutdown.hurried:
                deadline = min(deadline, now + FLUSH_GRACE)
            if boottime() >= deadline:
                break
            self._pulse.beat()
            self._bell.wait(SHUTDOWN_TICK)
            while self._orders:
                self._obey(self._orders.popleft())
        self._acker.abandon()
        self._host.kill()

    def _finish(self) -> None:
        """Steps 4 and 5: flush, the host's goodbye, then the heartbeat; then the rest."""
        self._flush()
        self._pulse.rest()
        self._payloads.end()
        self._facts.stop()
        for heartbeat in self._heartbeats:
            heartbeat.stop()
        if self._pool.alive:
            self._pool.join(FLUSH_GRACE)
        if self._own_spawner is not None:
            self._own_spawner.stop()
            self._own_spawner.join(FLUSH_GRACE)
        if self._given_sqs is None:
            self._sqs.close()
        log.info("stopped: %s", self.totals)

    # -- told by services, in their threads -----------------------------------------------------------------------

    def _on_crash(self, name: str, exc: BaseException) -> None:
        self._note_crash(f"{name} crashed")
        self._order("crash")

    def _note_crash(self, what: str) -> None:
        self._crashed = True
        if self._health is not None:
            self._health.liveness.fail(what)

    def _on_failed(self, exc: Exception) -> None:
        self._error = self._error or exc
        self._order("fail")

    def _on_ready(self, frame: Ready) -> None:
        for level, notes in ((logging.INFO, self.config.remarks), (logging.WARNING, (*self.config.notes, *frame.notes))):
            for note in notes:
                if note not in self._said:
                    self._said.add(note)
                    log.log(level, "%s", note)
        if not self._announced:
            self._executors.append(frame)
        self._bell.ring()

    def _on_found(self, found: Found) -> None:
        self._found = found
        self._bell.ring()

    def _on_settled(self) -> None:
        if self.config.burst:
            self._burst.settled()
            self._bell.ring()

    def _on_answer(self, queue: str, begun_at: float, count: int) -> None:
        self._fetchers.answered(queue)
        self._leases.accepted(queue, begun_at)
        if self.config.burst:
            self._burst.answered(queue, begun_at, count)
            self._bell.ring()

    def _on_failure(self, queue: str, exc: SqsError) -> None:
        if self.config.burst and (self._burst.failed() or not exc.retryable):
            self._on_failed(exc)

    def _on_refused(self, exc: SqsError) -> None:
        if self.config.burst:  # it could only wait for ever
            self._on_failed(exc)
