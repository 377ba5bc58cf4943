"""An embedded SQS that remembers who was handed what, and when it came back or was deleted.

Owns: ``WatchedStore`` (the log is written inside the store's lock, so its order is the order of things) and ``Door`` (one
caller's way in, by which the log knows who asked). Used by the server's threads and the test. Never changes an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.faces import number_of
from pyqs.clock import boottime
from pyqs.local import receipts, table
from pyqs.local.faults import Faults
from pyqs.local.messages import Messages
from pyqs.local.queue import SECOND, Queue
from pyqs.local.schema import INFLIGHT
from pyqs.local.service_error import ServiceError
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage, ReceivedMessage, SentMessage


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one message.

    Parameters:
        kind: ``sent``, ``received``, ``hidden`` (its visibility was changed, 0 seconds: released) or ``deleted``.
        number: of the task; None when the body is no call of the suite's.
        at: boot-time seconds.
        by: the door of whoever asked.
        receives: ApproximateReceiveCount, of ``received``.
        until: boot-time second until which it is hidden, of ``received`` and ``hidden``.
    """

    kind: str
    number: int | None
    message_id: str
    queue: str
    at: float
    by: str
    receives: int = 0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that is in a queue now."""

    number: int | None
    message_id: str
    in_flight: bool
    receives: int
    by: str
    body: str


class WatchedMessages(Messages):
    """The store's rules, with a note of each thing done. Runs inside the store's lock."""

    def __init__(self, store: WatchedStore, limit: int) -> None:
        super().__init__(store._db, store._catalog, store.faults, limit)
        self._store = store
        self._known: dict[int, tuple[str, int | None]] = {}
        self._deleted: set[int] = set()

    def send(self, queue: Queue, messages: Sequence[OutgoingMessage], now: int) -> list[SentMessage | ServiceError]:
        """As the rules say."""
        results = super().send(queue, messages, now)
        for message, result in zip(messages, results, strict=True):
            if isinstance(result, SentMessage):
                self._store.note("sent", _number(message.body), result.message_id, queue.name)
        return results

    def take(
        self, queue: Queue, limit: int, seconds: int, attempt_id: str | None, now: int, *, polling: bool
    ) -> list[ReceivedMessage]:
        """As the rules say."""
        received = super().take(queue, limit, seconds, attempt_id, now, polling=polling)
        for one in received:
            number = _number(one.body)
            self._known[receipts.read(self._key, one.receipt_handle).seq] = one.message_id, number
            count = int(one.attributes["ApproximateReceiveCount"])
            self._store.note("received", number, one.message_id, queue.name, receives=count, seconds=seconds)
        return received

    def delete(self, queue: Queue, handles: Sequence[str], now: int) -> list[ServiceError | None]:
        """As the rules say."""
        results = super().delete(queue, handles, now)
        seqs = [seq for seq in map(self._seq, handles) if seq in self._known and seq not in self._deleted]
        left = table.lookup(self._db, seqs) if seqs else {}
        for seq in seqs:
            if seq not in left and seq not in self._deleted:
                self._deleted.add(seq)
                message_id, number = self._known[seq]
                self._store.note("deleted", number, message_id, queue.name)
        return results

    def change(self, queue: Queue, changes: Sequence[tuple[str, int]], now: int) -> list[ServiceError | None]:
        """As the rules say."""
        results = super().change(queue, changes, now)
        for (handle, seconds), result in zip(changes, results, strict=True):
            seq = self._seq(handle)
            if result is None and seq in self._known:
                message_id, number = self._known[seq]
                self._store.note("hidden", number, message_id, queue.name, seconds=seconds)
        return results

    def _seq(self, handle: str) -> int:
        try:
            return receipts.read(self._key, handle).seq
        except ServiceError:
            return -1


class WatchedStore(Store):
    """A store with a log.

    Parameters:
        settings: of ``Store``.
    """

    def __init__(self, path: str | None = None, **settings: Any) -> None:
        super().__init__(path, **settings)
        self.events: list[Event] = []
        self.caller = threading.local()
        self._messages = WatchedMessages(self, settings.get("inflight_limit", 120_000))

    def note(
        self, kind: str, number: int | None, message_id: str, queue: str, *, receives: int = 0, seconds: float = 0
    ) -> None:
        """Append one event; the lock is held."""
        at = boottime()
        by = getattr(self.caller, "name", "test")
        self.events.append(Event(kind, number, message_id, queue, at, by, receives, at + seconds))

    def kept(self, queue: str) -> list[Kept]:
        """What the queue holds now, and who was last handed it."""
        with self._lock:
            found = self._catalog.get(queue)
            now = int(self._clock() * SECOND)
            rows = self._db.execute(
                "SELECT m.message_id, m.state, m.visible_at, m.receives, c.body FROM message m JOIN content c ON c.seq = m.seq "
                "WHERE m.queue = ?", (found.id,)
            ).fetchall()  # fmt: skip
            last = {event.message_id: event.by for event in self.events if event.kind == "received"}
        return [
            Kept(
                _number(row["body"]), row["message_id"], row["state"] == INFLIGHT and row["visible_at"] > now, row["receives"],
                last.get(row["message_id"], ""), row["body"],
            )
            for row in rows
        ]  # fmt: skip

    def held_by(self, door: str, queue: str) -> list[int]:
        """Numbers of the tasks in flight that this caller was the last to be handed."""
        return [one.number for one in self.kept(queue) if one.in_flight and one.by == door and one.number is not None]


class Door:
    """The store as one caller meets it: the log knows whose call it is.

    ``faults`` strike whole calls of this caller alone; faults on messages (duplicates, ...) are set on the store.
    """

    def __init__(self, store: WatchedStore, name: str) -> None:
        self.store = store
        self.name = name
        self.faults = Faults()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self.store.caller.name = self.name
            return found(*args, **kwargs)

        return call


def _number(body: str) -> int | None:
    try:
        return number_of(body)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None
