"""A worker's figures as lines in CloudWatch's Embedded Metric Format (``--emf``): CloudWatch Logs makes metrics of them.

Owns: the names, units and dimensions of those metrics, and the lines on standard output: one a minute for the worker, one for
each queue on which something has happened, and the same once more at the end. Runs in a thread of its own, reads the worker's
counters, and writes how much they have grown. What could not be written is in the next line. Dimensions are bounded: none, and
the queue, of which there are at most ``MOST_QUEUES`` and the rest together.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyqs
from pyqs.errors import ConfigError
from pyqs.worker.companion import Companion
from pyqs.worker.report import QueueTotals
from pyqs.worker.watched import Watched

log = logging.getLogger(__name__)

#: Seconds between lines; CloudWatch keeps metrics by the minute.
PERIOD = 60.0
#: The dimension of a queue's lines.
QUEUE = "Queue"
_NAMESPACE = re.compile(r"[0-9A-Za-z._/#:-]{1,255}\Z")
#: What is counted for each queue and, summed up, for the worker: name -> unit. The lines say how much was added.
COUNTS = {
    "DeliveriesReceived": "Count",
    "TasksStarted": "Count",
    "DeliveriesEnded": "Count",
    "TasksSucceeded": "Count",
    "TasksFailed": "Count",
    "TaskSeconds": "Seconds",
}
#: What is counted for the worker alone: name -> counter of ``Totals``.
WORKER_COUNTS = {
    "DeliveriesReleased": "released",
    "DeliveriesLost": "lost",
    "LeasesLost": "lost_leases",
    "Hops": "hops",
    "FollowUpsSent": "follow_ups",
    "DeadLettersSent": "dead_letters",
    "ExecutorRestarts": "restarts",
    "ExecutorsRecycled": "recycled",
}
#: What is so at the moment of the line: name -> unit.
GAUGES = {
    "ExecutorsWanted": "Count",
    "ExecutorsBusy": "Count",
    "ExecutorsIdle": "Count",
    "DeliveriesHeld": "Count",
    "DeliveriesBuffered": "Count",
    "VerdictsPending": "Count",
    "QueuesFailing": "Count",
    "OldestRunningTask": "Seconds",
}

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Counted:
    """Every counter at one moment."""

    queues: Mapping[str, Figures]
    worker: Figures


class Emf(Companion):
    """Writes the lines.

    Parameters:
        namespace: CloudWatch's, of all metrics.
        write: takes one whole line; None writes to standard output.

    Raises:
        ConfigError: CloudWatch has no such namespace.
    """

    def __init__(self, namespace: str, write: Callable[[bytes], None] | None = None, *, period: float = PERIOD) -> None:
        if not _NAMESPACE.match(namespace) or namespace.startswith(("AWS/", ":")):
            raise ConfigError(
                f"--emf: {namespace!r} is no namespace for CloudWatch: 1-255 letters, digits and . - _ / # :, not beginning "
                "with : or AWS/"
            )
        super().__init__("emf", period)
        self._namespace = namespace
        self._write = write or _to_standard_output
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._before = _Counted({}, {})
        self._failing = False

    def look(self, watched: Watched) -> None:
        """Write what has happened since the last time."""
        now = _counted(watched)
        try:
            for queue, figures in now.queues.items():
                grown = _grown(figures, self._before.queues.get(queue, {}))
                if any(grown.values()):
                    self._write(self._line(grown, COUNTS, queue))
                self._before = _Counted({**self._before.queues, queue: figures}, self._before.worker)
            units = COUNTS | dict.fromkeys(WORKER_COUNTS, "Count") | GAUGES
            self._write(self._line({**_grown(now.worker, self._before.worker), **_gauges(watched)}, units))
            self._before = now
        except OSError as exc:
            if not self._failing:
                log.warning("--emf: no line can be written to standard output (%s); it is tried again", exc.strerror or exc)
            self._failing = True
            return
        self._failing = False

    def last_look(self, watched: Watched) -> None:
        """What the last part of a minute has brought."""
        self.look(watched)

    def _line(self, figures: Figures, units: Mapping[str, str], queue: str | None = None) -> bytes:
        """One document, for one set of dimensions."""
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [[] if queue is None else [QUEUE]],
            "Metrics": [{"Name": name, "Unit": units[name]} for name in figures],
        }
        line = {
            "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]},
            **({} if queue is None else {QUEUE: queue}),
            **figures,
            "Worker": self._worker,
            "Version": pyqs.__version__,
        }
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _counted(watched: Watched) -> _Counted:
    queues = {name: _of_queue(one) for name, one in watched.totals.queues()}
    summed = {name: round(sum(one[name] for one in queues.values()), 6) for name in COUNTS}
    return _Counted(queues, summed | {name: getattr(watched.totals, counter) for name, counter in WORKER_COUNTS.items()})


def _of_queue(one: QueueTotals) -> Figures:
    return {
        "DeliveriesReceived": one.received,
        "TasksStarted": one.started,
        "DeliveriesEnded": one.done.total(),
        "TasksSucceeded": one.done["succeeded"],
        "TasksFailed": one.done["failed"],
        "TaskSeconds": round(one.seconds, 6),
    }


def _grown(now: Figures, before: Figures) -> dict[str, float]:
    return {name: round(value - before.get(name, 0), 6) for name, value in now.items()}


def _gauges(watched: Watched) -> Figures:
    states = watched.executors()
    return {
        "ExecutorsWanted": watched.config.concurrency,
        "ExecutorsBusy": states["busy"],
        "ExecutorsIdle": states["idle"],
        "DeliveriesHeld": watched.credit.held,
        "DeliveriesBuffered": watched.pool.waiting,
        "VerdictsPending": watched.acker.pending,
        "QueuesFailing": sum(state.failing_since is not None for state in watched.fetchers.states),
        "OldestRunningTask": round(watched.oldest(), 3),
    }


def _to_standard_output(line: bytes) -> None:
    """Whole, past Python's buffer: tasks print to the same place."""
    while line:
        line = line[os.write(1, line) :]
