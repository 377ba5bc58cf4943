"""Message move tasks: a dead-letter queue's messages go back to where they came from, or to another queue, in the background.

Owns: the tasks, kept in the database, so that one that was under way goes on after a restart; and a thread for each task that
runs. A step of a task is one transaction of the store. Never moves what is in flight, and never a message whose way it does not
know: then the task fails and the message stays.
Source: SQS API reference, StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask; developer guide, "Configuring a
dead-letter queue redrive" (a moved message is a new one) and "Troubleshooting dead-letter queue redrive" (why a task fails).
"""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from pyqs.local import fifo, table
from pyqs.local.catalog import Catalog
from pyqs.local.messages import Messages
from pyqs.local.queue import Queue
from pyqs.local.service_error import ServiceError, bad_parameter
from pyqs.message import MoveTask

MAX_RATE = 500
MAX_LISTED = 10
#: Messages of one step without a rate, and the steps of a second with one.
_STEP = 100
_STEPS_A_SECOND = 10
#: Seconds between two steps without a rate: others get their turn at the store.
_BREATH = 0.005
_ACTIVE = ("RUNNING", "CANCELLING")


class Moves:
    """The move tasks of one store. All but ``close`` run inside its lock and transaction.

    Parameters:
        writing: the store's lock and transaction; gives the time.
    """

    def __init__(
        self, db: sqlite3.Connection, catalog: Catalog, messages: Messages, writing: Callable[[], AbstractContextManager[int]]
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._messages = messages
        self._writing = writing
        self._wakes: dict[int, threading.Event] = {}
        self._closed = False

    def resume(self) -> None:
        """Go on with what was under way when the file was last closed."""
        for row in self._db.execute("SELECT seq, rate FROM move_task WHERE status IN (?, ?)", _ACTIVE).fetchall():
            self._go(row["seq"], row["rate"])

    def start(self, source_arn: str, destination_arn: str | None, rate: int | None, now: int) -> str:
        """StartMessageMoveTask; its handle."""
        source = self._queue(source_arn, "SourceArn")
        if not self._catalog.sources_of(source):
            raise ServiceError("InvalidParameterValueException", "Source queue must be configured as a Dead Letter Queue.")
        if destination_arn is not None:
            target = self._queue(destination_arn, "DestinationArn")
            if target is source:
                raise bad_parameter(destination_arn, "DestinationArn", "It is the source queue.")
            if target.fifo != source.fifo:
                text = "The source queue and destination queue must be of the same queue type."
                raise ServiceError("InvalidParameterValueException", text)
        if rate is not None and not 1 <= rate <= MAX_RATE:
            raise bad_parameter(rate, "MaxNumberOfMessagesPerSecond", f"Must be between 1 and {MAX_RATE}, if provided.")
        if any(task["status"] in _ACTIVE for task in self._of(source)):
            text = "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
            raise ServiceError("InvalidParameterValueException", text)
        table.sweep(self._db, source, now)
        task_id = str(uuid.uuid4())
        cursor = self._db.execute(
            "INSERT INTO move_task (id, queue, destination, rate, started, status, moved, to_move) VALUES (?,?,?,?,?,?,0,?)",
            (task_id, source.id, destination_arn, rate, now, "RUNNING", source.ready),
        )
        assert cursor.lastrowid is not None
        self._go(cursor.lastrowid, rate)
        return _handle(task_id, source.arn)

    def latest(self, source_arn: str, limit: int) -> list[MoveTask]:
        """ListMessageMoveTasks: the latest first."""
        if not 1 <= limit <= MAX_LISTED:
            raise bad_parameter(limit, "MaxResults", f"Must be between 1 and {MAX_LISTED}, if provided.")
        source = self._queue(source_arn, "SourceArn")
        return [
            MoveTask(
                status=row["status"],
                source_arn=source.arn,
                destination_arn=row["destination"],
                moved=row["moved"],
                to_move=row["to_move"],
                rate=row["rate"],
                started_ms=row["started"] // 1000,
                reason=row["reason"],
                handle=_handle(row["id"], source.arn) if row["status"] == "RUNNING" else None,
            )
            for row in self._of(source)[:limit]
        ]

    def cancel(self, handle: str) -> int:
        """CancelMessageMoveTask: how many it has moved by now."""
        try:
            task_id = str(json.loads(base64.b64decode(handle, validate=True))["taskId"])
        except (ValueError, KeyError, TypeError):
            raise bad_parameter(handle[:100], "TaskHandle", "The task handle is not valid.") from None
        row = self._db.execute("SELECT seq, status, moved FROM move_task WHERE id = ?", (task_id,)).fetchone()
        if row is None:
            raise ServiceError("ResourceNotFoundException", "Task does not exist.", status=404)
        if row["status"] != "RUNNING":
            raise ServiceError("InvalidParameterValueException", "Only active tasks can be cancelled.")
        self._db.execute("UPDATE move_task SET status = 'CANCELLING' WHERE seq = ?", (row["seq"],))
        if row["seq"] in self._wakes:
            self._wakes[row["seq"]].set()
        return int(row["moved"])

    def close(self) -> None:
        """End the threads; the tasks stay as they are."""
        self._closed = True
        for wake in list(self._wakes.values()):
            wake.set()

    # -- the threads --------------------------------------------------------------------------------------------------

    def _go(self, seq: int, rate: int | None) -> None:
        wake = self._wakes[seq] = threading.Event()
        threading.Thread(target=self._run, args=(seq, rate, wake), name="sqs-move", daemon=True).start()

    def _run(self, seq: int, rate: int | None, wake: threading.Event) -> None:
        size = _STEP if rate is None else max(1, rate // _STEPS_A_SECOND)
        pause = _BREATH if rate is None else size / rate
        try:
            while not self._closed:
                with self._writing() as now:
                    if self._step(seq, size, now):
                        return
                wake.wait(pause)
                wake.clear()
        except ServiceError:
            if not self._closed:  # the store has been closed in the meantime: that is no error
                raise
        finally:
            self._wakes.pop(seq, None)

    def _step(self, seq: int, size: int, now: int) -> bool:
        """Move so many; whether the task is over."""
        task = self._db.execute("SELECT * FROM move_task WHERE seq = ?", (seq,)).fetchone()
        source = None if task is None else next((one for one in self._catalog.all() if one.id == task["queue"]), None)
        if source is None:
            self._db.execute("DELETE FROM move_task WHERE seq = ?", (seq,))
            return True
        if task["status"] == "CANCELLING":
            return self._end(seq, "CANCELLED")
        table.sweep(self._db, source, now)
        found = (
            fifo.candidates(self._db, source, size, table.TAKE_IN_ORDER)
            if source.fifo
            else table.candidates(self._db, source, size)
        )
        if not found:
            return self._end(seq, "COMPLETED")
        for row in table.full(self._db, [row["seq"] for row in found]):
            target, reason = self._target(task["destination"] or row["source"])
            if target is None:
                return self._end(seq, "FAILED", reason)
            self._messages.put_again(target, row, now)
            table.remove(self._db, source, [row])
            self._db.execute("UPDATE move_task SET moved = moved + 1 WHERE seq = ?", (seq,))
        return False

    def _target(self, arn: str | None) -> tuple[Queue | None, str]:
        if arn is None:
            return None, "CouldNotDetermineMessageSource"
        return self._catalog.find(arn.rpartition(":")[2]), "AWS.SimpleQueueService.NonExistentQueue"

    def _end(self, seq: int, status: str, reason: str | None = None) -> bool:
        self._db.execute("UPDATE move_task SET status = ?, reason = ? WHERE seq = ?", (status, reason, seq))
        return True

    def _of(self, source: Queue) -> list[sqlite3.Row]:
        return self._db.execute("SELECT * FROM move_task WHERE queue = ? ORDER BY seq DESC LIMIT 10", (source.id,)).fetchall()

    def _queue(self, arn: str, parameter: str) -> Queue:
        if arn.count(":") != 5 or not arn.startswith("arn:"):
            raise bad_parameter(arn[:200], parameter, "It is not the ARN of a queue.")
        queue = self._catalog.find(arn.rpartition(":")[2])
        if queue is None:
            text = f"The resource that you specified for the {parameter} parameter doesn't exist."
            raise ServiceError("ResourceNotFoundException", text, status=404)
        return queue


def fields(task: MoveTask) -> Mapping[str, str | int]:
    """One entry of ListMessageMoveTasks's answer; what is not there is left out."""
    known = {
        "TaskHandle": task.handle,
        "Status": task.status,
        "SourceArn": task.source_arn,
        "DestinationArn": task.destination_arn,
        "MaxNumberOfMessagesPerSecond": task.rate,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "FailureReason": task.reason,
        "StartedTimestamp": task.started_ms,
    }
    return {name: value for name, value in known.items() if value is not None}


def _handle(task_id: str, source_arn: str) -> str:
    return base64.b64encode(json.dumps({"taskId": task_id, "sourceArn": source_arn}).encode()).decode()
