"""Sends what a task's end brings about, and knows which refusals of it may pass.

Owns: the calls that send, for queues by name or URL, and since when each lane is refused. Used by the acker, from any of its
threads. Never decides what becomes of the delivery that a message came from.

A refusal may come from anywhere between here and SQS: a policy that is being replaced, a role that is renewed, a proxy. What
was acked early has no message left to run again, so its follow-ups are tried for long; the others for a moment, because the
task has run and would run again. It is the lane that is refused, not the message: where a permission is missing for good, only
the first ones wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyqs.clock import boottime
from pyqs.config import ConnectionConfig
from pyqs.errors import AccessDenied, CredentialsError, MessageError, PyQSError, SendFailed, SqsError
from pyqs.message import OutgoingMessage, SentMessage
from pyqs.producer import Producer
from pyqs.sqs import Sqs
from pyqs.sqs.failures import has_no_code
from pyqs.worker.settlement import Lane, Settlement

#: Seconds for which a lane may be refused before its follow-ups are given up: of tasks acked early, and of the others.
EARLY_PATIENCE = 600.0
LATE_PATIENCE = 30.0
#: Seconds after which a refusal is no continuation of the one before.
_FORGOTTEN = 600.0


@dataclass(slots=True)
class _Refused:
    since: float
    last: float


class Outbox:
    """Sends messages to queues by name or URL, creating those that it may. For any thread."""

    def __init__(self, sqs: Sqs, *, clock: Callable[[], float] = boottime) -> None:
        self._producers = {
            create: Producer(ConnectionConfig(), create_queues=create, connector=lambda _: sqs) for create in (True, False)
        }
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[Lane, _Refused] = {}

    def learn(self, queue: str, url: str) -> None:
        """The URL of a queue that this worker consumes: it may be allowed no look-up by name."""
        for producer in self._producers.values():
            producer.learn(queue, url)

    def send(self, lane: Lane, messages: Sequence[OutgoingMessage]) -> list[SentMessage | PyQSError]:
        """Send them in one call where that is possible; for each the answer, or why there is none."""
        answers = self._send(lane, messages)
        self._note(lane, answers)
        return answers

    def passes(self, lane: Lane, answer: SentMessage | PyQSError, one: Settlement, *, closing: bool) -> bool:
        """Whether a message of its outbox that was answered so should be tried again.

        Parameters:
            closing: the worker ends; a refusal is not waited for any more.
        """
        if not isinstance(answer, SqsError):
            return False
        if answer.retryable or isinstance(answer, CredentialsError):
            return True
        if one.instead is not None or closing or not _may_pass(answer):
            return False
        with self._lock:
            refused = self._refused.get(lane)
        patience = EARLY_PATIENCE if one.early else LATE_PATIENCE
        return refused is None or self._clock() - refused.since < patience

    def _send(self, lane: Lane, messages: Sequence[OutgoingMessage]) -> list[SentMessage | PyQSError]:
        try:
            return list(self._producers[lane.create].send_many(lane.queue, messages))
        except SendFailed as exc:
            return [answer for answer in exc.results if isinstance(answer, (SentMessage, SqsError))]
        except MessageError as exc:
            if len(messages) == 1:
                return [exc]
            return [answer for message in messages for answer in self._send(lane, [message])]
        except PyQSError as exc:
            return [exc] * len(messages)

    def _note(self, lane: Lane, answers: Sequence[SentMessage | PyQSError]) -> None:
        now = self._clock()
        with self._lock:
            if any(isinstance(one, SentMessage) for one in answers):
                self._refused.pop(lane, None)
            elif any(_may_pass(one) for one in answers):
                known = self._refused.setdefault(lane, _Refused(now, now))
                if now - known.last > _FORGOTTEN:
                    known.since = now
                known.last = now


def _may_pass(answer: object) -> bool:
    """Whether it is a refusal that says nothing about the message: of the permission, or by somebody who is not SQS."""
    if isinstance(answer, AccessDenied):
        return True
    return type(answer) is SqsError and has_no_code(answer.code)
