"""What the worker counts and says.

Owns: ``Totals`` (counters that tests and the last log line read), ``Remembered`` (a bounded memory of ids, for saying a
thing once), and the log line of one ended delivery. Used by every thread. Never logs arguments, bodies or receipt
handles.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict

from pyqs.message import DeadLetter, Delete, Delivery
from pyqs.wire import Done

log = logging.getLogger(__name__)

#: Endings after which a message stays on its queue because nobody here can read or run it (design decision 10).
LEFT = frozenset({"undecodable", "unknown", "refused", "unsupported"})
_MEMORY = 10_000


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
        with self._lock:
            return one in self._ids

    def discard(self, one: str) -> None:
        """Forget it."""
        with self._lock:
            self._ids.pop(one, None)


class Totals:
    """Counters of one worker.

    ``done`` counts by status; ``lost`` are deliveries whose executor died; ``released`` were given back unstarted;
    ``lost_leases`` had been handed to somebody else, or could have been.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.started = 0
        self.released = 0
        self.lost = 0
        self.lost_leases = 0
        self.done: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        """Count ``count`` more of one of the plain counters."""
        with self._lock:
            setattr(self, name, getattr(self, name) + count)

    def ended(self, status: str) -> None:
        """Count one more delivery that ended so."""
        with self._lock:
            self.done[status] += 1

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

    def done(self, delivery: Delivery, frame: Done) -> None:
        """A delivery ended with a verdict."""
        self._totals.ended(frame.status)
        if isinstance(frame.verdict, DeadLetter):
            return  # the acker says whether there is a dead-letter queue, once per message
        if frame.status in LEFT:
            if self._told.add(delivery.message.message_id):
                what = "deleted" if isinstance(frame.verdict, Delete) else "left there"
                log.error(
                    "message %s on queue %s is %s (%s): %s", delivery.message.message_id, delivery.queue, what, frame.status,
                    frame.reason,
                )  # fmt: skip
            return
        log.info(
            "delivery %d from %s: %s[%s] %s in %.3f s%s", delivery.id, delivery.queue, frame.task, frame.call_id, frame.status,
            frame.seconds, f": {frame.reason}" if frame.reason else "",
        )  # fmt: skip
