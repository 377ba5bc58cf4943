"""What SQS allows to be done with messages: send, take, delete, change visibility.

Owns: the rules (which receipt still counts, when a message goes to the dead-letter queue, the 12 hours, the in-flight
limit). Runs inside the store's lock and transaction. Never waits.
Source: SQS API reference of the five message actions, developer guide on visibility timeout and dead-letter queues.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence

from pyqs.local import fifo, receipts, table, validation
from pyqs.local.catalog import Catalog
from pyqs.local.faults import Faults
from pyqs.local.queue import SECOND, Queue
from pyqs.local.receipts import Receipt
from pyqs.local.schema import INFLIGHT
from pyqs.local.service_error import ServiceError, bad_parameter
from pyqs.message import OutgoingMessage, ReceivedMessage, SentMessage

SENDER_ID = "AIDAPYQSLOCALSENDER00"
MAX_HIDDEN_SECONDS = 43_200
_SEQS_PER_OPENING = 2**32


class Messages:
    """The message operations of one store.

    Parameters:
        inflight_limit: messages in flight per queue (SQS: about 120,000).
    """

    def __init__(self, db: sqlite3.Connection, catalog: Catalog, faults: Faults, inflight_limit: int) -> None:
        self._db = db
        self._catalog = catalog
        self._faults = faults
        self._limit = inflight_limit
        self._attempts = fifo.Attempts()
        self._key: bytes = db.execute("SELECT value FROM meta WHERE key = 'receipt_key'").fetchone()[0]
        # Numbers are never used twice, also when the last message was deleted before a restart.
        row = db.execute("SELECT value FROM meta WHERE key = 'next_seq'").fetchone()
        self._next_seq: int = row[0] if row else 1
        db.execute("INSERT OR REPLACE INTO meta VALUES ('next_seq', ?)", (self._next_seq + _SEQS_PER_OPENING,))

    # -- send ---------------------------------------------------------------------------------------------------------

    def send(self, queue: Queue, messages: Sequence[OutgoingMessage], now: int) -> list[SentMessage | ServiceError]:
        """Send each; one answer per message in order."""
        results: list[SentMessage | ServiceError] = []
        rows: list[tuple[int, str, OutgoingMessage, str | None]] = []
        for message in messages:
            try:
                validation.message(message, fifo=queue.fifo, content_dedup=queue.content_dedup, max_bytes=queue.max_bytes)
            except ServiceError as error:
                results.append(error)
                continue
            results.append(self._prepare(queue, message, now, rows))
        if rows:
            table.put(self._db, queue, now, rows)
            queue.wake()
        return results

    def _prepare(
        self, queue: Queue, message: OutgoingMessage, now: int, rows: list[tuple[int, str, OutgoingMessage, str | None]]
    ) -> SentMessage:
        dedup_id = None
        if queue.fifo:
            dedup_id = fifo.dedup_id(queue, message)
            before = fifo.find_duplicate(self._db, queue, now, message, dedup_id)
            if before is not None:
                return SentMessage(before[0], _sequence_number(before[1]))
        seq = self._next_seq
        self._next_seq += 1
        message_id = str(uuid.uuid4())
        rows.append((seq, message_id, message, dedup_id))
        if dedup_id is None:
            return SentMessage(message_id)
        fifo.remember(self._db, queue, now, message, dedup_id, message_id, seq)
        return SentMessage(message_id, _sequence_number(seq))

    def put_again(self, queue: Queue, row: sqlite3.Row, now: int) -> None:
        """A new message with the content of an old one: another id, sent now, never received. Nothing is deduplicated."""
        message = OutgoingMessage(
            row["body"],
            message_attributes=table.unpacked(row["attributes"]),
            group_id=row["group_id"],
            dedup_id=row["dedup_id"],
            trace_header=row["trace_header"],
        )
        table.put(self._db, queue, now, [(self._next_seq, str(uuid.uuid4()), message, row["dedup_id"])])
        self._next_seq += 1
        queue.wake()

    # -- receive ------------------------------------------------------------------------------------------------------

    def take(
        self, queue: Queue, limit: int, seconds: int, attempt_id: str | None, now: int, *, polling: bool
    ) -> list[ReceivedMessage]:
        """What one receive gets right now. ``seconds`` hide it; ``polling`` is False for a receive that does not wait."""
        table.sweep(self._db, queue, now)
        if queue.fifo and attempt_id is not None:
            again = self._retried(queue, attempt_id, seconds, now)
            if again:
                return again
        if queue.inflight >= self._limit:
            if queue.fifo or polling:
                return []
            raise ServiceError("OverLimit", "The maximum number of in flight messages is reached.")
        limit = min(limit, self._limit - queue.inflight)
        if not queue.ready:
            return []
        window = limit if queue.fifo else self._faults.window(queue.name, limit)
        rows = self._faults.choose(self._living(queue, window, now), limit, window)
        if not rows:
            return []
        kept = [] if queue.fifo else self._faults.duplicated(queue.name, rows)
        twice = {row["seq"] for row in kept}
        table.mark_received(self._db, queue, [row for row in rows if row["seq"] not in twice], now, seconds)
        if kept:
            table.mark_received(self._db, queue, kept, now, 0)
        received = [self._received(queue, row, now) for row in rows]
        if queue.fifo and attempt_id is not None:
            held = [fifo.Held(row["seq"], row["receipt"] + 1, now + seconds * SECOND) for row in rows]
            self._attempts.keep(queue, attempt_id, now, held)
        return received

    def _living(self, queue: Queue, limit: int, now: int) -> list[sqlite3.Row]:
        """Candidates that have a receive left; the others go to the dead-letter queue."""
        while True:
            if queue.fifo:
                rows = fifo.candidates(self._db, queue, limit, table.TAKE_IN_ORDER)
            else:
                rows = table.candidates(self._db, queue, limit)
            target = self._catalog.find(queue.redrive.target) if queue.redrive else None
            if queue.redrive is None or target is None:
                return rows
            spent = [row for row in rows if row["receives"] >= queue.redrive.max_receives]
            if not spent:
                return rows
            table.redrive(self._db, queue, target, spent, now)
            target.wake()

    def _retried(self, queue: Queue, attempt_id: str, seconds: int, now: int) -> list[ReceivedMessage]:
        """The same messages with the same handles, if each is still as that attempt left it."""
        held = {item.seq: item for item in self._attempts.find(queue, attempt_id, now)}
        if not held:
            return []
        rows = table.full(self._db, list(held))
        for row in rows:
            before = held[row["seq"]]
            if row["receipt"] != before.receipt or row["visible_at"] != before.visible_at or row["state"] != INFLIGHT:
                return []
        if len(rows) != len(held):
            return []
        for row in rows:
            table.hide(self._db, queue, row, now, seconds)
        again = [fifo.Held(row["seq"], row["receipt"], now + seconds * SECOND) for row in rows]
        self._attempts.keep(queue, attempt_id, now, again)
        return [self._received(queue, row, now, again=True) for row in rows]

    def _received(self, queue: Queue, row: sqlite3.Row, now: int, *, again: bool = False) -> ReceivedMessage:
        more = 0 if again else 1
        first = row["first_received"] or now
        attributes = {
            "SenderId": SENDER_ID,
            "SentTimestamp": str(row["sent_at"] // 1000),
            "ApproximateReceiveCount": str(row["receives"] + more),
            "ApproximateFirstReceiveTimestamp": str(first // 1000),
        }
        if row["group_id"] is not None:
            attributes["MessageGroupId"] = row["group_id"]
        if row["dedup_id"] is not None:
            attributes["MessageDeduplicationId"] = row["dedup_id"]
            attributes["SequenceNumber"] = _sequence_number(row["seq"])
        if row["trace_header"] is not None:
            attributes["AWSTraceHeader"] = row["trace_header"]
        if row["source"] is not None:
            attributes["DeadLetterQueueSourceArn"] = row["source"]
        handle = receipts.make(self._key, Receipt(queue.id, row["seq"], row["receipt"] + more))
        return ReceivedMessage(row["message_id"], handle, row["body"], attributes, table.unpacked(row["attributes"]))

    # -- delete, change visibility ------------------------------------------------------------------------------------

    def delete(self, queue: Queue, handles: Sequence[str], now: int) -> list[ServiceError | None]:
        """Delete by handle; one answer per handle in order.

        Standard queue: any true handle succeeds, only the latest one deletes. FIFO: an expired one is refused.
        """
        table.sweep(self._db, queue, now)
        found, results, rows = self._resolve(queue, handles, "DeleteMessage")
        gone: dict[int, sqlite3.Row] = {}
        for index, receipt in enumerate(found):
            row = rows.get(receipt.seq) if receipt is not None else None
            if receipt is None or row is None:
                continue
            latest = row["receipt"] == receipt.number
            if queue.fifo and (not latest or row["state"] != INFLIGHT):
                results[index] = bad_parameter(handles[index], "ReceiptHandle", "The receipt handle has expired.")
            elif latest:
                gone[receipt.seq] = row
        for row in [] if queue.fifo else self._faults.survivors(queue.name, list(gone.values())):
            del gone[row["seq"]]
        table.remove(self._db, queue, list(gone.values()))
        # The group is open again, or the queue is below its in-flight limit.
        queue.wake()
        return results

    def change(self, queue: Queue, changes: Sequence[tuple[str, int]], now: int) -> list[ServiceError | None]:
        """Set visibility by (handle, seconds from now); one answer per change in order."""
        table.sweep(self._db, queue, now)
        found, results, rows = self._resolve(queue, [handle for handle, _ in changes], "ChangeMessageVisibility")
        repeated = len(set(found)) < len(found)
        for index, receipt in enumerate(found):
            if receipt is not None:
                results[index] = self._change_one(queue, rows.get(receipt.seq), receipt, *changes[index], now)
                if repeated:  # the next change of the same message must see what this one made of it
                    rows.update(table.lookup(self._db, [receipt.seq]))
        queue.wake()
        return results

    def _change_one(
        self, queue: Queue, row: sqlite3.Row | None, receipt: Receipt, handle: str, seconds: int, now: int
    ) -> ServiceError | None:
        if not 0 <= seconds <= MAX_HIDDEN_SECONDS:
            return bad_parameter(seconds, "VisibilityTimeout", f"Must be >= 0 and <= {MAX_HIDDEN_SECONDS}, if provided.")
        if row is None or row["receipt"] != receipt.number:
            reason = "Message does not exist or is not available for visibility timeout change."
            return bad_parameter(handle, "ReceiptHandle", reason)
        if row["state"] != INFLIGHT:
            if self._faults.accepts_late_change(queue.name):
                return None
            return ServiceError("MessageNotInflight", "The message referred to isn't in flight.")
        if now + seconds * SECOND > row["received_at"] + MAX_HIDDEN_SECONDS * SECOND:
            reason = f"Total VisibilityTimeout for the message is beyond the limit [{MAX_HIDDEN_SECONDS} seconds]"
            return bad_parameter(seconds, "VisibilityTimeout", reason)
        table.hide(self._db, queue, row, now, seconds)
        return None

    def _resolve(
        self, queue: Queue, handles: Sequence[str], action: str
    ) -> tuple[list[Receipt | None], list[ServiceError | None], dict[int, sqlite3.Row]]:
        """Read the handles, and fetch the hot rows of this queue's messages among them."""
        found: list[Receipt | None] = []
        results: list[ServiceError | None] = []
        for handle in handles:
            try:
                if self._faults.expires_handle(action, queue.name):
                    raise bad_parameter(handle, "ReceiptHandle", "The receipt handle has expired.")
                receipt = receipts.read(self._key, handle)
                if receipt.queue != queue.id:
                    raise receipts.invalid(handle)
            except ServiceError as error:
                found.append(None)
                results.append(error)
            else:
                found.append(receipt)
                results.append(None)
        rows = table.lookup(self._db, [receipt.seq for receipt in found if receipt is not None])
        return found, results, {seq: row for seq, row in rows.items() if row["queue"] == queue.id}


def _sequence_number(seq: int) -> str:
    """SequenceNumber: 20 digits, growing."""
    return f"{seq:020d}"
