"""What probes are told: whether the worker is alive, whether it is ready, and its figures.

Owns: the answers to ``/healthz``, ``/readyz``, ``/metrics`` and ``/stats``, and the heartbeat file. Runs in a thread of its
own from before the app is imported until the process ends; everything it looks at belongs to others, and it changes nothing.
Never shows arguments, bodies, keys, receipt handles or URLs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from pyqs.clock import boottime
from pyqs.worker import stats
from pyqs.worker.companion import Companion
from pyqs.worker.heartbeat_file import HeartbeatFile
from pyqs.worker.liveness import Liveness
from pyqs.worker.pace import Pace
from pyqs.worker.probe_server import Page, ProbeServer
from pyqs.worker.service import Service
from pyqs.worker.watched import Watched

log = logging.getLogger(__name__)

#: Seconds between two judgements, and between two renewals of the heartbeat file.
TICK = 1.0
RENEWAL = 5.0
#: Most queues that one answer names.
_SHOWN = 5


class Health(Service):
    """Answers probes.

    Parameters:
        address: host and port to listen on, None to listen nowhere.
        heartbeat_file: path of the file to renew, None for none.
        companions: what else looks at the worker; they begin and end with this.

    Raises:
        ConfigError: nobody can listen there, or the path cannot be written.
    """

    def __init__(
        self,
        address: tuple[str, int] | None = None,
        heartbeat_file: str | None = None,
        companions: Sequence[Companion] = (),
    ) -> None:
        super().__init__("health", self._crash)
        self._companions = tuple(companions)
        self.liveness = Liveness()
        self._watched: Watched | None = None
        self._pace: Pace | None = None
        self._began = boottime()
        self._lock = threading.Lock()
        self._broken = False
        self._renew_at = 0.0
        self.server: ProbeServer | None = None
        self._file: HeartbeatFile | None = None
        if address is not None:
            from pyqs.worker.metrics import CONTENT_TYPE, Metrics

            self._metrics = Metrics(lambda: self._watched)
            self._content_type = CONTENT_TYPE
            pages = {"/healthz": self.healthz, "/readyz": self.readyz, "/metrics": self.metrics, "/stats": self.stats}
            self.server = ProbeServer(*address, {path: self._guarded(make) for path, make in pages.items()})
        if heartbeat_file is not None:
            try:
                self._file = HeartbeatFile(heartbeat_file)
            except BaseException:
                if self.server is not None:
                    self.server.close()
                raise

    # -- the main thread ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Answer from now on, as a worker that is starting."""
        if self.server is not None:
            host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
            log.info("health: http://%s:%d/healthz, /readyz, /metrics and /stats", host, self.server.port)
        super().start()

    def attach(self, watched: Watched) -> None:
        """The worker is composed: look at it."""
        self.liveness.watch(*watched.pool.pulses, *watched.pulses)
        self._pace = Pace(watched.totals)
        self._watched = watched
        for companion in self._companions:
            companion.attach(watched)

    def end(self) -> None:
        """The process is about to end; the heartbeat file goes, unless something crashed."""
        for companion in self._companions:
            companion.end()
        alive = self.liveness.failure() is None
        self.stop()
        with self._lock:
            one, self._file = self._file, None
            if one is not None:
                if alive:
                    one.remove()
                else:
                    one.close()
        if not self.alive and self.server is not None:
            self.server.close()

    # -- the answers ----------------------------------------------------------------------------------------------

    def healthz(self) -> Page:
        """Whether a restart would help: 503 says why."""
        failure = self.liveness.failure()
        return Page.line("alive") if failure is None else Page.line(failure, 503)

    def readyz(self) -> Page:
        """Whether messages are received and run."""
        reason = self.not_ready()
        if reason is not None:
            return Page.line(reason, 503)
        assert self._watched is not None
        return Page.line("ready" if self._watched.fetchers.queues else "ready: there is no queue to consume yet")

    def metrics(self) -> Page:
        """The figures, in Prometheus's text format."""
        return Page(self._metrics.text(), content_type=self._content_type)

    def stats(self) -> Page:
        """The worker at this moment, as JSON."""
        watched, pace = self._watched, self._pace
        text = stats.starting() if watched is None or pace is None else stats.document(watched, pace, self._began)
        return Page(text, content_type=stats.CONTENT_TYPE)

    def not_ready(self) -> str | None:
        """What is missing, in one line; None when nothing is."""
        watched = self._watched
        if watched is None:
            return "starting: the settings are read"
        if watched.stopping():
            return "stopping: nothing more is received"
        slots = watched.pool.slots
        ready = sum(slot.ready and not slot.stopping for slot in slots)
        if ready < watched.config.concurrency:
            return f"{ready} of {watched.config.concurrency} executors are ready"
        if not watched.found():
            return "queues were not looked for yet"
        silent = [state.name for state in watched.fetchers.states if state.answered_at is None]
        # With every executor busy, nothing is asked of a queue that was just found.
        if silent and any(slot.idle for slot in slots):
            return f"no receive was answered yet by: {_some(silent)}"
        if full := watched.in_flight.full:
            return f"at their limit of messages in flight: {_some(full)}"
        return None

    # -- the thread -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Judge, renew, answer, until the end."""
        try:
            while not self.stopping.is_set():
                self._renew()
                if self._pace is not None and self.server is not None:
                    self._pace.sample()
                if self.server is not None:
                    self.server.serve(TICK)
                else:
                    self.stopping.wait(TICK)
        finally:
            if self.server is not None:
                self.server.close()

    def _renew(self) -> None:
        failure = self.liveness.failure()
        now = boottime()
        with self._lock:
            if self._file is not None and failure is None and now >= self._renew_at:
                self._renew_at = now + RENEWAL
                self._file.renew()

    def _guarded(self, make: Callable[[], Page]) -> Callable[[], Page]:
        """A page that cannot be made is no reason to stop the worker."""

        def guarded() -> Page:
            try:
                return make()
            except Exception:
                if not self._broken:
                    self._broken = True
                    log.exception("an answer to a probe could not be made")
                return Page.line("internal error", 500)

        return guarded

    def _crash(self, name: str, exc: BaseException) -> None:
        if self._watched is not None:
            self._watched.on_crash(name, exc)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
