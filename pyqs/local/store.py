"""The embedded SQS without HTTP: queues and messages in SQLite, with SQS's rules.

Owns: the database, the lock around it, the wall clock, and long polling. Called from any thread; one at a time is
inside. Never speaks a protocol: ``actions`` (JSON) and ``inprocess`` (Python) stand in front of it.

Every call that changes something commits before it answers, so what was acknowledged survives SIGKILL of the process
when the store has a file (``schema`` says by which settings). Times are microseconds of the wall clock, because they
must mean the same after a restart; only the length of a long poll is measured with the monotonic clock.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pyqs.local import schema, table, validation
from pyqs.local.catalog import Catalog
from pyqs.local.faults import Faults
from pyqs.local.messages import Messages
from pyqs.local.moves import Moves
from pyqs.local.queue import SECOND, Queue
from pyqs.local.service_error import ServiceError, bad_parameter, no_such_queue
from pyqs.message import MoveTask, OutgoingMessage, ReceivedMessage, SentMessage

DEFAULT_REGION = "us-east-1"
_SHORTEST_WAIT = 0.001


class Store:
    """A set of SQS queues.

    Parameters:
        path: the SQLite file, made if missing; None keeps everything in memory.
        clock: seconds since the epoch. After moving an injected clock, call ``wake``.
        inflight_limit: messages in flight per queue.
        pause: seconds during which a deleted name cannot be created again, and a purged queue not purged.
        faults: what goes wrong on purpose.

    Queues are named by name here. Methods raise ``ServiceError`` as SQS would answer; ``ConfigError`` on opening.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
        inflight_limit: int = 120_000,
        pause: float = 60.0,
        faults: Faults | None = None,
    ) -> None:
        self.path = path
        self.faults = faults if faults is not None else Faults()
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._db = schema.connect(path)
        self._db.row_factory = sqlite3.Row
        self._catalog = Catalog(self._db, self._lock, pause)
        self._messages = Messages(self._db, self._catalog, self.faults, inflight_limit)
        self._moves = Moves(self._db, self._catalog, self._messages, self._writing)
        self._moves.resume()

    # -- queues -------------------------------------------------------------------------------------------------------

    def create_queue(
        self,
        name: str,
        attributes: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        region: str = DEFAULT_REGION,
    ) -> None:
        """CreateQueue. The region only shows in the queue's ARN."""
        with self._writing() as now:
            self._catalog.create(name, attributes or {}, tags or {}, region, now)

    def has_queue(self, name: str) -> bool:
        """Whether the queue exists."""
        with self._lock:
            return self._catalog.find(name) is not None

    def list_queues(self, prefix: str = "", limit: int | None = None, after: str = "") -> tuple[list[str], str | None]:
        """A page of names in order, and the name after which the next page starts (None: no more)."""
        with self._lock:
            return self._catalog.page(prefix, limit, after)

    def queue_attributes(self, name: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        """GetQueueAttributes."""
        with self._writing() as now:
            queue = self._catalog.get(name)
            table.sweep(self._db, queue, now)
            return self.faults.counts(name, self._catalog.describe(queue, names))

    def set_queue_attributes(self, name: str, attributes: Mapping[str, str]) -> None:
        """SetQueueAttributes."""
        with self._writing() as now:
            queue = self._catalog.get(name)
            self._catalog.change(queue, attributes, now)
            table.sweep(self._db, queue, now)
            queue.wake()

    def delete_queue(self, name: str) -> None:
        """DeleteQueue. Long polls on it end with QueueDoesNotExist."""
        with self._writing() as now:
            self._catalog.delete(self._catalog.get(name), now)

    def purge_queue(self, name: str) -> None:
        """PurgeQueue."""
        with self._writing() as now:
            self._catalog.purge(self._catalog.get(name), now)

    def queue_tags(self, name: str) -> dict[str, str]:
        """ListQueueTags."""
        with self._lock:
            return dict(self._catalog.get(name).tags)

    def tag_queue(self, name: str, tags: Mapping[str, str]) -> None:
        """TagQueue."""
        with self._writing():
            self._catalog.tag(self._catalog.get(name), tags)

    def untag_queue(self, name: str, keys: Sequence[str]) -> None:
        """UntagQueue."""
        with self._writing():
            self._catalog.untag(self._catalog.get(name), keys)

    def dead_letter_sources(self, name: str) -> list[str]:
        """Names of the queues that redrive to this one."""
        with self._lock:
            return self._catalog.sources_of(self._catalog.get(name))

    def start_move(self, source_arn: str, destination_arn: str | None = None, rate: int | None = None) -> str:
        """StartMessageMoveTask; the task's handle."""
        with self._writing() as now:
            return self._moves.start(source_arn, destination_arn, rate, now)

    def list_moves(self, source_arn: str, limit: int = 1) -> list[MoveTask]:
        """ListMessageMoveTasks, the latest first."""
        with self._lock:
            self._check_open()
            return self._moves.latest(source_arn, limit)

    def cancel_move(self, handle: str) -> int:
        """CancelMessageMoveTask: how many messages it has moved by now."""
        with self._writing():
            return self._moves.cancel(handle)

    # -- messages -----------------------------------------------------------------------------------------------------

    def send(self, name: str, message: OutgoingMessage) -> SentMessage:
        """SendMessage."""
        with self._writing() as now:
            result = self._messages.send(self._catalog.get(name), [message], now)[0]
        if isinstance(result, ServiceError):
            raise result
        return result

    def send_batch(self, name: str, messages: Sequence[OutgoingMessage]) -> list[SentMessage | ServiceError]:
        """SendMessageBatch; one answer per message in order. Raises BatchRequestTooLong."""
        with self._writing() as now:
            queue = self._catalog.get(name)
            validation.batch_size(messages)
            return self._messages.send(queue, messages, now)

    def delete_batch(self, name: str, handles: Sequence[str]) -> list[ServiceError | None]:
        """DeleteMessageBatch; one answer per handle in order."""
        with self._writing() as now:
            return self._messages.delete(self._catalog.get(name), handles, now)

    def change_visibility_batch(self, name: str, changes: Sequence[tuple[str, int]]) -> list[ServiceError | None]:
        """ChangeMessageVisibilityBatch; one answer per (handle, seconds from now) in order."""
        with self._writing() as now:
            return self._messages.change(self._catalog.get(name), changes, now)

    def receive(
        self,
        name: str,
        *,
        max_messages: int = 1,
        wait: int | None = None,
        visibility: int | None = None,
        attempt_id: str | None = None,
        gone: Callable[[], bool] | None = None,
    ) -> list[ReceivedMessage]:
        """ReceiveMessage, waiting up to ``wait`` seconds (None: the queue's own).

        ``gone`` is asked each time before messages are taken: a caller that has left gets none. A receiver that waited
        beside others takes its share only, so that a batch sent to several idle pollers reaches several.
        """
        if not 1 <= max_messages <= validation.MAX_BATCH:
            reason = "Must be between 1 and 10, if provided."
            raise bad_parameter(max_messages, "MaxNumberOfMessages", reason)
        validation.number(wait, "WaitTimeSeconds", 0, 20)
        validation.number(visibility, "VisibilityTimeout", 0, 43_200)
        validation.token(attempt_id, "ReceiveRequestAttemptId")
        with self._lock:
            queue = self._catalog.get(name)
            seconds = queue.wait if wait is None else wait
            deadline = time.monotonic() + seconds
            limit, woken = self.faults.limit(name, max_messages), False
            if limit == 0:
                return []
            while True:
                self._check_open()
                if queue.deleted:
                    raise no_such_queue()
                if gone is not None and gone():
                    if woken and queue.ready:
                        queue.changed.notify()
                    return []
                share = -(-queue.ready // (queue.waiting + 1)) if woken else limit
                with self._transaction() as now:
                    hidden = queue.visibility if visibility is None else visibility
                    taken = self._messages.take(queue, min(limit, max(1, share)), hidden, attempt_id, now, polling=seconds > 0)
                remaining = deadline - time.monotonic()
                if taken or remaining <= 0:
                    if queue.waiting and queue.ready:
                        queue.changed.notify()
                    return taken
                self._wait(queue, min(remaining, (queue.next_due - now) / SECOND))
                woken = True

    def _wait(self, queue: Queue, seconds: float) -> None:
        queue.waiting += 1
        try:
            queue.changed.wait(max(seconds, _SHORTEST_WAIT))
        finally:
            queue.waiting -= 1

    # -- plumbing -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let every long poll look again: the clock was moved, or a caller is gone."""
        with self._lock:
            for queue in self._catalog.all():
                queue.changed.notify_all()

    def close(self) -> None:
        """End every long poll and close the database. Calls after this raise."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._moves.close()
            for queue in self._catalog.all():
                queue.changed.notify_all()
            self._db.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceError("ServiceUnavailableException", "The store is closed.", status=503)

    @contextmanager
    def _writing(self) -> Iterator[int]:
        with self._lock, self._transaction() as now:
            yield now

    @contextmanager
    def _transaction(self) -> Iterator[int]:
        """Begin and commit around the body; gives the time. The lock is held.

        A ServiceError is an answer, not a failure: what the sweep did before it stands. Anything else rolls back.
        """
        self._check_open()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            try:
                yield int(self._clock() * SECOND)
            except ServiceError:
                self._db.execute("COMMIT")
                raise
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
                for queue in self._catalog.all():
                    table.recount(self._db, queue)
            raise
