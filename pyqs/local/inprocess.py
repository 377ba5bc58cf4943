"""The embedded SQS as a Python object: no socket, no HTTP, the interface of the AWS client.

Owns: the adapter from ``Store`` to ``pyqs.sqs.Sqs``. Called from any thread. Never adds a rule of its own: refusals
are the store's, translated into ``pyqs.errors`` by the same function that translates AWS's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from pyqs.errors import SqsError, Unreachable
from pyqs.local import validation
from pyqs.local.attributes import ACCOUNT
from pyqs.local.faults import Dropped
from pyqs.local.service_error import ServiceError
from pyqs.local.store import DEFAULT_REGION, Store
from pyqs.message import MoveTask, OutgoingMessage, ReceivedMessage, SentMessage
from pyqs.sqs import error_from_code

_T = TypeVar("_T")
_PAGE = 1000


class InProcessSqs:
    """``pyqs.sqs.Sqs`` in front of a store.

    Parameters:
        store: may be shared with other clients and with a server; ``close`` leaves it open.
        region: shows in ARNs and URLs only.
    """

    def __init__(self, store: Store, *, region: str = DEFAULT_REGION) -> None:
        self.store = store
        self._region = region
        self._base = f"http://sqs.{region}.localhost/{ACCOUNT}/"
        self._closed = False
        self._aborts = 0

    # -- messages -----------------------------------------------------------------------------------------------------

    def receive(
        self,
        queue_url: str,
        *,
        max_messages: int = 10,
        wait: int = 20,
        visibility: int | None = None,
        attempt_id: str | None = None,
    ) -> list[ReceivedMessage]:
        """Long-poll once."""
        aborts = self._aborts

        def call(name: str) -> list[ReceivedMessage]:
            return self.store.receive(
                name,
                max_messages=max_messages,
                wait=wait,
                visibility=visibility,
                attempt_id=attempt_id,
                gone=lambda: self._aborts != aborts or self._closed,
            )

        return self._call("ReceiveMessage", queue_url, call)

    def delete_batch(self, queue_url: str, receipt_handles: Sequence[str]) -> list[SqsError | None]:
        """Delete up to 10."""

        def call(name: str) -> list[ServiceError | None]:
            _check_batch(len(receipt_handles), "DeleteMessageBatchRequestEntry")
            return self.store.delete_batch(name, receipt_handles)

        results = self._call("DeleteMessageBatch", queue_url, call)
        return [None if result is None else _translated("DeleteMessageBatch", result, queue_url) for result in results]

    def change_visibility_batch(self, queue_url: str, changes: Sequence[tuple[str, int]]) -> list[SqsError | None]:
        """Set the visibility of up to 10."""

        def call(name: str) -> list[ServiceError | None]:
            _check_batch(len(changes), "ChangeMessageVisibilityBatchRequestEntry")
            return self.store.change_visibility_batch(name, changes)

        results = self._call("ChangeMessageVisibilityBatch", queue_url, call)
        return [
            None if result is None else _translated("ChangeMessageVisibilityBatch", result, queue_url) for result in results
        ]

    def send(self, queue_url: str, message: OutgoingMessage) -> SentMessage:
        """Send one."""
        return self._call("SendMessage", queue_url, lambda name: self.store.send(name, message))

    def send_batch(self, queue_url: str, messages: Sequence[OutgoingMessage]) -> list[SentMessage | SqsError]:
        """Send up to 10."""

        def call(name: str) -> list[SentMessage | ServiceError]:
            _check_batch(len(messages), "SendMessageBatchRequestEntry")
            return self.store.send_batch(name, messages)

        results: list[SentMessage | SqsError] = []
        for result in self._call("SendMessageBatch", queue_url, call):
            results.append(result if isinstance(result, SentMessage) else _translated("SendMessageBatch", result, queue_url))
        return results

    # -- queues -------------------------------------------------------------------------------------------------------

    def queue_url(self, name: str) -> str:
        """GetQueueUrl."""

        def call(queue: str) -> str:
            self.store.queue_tags(queue)  # raises QueueDoesNotExist
            return self._base + queue

        return self._named("GetQueueUrl", name, name, call)

    def locate(self, address: str) -> str:
        """The URL here of the queue with this URL or ARN; whatever its region and account, there is one store."""
        return self._base + address.replace(":", "/").rpartition("/")[2]

    def list_queues(self, prefix: str = "") -> Iterator[str]:
        """All queue URLs with the prefix."""
        after: str | None = ""
        while after is not None:
            start = after
            page, after = self._call("ListQueues", "", lambda _: self.store.list_queues(prefix, _PAGE, start))  # noqa: B023
            for name in page:
                yield self._base + name

    def create_queue(
        self, name: str, attributes: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """CreateQueue."""
        region = self._region
        self._named("CreateQueue", name, name, lambda queue: self.store.create_queue(queue, attributes, tags, region=region))
        return self._base + name

    def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        """GetQueueAttributes."""
        return self._call("GetQueueAttributes", queue_url, lambda name: self.store.queue_attributes(name, names))

    def set_queue_attributes(self, queue_url: str, attributes: Mapping[str, str]) -> None:
        """SetQueueAttributes."""
        self._call("SetQueueAttributes", queue_url, lambda name: self.store.set_queue_attributes(name, attributes))

    def dead_letter_sources(self, queue_url: str) -> list[str]:
        """ListDeadLetterSourceQueues."""
        names = self._call("ListDeadLetterSourceQueues", queue_url, self.store.dead_letter_sources)
        return [self._base + name for name in names]

    def start_move(self, source_arn: str, destination_arn: str | None = None, rate: int | None = None) -> str:
        """StartMessageMoveTask."""
        return self._move(
            "StartMessageMoveTask", source_arn, lambda _: self.store.start_move(source_arn, destination_arn, rate)
        )

    def list_moves(self, source_arn: str, limit: int = 10) -> list[MoveTask]:
        """ListMessageMoveTasks."""
        return self._move("ListMessageMoveTasks", source_arn, lambda _: self.store.list_moves(source_arn, limit))

    def cancel_move(self, handle: str) -> int:
        """CancelMessageMoveTask."""
        return self._move("CancelMessageMoveTask", "", lambda _: self.store.cancel_move(handle))

    def _move(self, action: str, arn: str, call: Callable[[str], _T]) -> _T:
        name = arn.rpartition(":")[2]
        return self._named(action, name, name, call)

    def delete_queue(self, queue_url: str) -> None:
        """DeleteQueue."""
        self._call("DeleteQueue", queue_url, self.store.delete_queue)

    def purge_queue(self, queue_url: str) -> None:
        """PurgeQueue."""
        self._call("PurgeQueue", queue_url, self.store.purge_queue)

    # -- life ---------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """End every long poll of this client now, with nothing."""
        self._aborts += 1
        self.store.faults.release()
        self.store.wake()

    def close(self) -> None:
        """Calls after this raise. The store stays open."""
        self._closed = True
        self.store.wake()

    def _call(self, action: str, queue_url: str, call: Callable[[str], _T]) -> _T:
        return self._named(action, queue_url, queue_url.rpartition("/")[2], call)

    def _named(self, action: str, queue_url: str, name: str, call: Callable[[str], _T]) -> _T:
        if self._closed:
            raise SqsError(f"{action}: this client is closed", queue=queue_url)
        try:
            self.store.faults.before(action, name)
            result = call(name)
            self.store.faults.after(action, name)
        except ServiceError as error:
            raise _translated(action, error, queue_url) from error
        except Dropped:
            raise Unreachable(f"{action} on {name}: the connection was closed without an answer", queue=queue_url) from None
        return result


def _check_batch(count: int, entry: str) -> None:
    validation.batch_ids([str(index) for index in range(count)], entry)


def _translated(action: str, error: ServiceError, queue_url: str) -> SqsError:
    return error_from_code(error.code, error.message, queue=queue_url, status=error.status, action=action)
