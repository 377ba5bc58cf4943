"""Beat on an SQS within the process, with a clock that a test moves.

Owns: ``World``. Runs in the test's process. Never waits: its time passes at once.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from pyqs.errors import SqsError
from pyqs.local.inprocess import InProcessSqs
from pyqs.message import OutgoingMessage, SentMessage
from pyqs_celery_compat import Celery, beat
from pyqs_celery_compat.ticks import ClockWatch

#: Seconds that a look at the schedule takes.
INSTANT = 0.001


class MoodySqs(InProcessSqs):
    """Takes nothing while it is down; ``lost`` answers get lost, which the message does not."""

    down = False
    lost = 0

    def send(self, queue_url: str, message: OutgoingMessage) -> SentMessage:
        if self.down:
            raise SqsError("SendMessage: connection refused", retryable=True)
        answer = super().send(queue_url, message)
        if self.lost:
            self.lost -= 1
            raise SqsError("SendMessage: no answer", retryable=True)
        return answer


@dataclass
class World:
    """An app, its SQS, and the time: ``wall`` is what the clock shows, ``steady`` what really passes."""

    app: Celery
    sqs: MoodySqs
    wall: datetime = datetime(2026, 11, 23, 17, 59, 30, tzinfo=timezone.utc)
    steady: float = 1000.0
    ids: list[str] = field(default_factory=list)

    def passes(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds

    def clock_is_set(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)

    def scheduler(self, cls: Any = beat.Scheduler, **options: Any) -> Any:
        made = cls(self.app, **options)
        made._clock = ClockWatch(lambda: self.wall.timestamp(), lambda: self.steady)
        return made

    def run(self, scheduler: Any, seconds: float) -> list[str]:
        """Let beat live for so long; the ticks that it sent, in order."""
        left, before = seconds, len(self.ids)
        while left > 0:
            pause = max(scheduler.tick() or 0, INSTANT)
            self.take()
            self.passes(min(pause, left))
            left -= pause
        return self.ids[before:]

    def take(self, queue: str = "celery") -> list[dict[str, Any]]:
        """Take what is on a queue: kombu's envelopes."""
        found = []
        while messages := self.sqs.receive(self.sqs.queue_url(queue), wait=0, max_messages=10):
            for message in messages:
                envelope = json.loads(base64.b64decode(message.body))
                found.append(envelope)
                self.ids.append(str(envelope["headers"].get("beat_tick")))
                self.sqs.delete_batch(self.sqs.queue_url(queue), [message.receipt_handle])
        return found
