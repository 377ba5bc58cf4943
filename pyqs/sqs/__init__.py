"""SQS as the engine sees it: one interface, and the client behind it that talks to AWS.

Owns: the ``Sqs`` protocol and ``connect``. Behind it: ``boto`` (all calls through botocore) and ``lean`` (frequent ones past
it, with ``template``, ``signing`` and ``retries``), ``session`` (credentials, region), ``shapes`` (SQS's JSON), ``failures``
(every error to one of ours), ``answers`` (what is no answer of SQS's), ``sockets`` (dropping open polls). Runs in any thread
(clients are thread-safe). This package alone imports botocore, and only inside functions that ``connect`` reaches. Never
retries a receive by itself and never swallows a partial batch failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pyqs.config import ConnectionConfig
from pyqs.errors import SqsError
from pyqs.message import MoveTask, OutgoingMessage, ReceivedMessage, SentMessage
from pyqs.sqs.failures import error_from_code

__all__ = ["Sqs", "connect", "error_from_code"]


class Sqs(Protocol):
    """What the engine needs of SQS. Both clients and the in-process store have this interface.

    Queues are named by URL everywhere but in the calls that look one up. Every method raises ``SqsError``
    (a subclass with ``.retryable``) when the call as a whole fails.
    """

    def receive(
        self,
        queue_url: str,
        *,
        max_messages: int = 10,
        wait: int = 20,
        visibility: int | None = None,
        attempt_id: str | None = None,
    ) -> list[ReceivedMessage]:
        """Long-poll once (``wait`` seconds, 0-20). All system and message attributes are asked for."""
        ...

    def delete_batch(self, queue_url: str, receipt_handles: Sequence[str]) -> list[SqsError | None]:
        """Delete up to 10; answer one entry per handle in order: None, or why not."""
        ...

    def change_visibility_batch(self, queue_url: str, changes: Sequence[tuple[str, int]]) -> list[SqsError | None]:
        """Set up to 10 (receipt handle, seconds from now 0-43200); one entry per change in order: None, or why not."""
        ...

    def send(self, queue_url: str, message: OutgoingMessage) -> SentMessage:
        """Send one."""
        ...

    def send_batch(self, queue_url: str, messages: Sequence[OutgoingMessage]) -> list[SentMessage | SqsError]:
        """Send up to 10 (1 MiB in sum); one entry per message in order."""
        ...

    def queue_url(self, name: str) -> str:
        """GetQueueUrl. Raises QueueNotFound."""
        ...

    def locate(self, address: str) -> str:
        """The URL under which the queue with this URL or ARN is reached from here, without a call.

        Raises ConfigError when the address is malformed or names another region than this connection's.
        """
        ...

    def list_queues(self, prefix: str = "") -> Iterator[str]:
        """All queue URLs that start with the literal prefix, paged through."""
        ...

    def create_queue(
        self, name: str, attributes: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """CreateQueue; answers the URL."""
        ...

    def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        """GetQueueAttributes."""
        ...

    def set_queue_attributes(self, queue_url: str, attributes: Mapping[str, str]) -> None:
        """SetQueueAttributes."""
        ...

    def dead_letter_sources(self, queue_url: str) -> list[str]:
        """ListDeadLetterSourceQueues: URLs of queues whose failures end up in this one; the first page is enough."""
        ...

    def start_move(self, source_arn: str, destination_arn: str | None = None, rate: int | None = None) -> str:
        """StartMessageMoveTask from a dead-letter queue; the task's handle. Without a destination each message goes to the
        queue it came from; ``rate`` is messages per second, 1-500."""
        ...

    def list_moves(self, source_arn: str, limit: int = 10) -> list[MoveTask]:
        """ListMessageMoveTasks: the latest of this dead-letter queue, the newest first, at most 10."""
        ...

    def cancel_move(self, handle: str) -> int:
        """CancelMessageMoveTask; how many messages were moved by then."""
        ...

    def delete_queue(self, queue_url: str) -> None:
        """DeleteQueue."""
        ...

    def purge_queue(self, queue_url: str) -> None:
        """PurgeQueue."""
        ...

    def abort(self) -> None:
        """Drop what is in flight: every long poll returns at once (with nothing or an error). For a fast Ctrl-C."""
        ...

    def close(self) -> None:
        """Release the connections. Calls after this raise."""
        ...


def connect(connection: ConnectionConfig) -> Sqs:
    """A client for SQS, for any number of threads. No call is made to AWS yet; botocore is loaded here, not before.

    Raises:
        ConfigError: no region can be found, an unknown profile, a malformed endpoint.
    """
    client = connection.chosen_client
    if client == "boto3":
        from pyqs.sqs.boto import BotoSqs

        return BotoSqs(connection)
    from pyqs.sqs.lean import LeanSqs

    return LeanSqs(connection, insist=client == "lean")
