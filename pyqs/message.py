"""The values that travel: what SQS hands out, what a task call is, and what becomes of a delivery.

Owns: the nouns ``Delivery``, ``Call`` and ``Verdict``, plus the two shapes of an SQS message that the
``sqs`` module speaks. Pure and immutable; used in every process and thread. Never does I/O and never
prints a body or a receipt handle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pyqs.value import value

EMPTY: Mapping[str, Any] = MappingProxyType({})

#: Attributes of a worker's copy in a dead-letter queue: why it is there, and the queue it was on.
REASON, ORIGIN = "pyqs.reason", "pyqs.queue"


def _empty() -> Mapping[str, Any]:
    """The default of the mappings below; a factory, because before Python 3.12 a mapping proxy is no plain default."""
    return EMPTY


@dataclass(frozen=True, slots=True)
class MessageAttribute:
    """One typed message attribute (SQS API: MessageAttributeValue). Exactly one of the values is set."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


@value
class ReceivedMessage:
    """One message as ReceiveMessage hands it out.

    ``attributes`` are SQS's system attributes (ApproximateReceiveCount, SentTimestamp, MessageGroupId, ...),
    text as SQS sends them.
    """

    message_id: str
    receipt_handle: str = field(repr=False)
    body: str = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=_empty)
    message_attributes: Mapping[str, MessageAttribute] = field(default_factory=_empty, repr=False)


@value
class OutgoingMessage:
    """One message to be sent.

    Parameters:
        body: text, 1 byte to 1 MiB as UTF-8 together with the attributes.
        delay: seconds, 0-900; None leaves it to the queue's own DelaySeconds (and is the only value a FIFO queue takes).
        group_id: MessageGroupId; required on FIFO, optional on a standard queue (fair queues).
        dedup_id: MessageDeduplicationId, FIFO only.
    """

    body: str = field(repr=False)
    delay: int | None = None
    message_attributes: Mapping[str, MessageAttribute] = field(default_factory=_empty, repr=False)
    group_id: str | None = None
    dedup_id: str | None = None
    trace_header: str | None = None


@value
class SentMessage:
    """SQS's answer to one send."""

    message_id: str
    sequence_number: str | None = None


@value
class MoveTask:
    """One message move task, as ListMessageMoveTasks tells of it.

    Parameters:
        status: RUNNING, COMPLETED, CANCELLING, CANCELLED or FAILED.
        destination_arn: None moves each message to the queue it came from.
        moved, to_move: approximate; ``to_move`` is what there was at its start, if SQS has counted that yet.
        rate: most messages per second, None leaves that to SQS.
        started_ms: milliseconds since the epoch.
        reason: why it failed, as SQS names it.
        handle: what cancels it; there while it runs.
    """

    status: str
    source_arn: str
    destination_arn: str | None = None
    moved: int = 0
    to_move: int | None = None
    rate: int | None = None
    started_ms: int = 0
    reason: str | None = None
    handle: str | None = field(default=None, repr=False)


@value
class Delivery:
    """One receipt of one SQS message.

    Parameters:
        id: number of this receipt in this worker; it stands in every frame and log line about it.
        queue: the SQS queue's name.
        queue_url: its URL.
        message: what SQS handed out.
        received_at: boot-time clock (seconds) when the receive could first have answered; the lease is dated from here.
        fetched_at: wall clock (seconds since the epoch) for people and hooks; never used for a duration.
        visibility: seconds of VisibilityTimeout that the receive asked for (or the queue's own).
    """

    id: int
    queue: str
    queue_url: str
    message: ReceivedMessage
    received_at: float
    fetched_at: float
    visibility: int

    @property
    def receive_count(self) -> int:
        """How often SQS has handed this message out, at least 1 (ApproximateReceiveCount)."""
        said = self.message.attributes.get("ApproximateReceiveCount", "1")
        if said == "1":  # most are
            return 1
        try:
            return max(1, int(said))
        except ValueError:
            return 1

    @property
    def group_id(self) -> str | None:
        """MessageGroupId, if the message has one."""
        return self.message.attributes.get("MessageGroupId")

    @property
    def is_fifo(self) -> bool:
        """True on a FIFO queue."""
        return self.queue.endswith(".fifo")

    def __str__(self) -> str:
        return f"delivery {self.id} ({self.queue} {self.message.message_id})"


def copy_of(delivery: Delivery, delay: int) -> OutgoingMessage:
    """Its message once more: the same body, attributes and group, due in ``delay`` seconds. Not for a FIFO queue."""
    message = delivery.message
    return OutgoingMessage(
        message.body,
        delay=delay,
        message_attributes=message.message_attributes,
        group_id=delivery.group_id,
        trace_header=message.attributes.get("AWSTraceHeader"),
    )


@value
class Call:
    """One decoded task call: name, arguments and the options every runtime shares.

    Parameters:
        task: the registered name.
        id: the task id; a native message has none and takes the SQS message id.
        eta: seconds since the epoch before which it must not run, or None.
        expires: seconds since the epoch after which it must not run, or None.
        time_limit: hard limit in seconds, or None.
        soft_time_limit: soft limit in seconds, or None.
    """

    task: str
    args: tuple[Any, ...] = field(default=(), repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=_empty, repr=False)
    id: str = ""
    retries: int = 0
    eta: float | None = None
    expires: float | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None


@value
class DescribedCall(Call):
    """A native call whose message says more of itself than PyQS's do, for the framework that its task belongs to."""

    about: Mapping[str, Any] = field(default_factory=_empty, repr=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """The work is done (or was acked early): delete the message."""


@dataclass(frozen=True, slots=True)
class Hide:
    """Make the message invisible for this long from now, seconds 0-43200; 0 releases it to anyone."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Leave:
    """Do nothing: the lease runs out by itself. For a delivery that is not ours any more."""


@dataclass(frozen=True, slots=True)
class Resend:
    """Hop: send the same body, attributes and group again with this delay (seconds, 0-900), then delete this one.

    ``left`` is all that is left to wait, in seconds: where no copy can be sent, the message is hidden for that long in one
    step, because each step costs it one receive. None says that ``delay`` is all.
    """

    delay: int
    left: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Copy it to its queue's dead-letter queue with the reason as an attribute, then delete it.

    Where there is no such queue, or no copy can be sent, it is hidden for ``otherwise`` seconds instead.
    """

    reason: str
    otherwise: float


@dataclass(frozen=True, slots=True)
class Drop:
    """What kombu makes of a rejected message: deleted, unless its queue has a redrive policy (or that cannot be known).

    Then it is hidden for ``otherwise`` seconds, and SQS takes it to the dead-letter queue in its time.
    """

    otherwise: float


Verdict = Delete | Hide | Leave | Resend | DeadLetter | Drop


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One message that a task's end brings about (retry, link, chain), sent before its verdict is carried out.

    ``queue`` is an SQS queue's name or URL; ``create`` says whether the sender may create it if it is missing.
    """

    queue: str
    message: OutgoingMessage
    create: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """How a task that had begun came to no end of its own: its executor is dead.

    Parameters:
        how: what became of the executor, as one says it: "died (SIGKILL)".
        limit: the hard limit in seconds for which it was killed, or None.
        acked_early: its message was deleted when it began.
        signal: the call was called off, and so the executor was killed; the signal that was asked for. 0 if it was not.
    """

    how: str
    limit: float | None = None
    acked_early: bool = False
    signal: int = 0


@dataclass(frozen=True, slots=True)
class CalledOff:
    """A call that somebody has called off: it must not start any more.

    Parameters:
        call_id: as its message has it.
        until: wall-clock second after which that no longer counts.
        signal: not 0: where it runs already, its executor is killed, and this is the signal that was asked for.
    """

    call_id: str
    until: float
    signal: int = 0
