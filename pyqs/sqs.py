"""SQS as the engine sees it: one interface, and the client behind it that talks to AWS.

Owns: the ``Sqs`` protocol, the boto3-backed client, the translation of every AWS error into ``errors``.
Runs in any thread (clients are thread-safe). The only importer of boto3, and only inside ``connect``.
Never retries a receive by itself and never swallows a partial batch failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pyqs.errors import SqsError
from pyqs.message import OutgoingMessage, ReceivedMessage, SentMessage


class Sqs(Protocol):
    """What the engine needs of SQS. The boto3 client and the in-process store both have this interface.

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
