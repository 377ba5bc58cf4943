"""The one writer to SQS: outboxes, deletes, hides and hops, in batches, until they are done.

Owns: every delivery from its verdict to SQS's answer. ``settle`` is called by the pool; several sender threads do
the work. Follow-ups go first, and the message is deleted only when all of them were accepted; otherwise it is hidden
and runs again. Never drops a verdict for a passing error, and never copies a message twice.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pyqs.backoff import NetworkBackoff, clamp_visibility, retry_seconds
from pyqs.clock import boottime
from pyqs.config import MAX_BATCH
from pyqs.errors import AccessDenied, LeaseLost, PyQSError, QueueNotFound, SqsError
from pyqs.message import Delete, Delivery, FollowUp, Hide, Leave, OutgoingMessage, Resend, Verdict
from pyqs.producer import Producer
from pyqs.sqs import Sqs
from pyqs.worker.leases import Leases
from pyqs.worker.service import Crashed, Service

log = logging.getLogger(__name__)

#: Seconds that a lone verdict waits for company before its batch goes out.
LINGER = 0.005
#: Message ids that were copied by a hop; a second receipt of one is deleted, not copied again.
COPIED_MEMORY = 100_000
#: Tries of a delete or hide before it is given up and the lease runs out instead (at-least-once holds either way).
MAX_TRIES = 8

Kind = Literal["delete", "hide", "work"]


@dataclass(slots=True)
class _Job:
    """One delivery on its way: ``work`` sends what must go first, ``delete`` and ``hide`` are SQS's last word."""

    kind: Kind
    delivery: Delivery
    verdict: Verdict
    follow_ups: tuple[FollowUp, ...] = ()
    tries: int = 0
    not_before: float = 0.0
    queued_at: float = field(default_factory=boottime)


class Acker:
    """Carries verdicts out on ``threads`` sender threads."""

    def __init__(
        self, sqs: Sqs, producer: Producer, leases: Leases, crashed: Crashed, *, threads: int = 4,
        ended: Callable[[Delivery], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._sqs = sqs
        self._producer = producer
        self._leases = leases
        self._ended = ended
        self._changed = threading.Condition()
        self._jobs: dict[tuple[Kind, str], deque[_Job]] = defaultdict(deque)
        self._open = 0
        self._copied: OrderedDict[str, None] = OrderedDict()
        self._acked: set[int] = set()
        self._said: set[tuple[str, str]] = set()
        self._no_hops: set[str] = set()
        self._senders = [_Sender(self, number, crashed) for number in range(threads)]

    def start(self) -> None:
        """Start the sender threads."""
        for sender in self._senders:
            sender.start()

    def settle(self, delivery: Delivery, verdict: Verdict, follow_ups: Sequence[FollowUp] = ()) -> None:
        """Carry out a verdict; returns at once."""
        with self._changed:
            already_deleted = delivery.id in self._acked
            self._acked.discard(delivery.id)
        if already_deleted:
            # Acked when it started: only what it brought about is left to do.
            verdict = Leave()
        if isinstance(verdict, Leave) and not follow_ups:
            self._leases.settle(delivery.id)
            self._ended(delivery)
            return
        direct = not follow_ups and not isinstance(verdict, Resend)
        kind: Kind = "work" if not direct else "delete" if isinstance(verdict, Delete) else "hide"
        self._add(_Job(kind, delivery, verdict, tuple(follow_ups)))

    def ack_early(self, delivery: Delivery) -> None:
        """Delete a message whose task has just started (Celery's early ack); its verdict comes later."""
        with self._changed:
            self._acked.add(delivery.id)
        self._add(_Job("delete", delivery, Delete()))

    def is_acked(self, delivery_id: int) -> bool:
        """True if the delivery's message was deleted when its task started."""
        with self._changed:
            return delivery_id in self._acked

    @property
    def pending(self) -> int:
        """Verdicts not carried out yet."""
        return self._open

    def flush(self, timeout: float) -> bool:
        """Wait until everything is carried out; True if it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, timeout)

    def stop(self) -> None:
        """End the sender threads; what is open stays with SQS until its lease runs out."""
        for sender in self._senders:
            sender.stop()
        with self._changed:
            self._changed.notify_all()
        for sender in self._senders:
            sender.join(15)

    # -- the queue of jobs ------------------------------------------------------------------------------------------

    def _add(self, job: _Job, *, again: bool = False) -> None:
        with self._changed:
            self._jobs[job.kind, job.delivery.queue_url].append(job)
            if not again:
                self._open += 1
            self._changed.notify()

    def _close(self, job: _Job) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()
        self._ended(job.delivery)

    def take(self, stopping: threading.Event) -> list[_Job]:
        """The next batch (one kind, one queue), waiting for one; [] when stopping and nothing is ready."""
        with self._changed:
            while True:
                now = boottime()
                wait: float | None = None
                for key, jobs in self._jobs.items():
                    if not jobs:
                        continue
                    first = jobs[0]
                    ready_at = first.not_before
                    if key[0] != "work" and len(jobs) < MAX_BATCH:
                        ready_at = max(ready_at, first.queued_at + LINGER)
                    if ready_at <= now:
                        most = 1 if key[0] == "work" else MAX_BATCH
                        return [jobs.popleft() for _ in range(min(most, len(jobs)))]
                    wait = ready_at - now if wait is None else min(wait, ready_at - now)
                if stopping.is_set():
                    return []
                self._changed.wait(wait)

    def _later(self, job: _Job, seconds: float) -> None:
        job.not_before = boottime() + seconds
        self._add(job, again=True)

    # -- the work, on a sender thread --------------------------------------------------------------------------------

    def carry_out(self, batch: list[_Job]) -> None:
        """Do one batch."""
        kind = batch[0].kind
        if kind == "work":
            self._work(batch[0])
            return
        ready = []
        for job in batch:
            if self._leases.settle(job.delivery.id):
                ready.append(job)
            else:
                self._later(job, 0.05)
        if ready:
            self._write(kind, ready)

    def _work(self, job: _Job) -> None:
        """Send what must be there before the message may go."""
        try:
            for follow_up in job.follow_ups:
                self._send(follow_up)
        except PyQSError as exc:
            self._not_sent(job, exc)
            return
        if isinstance(job.verdict, Resend):
            job.verdict = self._hop(job, job.verdict)
        if isinstance(job.verdict, Leave):
            self._leases.settle(job.delivery.id)
            self._close(job)
            return
        self._add(
            replace(job, kind="delete" if isinstance(job.verdict, Delete) else "hide", follow_ups=(), tries=0, not_before=0.0),
            again=True,
        )

    def _send(self, follow_up: FollowUp) -> None:
        self._producer.send(follow_up.queue, follow_up.message)

    def _not_sent(self, job: _Job, error: PyQSError) -> None:
        job.tries += 1
        retryable = isinstance(error, SqsError) and error.retryable
        if retryable and job.tries < MAX_TRIES and self._leases.is_held(job.delivery.id):
            self._later(job, min(10.0, 0.2 * 2.0**job.tries))
            return
        if isinstance(job.verdict, Leave):
            log.error(
                "%s: it was acked before it ran, and its follow-ups could not be sent: they are lost: %s", job.delivery, error
            )
            self._close(job)
            return
        log.error("%s: its follow-ups could not be sent, so it is hidden and runs again: %s", job.delivery, error)
        hide = Hide(retry_seconds(job.delivery.receive_count))
        self._add(_Job("hide", job.delivery, hide), again=True)

    def _hop(self, job: _Job, verdict: Resend) -> Verdict:
        """Send the same message again with a delay; Delete once that is accepted, Hide where it cannot be."""
        delivery = job.delivery
        message = delivery.message
        if delivery.is_fifo or delivery.queue in self._no_hops:
            return Hide(verdict.delay)
        if self._was_copied(message.message_id):
            return Delete()
        copy = OutgoingMessage(
            message.body,
            verdict.delay,
            message.message_attributes,
            delivery.group_id,
            trace_header=message.attributes.get("AWSTraceHeader"),
        )
        try:
            self._sqs.send(delivery.queue_url, copy)
        except AccessDenied as exc:
            self._no_hops.add(delivery.queue)
            log.warning(
                "queue %s: messages due later are hidden instead of sent again with a delay, which costs receives: %s",
                delivery.queue,
                exc,
            )
            return Hide(verdict.delay)
        except SqsError as exc:
            log.warning("%s: it is due later and could not be sent again, so it is hidden: %s", delivery, exc)
            return Hide(verdict.delay)
        self._remember(message.message_id)
        return Delete()

    def _was_copied(self, message_id: str) -> bool:
        with self._changed:
            return message_id in self._copied

    def _remember(self, message_id: str) -> None:
        with self._changed:
            self._copied[message_id] = None
            while len(self._copied) > COPIED_MEMORY:
                self._copied.popitem(last=False)

    def _write(self, kind: Kind, jobs: list[_Job]) -> None:
        url = jobs[0].delivery.queue_url
        handles = [job.delivery.message.receipt_handle for job in jobs]
        try:
            if kind == "delete":
                answers = self._sqs.delete_batch(url, handles)
            else:
                answers = self._sqs.change_visibility_batch(
                    url, [(handle, _hidden(job)) for handle, job in zip(handles, jobs, strict=True)]
                )
        except SqsError as exc:
            answers = [exc] * len(jobs)
        for job, error in zip(jobs, answers, strict=True):
            if error is None:
                self._close(job)
            else:
                self._refused(kind, job, error)

    def _refused(self, kind: Kind, job: _Job, error: SqsError) -> None:
        queue = job.delivery.queue
        job.tries += 1
        if isinstance(error, LeaseLost):
            self._leases.lost_count += 1
            age = boottime() - job.delivery.received_at
            log.warning(
                "%s: its lease was lost before the %s, %.0f s after the receive; it may run again", job.delivery, kind, age
            )
        elif error.retryable and job.tries < MAX_TRIES:
            self._later(job, NetworkBackoff(base=0.2, cap=10).failed() * 2 ** (job.tries - 1))
            return
        elif not isinstance(error, QueueNotFound) and (queue, kind) not in self._said:
            self._said.add((queue, kind))
            log.error("queue %s: a %s was refused, so the message comes back after its lease: %s", queue, kind, error)
        self._close(job)


class _Sender(Service):
    """One thread that carries batches out."""

    def __init__(self, acker: Acker, number: int, crashed: Crashed) -> None:
        super().__init__(f"acker-{number}", crashed)
        self._acker = acker

    def run(self) -> None:
        """Take a batch, carry it out; until stopped and nothing is left."""
        while batch := self._acker.take(self.stopping):
            self._acker.carry_out(batch)


def _hidden(job: _Job) -> int:
    seconds = job.verdict.seconds if isinstance(job.verdict, Hide) else 0
    return clamp_visibility(seconds, held=boottime() - job.delivery.received_at)
