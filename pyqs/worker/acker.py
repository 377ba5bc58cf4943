"""The end of the line: carries out verdicts, follow-ups first, in batches, tried until they are accepted.

Owns: every delete, hide and send of the worker. ``settle`` is called by the pool and the fetchers; several sender threads
do the calls. A message is deleted only when all that its task brought about was accepted, otherwise it is hidden and run
again. Never runs a task and never decodes a body.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pyqs.backoff import clamp_visibility, retry_seconds
from pyqs.clock import boottime
from pyqs.config import ConnectionConfig
from pyqs.errors import AccessDenied, LeaseLost, MessageError, PyQSError, QueueNotFound, SendFailed, SqsError
from pyqs.message import Delete, Delivery, FollowUp, Hide, Leave, OutgoingMessage, Resend, SentMessage, Verdict
from pyqs.producer import Producer
from pyqs.sqs import Sqs
from pyqs.worker.batches import Batches
from pyqs.worker.leases import Leases
from pyqs.worker.report import Remembered, Totals
from pyqs.worker.service import OnCrash, Service

log = logging.getLogger(__name__)

SENDERS = 8
#: Seconds for which a queue that refuses sends or deletes is not tried for hops again.
NO_HOPS = 600.0
#: Told in a sender's thread what became of a delivery in the end.
Settled = Callable[[Verdict], None]


@dataclass(frozen=True, slots=True)
class _Lane:
    """One kind of call on one queue; ``create``: whether a send may create it."""

    kind: Literal["send", "delete", "hide"]
    queue: str
    create: bool = False

    def __str__(self) -> str:
        return self.queue.rstrip("/").rpartition("/")[2]


@dataclass(eq=False, slots=True)
class _Settlement:
    """One delivery on its way out.

    ``hop`` is the delay of the copy that must be sent first; ``early``: its delete was asked for when it started;
    ``hide_before``: its lease was ours and has been ended, to be hidden before it would have run out (boot-time clock).
    """

    delivery: Delivery
    verdict: Verdict
    settled: Settled | None = None
    unsent: int = 0
    hop: int | None = None
    early: bool = False
    hide_before: float = 0.0


_Entry = tuple[_Settlement, OutgoingMessage | None]


class Acker:
    """Settles deliveries.

    Parameters:
        on_change: called, from any thread, when one more is settled.
        on_refused: told when a delete is refused for a reason that does not pass by itself.
    """

    def __init__(
        self,
        sqs: Sqs,
        leases: Leases,
        totals: Totals,
        on_crash: OnCrash,
        *,
        senders: int = SENDERS,
        on_change: Callable[[], None] = lambda: None,
        on_refused: Callable[[SqsError], None] = lambda _: None,
    ) -> None:
        self._sqs = sqs
        self._leases = leases
        self._totals = totals
        self._on_change = on_change
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._pending = 0
        self._early: set[int] = set()
        self._batches: Batches[_Lane, _Entry] = Batches()
        self._producers = {
            create: Producer(ConnectionConfig(), create_queues=create, connector=lambda _: sqs) for create in (True, False)
        }
        #: Messages whose work is done or whose copy was sent: whatever happens, these are only ever deleted.
        self._only_delete = Remembered()
        #: Queues whose messages are not copied, until (boot-time seconds).
        self._no_hops: dict[str, float] = {}
        self._said = Remembered()
        self._closing = False
        self._closed = False
        self._senders = [Sender(number, self._batches, self._work, on_crash) for number in range(senders)]

    # -- what the pool and the fetchers ask for -------------------------------------------------------------------

    def settle(
        self, delivery: Delivery, verdict: Verdict, follow_ups: Sequence[FollowUp] = (), settled: Settled | None = None
    ) -> None:
        """Carry out a verdict, after its follow-ups. Answers at once."""
        with self._lock:
            self._pending += 1
            early = delivery.id in self._early
            self._early.discard(delivery.id)
        if early:
            verdict = Leave()  # its delete is on its way since it started
        elif isinstance(verdict, Resend):
            verdict = self._hop(delivery, verdict)
        one = _Settlement(delivery, verdict, settled, early=early)
        outbox = [(_Lane("send", follow_up.queue, follow_up.create), follow_up.message) for follow_up in follow_ups]
        if isinstance(verdict, Resend):
            one.hop, one.verdict = verdict.delay, Delete()
            outbox.append((_Lane("send", delivery.queue_url), _copy(delivery, verdict.delay)))
        one.unsent = len(outbox)
        for lane, message in outbox:
            self._batches.put(lane, (one, message))
        if not outbox:
            self._carry_out(one)

    def release(self, delivery: Delivery) -> None:
        """Give a delivery back unstarted: anybody may have it at once."""
        self._totals.add("released")
        self.settle(delivery, Hide(0))

    def ack_early(self, delivery: Delivery) -> None:
        """Its task has started and asked for the delete now (never on FIFO, where it waits for the end)."""
        if delivery.is_fifo:
            return
        with self._lock:
            self._pending += 1
            self._early.add(delivery.id)
        self._carry_out(_Settlement(delivery, Delete()))

    def only_delete(self, message_id: str) -> bool:
        """Whether this message was done, or copied, before: it must not run or be copied again."""
        return message_id in self._only_delete

    @property
    def pending(self) -> int:
        """Verdicts that are not carried out yet."""
        return self._pending

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the sender threads."""
        for sender in self._senders:
            sender.start()

    def close(self, deadline: float) -> None:
        """Carry out what there is; what is not accepted by ``deadline`` (boot-time clock) is given up and said."""
        self._closing = True
        self._batches.close()
        while self._pending and boottime() < deadline and any(sender.alive for sender in self._senders):
            for sender in self._senders:
                if sender.join(max(0.0, min(0.1, deadline - boottime()))) and not self._pending:
                    break
        self._closed = True
        left = self._batches.abandon()
        if self._pending:
            queues = sorted({entry[0].delivery.queue for entry in left})
            log.error(
                "%d verdicts could not be carried out before the deadline (queues: %s); their messages come back when "
                "their leases end",
                self._pending,
                ", ".join(queues),
            )

    # -- carrying out ---------------------------------------------------------------------------------------------

    def _hop(self, delivery: Delivery, verdict: Resend) -> Verdict:
        """The hop, or what stands in for it."""
        if not self._leases.holds(delivery):
            return Leave()  # somebody else may have it by now and send the same copy
        if delivery.is_fifo or self._no_hops.get(delivery.queue, 0.0) > boottime():
            return Hide(verdict.delay)
        return verdict

    def _carry_out(self, one: _Settlement) -> None:
        """The outbox is empty: now the verdict."""
        match one.verdict:
            case Delete():
                if not one.delivery.is_fifo:
                    self._only_delete.add(one.delivery.message.message_id)
                self._batches.put(_Lane("delete", one.delivery.queue_url), (one, None))
            case Hide():
                self._batches.put(_Lane("hide", one.delivery.queue_url), (one, None))
            case _:
                if not one.early:
                    self._leases.end([one.delivery])
                self._finished(one)

    def _finished(self, one: _Settlement) -> None:
        if one.settled is not None:
            one.settled(one.verdict)
        self._on_change()  # first: who sees nothing pending must know of what this brought about
        with self._lock:
            self._pending -= 1

    def _work(self, lane: _Lane, entries: list[_Entry]) -> None:
        """Do one batch, in a sender's thread."""
        if lane.kind == "send":
            again = self._send(lane, entries)
        elif lane.kind == "delete":
            again = self._delete(lane, entries)
        else:
            again = self._hide(lane, entries)
        if again:
            if not self._batches.failing(lane):
                log.warning("queue %s: a %s fails and is tried again: %s", lane, lane.kind, again[0][1])
            self._batches.retry(lane, [entry for entry, _ in again])
        elif self._batches.succeeded(lane):
            log.info("queue %s: a %s works again", lane, lane.kind)

    def _delete(self, lane: _Lane, entries: list[_Entry]) -> list[tuple[_Entry, SqsError]]:
        handles = [one.delivery.message.receipt_handle for one, _ in entries]
        answers: list[SqsError | None]
        try:
            answers = self._sqs.delete_batch(lane.queue, handles)
        except SqsError as exc:
            answers = [exc] * len(entries)
        again: list[tuple[_Entry, SqsError]] = []
        for entry, answer in zip(entries, answers, strict=True):
            one = entry[0]
            if answer is None or isinstance(answer, (LeaseLost, QueueNotFound)):
                if isinstance(answer, LeaseLost):
                    self._totals.add("lost_leases")
                    age = boottime() - one.delivery.received_at
                    log.warning("%s: its lease was lost before its delete, %.0f s after the receive", one.delivery, age)
                    one.verdict = Leave()
                self._leases.end([one.delivery])
                self._finished(one)
            elif answer.retryable:
                again.append((entry, answer))
            else:
                self._no_hops[one.delivery.queue] = boottime() + NO_HOPS
                if self._closing:
                    if self._said.add(f"delete {lane.queue}"):
                        log.error("queue %s: deletes are refused; messages that are done come back: %s", lane, answer)
                    self._leases.end([one.delivery])
                    self._finished(one)
                else:
                    self._on_refused(answer)
                    again.append((entry, answer))
        return again

    def _hide(self, lane: _Lane, entries: list[_Entry]) -> list[tuple[_Entry, SqsError]]:
        deadlines = [self._leases.deadline(one.delivery) for one, _ in entries]
        held = self._leases.end([one.delivery for one, _ in entries], settle=True)
        now = boottime()
        todo: list[_Entry] = []
        for entry, ours, deadline in zip(entries, held, deadlines, strict=True):
            if ours:
                entry[0].hide_before = deadline
            if ours or now < entry[0].hide_before:  # tried before, and still nobody else's
                todo.append(entry)
            else:
                self._finished(entry[0])
        if not todo:
            return []
        changes = [(one.delivery.message.receipt_handle, _hidden(one)) for one, _ in todo]
        answers: list[SqsError | None]
        try:
            answers = self._sqs.change_visibility_batch(lane.queue, changes)
        except SqsError as exc:
            answers = [exc] * len(todo)
        again: list[tuple[_Entry, SqsError]] = []
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
        return again

    # -- the outbox -----------------------------------------------------------------------------------------------

    def _send(self, lane: _Lane, entries: list[_Entry]) -> list[tuple[_Entry, SqsError]]:
        todo: list[_Entry] = []
        for entry in entries:
            if entry[0].hop is None or self._leases.holds(entry[0].delivery):
                todo.append(entry)
            else:  # lost while it waited: whoever has it now sends the copy
                entry[0].verdict = Leave()
                self._sent(entry[0])
        messages = [message for _, message in todo if message is not None]
        again: list[tuple[_Entry, SqsError]] = []
        for entry, answer in zip(todo, self._send_all(lane, messages) if todo else (), strict=True):
            one = entry[0]
            if isinstance(answer, SqsError) and answer.retryable and not self._closed:
                again.append((entry, answer))
                continue
            if not isinstance(answer, SentMessage):
                self._unsendable(one, lane, answer)
            elif one.hop is not None:
                self._only_delete.add(one.delivery.message.message_id)
            self._sent(one)
        return again

    def _sent(self, one: _Settlement) -> None:
        """One part less of its outbox is left; after the last the verdict."""
        with self._lock:  # after the verdict is set: another thread may hold the last other part
            one.unsent -= 1
            ready = not one.unsent
        if ready:
            self._carry_out(one)

    def _send_all(self, lane: _Lane, messages: list[OutgoingMessage]) -> list[SentMessage | PyQSError]:
        producer = self._producers[lane.create]
        try:
            return list(producer.send_many(lane.queue, messages))
        except SendFailed as exc:
            return [answer for answer in exc.results if isinstance(answer, (SentMessage, SqsError))]
        except MessageError as exc:
            if len(messages) == 1:
                return [exc]
            return [answer for message in messages for answer in self._send_all(lane, [message])]
        except PyQSError as exc:
            return [exc] * len(messages)

    def _unsendable(self, one: _Settlement, lane: _Lane, error: PyQSError) -> None:
        """One message of its outbox will not be accepted: what it came from is hidden and comes again."""
        delivery = one.delivery
        if one.hop is not None:
            if isinstance(error, AccessDenied):
                self._no_hops[delivery.queue] = boottime() + NO_HOPS
            if self._said.add(f"hop {delivery.queue}"):
                log.warning("queue %s: messages due later are hidden instead of sent again: %s", delivery.queue, error)
            one.verdict = Hide(one.hop)
        elif one.early:
            log.error("%s: a follow-up is lost, its message was acked early: %s", delivery, error)
        else:
            one.verdict = Hide(retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at))
            if self._said.add(f"follow-up {delivery.message.message_id}"):
                log.error("%s: a follow-up to %s is refused; the message is run again: %s", delivery, lane.queue, error)


class Sender(Service):
    """One thread that carries out batches."""

    def __init__(
        self, number: int, batches: Batches[_Lane, _Entry], work: Callable[[_Lane, list[_Entry]], None], on_crash: OnCrash
    ) -> None:
        super().__init__(f"acker-{number}", on_crash)
        self._batches = batches
        self._work = work

    def run(self) -> None:
        """Work until there is nothing more."""
        while (taken := self._batches.take()) is not None:
            self._work(*taken)


def _copy(delivery: Delivery, delay: int) -> OutgoingMessage:
    message = delivery.message
    return OutgoingMessage(
        message.body,
        delay=delay,
        message_attributes=message.message_attributes,
        group_id=delivery.group_id,
        trace_header=message.attributes.get("AWSTraceHeader"),
    )


def _hidden(one: _Settlement) -> int:
    """Seconds for SQS: never too early, never beyond its twelve hours."""
    seconds = one.verdict.seconds if isinstance(one.verdict, Hide) else 0.0
    return clamp_visibility(math.ceil(seconds), held=boottime() - one.delivery.received_at)
