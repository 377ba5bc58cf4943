"""Messages in the database: put in, sweep, take, hide, move, remove.

Owns: every statement on the message and content tables that both kinds of queue share. Runs inside the store's lock
and transaction. Never decides what a caller may do (``messages`` does) and never waits.

Flat cost: each statement reaches its rows through an index on (queue, state, visible_at, seq) or by primary key. What
falls due is moved from "in flight" or "delayed" to "ready" when somebody next looks, each message once, so counting is
adding and subtracting.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence

from pyqs.local import fifo
from pyqs.local.queue import NEVER, SECOND, Queue
from pyqs.local.schema import DELAYED, INFLIGHT, READY
from pyqs.message import EMPTY, MessageAttribute, OutgoingMessage

_COLUMNS = (
    "m.seq, m.fifo, m.message_id, m.sent_at, m.receives, m.receipt, m.first_received, m.group_id, m.source, "
    "c.body, c.attributes, c.trace_header, c.dedup_id"
)
_TAKE = f"SELECT {_COLUMNS} FROM message m JOIN content c ON c.seq = m.seq WHERE m.queue = ? AND m.state = 0 "
TAKE_IN_ORDER = _TAKE + "AND m.fifo = 1 AND m.group_id = ? AND m.seq < ? ORDER BY m.seq LIMIT ?"
_TAKE_ANY = _TAKE + "ORDER BY m.visible_at, m.seq LIMIT ?"


def put(db: sqlite3.Connection, queue: Queue, now: int, rows: Sequence[tuple[int, str, OutgoingMessage, str | None]]) -> None:
    """Insert messages, given as (seq, message id, message, deduplication id)."""
    hot, cold = [], []
    for seq, message_id, message, dedup_id in rows:
        delay = queue.delay if message.delay is None or queue.fifo else message.delay
        state = DELAYED if delay else READY
        visible_at = now + delay * SECOND
        hot.append((seq, queue.id, queue.fifo, state, visible_at, now, message_id, message.group_id))
        cold.append((seq, message.body, _packed(message.message_attributes), message.trace_header, dedup_id))
        queue.counts[state] += 1
        if delay:
            queue.due(visible_at)
    db.executemany(
        "INSERT INTO message (seq, queue, fifo, state, visible_at, sent_at, message_id, group_id) VALUES (?,?,?,?,?,?,?,?)",
        hot,
    )
    db.executemany("INSERT INTO content VALUES (?,?,?,?,?)", cold)
    queue.next_expiry = min(queue.next_expiry, now + queue.retention * SECOND)
    if queue.fifo:
        fifo.refresh(db, queue, {message.group_id for _, _, message, _ in rows})


def sweep(db: sqlite3.Connection, queue: Queue, now: int) -> None:
    """Make visible what has fallen due, and drop what has outlived the queue's retention."""
    if now >= queue.next_due:
        groups = fifo.groups_due(db, queue, now) if queue.fifo else ()
        for state in (INFLIGHT, DELAYED):
            moved = db.execute(
                "UPDATE message SET state = 0 WHERE queue = ? AND state = ? AND visible_at <= ?", (queue.id, state, now)
            ).rowcount
            queue.counts[state] -= moved
            queue.counts[READY] += moved
        fifo.refresh(db, queue, groups)
        queue.next_due = next_due(db, queue)
    if now >= queue.next_expiry:
        limit = now - queue.retention * SECOND
        rows = db.execute(
            "SELECT seq, state, group_id FROM message WHERE queue = ? AND sent_at <= ?", (queue.id, limit)
        ).fetchall()
        remove(db, queue, rows)
        queue.next_expiry = next_expiry(db, queue)


def next_due(db: sqlite3.Connection, queue: Queue) -> int:
    """When the next hidden message becomes visible."""
    found = [
        db.execute("SELECT min(visible_at) FROM message WHERE queue = ? AND state = ?", (queue.id, state)).fetchone()[0]
        for state in (INFLIGHT, DELAYED)
    ]
    return min((at for at in found if at is not None), default=NEVER)


def next_expiry(db: sqlite3.Connection, queue: Queue) -> int:
    """When the oldest message outlives the queue's retention."""
    oldest = db.execute("SELECT min(sent_at) FROM message WHERE queue = ?", (queue.id,)).fetchone()[0]
    return NEVER if oldest is None else oldest + queue.retention * SECOND


def recount(db: sqlite3.Connection, queue: Queue) -> None:
    """Read the counts and bounds anew: when a store is opened, and after a transaction that failed."""
    queue.counts = [0, 0, 0]
    for state, count in db.execute("SELECT state, count(*) FROM message WHERE queue = ? GROUP BY state", (queue.id,)):
        queue.counts[state] = count
    queue.next_due = next_due(db, queue)
    queue.next_expiry = next_expiry(db, queue)


def candidates(db: sqlite3.Connection, queue: Queue, limit: int) -> list[sqlite3.Row]:
    """Up to ``limit`` messages of a standard queue that are visible, longest visible first."""
    return db.execute(_TAKE_ANY, (queue.id, limit)).fetchall()


def mark_received(db: sqlite3.Connection, queue: Queue, rows: Sequence[sqlite3.Row], now: int, seconds: int) -> None:
    """Hide messages for their receiver, and count the receive. With 0 seconds they stay visible, behind the others."""
    state = INFLIGHT if seconds else READY
    visible_at = now + seconds * SECOND
    db.executemany(
        "UPDATE message SET state = ?, visible_at = ?, receives = receives + 1, receipt = receipt + 1, received_at = ?, "
        "first_received = coalesce(first_received, ?) WHERE seq = ?",
        [(state, visible_at, now, now, row["seq"]) for row in rows],
    )
    if seconds:
        queue.counts[READY] -= len(rows)
        queue.counts[INFLIGHT] += len(rows)
        queue.due(visible_at)
    if queue.fifo:
        fifo.refresh(db, queue, {row["group_id"] for row in rows})


def hide(db: sqlite3.Connection, queue: Queue, row: sqlite3.Row, now: int, seconds: int) -> None:
    """Set an in-flight message's visibility, seconds from now; 0 makes it ready."""
    state = INFLIGHT if seconds else READY
    visible_at = now + seconds * SECOND
    db.execute("UPDATE message SET state = ?, visible_at = ? WHERE seq = ?", (state, visible_at, row["seq"]))
    if seconds:
        queue.due(visible_at)
        return
    queue.counts[INFLIGHT] -= 1
    queue.counts[READY] += 1
    if queue.fifo:
        fifo.refresh(db, queue, {row["group_id"]})


def lookup(db: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, sqlite3.Row]:
    """The hot rows of these messages, those that exist."""
    marks = ",".join("?" * len(seqs))
    rows = db.execute(
        f"SELECT seq, queue, state, receipt, visible_at, received_at, group_id FROM message WHERE seq IN ({marks})", seqs
    )
    return {row["seq"]: row for row in rows}


def full(db: sqlite3.Connection, seqs: Sequence[int]) -> list[sqlite3.Row]:
    """Everything about these messages, in order of sending."""
    marks = ",".join("?" * len(seqs))
    return db.execute(
        f"SELECT {_COLUMNS}, m.state, m.visible_at FROM message m JOIN content c ON c.seq = m.seq "
        f"WHERE m.seq IN ({marks}) ORDER BY m.seq",
        seqs,
    ).fetchall()


def remove(db: sqlite3.Connection, queue: Queue, rows: Sequence[sqlite3.Row]) -> None:
    """Delete messages for good. Each row has seq, state and group_id."""
    if not rows:
        return
    keys = [(row["seq"],) for row in rows]
    db.executemany("DELETE FROM message WHERE seq = ?", keys)
    db.executemany("DELETE FROM content WHERE seq = ?", keys)
    for row in rows:
        queue.counts[row["state"]] -= 1
    if queue.fifo:
        fifo.refresh(db, queue, {row["group_id"] for row in rows})


def redrive(db: sqlite3.Connection, queue: Queue, target: Queue, rows: Sequence[sqlite3.Row], now: int) -> None:
    """Move ready messages to the dead-letter queue: id, body, attributes and receive count go with them.

    On a standard queue the time of sending stays, so that retention runs on; on a FIFO queue it starts anew (developer
    guide, "Using dead-letter queues").
    """
    for row in rows:
        sent_at = now if queue.fifo else row["sent_at"]
        db.execute(
            "UPDATE message SET queue = ?, state = 0, visible_at = ?, sent_at = ?, source = ? WHERE seq = ?",
            (target.id, now, sent_at, queue.arn, row["seq"]),
        )
        target.next_expiry = min(target.next_expiry, sent_at + target.retention * SECOND)
    queue.counts[READY] -= len(rows)
    target.counts[READY] += len(rows)
    if queue.fifo:
        groups = {row["group_id"] for row in rows}
        fifo.refresh(db, queue, groups)
        fifo.refresh(db, target, groups)


def clear(db: sqlite3.Connection, queue: Queue) -> None:
    """Delete every message of a queue."""
    db.execute("DELETE FROM content WHERE seq IN (SELECT seq FROM message WHERE queue = ?)", (queue.id,))
    db.execute("DELETE FROM message WHERE queue = ?", (queue.id,))
    db.execute("DELETE FROM fifo_group WHERE queue = ?", (queue.id,))
    queue.counts = [0, 0, 0]
    queue.next_due = queue.next_expiry = NEVER


def _packed(attributes: Mapping[str, MessageAttribute]) -> str | None:
    if not attributes:
        return None
    return json.dumps(
        {
            name: [a.data_type, a.string_value, None if a.binary_value is None else b64encode(a.binary_value).decode()]
            for name, a in attributes.items()
        }
    )


def unpacked(text: str | None) -> Mapping[str, MessageAttribute]:
    """Message attributes from their column."""
    if not text:
        return EMPTY
    parsed: Iterable[tuple[str, list[str | None]]] = json.loads(text).items()
    return {
        name: MessageAttribute(kind or "", string, None if binary is None else b64decode(binary))
        for name, (kind, string, binary) in parsed
    }
