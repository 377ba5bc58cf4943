"""The queues: created, listed, described, changed, deleted.

Owns: the queue table and the queues in memory. Runs inside the store's lock and transaction. Never touches a message
but to empty a queue.
Source: SQS API reference, CreateQueue, ListQueues, Get/SetQueueAttributes, DeleteQueue, PurgeQueue, TagQueue.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence

from pyqs.local import attributes as queue_attributes
from pyqs.local import table, validation
from pyqs.local.queue import SECOND, Queue
from pyqs.local.service_error import ServiceError, bad_parameter, no_such_queue

MAX_LISTED = 1000


class Catalog:
    """Every queue of a store.

    Parameters:
        pause: seconds for which a deleted name, or a purged queue, refuses the same again (60 at SQS).
    """

    def __init__(self, db: sqlite3.Connection, lock: threading.Lock, pause: float) -> None:
        self._db = db
        self._lock = lock
        self._pause = int(pause * SECOND)
        self._queues: dict[str, Queue] = {}
        for row in db.execute("SELECT * FROM queue"):
            queue = Queue(row, lock)
            table.recount(db, queue)
            self._queues[queue.name] = queue

    def all(self) -> list[Queue]:
        """Every queue."""
        return list(self._queues.values())

    def get(self, name: str) -> Queue:
        """The queue of that name. Raises QueueDoesNotExist."""
        queue = self._queues.get(name)
        if queue is None:
            raise no_such_queue()
        return queue

    def find(self, name: str) -> Queue | None:
        """The queue of that name, or None."""
        return self._queues.get(name)

    def create(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str], region: str, now: int) -> Queue:
        """CreateQueue: the same again answers the queue, with a different attribute it is refused."""
        is_fifo = attributes.get("FifoQueue", "").lower() == "true"
        validation.queue_name(name, fifo=is_fifo)
        checked = queue_attributes.checked(attributes, fifo=is_fifo, creating=True)
        existing = self._queues.get(name)
        if existing is not None:
            for key, value in checked.items():
                if existing.attributes.get(key, "") != value:
                    text = f"A queue already exists with the same name and a different value for attribute {key}"
                    raise ServiceError("QueueNameExists", text)
            return existing
        gone = self._db.execute("SELECT at FROM deleted_queue WHERE name = ?", (name,)).fetchone()
        if gone is not None and now < gone[0] + self._pause:
            text = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
            raise ServiceError("QueueDeletedRecently", text)
        self._check_tags({}, tags)
        self._check_redrive(checked, is_fifo, queue_attributes.arn(region, name))
        complete = {**queue_attributes.defaults(is_fifo), **{key: value for key, value in checked.items() if value}}
        self._db.execute("DELETE FROM deleted_queue WHERE at <= ?", (now - self._pause,))
        self._db.execute(
            "INSERT INTO queue (name, region, attributes, tags, created, modified) VALUES (?,?,?,?,?,?)",
            (name, region, json.dumps(complete), json.dumps(dict(tags)), now, now),
        )
        queue = Queue(self._db.execute("SELECT * FROM queue WHERE name = ?", (name,)).fetchone(), self._lock)
        self._queues[name] = queue
        return queue

    def _check_redrive(self, attributes: Mapping[str, str], is_fifo: bool, source_arn: str) -> None:
        policy = queue_attributes.redrive(attributes)
        if policy is None:
            return
        text = attributes["RedrivePolicy"]
        target = self._queues.get(policy.target)
        if target is None:
            raise queue_attributes.refuse_missing_target(text)
        if target.name == source_arn.rpartition(":")[2]:
            raise bad_parameter(text, "RedrivePolicy", "A queue cannot be its own dead-letter queue.")
        if target.fifo != is_fifo:
            raise bad_parameter(text, "RedrivePolicy", "Dead-letter queue must be same type of queue as the source.")
        if not queue_attributes.may_redrive_to(target.attributes, source_arn):
            raise bad_parameter(text, "RedrivePolicy", "The dead-letter queue's RedriveAllowPolicy does not allow this source.")

    def _check_tags(self, present: Mapping[str, str], tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if not 1 <= len(key) <= 128 or len(value) > 256:
                raise bad_parameter(key[:128], "Tags", "A tag's key has 1 to 128 characters, its value up to 256.")
        if len({**present, **tags}) > validation.MAX_TAGS:
            raise ServiceError(
                "InvalidParameterValueException", f"Too many tags added for queue: at most {validation.MAX_TAGS}."
            )

    def page(self, prefix: str, limit: int | None, after: str) -> tuple[list[str], str | None]:
        """Names with the prefix that come after ``after``, at most 1000, and where to go on (only with a limit)."""
        names = sorted(name for name in self._queues if name.startswith(prefix) and name > after)
        page = names[: limit or MAX_LISTED]
        return page, page[-1] if limit is not None and len(names) > len(page) else None

    def sources_of(self, queue: Queue) -> list[str]:
        """Names of the queues whose dead-letter queue this one is."""
        return sorted(q.name for q in self._queues.values() if q.redrive is not None and q.redrive.target == queue.name)

    def describe(self, queue: Queue, names: Sequence[str]) -> dict[str, str]:
        """GetQueueAttributes. Raises InvalidAttributeName."""
        complete = {
            **queue.attributes,
            "ApproximateNumberOfMessages": str(queue.ready),
            "ApproximateNumberOfMessagesNotVisible": str(queue.inflight),
            "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
            "CreatedTimestamp": str(queue.created // SECOND),
            "LastModifiedTimestamp": str(queue.modified // SECOND),
            "QueueArn": queue.arn,
        }
        for name in names:
            if name != "All" and name not in queue_attributes.READABLE:
                raise queue_attributes.unknown_attribute(name)
        if "All" in names:
            return complete
        return {name: complete[name] for name in names if name in complete}

    def change(self, queue: Queue, attributes: Mapping[str, str], now: int) -> None:
        """SetQueueAttributes. An empty policy clears it."""
        checked = queue_attributes.checked(attributes, fifo=queue.fifo, creating=False)
        self._check_redrive(checked, queue.fifo, queue.arn)
        merged = {**queue.attributes, **checked}
        delay = queue.delay
        queue.apply({key: value for key, value in merged.items() if value})
        queue.modified = now
        self._db.execute(
            "UPDATE queue SET attributes = ?, modified = ? WHERE id = ?", (json.dumps(queue.attributes), now, queue.id)
        )
        if queue.fifo and queue.delay != delay:
            # API reference: on a FIFO queue the delay also counts for messages that are already there.
            self._db.execute(
                "UPDATE message SET visible_at = sent_at + ? WHERE queue = ? AND state = 2", (queue.delay * SECOND, queue.id)
            )
            queue.due(table.next_due(self._db, queue))
        queue.next_expiry = table.next_expiry(self._db, queue)

    def delete(self, queue: Queue, now: int) -> None:
        """DeleteQueue, with everything in it."""
        table.clear(self._db, queue)
        self._db.execute("DELETE FROM dedup WHERE queue = ?", (queue.id,))
        self._db.execute("DELETE FROM move_task WHERE queue = ?", (queue.id,))
        self._db.execute("DELETE FROM queue WHERE id = ?", (queue.id,))
        self._db.execute("INSERT OR REPLACE INTO deleted_queue VALUES (?,?)", (queue.name, now))
        del self._queues[queue.name]
        queue.deleted = True
        queue.changed.notify_all()

    def purge(self, queue: Queue, now: int) -> None:
        """PurgeQueue. Raises PurgeQueueInProgress within 60 seconds of the last."""
        if queue.purged is not None and now < queue.purged + self._pause:
            text = f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds."
            raise ServiceError("PurgeQueueInProgress", text)
        table.clear(self._db, queue)
        self._db.execute("UPDATE queue SET purged = ? WHERE id = ?", (now, queue.id))
        queue.purged = now

    def tag(self, queue: Queue, tags: Mapping[str, str]) -> None:
        """TagQueue."""
        self._check_tags(queue.tags, tags)
        self._write_tags(queue, {**queue.tags, **tags})

    def untag(self, queue: Queue, keys: Sequence[str]) -> None:
        """UntagQueue; a key that is not there is no error."""
        self._write_tags(queue, {key: value for key, value in queue.tags.items() if key not in keys})

    def _write_tags(self, queue: Queue, tags: dict[str, str]) -> None:
        self._db.execute("UPDATE queue SET tags = ? WHERE id = ?", (json.dumps(tags), queue.id))
        queue.tags = tags
