"""Verdicts in a Lambda function: follow-ups first, then what can be done about a message besides Lambda's own delete.

Owns: the function's SQS client, made when something must be said to SQS, and every call over it. Runs in the function's main
thread, and in that of its clockwork once the time is up. Never receives; deletes only when Lambda may come to no answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby

from pyqs.backoff import clamp_visibility, retry_seconds
from pyqs.clock import boottime
from pyqs.config import MAX_BATCH
from pyqs.errors import PayloadUnavailable, PyQSError, SqsError
from pyqs.message import (
    DeadLetter,
    Delete,
    Delivery,
    Drop,
    FollowUp,
    Hide,
    OutgoingMessage,
    Resend,
    SentMessage,
    Verdict,
    copy_of,
)
from pyqs.payloads import Payloads
from pyqs.pointers import pointer_of
from pyqs.queues.names import name_from_url
from pyqs.sqs import Sqs
from pyqs.worker.copies import Copies, dead_letter
from pyqs.worker.facts import REFRESH, QueueFacts, read_facts
from pyqs.worker.outbox import Outbox
from pyqs.worker.report import Remembered
from pyqs.worker.settlement import Lane

log = logging.getLogger(__name__)


class Settling:
    """Carries verdicts out, as far as that is not Lambda's part.

    Parameters:
        connector: makes the client.
        payloads: bodies in S3.
    """

    def __init__(self, connector: Callable[[], Sqs], payloads: Payloads) -> None:
        self._connector = connector
        self._payloads = payloads
        self._copied = Remembered()
        self._copies = Copies()
        self._said = Remembered()
        self._facts: dict[str, tuple[float, QueueFacts | None]] = {}

    @cached_property
    def _sqs(self) -> Sqs:
        return self._connector()

    @cached_property
    def _outbox(self) -> Outbox:
        return Outbox(self._sqs)

    def only_delete(self, delivery: Delivery) -> bool:
        """Whether its message was done, or copied, before in this process: it must not run or be copied again."""
        return self._copies.only_delete(delivery.message.message_id)

    def copies_allowed(self, delivery: Delivery) -> bool:
        """Whether it may be sent again in place of being hidden."""
        return self._copies.allowed(delivery)

    def settle(self, delivery: Delivery, verdict: Verdict, follow_ups: Sequence[FollowUp] = ()) -> Verdict:
        """Carry a verdict out, after its follow-ups.

        Returns:
            ``Delete`` where Lambda is to delete the message, ``Hide`` or ``Leave`` where it comes back.
        """
        if not self._sent(delivery, follow_ups):
            verdict = Hide(retry_seconds(delivery.receive_count, held=_held(delivery)))
        match verdict:
            case Resend():
                verdict = self._hop(delivery, verdict)
            case DeadLetter():
                verdict = self._bury(delivery, verdict)
            case Drop():
                facts = self._facts_of(delivery)
                deleted = facts is not None and facts.dead_letter_arn is None
                verdict = Delete() if deleted else Hide(verdict.otherwise)
        if isinstance(verdict, Delete):
            self._copies.settled(delivery)
            if any(one.message.body == delivery.message.body for one in follow_ups):
                self._copied.add(delivery.message.message_id)
            self._drop_payload(delivery)
        elif isinstance(verdict, Hide):
            self.hide([delivery], verdict.seconds)
        return verdict

    def is_last_life(self, delivery: Delivery) -> bool:
        """Whether SQS takes it to the dead-letter queue instead of handing it out once more."""
        facts = self._facts_of(delivery)
        return facts is not None and facts.max_receive_count is not None and delivery.receive_count >= facts.max_receive_count

    def release(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Give back what has not started: anybody may have it at once; what is on its last life begins a new one."""
        verdicts: list[Verdict] = []
        hidden: list[Delivery] = []
        for delivery in deliveries:
            again = self._copies.allowed(delivery) and self.is_last_life(delivery)
            verdicts.append(self._hop(delivery, Resend(0)) if again else Hide(0))
            if isinstance(verdicts[-1], Hide):
                hidden.append(delivery)
            else:
                self._copies.settled(delivery)
        self.hide(hidden, 0)
        return verdicts

    def hide(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Have them come back then. Where that fails they come when the queue's own visibility timeout is over."""
        for url, batch in _batches(deliveries):
            changes = [(one.message.receipt_handle, clamp_visibility(math.ceil(seconds), held=_held(one))) for one in batch]
            answers: list[SqsError | None]
            try:
                answers = self._sqs.change_visibility_batch(url, changes)
            except SqsError as exc:
                answers = [exc]
            self._tell("hide", url, answers, "hiding messages fails, they come back after the queue's visibility timeout")

    def delete(self, deliveries: Sequence[Delivery]) -> None:
        """Delete what is done: Lambda may not get to it."""
        for url, batch in _batches(deliveries):
            self._delete_batch(url, batch)

    # -- parts --------------------------------------------------------------------------------------------------------
    def _delete_batch(self, url: str, batch: Sequence[Delivery]) -> bool:
        """Delete up to ten; whether all of that was accepted."""
        answers: list[SqsError | None]
        try:
            answers = self._sqs.delete_batch(url, [one.message.receipt_handle for one in batch])
        except SqsError as exc:
            answers = [exc]
        self._tell("delete", url, answers, "messages that are done could not be deleted, and may run again")
        return not any(answers)

    def _drop_payload(self, delivery: Delivery) -> None:
        """Delete its body in S3, after its message, which Lambda would delete later, unless a copy of it points there."""
        pointer = pointer_of(delivery.message)
        if pointer is None or pointer.bucket not in self._payloads.buckets or delivery.message.message_id in self._copied:
            return
        if self._delete_batch(delivery.queue_url, [delivery]):
            try:
                self._payloads.delete([pointer])
            except PayloadUnavailable as exc:
                if self._said.add(f"payload {exc.code}"):
                    log.warning("bodies of messages that are done stay in S3 until its lifecycle rule removes them: %s", exc)

    def _tell(self, what: str, url: str, answers: Iterable[SqsError | None], sentence: str) -> None:
        failed = next((one for one in answers if one is not None), None)
        if failed is not None and self._said.add(f"{what} {url}"):
            log.warning("queue %s: %s: %s", name_from_url(url), sentence, failed)

    def _sent(self, delivery: Delivery, follow_ups: Sequence[FollowUp]) -> bool:
        """Send what its task has brought about; whether all of it was accepted."""
        if not follow_ups:
            return True
        self._outbox.learn(delivery.queue, delivery.queue_url)
        for (queue, create), group in groupby(follow_ups, lambda one: (one.queue, one.create)):
            refused = self._send(Lane("send", queue, create), [one.message for one in group])
            if refused is not None:
                log.error("%s: a follow-up to %s is not sent; the message is run again: %s", delivery, queue, refused)
                return False
        return True

    def _send(self, lane: Lane, messages: Sequence[OutgoingMessage]) -> PyQSError | None:
        """None, or why not all of them were accepted."""
        answers = self._outbox.send(lane, messages)
        return next((one for one in answers if not isinstance(one, SentMessage)), None)

    def _hop(self, delivery: Delivery, verdict: Resend) -> Verdict:
        """Send the copy; or hide the message for all that is left to wait."""
        left = verdict.delay if verdict.left is None else verdict.left
        if not self._copies.allowed(delivery):
            return Hide(left)
        refused = self._send(Lane("send", delivery.queue_url), [copy_of(delivery, verdict.delay)])
        if refused is None:
            self._copied.add(delivery.message.message_id)
        return Delete() if refused is None else self._hidden_instead(delivery, delivery.queue_url, left, refused)

    def _hidden_instead(self, delivery: Delivery, url: str, seconds: float, refused: PyQSError) -> Hide:
        if url == delivery.queue_url:
            self._copies.refuse(delivery.queue)
        if self._said.add(f"copy {url}"):
            log.warning(
                "queue %s: messages are hidden instead of sent on to %s: %s", delivery.queue, name_from_url(url), refused
            )
        return Hide(seconds)

    def _bury(self, delivery: Delivery, verdict: DeadLetter) -> Verdict:
        """Send a copy to the dead-letter queue, if there is one we know of."""
        facts = self._facts_of(delivery)
        target = None if facts is None else facts.dead_letter_arn
        why = "its queue has none" if facts is not None else "its queue's redrive policy cannot be read"
        try:
            url = None if target is None else self._sqs.locate(target)
        except PyQSError as exc:
            url, why = None, str(exc)
        if url is None:
            if self._said.add(f"bury {delivery.message.message_id}"):
                log.error("%s stays on its queue instead of going to a dead-letter queue (%s): %s", delivery, why,
                          verdict.reason)  # fmt: skip
            return Hide(verdict.otherwise)
        refused = self._send(Lane("send", url), [dead_letter(delivery, verdict.reason)])
        if refused is not None:
            return self._hidden_instead(delivery, url, verdict.otherwise, refused)
        self._copied.add(delivery.message.message_id)
        log.warning("%s went to the dead-letter queue %s: %s", delivery, name_from_url(url), verdict.reason)
        return Delete()

    def _facts_of(self, delivery: Delivery) -> QueueFacts | None:
        """What its queue's attributes say; None where they may not be read."""
        until, known = self._facts.get(delivery.queue_url, (0.0, None))
        if until > boottime():
            return known
        try:
            known = read_facts(self._sqs.queue_attributes(delivery.queue_url, ("RedrivePolicy",)))
        except SqsError as exc:
            known = None
            if self._said.add(f"facts {delivery.queue}"):
                log.warning("queue %s: its attributes cannot be read, so nothing goes to its dead-letter queue by us, and a "
                            "message on its last receive is not known as such: %s", delivery.queue, exc)  # fmt: skip
        self._facts[delivery.queue_url] = (boottime() + REFRESH, known)
        return known


def _batches(deliveries: Sequence[Delivery]) -> Iterator[tuple[str, list[Delivery]]]:
    """Up to ten of one queue, with its URL."""
    by_url: dict[str, list[Delivery]] = {}
    for one in deliveries:
        by_url.setdefault(one.queue_url, []).append(one)
    for url, some in by_url.items():
        for start in range(0, len(some), MAX_BATCH):
            yield url, some[start : start + MAX_BATCH]


def _held(delivery: Delivery) -> float:
    return boottime() - delivery.received_at
