"""Dead-letter queues: which queue a name means, where its messages came from, and sending them back there.

Owns: ``Graveyard`` and ``Retry``. Runs in the main thread of ``pyqs dlq``. A message is sent to its queue first and deleted
when SQS has accepted that: whoever is killed in between leaves it in both places, never in none.

The copy is the message as its queue had it: body, attributes and group, without what a worker has written on it. On a FIFO
queue it needs another deduplication id: with its own, SQS would drop it without a word if that was used within the last five
minutes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pyqs.bulk import Answer, send_all
from pyqs.commands.anatomy import Anatomy
from pyqs.commands.looking import Look
from pyqs.commands.shown import printable
from pyqs.commands.target import Target, find, say
from pyqs.config import MAX_BATCH
from pyqs.errors import ConfigError, PyQSError, SqsError
from pyqs.message import ORIGIN, REASON, OutgoingMessage, ReceivedMessage, SentMessage
from pyqs.queues.census import redrive_of
from pyqs.queues.names import name_from_url
from pyqs.sqs import Sqs

#: Why messages are there of which no worker has said so: SQS has moved them, or somebody has sent them there.
TOO_OFTEN, SENT_THERE = "received too often", "unknown"
#: Seconds that a message must stay hidden when it is sent: time for the send and the delete.
_MARGIN = 15.0
#: Seconds' worth of messages that are received at a time where there is a rate.
_AHEAD = 5.0
#: Seconds of rest at a time, after which it may be told to stop.
_NAP = 0.5
_DELETE_PAUSES = (0.5, 2.0)
#: Receives in a row of which nothing could be sent, after which it ends: each look costs the messages a receive.
_IN_VAIN = 3


@dataclass(frozen=True, slots=True)
class Graveyard:
    """A dead-letter queue and the queues whose failures end up in it (name -> URL), as far as that may be asked."""

    target: Target
    sources: Mapping[str, str] = field(default_factory=dict)


def find_graveyard(sqs: Sqs, text: str) -> Graveyard:
    """The dead-letter queue of this name, URL or ARN, or that of the queue which is named. Which one is meant is said.

    Raises:
        QueueNotFound, ConfigError: as ``target.find``.
    """
    named = find(sqs, text)
    sources = _sources(sqs, named)
    if sources:
        return Graveyard(named, sources)
    try:
        redrive = redrive_of(sqs.queue_attributes(named.url, ("RedrivePolicy",)))
    except SqsError as exc:
        if exc.retryable:
            raise
        redrive = None
    if redrive is None:
        say(f"{named.name}: as far as can be told it is no queue's dead-letter queue")
        return Graveyard(named)
    dead = Target(redrive.name, sqs.locate(redrive.arn))
    say(f"{named.name} is a source queue; this is about its dead-letter queue {dead.name}")
    return Graveyard(dead, _sources(sqs, dead) or {named.name: named.url})


def _sources(sqs: Sqs, target: Target) -> dict[str, str]:
    try:
        return {name_from_url(url): url for url in sqs.dead_letter_sources(target.url)}
    except SqsError as exc:
        if exc.retryable:
            raise
        say(f"{target.name}: which queues it belongs to may not be asked ({exc})")
        return {}


def cause(one: Anatomy) -> str:
    """Why it is there."""
    return one.reason or (TOO_OFTEN if "DeadLetterQueueSourceArn" in one.message.attributes else SENT_THERE)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which messages are meant; what is "" does not count. Task and reason may have wildcards."""

    message_id: str = ""
    task: str = ""
    reason: str = ""

    def takes(self, one: Anatomy) -> bool:
        """Whether this is one of them."""
        return (
            (not self.message_id or one.message.message_id == self.message_id)
            and (not self.task or fnmatchcase(one.task, self.task))
            and (not self.reason or fnmatchcase(cause(one), self.reason))
        )


def original(message: ReceivedMessage, *, fifo: bool) -> OutgoingMessage:
    """The message as its queue had it.

    The deduplication id names the buried message: sent again after a crash, it is not enqueued twice, and it is never that of
    another one.
    """
    kept = {name: value for name, value in message.message_attributes.items() if name not in (REASON, ORIGIN)}
    return OutgoingMessage(
        message.body,
        delay=None if fifo else 0,
        message_attributes=kept,
        group_id=message.attributes.get("MessageGroupId"),
        dedup_id=f"pyqs-retry-{message.message_id}" if fifo else None,
        trace_header=message.attributes.get("AWSTraceHeader"),
    )


@dataclass(slots=True)
class Tally:
    """What became of the messages: sent by target, what was not sent and why, and how many were not meant."""

    sent: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    others: int = 0

    @property
    def total(self) -> int:
        """How many were sent back."""
        return self.sent.total()


class Retry:
    """Sends chosen messages of a dead-letter queue back.

    Parameters:
        to: where they all go; None sends each to the queue it came from.
        rate: messages a second, None for as fast as it goes.
        told: called with the number that were sent back by now.
    """

    def __init__(
        self,
        sqs: Sqs,
        graveyard: Graveyard,
        *,
        to: Target | None = None,
        rate: float | None = None,
        told: Callable[[int], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if to is not None and to.is_fifo != graveyard.target.is_fifo:
            raise ConfigError(f"{to.name} and {graveyard.target.name} are not of one kind: one is FIFO, the other is not")
        if to is not None and to.url == graveyard.target.url:
            raise ConfigError(f"{to.name} is where they lie: --to names another queue")
        self._sqs = sqs
        self._graveyard = graveyard
        self._to = to
        self._rate = rate
        self._told = told
        self._sleep = sleep
        #: Ids that SQS gave to what was sent: one that fails at once comes to the dead-letter queue again under its id.
        self._ours: set[str] = set()
        self.tally = Tally()

    def run(self, look: Look, read: Callable[[ReceivedMessage], Anatomy], choice: Choice, most: int | None) -> Tally:
        """Send back what is meant, at most so many, until nothing more comes, or nothing can be sent any more.

        What SQS refuses, or does not answer, is among the tally's problems: what was done before it counts.
        """
        try:
            self._run(look, read, choice, most)
        except SqsError as exc:
            self.tally.problems.append(f"not all were looked at: {exc}")
        return self.tally

    def _run(self, look: Look, read: Callable[[ReceivedMessage], Anatomy], choice: Choice, most: int | None) -> None:
        at_a_time = MAX_BATCH if self._rate is None else max(1, min(MAX_BATCH, int(self._rate * _AHEAD)))
        in_vain = 0
        for batch in look.messages(at_a_time=at_a_time):
            known = [read(message) for message in batch if message.message_id not in self._ours]
            meant = [one for one in known if choice.takes(one)]
            self.tally.others += len(known) - len(meant)
            if most is not None:
                meant = meant[: most - self.tally.total]
            before = self.tally.total
            self._move(look, meant)
            self._told(self.tally.total)
            in_vain = in_vain + 1 if meant and self.tally.total == before else 0
            if in_vain == _IN_VAIN:
                self.tally.problems.append("nothing can be sent: what comes after these was not looked at")
                break
            if (most is not None and self.tally.total >= most) or (choice.message_id and meant):
                break
            self._rest(look, self.tally.total - before)

    def _rest(self, look: Look, sent: int) -> None:
        left = sent / self._rate if self._rate else 0.0
        while left > 0:
            pause = min(left, _NAP)
            self._sleep(pause)
            look.checkpoint()
            look.renew()
            left -= pause

    def _move(self, look: Look, meant: Iterable[Anatomy]) -> None:
        by_target: dict[Target, list[Anatomy]] = {}
        for one in meant:
            try:
                by_target.setdefault(self._target_of(one), []).append(one)
            except PyQSError as exc:
                self.tally.problems.append(f"{one.message.message_id}: {exc}")
        for target, ones in by_target.items():
            ready = [one.message for one in ones if look.holds(one.message, _MARGIN)]
            late = [one.message.message_id for one in ones if one.message not in ready]
            self.tally.problems += [f"{name}: it took too long to come to it; it is visible again, try again" for name in late]
            outgoing = [original(message, fifo=target.is_fifo) for message in ready]
            send = self._send_in_order if target.is_fifo else self._send
            accepted = []
            for message, answer in zip(ready, send(look, target, outgoing), strict=True):
                if isinstance(answer, SentMessage):
                    self._ours.add(answer.message_id)
                    accepted.append(message)
                else:
                    self.tally.problems.append(f"{message.message_id}: not sent to {target.name}: {answer}")
            self.tally.sent[target.name] += len(accepted)
            self._delete(look, accepted)

    def _send(self, _: Look, target: Target, outgoing: list[OutgoingMessage]) -> list[Answer]:
        return send_all(outgoing, lambda batch: self._sqs.send_batch(target.url, batch), ordered=False, sleep=self._sleep)

    def _send_in_order(self, look: Look, target: Target, outgoing: list[OutgoingMessage]) -> list[Answer]:
        """One by one; what comes after a message of its group that is refused is not sent, or it would overtake it."""
        answers: list[Answer] = []
        broken: dict[str | None, SqsError] = {}
        for message in outgoing:
            if message.group_id not in broken:
                look.renew()
                try:
                    answers.append(self._sqs.send(target.url, message))
                    continue
                except SqsError as exc:
                    broken[message.group_id] = exc
            answers.append(broken[message.group_id])
        return answers

    def _target_of(self, one: Anatomy) -> Target:
        """Where it goes back to. What a message says of itself counts only where the two queues belong together."""
        if self._to is not None:
            return self._to
        arn = one.message.attributes.get("DeadLetterQueueSourceArn")
        if arn:  # SQS's own word
            return Target(arn.rpartition(":")[2], self._sqs.locate(arn))
        sources = self._graveyard.sources
        if one.origin in sources:
            return Target(one.origin, sources[one.origin])
        if not one.origin and len(sources) == 1:
            return Target(*next(iter(sources.items())))
        name = printable(one.origin, 80) or "nobody says which queue"
        raise ConfigError(f"where it came from is not certain ({name}); --to QUEUE says where it goes")

    def _delete(self, look: Look, messages: list[ReceivedMessage]) -> None:
        """They are sent; what cannot be deleted now stays, and is there twice."""
        left, answer = messages, None
        for pause in (*_DELETE_PAUSES, None):
            if not left:
                return
            try:
                answers = self._sqs.delete_batch(self._graveyard.target.url, [one.receipt_handle for one in left])
            except SqsError as exc:
                answers = [exc] * len(left)
            look.settled([one for one, answer in zip(left, answers, strict=True) if answer is None])
            answer = next((one for one in answers if one is not None), None)
            left = [one for one, refused in zip(left, answers, strict=True) if refused is not None]
            if left and pause is not None:
                self._sleep(pause)
        for one in left:
            self.tally.problems.append(f"{one.message_id}: sent back, but still here, as it could not be deleted: {answer}")
