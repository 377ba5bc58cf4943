"""What a worker says and counts.

Owns: the counters, the one line for each finished task, the one line for each message that cannot run, and the progress
bar of a burst. Called from the pool thread and the main thread. Never sees a body, and never logs an argument.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from typing import Any

from pyqs.message import Delivery
from pyqs.wire import Done, Ready

log = logging.getLogger(__name__)

#: Message ids of which it was said that they cannot run.
_SAID_MEMORY = 10_000
#: These are left on their queue; each message id is reported once.
_LEFT = frozenset({"undecodable", "unknown", "refused", "unsupported"})
_QUIET = frozenset({"postponed"})


class Report:
    """Counts and lines. ``counts`` has received, started, released, lost and every status of ``runtime.STATUSES``.

    Parameters:
        progress: show a bar on the terminal instead of a line for each task.
    """

    def __init__(self, *, progress: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.changed = threading.Condition()
        self._said: OrderedDict[str, None] = OrderedDict()
        self._notes: set[str] = set()
        self._announced = False
        self._progress = progress
        self._bar: Any = None

    def ready(self, frame: Ready) -> None:
        """An executor is ready; the first one says what was loaded."""
        for note in frame.notes:
            if note not in self._notes:
                self._notes.add(note)
                log.info("%s", note)
        if self._announced:
            return
        self._announced = True
        early = f"; {frame.at_most_once} of them are acked before they run (at most once)" if frame.at_most_once else ""
        log.info("ready: %d tasks%s%s", len(frame.tasks), early, ", preloaded" if frame.preloaded else "")

    def received(self, count: int) -> None:
        """So many deliveries came in."""
        self._count("received", count)

    def released(self, count: int) -> None:
        """So many were given back unstarted."""
        self._count("released", count)

    def started(self) -> None:
        """A task started."""
        self._count("started", 1)

    def lost(self) -> None:
        """An executor died with a delivery in hand."""
        self._count("executor-lost", 1)

    def done(self, delivery: Delivery, frame: Done) -> None:
        """A delivery has ended in an executor."""
        self._count(frame.status, 1)
        if frame.status in _LEFT:
            self._left(delivery, frame)
            return
        level = logging.DEBUG if frame.status in _QUIET or self._bar is not None else logging.INFO
        reason = f" ({frame.reason})" if frame.reason else ""
        log.log(level, "%s: %s[%s] %s in %.3f s%s", delivery, frame.task, frame.call_id, frame.status, frame.seconds, reason)

    def totals(self) -> str:
        """One line at the end."""
        with self.changed:
            parts = [f"{name} {count}" for name, count in sorted(self.counts.items()) if count]
        return ", ".join(parts) or "nothing was received"

    def open_bar(self) -> None:
        """Show progress, if that was asked for; the total is what has been received so far."""
        if not self._progress:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("draining"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns)
        bar.start()
        bar.add_task("draining", total=None)
        self._bar = bar

    def close_bar(self) -> None:
        """Leave the terminal as it was."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def _left(self, delivery: Delivery, frame: Done) -> None:
        message_id = delivery.message.message_id
        if message_id in self._said:
            return
        self._said[message_id] = None
        while len(self._said) > _SAID_MEMORY:
            self._said.popitem(last=False)
        log.error("%s: %s; it is left on the queue", delivery, frame.reason or frame.status)

    def _count(self, name: str, count: int) -> None:
        with self.changed:
            self.counts[name] += count
            received = self.counts["received"]
            ended = received - self.counts["started"] if name == "received" else self.counts["started"]
            self.changed.notify_all()
        if self._bar is not None and name in ("received", "started"):
            self._bar.update(0, total=received, completed=min(received, ended if name == "started" else self.counts["started"]))
