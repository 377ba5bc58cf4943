"""One queue as the store holds it in memory: its settings, its counts, and who waits at it.

Owns: the derived settings, the counts of ready, in-flight and delayed messages, and the moments when something falls
due. Guarded by the store's lock. Never reads storage; ``table`` and ``catalog`` keep it in step.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping

from pyqs.local import attributes as queue_attributes
from pyqs.local.schema import DELAYED, INFLIGHT, READY

SECOND = 1_000_000
NEVER = 2**62


class Queue:
    """A queue's row with what the hot calls need beside it.

    ``counts`` is indexed by message state. ``next_due`` and ``next_expiry`` (wall clock, microseconds) are lower
    bounds: nothing becomes visible, or too old, before them.
    """

    def __init__(self, row: sqlite3.Row, lock: threading.Lock) -> None:
        self.id: int = row["id"]
        self.name: str = row["name"]
        self.region: str = row["region"]
        self.created: int = row["created"]
        self.modified: int = row["modified"]
        self.purged: int | None = row["purged"]
        self.tags: dict[str, str] = json.loads(row["tags"])
        self.fifo = self.name.endswith(".fifo")
        self.counts = [0, 0, 0]
        self.next_due = NEVER
        self.next_expiry = NEVER
        self.changed = threading.Condition(lock)
        self.waiting = 0
        self.deleted = False
        self.attributes: dict[str, str] = {}
        self.apply(json.loads(row["attributes"]))

    def apply(self, attributes: Mapping[str, str]) -> None:
        """Take these as the queue's attributes (checked ones, complete)."""
        self.attributes = dict(attributes)
        self.visibility = int(attributes["VisibilityTimeout"])
        self.delay = int(attributes["DelaySeconds"])
        self.retention = int(attributes["MessageRetentionPeriod"])
        self.wait = int(attributes["ReceiveMessageWaitTimeSeconds"])
        self.max_bytes = int(attributes["MaximumMessageSize"])
        self.content_dedup = attributes.get("ContentBasedDeduplication") == "true"
        self.dedup_by_group = attributes.get("DeduplicationScope") == "messageGroup"
        self.redrive = queue_attributes.redrive(attributes)

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return queue_attributes.arn(self.region, self.name)

    @property
    def ready(self) -> int:
        """Messages that a receive could hand out."""
        return self.counts[READY]

    @property
    def inflight(self) -> int:
        """Messages handed out and neither deleted nor visible again."""
        return self.counts[INFLIGHT]

    @property
    def delayed(self) -> int:
        """Messages whose delay runs."""
        return self.counts[DELAYED]

    def due(self, at: int) -> None:
        """Something becomes visible at this moment (microseconds): pollers must not sleep past it."""
        if at < self.next_due:
            self.next_due = at
            if self.waiting:
                self.changed.notify_all()

    def wake(self) -> None:
        """Let as many pollers look as there are messages for."""
        if self.waiting and self.ready > 0:
            self.changed.notify(self.ready)
