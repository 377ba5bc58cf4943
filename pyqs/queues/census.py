"""What queues hold and how they are set up: counts, dead-letter queues, and what about them may surprise.

Owns: ``Census``, ``take_census`` and the warnings. Runs in ``pyqs queues`` and the commands about dead-letter queues. Asks for
attributes only: it receives nothing, so that it costs no message one of its lives. How old a queue's oldest message is SQS does
not say (CloudWatch does), and so it is not here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pyqs.config import MAX_IN_FLIGHT
from pyqs.errors import AccessDenied, QueueNotFound, SqsError
from pyqs.queues.names import FIFO
from pyqs.sqs import Sqs

#: SQS's default, which a queue has that nobody has thought about (API reference, CreateQueue).
DEFAULT_VISIBILITY = 30
#: The part of SQS's limit on messages in flight that is near it.
_NEAR = 0.8
_ABREAST = 8


@dataclass(frozen=True, slots=True)
class Redrive:
    """A queue's RedrivePolicy: its dead-letter queue, and how many receives a message has."""

    arn: str
    max_receives: int | None

    @property
    def name(self) -> str:
        """The dead-letter queue's name."""
        return self.arn.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Census:
    """One queue as it was when it was asked.

    Parameters:
        visible, in_flight, delayed: approximate counts of messages; None where the attributes may not be read.
        visibility, retention, delay: its VisibilityTimeout, MessageRetentionPeriod and DelaySeconds, seconds.
        redrive: where its failures go, None for nowhere.
        dead_letters: what its dead-letter queue holds in all, None if there is none or that may not be read.
        warnings: one line for each thing that may surprise.
        problem: why its attributes could not be read, "" if they were.
    """

    name: str
    url: str
    visible: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    visibility: int | None = None
    retention: int | None = None
    delay: int | None = None
    redrive: Redrive | None = None
    dead_letters: int | None = None
    warnings: tuple[str, ...] = ()
    problem: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.name.endswith(FIFO)

    @property
    def total(self) -> int | None:
        """Everything in it, visible or not."""
        counts = (self.visible, self.in_flight, self.delayed)
        return None if None in counts else sum(one or 0 for one in counts)


def take_census(sqs: Sqs, queues: Mapping[str, str]) -> list[Census]:
    """Each queue (name -> URL), by name.

    Raises:
        SqsError: SQS did not answer. A queue that may not be read, or is gone, is in the list, with its ``problem``.
    """
    with ThreadPoolExecutor(_ABREAST, thread_name_prefix="pyqs-census") as threads:
        return list(threads.map(lambda one: _look(sqs, *one), sorted(queues.items())))


def redrive_of(attributes: Mapping[str, str]) -> Redrive | None:
    """The RedrivePolicy among a queue's attributes; what is malformed counts as absent."""
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    except ValueError:
        return None
    arn = policy.get("deadLetterTargetArn") if isinstance(policy, dict) else None
    return Redrive(arn, _whole(policy.get("maxReceiveCount"))) if isinstance(arn, str) and arn else None


def _look(sqs: Sqs, name: str, url: str) -> Census:
    try:
        attributes = sqs.queue_attributes(url)
    except (AccessDenied, QueueNotFound) as exc:
        return Census(name, url, problem=str(exc))
    redrive = redrive_of(attributes)
    buries = redrive is None and _is_dead_letter_queue(sqs, url)
    warnings = [] if buries else _warnings_of(attributes)
    dead: Mapping[str, str] = {}
    if redrive is not None:
        try:
            dead = sqs.queue_attributes(sqs.locate(redrive.arn))
        except QueueNotFound:
            warnings.append(f"its dead-letter queue {redrive.name} does not exist: what fails for good is kept and tried again")
        except AccessDenied:
            warnings.append(f"what its dead-letter queue {redrive.name} holds may not be read")
        else:
            warnings += _warnings_of_pair(name, redrive.name, attributes, dead)
    elif not buries:
        warnings.append("no RedrivePolicy: what keeps failing is tried until its retention ends, and then it is gone")
    return Census(
        name,
        url,
        *counts(attributes),
        visibility=_whole(attributes.get("VisibilityTimeout")),
        retention=_whole(attributes.get("MessageRetentionPeriod")),
        delay=_whole(attributes.get("DelaySeconds")),
        redrive=redrive,
        dead_letters=sum(counts(dead)) if dead else None,
        warnings=tuple(warnings),
        attributes=attributes,
    )


def counts(attributes: Mapping[str, str]) -> tuple[int, int, int]:
    """Messages that are visible, in flight and delayed; approximate, as SQS calls them itself."""
    names = ("", "NotVisible", "Delayed")
    visible, hidden, delayed = (_whole(attributes.get(f"ApproximateNumberOfMessages{name}")) or 0 for name in names)
    return visible, hidden, delayed


def _warnings_of(attributes: Mapping[str, str]) -> list[str]:
    found = []
    if _whole(attributes.get("VisibilityTimeout")) == DEFAULT_VISIBILITY:
        found.append(
            "VisibilityTimeout is SQS's default of 30 s: where a Celery worker consumes it, a task that takes longer runs "
            "twice (pyqs workers renew what they hold)"
        )
    redrive = redrive_of(attributes)
    if redrive is not None and redrive.max_receives == 1:
        found.append(
            f"maxReceiveCount is 1: what a stopping or crashing worker held goes to {redrive.name} without another try"
        )
    in_flight = counts(attributes)[1]
    if in_flight >= MAX_IN_FLIGHT * _NEAR:
        found.append(f"{in_flight} messages are in flight; from {MAX_IN_FLIGHT} on receives bring nothing")
    return found


def _warnings_of_pair(name: str, dead_name: str, source: Mapping[str, str], dead: Mapping[str, str]) -> list[str]:
    found = []
    buried = sum(counts(dead))
    if buried:
        found.append(f"{dead_name} holds {buried} message{'s' * (buried != 1)}: pyqs dlq list {dead_name}")
    own, theirs = (_whole(one.get("MessageRetentionPeriod")) for one in (source, dead))
    # On a FIFO queue a message's time begins anew when it is moved (developer guide, "Using dead-letter queues").
    if own is not None and theirs is not None and theirs <= own and not name.endswith(FIFO):
        found.append(
            f"{dead_name} keeps messages for {_days(theirs)}, this queue for {_days(own)}: a message's time goes on when it is "
            "moved, so that it may be gone before anybody has looked"
        )
    return found


def _is_dead_letter_queue(sqs: Sqs, url: str) -> bool:
    try:
        return bool(sqs.dead_letter_sources(url))
    except SqsError as exc:
        if exc.retryable:
            raise
        return False


def _days(seconds: int) -> str:
    return (
        f"{seconds / 86400:.3g} days"
        if seconds >= 2 * 86400
        else f"{seconds / 3600:.3g} h"
        if seconds >= 3600
        else f"{seconds} s"
    )


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None
