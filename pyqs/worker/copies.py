"""Copies of messages: which may be made, what they look like, and what must only be deleted once one was sent.

Owns: when a message may be replaced by a copy, and what goes to a dead-letter queue, as values; the memory of message ids
that are done or copied; the queues where no copies are made for a while. Used by the acker and the pool, from any thread.
Never sends anything.

A copy is sent before its original is deleted. A crash in between leaves both: that is the one way in which a copy doubles a
message, and it lasts as long as one delete.
"""

from __future__ import annotations

from pyqs.clock import boottime
from pyqs.message import ORIGIN, REASON, Delivery, MessageAttribute, OutgoingMessage
from pyqs.payloads import MOST_ATTRIBUTES
from pyqs.worker.report import Remembered

#: Seconds for which a queue that refuses sends or deletes is not tried for copies again.
NO_COPIES = 600.0
#: Characters of a reason.
_LONGEST_REASON = 500


class Copies:
    """What this worker knows of the copies it has made. For any thread."""

    def __init__(self) -> None:
        self._only_delete = Remembered()
        self._none_until: dict[str, float] = {}

    def only_delete(self, message_id: str) -> bool:
        """Whether this message was done, or copied, before: it must not run or be copied again."""
        return message_id in self._only_delete

    def settled(self, delivery: Delivery) -> None:
        """Its work is done or its copy was sent: whatever happens, its message is only ever deleted."""
        self._only_delete.add(delivery.message.message_id)

    def allowed(self, delivery: Delivery) -> bool:
        """Whether a copy can replace the message: never on FIFO, where it would lose its place and its deduplication."""
        return not delivery.is_fifo and self._none_until.get(delivery.queue, 0.0) <= boottime()

    def refuse(self, queue: str) -> None:
        """Sends to it, or deletes from it, are refused: its messages are hidden instead, for some time."""
        self._none_until[queue] = boottime() + NO_COPIES


def dead_letter(delivery: Delivery, reason: str) -> OutgoingMessage:
    """The message for the dead-letter queue, with the reason and where it comes from while SQS's ten attributes allow."""
    message = delivery.message
    attributes = dict(message.message_attributes)
    for name, value in ((REASON, reason[:_LONGEST_REASON]), (ORIGIN, delivery.queue)):
        if value and len(attributes) < MOST_ATTRIBUTES:
            attributes[name] = MessageAttribute("String", value)
    return OutgoingMessage(
        message.body,
        message_attributes=attributes,
        group_id=delivery.group_id,
        # A dead-letter queue of a FIFO queue is one, too (developer guide); a second copy of one message is no news to it.
        dedup_id=message.message_id if delivery.is_fifo else None,
        trace_header=message.attributes.get("AWSTraceHeader"),
    )
