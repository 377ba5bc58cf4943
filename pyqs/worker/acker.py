"""The end of the line: carries out verdicts, follow-ups first, in batches, tried until they are accepted.

Owns: every delete, hide and send of the worker. ``settle`` is called by the pool and the fetchers; several sender threads
do the calls. A message is deleted only when all that its task brought about was accepted, otherwise it is hidden and run
again. Never runs a task and never decodes a body.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from pyqs.backoff import clamp_visibility, retry_seconds
from pyqs.clock import boottime
from pyqs.config import ConnectionConfig
from pyqs.errors import AccessDenied, LeaseLost, PyQSError, QueueNotFound, SqsError
from pyqs.message import (
    DeadLetter,
    Delete,
    Delivery,
    Drop,
    FollowUp,
    Hide,
    Leave,
    OutgoingMessage,
    Resend,
    SentMessage,
    Verdict,
    copy_of,
)
from pyqs.sqs import Sqs
from pyqs.worker.batches import Batches
from pyqs.worker.copies import Copies, dead_letter
from pyqs.worker.facts import Facts, QueueFacts
from pyqs.worker.leases import Leases
from pyqs.worker.outbox import Outbox
from pyqs.worker.payloads import LargePayloads
from pyqs.worker.report import Remembered, Totals
from pyqs.worker.service import OnCrash
from pyqs.worker.settlement import Entry, Lane, Senders, Settled, Settlement
from pyqs.worker.trouble import Trouble

log = logging.getLogger(__name__)

#: Half of them may be busy with one kind of call on one queue.
SENDERS = 32
#: What the log calls each kind of call.
_CALLED = {"judge": "look at its redrive policy", "send": "send", "delete": "delete", "hide": "hide"}

#: Of a batch: what is to be tried again and why, and whether any of it was accepted.
Answered = tuple[list[tuple[Entry, SqsError]], bool]


class Acker:
    """Settles deliveries.

    Parameters:
        on_change: called, from any thread, when one more is settled.
        payloads: deletes bodies in S3; None where there are none.
        on_refused: told when a delete is refused for a reason that does not pass by itself.
    """

    def __init__(
        self,
        sqs: Sqs,
        leases: Leases,
        totals: Totals,
        facts: Facts,
        on_crash: OnCrash,
        *,
        senders: int = SENDERS,
        payloads: LargePayloads | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_refused: Callable[[SqsError], None] = lambda _: None,
    ) -> None:
        self._sqs = sqs
        self._leases = leases
        self._totals = totals
        self._facts = facts
        self._payloads = payloads or LargePayloads(ConnectionConfig(), on_crash)
        self._on_change = on_change
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()
        self._early: set[int] = set()
        self._batches: Batches[Lane, Entry] = Batches(senders, short_of=lambda: self._senders.add())
        self._outbox = Outbox(sqs)
        self.copies = Copies()
        self._said = Remembered()
        #: Of the lanes that have ever failed.
        self._troubles: dict[Lane, Trouble] = {}
        self._closing = False
        self._closed = False
        self._senders = Senders(senders, self._batches, self._work, on_crash)

    # -- what the pool and the fetchers ask for -------------------------------------------------------------------

    def settle(
        self, delivery: Delivery, verdict: Verdict, follow_ups: Sequence[FollowUp] = (), settled: Settled | None = None
    ) -> None:
        """Carry out a verdict, after its follow-ups. Answers at once."""
        with self._lock:
            early = delivery.id in self._early
            self._early.discard(delivery.id)
            done = early and not follow_ups and settled is None
            self._pending[delivery.queue] += not done
        self._payloads.ends(delivery, follow_ups)
        if done:
            self._on_change()
            return
        if early:
            verdict = Leave()  # its delete is on its way since it started
        one = Settlement(delivery, verdict, settled, early=early)
        outbox = [(Lane("send", follow_up.queue, follow_up.create, early), follow_up.message) for follow_up in follow_ups]
        if isinstance(verdict, Resend):
            outbox += self._hop(one, verdict)
        one.unsent = len(outbox)
        for queue in {follow_up.queue for follow_up in follow_ups}:
            url = delivery.queue_url if queue == delivery.queue else self._facts.url_of(queue)
            if url is not None:
                self._outbox.learn(queue, url)
        for lane, message in outbox:
            self._batches.put(lane, (one, message))
        if not outbox:
            self._carry_out(one)

    def release(self, delivery: Delivery) -> None:
        """Give a delivery back unstarted: anybody may have it at once.

        On its last life it would go to the dead-letter queue without ever having run: a copy begins a new one instead. What
        was done before is deleted.
        """
        if self.only_delete(delivery.message.message_id):
            self.settle(delivery, Delete())
            return
        self._totals.add("released")
        self.settle(delivery, Resend(0) if self._facts.is_last_life(delivery) else Hide(0))

    def ack_early(self, delivery: Delivery) -> None:
        """Its task has started and asked for the delete now (never on FIFO, where it waits for the end)."""
        if delivery.is_fifo:
            return
        with self._lock:
            self._pending[delivery.queue] += 1
            self._early.add(delivery.id)
        self._payloads.begins_early(delivery)
        self.copies.settled(delivery)
        self._batches.put(Lane("delete", delivery.queue_url), (Settlement(delivery, Delete()), None))

    def only_delete(self, message_id: str) -> bool:
        """Whether this message was done, or copied, before: it must not run or be copied again."""
        return self.copies.only_delete(message_id)

    @property
    def pending(self) -> int:
        """Verdicts that are not carried out yet."""
        with self._lock:
            return self._pending.total()

    def failing(self) -> Counter[str]:
        """On how many queues each kind of call fails now."""
        return Counter(lane.kind for lane in self._batches.failures())

    def pending_on(self, queue: str) -> int:
        """The same for the deliveries of one queue."""
        return self._pending.get(queue, 0)

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the sender threads."""
        self._senders.start()

    def close(self) -> None:
        """Nothing more comes: carry out what there is, without waiting for company."""
        self._closing = True
        self._batches.close()

    @property
    def flushed(self) -> bool:
        """After ``close``: whether all is carried out, or nobody is left to do it."""
        return not self.pending or not self._senders.alive

    def abandon(self) -> None:
        """Give up what is not accepted yet, and say so; every sender ends."""
        self._closing = self._closed = True
        left = self._batches.abandon()
        if self.pending:
            queues = sorted({entry[0].delivery.queue for entry in left})
            log.error(
                "%d verdicts could not be carried out before the deadline (queues: %s); their messages come back when "
                "their leases end",
                self.pending,
                ", ".join(queues),
            )
        lost = sum(one.early and message is not None for one, message in left)
        if lost:
            log.error("%d follow-ups (retries, links) of tasks that were acked early could not be sent: they are lost", lost)

    # -- carrying out ---------------------------------------------------------------------------------------------

    def _hop(self, one: Settlement, verdict: Resend) -> list[tuple[Lane, OutgoingMessage]]:
        """The copy to send, or none and what stands in for it."""
        left = verdict.delay if verdict.left is None else verdict.left
        if not self._leases.holds(one.delivery):
            one.verdict = Leave()  # somebody else may have it by now and send the same copy
        elif not self.copies.allowed(one.delivery) or self._batches.failing(Lane("delete", one.delivery.queue_url)):
            one.verdict = Hide(left)  # a copy whose original cannot be deleted is a message more
        else:
            one.verdict, one.instead = Delete(), left
            return [(Lane("send", one.delivery.queue_url), copy_of(one.delivery, verdict.delay))]
        return []

    def _carry_out(self, one: Settlement) -> None:
        """The outbox is empty: now the verdict."""
        match one.verdict:
            case DeadLetter() | Drop():
                self._batches.put(Lane("judge", one.delivery.queue_url), (one, None))
            case Delete():
                self.copies.settled(one.delivery)
                self._batches.put(Lane("delete", one.delivery.queue_url), (one, None))
            case Hide():
                self._batches.put(Lane("hide", one.delivery.queue_url), (one, None))
            case _:
                if not one.early:
                    self._leases.end([one.delivery])
                self._finished(one)

    def _finished(self, *settlements: Settlement) -> None:
        for one in settlements:
            if one.settled is not None:
                one.settled(one.verdict)
        self._on_change()  # first: who sees nothing pending must know of what this brought about
        with self._lock:
            for one in settlements:
                queue = one.delivery.queue
                self._pending[queue] -= 1
                if not self._pending[queue]:
                    del self._pending[queue]

    def _work(self, lane: Lane, entries: list[Entry]) -> None:
        """Do one batch, in a sender's thread."""
        accepted = False
        if lane.kind == "judge":
            again = self._judge(entries)
        elif lane.kind == "send":
            again, accepted = self._send(lane, entries)
        elif lane.kind == "delete":
            again, accepted = self._delete(lane, entries)
        else:
            again, accepted = self._hide(lane, entries)
        if again:
            self._trouble(lane).failed(again[0][1])
            put_back = self._batches.defer if accepted else self._batches.retry
            put_back(lane, [entry for entry, _ in again])
        else:
            self._batches.succeeded(lane)
            if lane in self._troubles:
                self._troubles[lane].worked()

    def _trouble(self, lane: Lane) -> Trouble:
        what = f"queue {lane}: a {_CALLED[lane.kind]}"
        made = Trouble(log, f"{what} fails and is tried again", f"{what} works again")
        return self._troubles.setdefault(lane, made)

    def _delete(self, lane: Lane, entries: list[Entry]) -> Answered:
        handles = [one.delivery.message.receipt_handle for one, _ in entries]
        answers: list[SqsError | None]
        sent_at = boottime()
        try:
            answers = self._sqs.delete_batch(lane.queue, handles)
        except SqsError as exc:
            answers = [exc] * len(entries)
        if None in answers:
            self._leases.accepted(entries[0][0].delivery.queue, sent_at)
        again: list[tuple[Entry, SqsError]] = []
        gone: list[Settlement] = []
        for entry, answer in zip(entries, answers, strict=True):
            one = entry[0]
            if answer is None:
                gone.append(one)
                self._payloads.deleted(one.delivery, held=self._leases.holds(one.delivery))
            elif isinstance(answer, (LeaseLost, QueueNotFound)):
                if isinstance(answer, LeaseLost):
                    self._totals.add("lost_leases")
                    age = boottime() - one.delivery.received_at
                    log.warning("%s: its lease was lost before its delete, %.0f s after the receive", one.delivery, age)
                    one.verdict = Leave()
                gone.append(one)
            elif answer.retryable:
                again.append((entry, answer))
            else:
                self.copies.refuse(one.delivery.queue)
                if self._closing:
                    if self._said.add(f"delete {lane.queue}"):
                        log.error("queue %s: deletes are refused; messages that are done come back: %s", lane, answer)
                    gone.append(one)
                else:
                    self._on_refused(answer)
                    again.append((entry, answer))
        if gone:
            self._leases.end([one.delivery for one in gone])
            self._finished(*gone)
        return again, None in answers

    def _hide(self, lane: Lane, entries: list[Entry]) -> Answered:
        deadlines = [self._leases.deadline(one.delivery) for one, _ in entries]
        held = self._leases.end([one.delivery for one, _ in entries], settle=True)
        now = boottime()
        todo: list[Entry] = []
        for entry, ours, deadline in zip(entries, held, deadlines, strict=True):
            if ours:
                entry[0].hide_before = deadline
            if ours or now < entry[0].hide_before:  # tried before, and still nobody else's
                todo.append(entry)
            else:
                self._finished(entry[0])
        if not todo:
            return [], False
        changes = [(one.delivery.message.receipt_handle, _hidden(one)) for one, _ in todo]
        answers: list[SqsError | None]
        try:
            answers = self._sqs.change_visibility_batch(lane.queue, changes)
        except SqsError as exc:
            answers = [exc] * len(todo)
        if None in answers:
            self._leases.accepted(todo[0][0].delivery.queue, now, change=True)
        again: list[tuple[Entry, SqsError]] = []
        for entry, answer in zip(todo, answers, strict=True):
            if answer is not None and answer.retryable:
                again.append((entry, answer))
                continue
            if isinstance(answer, LeaseLost):
                self._totals.add("lost_leases")
                log.warning("%s: its lease was lost before it was to be hidden", entry[0].delivery)
            elif answer is not None and self._said.add(f"hide {lane.queue}"):
                log.warning(
                    "queue %s: hiding messages is refused, they come back when their leases end: %s",
                    entry[0].delivery.queue,
                    answer,
                )
            self._finished(entry[0])
        return again, None in answers

    # -- what depends on the queue's redrive policy ---------------------------------------------------------------

    def _judge(self, entries: list[Entry]) -> list[tuple[Entry, SqsError]]:
        """Verdicts that need the queue's redrive policy, in a sender's thread because it may have to be asked for."""
        first = entries[0][0].delivery
        try:
            facts = self._facts.of(first.queue, first.queue_url)
        except SqsError as exc:
            if exc.retryable and not self._closed:
                return [(entry, exc) for entry in entries]
            facts = None
        for one, _ in entries:
            if isinstance(one.verdict, Drop):
                deleted = facts is not None and facts.dead_letter_arn is None
                one.verdict = Delete() if deleted else Hide(one.verdict.otherwise)
                self._carry_out(one)
            elif isinstance(one.verdict, DeadLetter):
                self._bury(one, one.verdict, facts)
        return []

    def _bury(self, one: Settlement, verdict: DeadLetter, facts: QueueFacts | None) -> None:
        """Send a copy to the dead-letter queue, if there is one we know of and the message is still ours."""
        target = None if facts is None else facts.dead_letter_arn
        why = "its queue has none" if facts is not None else "its queue's redrive policy cannot be read"
        try:
            url = None if target is None else self._sqs.locate(target)
        except PyQSError as exc:
            url, why = None, str(exc)
        news = self._said.add(f"bury {one.delivery.message.message_id}")
        if url is None:
            if news:
                log.error("%s stays on its queue instead of going to a dead-letter queue (%s): %s", one.delivery, why,
                          verdict.reason)  # fmt: skip
            one.verdict = Hide(verdict.otherwise)
        elif not self._leases.holds(one.delivery):
            one.verdict = Leave()
        else:
            if news:
                log.warning("%s goes to the dead-letter queue %s: %s", one.delivery, Lane("send", url), verdict.reason)
            one.verdict, one.instead, one.unsent = Delete(), verdict.otherwise, 1
            self._batches.put(Lane("send", url), (one, dead_letter(one.delivery, verdict.reason)))
            return
        self._carry_out(one)

    # -- the outbox -----------------------------------------------------------------------------------------------

    def _send(self, lane: Lane, entries: list[Entry]) -> Answered:
        todo: list[Entry] = []
        for entry in entries:
            if entry[0].instead is None or self._leases.holds(entry[0].delivery):
                todo.append(entry)
            else:  # lost while it waited: whoever has it now sends the copy
                entry[0].verdict = Leave()
                self._sent(entry[0])
        messages = [message for _, message in todo if message is not None]
        answers = self._outbox.send(lane, messages) if todo else []
        again: list[tuple[Entry, SqsError]] = []
        for entry, answer in zip(todo, answers, strict=True):
            one = entry[0]
            tried = not self._closed and self._outbox.passes(lane, answer, one, closing=self._closing)
            if tried and isinstance(answer, SqsError):
                again.append((entry, answer))
                continue
            if not isinstance(answer, SentMessage):
                self._unsendable(one, lane, answer)
            elif one.instead is not None:
                self._payloads.copied(one.delivery)
                self.copies.settled(one.delivery)
                self._totals.add("hops" if lane.queue == one.delivery.queue_url else "dead_letters")
            else:
                self._totals.add("follow_ups")
            self._sent(one)
        return again, any(isinstance(answer, SentMessage) for answer in answers)

    def _sent(self, one: Settlement) -> None:
        """One part less of its outbox is left; after the last the verdict."""
        with self._lock:  # after the verdict is set: another thread may hold the last other part
            one.unsent -= 1
            ready = not one.unsent
        if ready:
            self._carry_out(one)

    def _unsendable(self, one: Settlement, lane: Lane, error: PyQSError) -> None:
        """One message of its outbox will not be accepted: what it came from is hidden and comes again."""
        delivery = one.delivery
        if one.instead is not None:
            if isinstance(error, AccessDenied) and lane.queue == delivery.queue_url:
                self.copies.refuse(delivery.queue)
            if self._said.add(f"copy {lane.queue}"):
                log.warning("queue %s: messages are hidden instead of sent on to %s: %s", delivery.queue, lane, error)
            one.verdict = Hide(one.instead)
        elif one.early:
            log.error("%s: a follow-up is lost, its message was acked early: %s", delivery, error)
        else:
            one.verdict = Hide(retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at))
            if self._said.add(f"follow-up {delivery.message.message_id}"):
                log.error("%s: a follow-up to %s is refused; the message is run again: %s", delivery, lane.queue, error)


def _hidden(one: Settlement) -> int:
    """Seconds for SQS: never too early, never beyond its twelve hours."""
    seconds = one.verdict.seconds if isinstance(one.verdict, Hide) else 0.0
    return clamp_visibility(math.ceil(seconds), held=boottime() - one.delivery.received_at)
