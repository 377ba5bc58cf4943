"""Deletes bodies in S3 whose messages are gone.

Owns: which objects are done with, and the thread that deletes them. Told by the acker, from any of its threads. Never deletes
an object before SQS has accepted the delete of its message, nor one to which a copy of the message points: a crash in between
leaves an object too much, which the bucket's lifecycle rule removes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from pyqs import backoff
from pyqs.config import ConnectionConfig
from pyqs.errors import PayloadUnavailable
from pyqs.message import Delivery, FollowUp
from pyqs.payloads import Payloads
from pyqs.pointers import Pointer, pointer_of
from pyqs.worker.report import Remembered
from pyqs.worker.service import OnCrash, Service

log = logging.getLogger(__name__)

#: Objects of one DeleteObjects (S3 API reference).
MOST = 1000
#: Tries of one such call, about half a minute in all.
TRIES = 5
#: Seconds that what is left has at the end of the worker.
GRACE = 3.0


class LargePayloads(Service):
    """The objects of one worker's messages. Without a bucket nothing happens.

    Parameters:
        payloads: S3; None makes one of the connection.
    """

    def __init__(self, connection: ConnectionConfig, on_crash: OnCrash, payloads: Payloads | None = None) -> None:
        super().__init__("payloads", on_crash)
        self._payloads = payloads or Payloads(connection)
        self._buckets = self._payloads.buckets
        self._done: SimpleQueue[Pointer | None] = SimpleQueue()
        self._lock = threading.Lock()
        #: Deliveries that were acked early: which of their two ends, the delete and that of the task, has not come yet.
        self._early: dict[int, set[str]] = {}
        #: Message ids of which a copy points to the same object.
        self._copied = Remembered()
        self._said = Remembered(100)

    # -- any thread -----------------------------------------------------------------------------------------------

    def begins_early(self, delivery: Delivery) -> None:
        """Its message is being deleted while its task runs; who has to hear of its death may need the body yet."""
        if self._pointer(delivery) is not None:
            with self._lock:
                self._early[delivery.id] = {"delete", "end"}

    def ends(self, delivery: Delivery, follow_ups: Sequence[FollowUp]) -> None:
        """Its task has ended, and brings these about: one that is stopped may be sent again as it is."""
        pointer = self._pointer(delivery)
        if pointer is None:
            return
        if any(one.message.body == delivery.message.body for one in follow_ups):
            self.copied(delivery)
        self._part(delivery, pointer, "end")

    def copied(self, delivery: Delivery) -> None:
        """A copy of its message was sent, or will be: the object is that one's now."""
        if self._pointer(delivery) is not None:
            self._copied.add(delivery.message.message_id)

    def deleted(self, delivery: Delivery, *, held: bool = True) -> None:
        """SQS has accepted its delete; by a receipt that is not ``held`` any more it may mean nothing (API: DeleteMessage)."""
        if not held:
            self.copied(delivery)
        pointer = self._pointer(delivery)
        if pointer is not None and not self._part(delivery, pointer, "delete"):
            self._drop(delivery, pointer)

    def end(self) -> None:
        """Delete what is left, for a moment at most."""
        self.stop()
        if not self.join(GRACE):
            log.warning("bodies in S3 of messages that are done were not all deleted: the lifecycle rule of the bucket has to")

    def stop(self) -> None:
        """Ask the thread to end when it has done what there is."""
        super().stop()
        self._done.put(None)

    def _pointer(self, delivery: Delivery) -> Pointer | None:
        if not self._buckets:
            return None
        pointer = pointer_of(delivery.message)
        return pointer if pointer is not None and pointer.bucket in self._buckets else None

    def _part(self, delivery: Delivery, pointer: Pointer, what: str) -> bool:
        """One of the two ends of what was acked early; False if it was not."""
        with self._lock:
            open_ends = self._early.get(delivery.id)
            if open_ends is None:
                return False
            open_ends.discard(what)
            if not open_ends:
                del self._early[delivery.id]
        if not open_ends:
            self._drop(delivery, pointer)
        return True

    def _drop(self, delivery: Delivery, pointer: Pointer) -> None:
        if delivery.message.message_id not in self._copied:
            self._done.put(pointer)

    # -- the thread -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, where there is something to do."""
        if self._buckets:
            log.info("bodies in S3 are read from, and deleted in, %s", ", ".join(self._buckets))
            super().start()

    def run(self) -> None:
        """Delete what comes, many at a time where many have come."""
        while True:
            batch, ends = self._take()
            for bucket in dict.fromkeys(one.bucket for one in batch):
                self._delete([one for one in batch if one.bucket == bucket])
            if ends:
                return

    def _take(self) -> tuple[list[Pointer], bool]:
        batch: list[Pointer] = []
        one = self._done.get()
        while one is not None:
            batch.append(one)
            if len(batch) == MOST:
                return batch, False
            try:
                one = self._done.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _delete(self, pointers: Sequence[Pointer]) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                self._payloads.delete(pointers)
                return
            except PayloadUnavailable as exc:
                if (
                    exc.retryable
                    and attempt < TRIES
                    and not self.stopping.wait(backoff.exponential(attempt, base=1.0, cap=10.0))
                ):
                    continue
                if self._said.add(f"{pointers[0].bucket} {exc.code}"):
                    log.warning("bodies of messages that are done stay in S3 until its lifecycle rule removes them: %s", exc)
                return
