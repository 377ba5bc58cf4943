"""What only FIFO queues have: message groups, deduplication, and receives that may be retried.

Owns: the tables fifo_group and dedup, and the receive attempts. Runs inside the store's lock and transaction. Never
touches a standard queue.

A group is open when none of its messages is in flight and its first one is ready. Open groups are indexed by the age of
their first message, so a locked group with 100,000 messages costs a receive nothing.
Source: developer guide, "FIFO queue delivery logic" and "Exactly-once processing"; API reference, ReceiveMessage.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from pyqs.local.queue import NEVER, SECOND, Queue
from pyqs.local.schema import DELAYED, INFLIGHT, READY
from pyqs.message import OutgoingMessage

DEDUP_SECONDS = 300
_MAX_ATTEMPTS = 10_000


def refresh(db: sqlite3.Connection, queue: Queue, groups: Iterable[str | None]) -> None:
    """Bring the rows of these groups in step with their messages."""
    for group in groups:
        heads = {state: _head(db, queue, group, state) for state in (READY, DELAYED, INFLIGHT)}
        first = min(heads.values())
        if first == NEVER:
            db.execute("DELETE FROM fifo_group WHERE queue = ? AND group_id = ?", (queue.id, group))
            continue
        is_open = heads[INFLIGHT] == NEVER and heads[READY] < heads[DELAYED]
        db.execute("INSERT OR REPLACE INTO fifo_group VALUES (?,?,?,?)", (queue.id, group, first, is_open))


def _head(db: sqlite3.Connection, queue: Queue, group: str | None, state: int) -> int:
    row = db.execute(
        "SELECT min(seq) FROM message WHERE queue = ? AND fifo = 1 AND group_id = ? AND state = ?", (queue.id, group, state)
    ).fetchone()
    return NEVER if row[0] is None else int(row[0])


def groups_due(db: sqlite3.Connection, queue: Queue, now: int) -> list[str]:
    """The groups that have a hidden message which is visible again by now."""
    rows = db.execute(
        "SELECT DISTINCT group_id FROM message WHERE queue = ? AND state IN (1, 2) AND visible_at <= ?", (queue.id, now)
    )
    return [row[0] for row in rows]


def candidates(db: sqlite3.Connection, queue: Queue, limit: int, statement: str) -> list[sqlite3.Row]:
    """Up to ``limit`` messages of open groups: as many as there are of the first group, then of the next."""
    groups = db.execute(
        "SELECT group_id FROM fifo_group WHERE queue = ? AND open = 1 ORDER BY head LIMIT ?", (queue.id, limit)
    ).fetchall()
    found: list[sqlite3.Row] = []
    for (group,) in groups:
        if len(found) == limit:
            break
        barrier = _head(db, queue, group, DELAYED)
        found += db.execute(statement, (queue.id, group, barrier, limit - len(found))).fetchall()
    return found


def dedup_id(queue: Queue, message: OutgoingMessage) -> str:
    """The deduplication id of a message: its own, or the SHA-256 of its body."""
    return message.dedup_id if message.dedup_id is not None else hashlib.sha256(message.body.encode()).hexdigest()


def find_duplicate(
    db: sqlite3.Connection, queue: Queue, now: int, message: OutgoingMessage, dedup: str
) -> tuple[str, int] | None:
    """(message id, seq) of a message sent with this deduplication id within five minutes, deleted or not."""
    row = db.execute(
        "SELECT message_id, seq FROM dedup WHERE queue = ? AND scope = ? AND dedup_id = ? AND at > ?",
        (queue.id, _scope(queue, message), dedup, now - DEDUP_SECONDS * SECOND),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def remember(
    db: sqlite3.Connection, queue: Queue, now: int, message: OutgoingMessage, dedup: str, message_id: str, seq: int
) -> None:
    """Note a message's deduplication id, and forget those whose window is over."""
    db.execute("DELETE FROM dedup WHERE at <= ?", (now - DEDUP_SECONDS * SECOND,))
    db.execute(
        "INSERT OR REPLACE INTO dedup VALUES (?,?,?,?,?,?)", (queue.id, _scope(queue, message), dedup, message_id, seq, now)
    )


def _scope(queue: Queue, message: OutgoingMessage) -> str:
    return message.group_id or "" if queue.dedup_by_group else ""


class Held(NamedTuple):
    """One message of a receive, as it was when it was handed out."""

    seq: int
    receipt: int
    visible_at: int


class Attempts:
    """What each ReceiveRequestAttemptId was answered, for five minutes. In memory: a restart forgets them."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[int, str], tuple[int, list[Held]]] = OrderedDict()

    def find(self, queue: Queue, attempt_id: str, now: int) -> list[Held]:
        """What that attempt was answered, or nothing."""
        at, held = self._answers.get((queue.id, attempt_id), (0, []))
        return held if now - at < DEDUP_SECONDS * SECOND else []

    def keep(self, queue: Queue, attempt_id: str, now: int, held: list[Held]) -> None:
        """Note an answer. A retry keeps the moment of the first."""
        first = self._answers.pop((queue.id, attempt_id), (now, []))[0]
        if now - first >= DEDUP_SECONDS * SECOND:
            first = now
        self._answers[queue.id, attempt_id] = (first, held)
        while len(self._answers) > _MAX_ATTEMPTS:
            self._answers.popitem(last=False)
