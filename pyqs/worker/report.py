"""What the worker counts and says.

Owns: ``Totals`` (counters that metrics, tests and the last log line read), ``Remembered`` (a bounded memory of ids, for
saying a thing once), and the log line of one ended delivery. Used by every thread. Never logs arguments, bodies or receipt
handles.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace

from pyqs.message import DeadLetter, Delete, Delivery
from pyqs.wire import Done

log = logging.getLogger(__name__)

#: Endings after which a message stays on its queue because nobody here can read or run it (design decision 10).
LEFT = frozenset({"undecodable", "unknown", "refused", "unsupported"})
_MEMORY = 10_000
#: Upper bounds, in seconds, by which durations are counted.
DURATIONS = (0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0)
#: Queues that are counted one by one over the life of a worker, and the name under which any more are.
MOST_QUEUES = 1000
OTHERS = "(others)"


class Remembered:
    """The last ``size`` ids that were added. For any thread."""

    def __init__(self, size: int = _MEMORY) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, one: str) -> bool:
        """Remember it; True when it was not known before."""
        with self._lock:
            new = one not in self._ids
            self._ids[one] = None
            self._ids.move_to_end(one)
            if len(self._ids) > self._size:
                self._ids.popitem(last=False)
            return new

    def __contains__(self, one: str) -> bool:
        return one in self._ids  # without the lock: one step, and asked for every delivery

    def discard(self, one: str) -> None:
        """Forget it."""
        with self._lock:
            self._ids.pop(one, None)


@dataclass(slots=True)
class QueueTotals:
    """Counters of one queue; ``durations`` counts tasks by the first of ``DURATIONS`` that they did not exceed."""

    received: int = 0
    started: int = 0
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATIONS) + 1))

    def copy(self) -> QueueTotals:
        """As it is now."""
        return replace(self, done=self.done.copy(), durations=self.durations.copy())


class Totals:
    """Counters of one worker.

    ``done`` counts by status; ``lost`` are deliveries whose executor died, or ended their task; ``released`` were given back
    unstarted; ``lost_leases`` had been handed to somebody else, or could have been; ``hops``, ``follow_ups`` and
    ``dead_letters`` are messages that were sent; ``restarts`` are executors that died and were replaced, ``recycled`` those
    that had served long enough.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.started = 0
        self.released = 0
        self.lost = 0
        self.lost_leases = 0
        self.hops = 0
        self.follow_ups = 0
        self.dead_letters = 0
        self.restarts = 0
        self.recycled = 0
        self.done: Counter[str] = Counter()
        self._queues: dict[str, QueueTotals] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Count ``count`` more of one of the plain counters."""
        with self._lock:
            setattr(self, name, getattr(self, name) + count)

    def count_received(self, queue: str, count: int) -> None:
        """Count deliveries that came from this queue."""
        with self._lock:
            self.received += count
            self._of(queue).received += count

    def count_started(self, queue: str) -> None:
        """Count one more task of this queue that has started."""
        with self._lock:
            self.started += 1
            self._of(queue).started += 1

    def count_ended(self, queue: str, status: str, seconds: float | None) -> None:
        """Count one more delivery that ended so; its task ran ``seconds``, None if none ran."""
        with self._lock:
            self.done[status] += 1
            one = self._of(queue)
            one.done[status] += 1
            if seconds is not None:
                one.seconds += seconds
                one.durations[bisect_left(DURATIONS, seconds)] += 1

    def queues(self) -> list[tuple[str, QueueTotals]]:
        """Name and counters of each queue, as copies."""
        with self._lock:
            return [(name, one.copy()) for name, one in self._queues.items()]

    def _of(self, queue: str) -> QueueTotals:
        found = self._queues.get(queue)
        if found is None:
            name = queue if len(self._queues) < MOST_QUEUES else OTHERS
            found = self._queues.setdefault(name, QueueTotals())
        return found

    def __str__(self) -> str:
        with self._lock:
            ended = ", ".join(f"{count} {status}" for status, count in sorted(self.done.items())) or "none ended"
            extra = {"released": self.released, "lost with their executor": self.lost, "leases lost": self.lost_leases}
            more = "".join(f", {count} {name}" for name, count in extra.items() if count)
            return f"{self.received} received, {ended}{more}"


class Journal:
    """Says how deliveries ended: one line each, and for what is left on the queue one line per message."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._told = Remembered()

    def done(self, delivery: Delivery, frame: Done, *, ran: bool) -> None:
        """A delivery ended with a verdict; ``ran``: its task had started."""
        self._totals.count_ended(delivery.queue, frame.status, frame.seconds if ran else None)
        if isinstance(frame.verdict, DeadLetter):
            return  # the acker says whether there is a dead-letter queue, once per message
        if frame.status in LEFT:
            if self._told.add(delivery.message.message_id):
                what = "deleted" if isinstance(frame.verdict, Delete) else "left there"
                log.error(
                    "message %s on queue %s is %s (%s): %s", delivery.message.message_id, delivery.queue, what, frame.status,
                    frame.reason, extra=_fields(delivery, frame),
                )  # fmt: skip
            return
        if log.isEnabledFor(logging.INFO):
            log.info(
                "delivery %d from %s: %s[%s] %s in %.3f s%s", delivery.id, delivery.queue, frame.task, frame.call_id,
                frame.status, frame.seconds or 0.0, f": {frame.reason}" if frame.reason else "",
                extra=_fields(delivery, frame),
            )  # fmt: skip


def _fields(delivery: Delivery, frame: Done) -> dict[str, str | float | None]:
    """What a program that reads log lines wants to know of an end."""
    fields = {"queue": delivery.queue, "message_id": delivery.message.message_id, "status": frame.status}
    named = {"task": frame.task, "task_id": frame.call_id} if frame.task else {}
    return fields | named | ({} if frame.seconds is None else {"seconds": round(frame.seconds, 6)})
