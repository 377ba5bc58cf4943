"""Notices queues that are at their in-flight limit, which answer long polls with nothing although messages wait.

Owns: what is known of each queue's limit and when it was last looked at. Runs in the thread of a queue's first fetcher, after
an answer. Asks for the queue's attributes only when its polls stay empty, at most once a minute (every ten while few messages
are in flight, so that an idle queue costs next to nothing more), and never where that is not allowed. Never stops anybody
from receiving: room may be made by others at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pyqs.clock import boottime
from pyqs.config import MAX_IN_FLIGHT
from pyqs.errors import SqsError
from pyqs.worker.facts import Facts

log = logging.getLogger(__name__)

LIMIT = MAX_IN_FLIGHT
#: SQS's counts are approximate: a queue is at its limit from this part of it on, and below it again under the second one.
FULL_PART = 0.99
BELOW_PART = 0.95
#: Empty answers in a row that make a queue suspect.
EMPTY = 3
#: Seconds between two looks at the same queue, and the same while less than this part of the limit is in flight.
EVERY = 60.0
SELDOM = 600.0
FEW_PART = 0.5
_NAMES = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


@dataclass(slots=True)
class _Queue:
    empty: int = 0
    look_at: float = float("-inf")
    full: bool = False


class InFlight:
    """The in-flight limit of every queue of a worker. For any thread, one at a time for each queue."""

    def __init__(self, facts: Facts, *, limit: int | None = None, clock: Callable[[], float] = boottime) -> None:
        self._facts = facts
        self._limit = LIMIT if limit is None else limit
        self._clock = clock
        self._queues: dict[str, _Queue] = {}

    @property
    def full(self) -> list[str]:
        """Names of the queues that are at their limit."""
        return sorted(name for name, one in self._queues.copy().items() if one.full)

    def answered(self, queue: str, url: str, count: int) -> None:
        """A receive has brought ``count`` messages; may ask SQS for the queue's attributes."""
        one = self._queues.setdefault(queue, _Queue())
        one.empty = 0 if count else one.empty + 1
        if count:
            self._now(queue, one, False)
            return
        now = self._clock()
        if one.empty < EMPTY or now < one.look_at or self._facts.is_refused(queue):
            return
        one.look_at = now + EVERY
        try:
            attributes = self._facts.attributes(queue, url, _NAMES)
            waiting, hidden = (int((attributes or {})[name]) for name in _NAMES)
        except (SqsError, KeyError, ValueError):
            return  # looked at again in a minute
        if hidden < self._limit * FEW_PART:
            one.look_at = now + SELDOM
        self._now(queue, one, waiting > 0 and hidden >= self._limit * (BELOW_PART if one.full else FULL_PART))

    def refused(self, queue: str) -> None:
        """SQS itself says that the limit is reached."""
        one = self._queues.setdefault(queue, _Queue())
        one.look_at = self._clock() + EVERY
        self._now(queue, one, True)

    def forget(self, queue: str) -> None:
        """It is not received from any more."""
        self._queues.pop(queue, None)

    def _now(self, queue: str, one: _Queue, full: bool) -> None:
        if full and not one.full:
            log.error(
                "queue %s: at its limit of messages in flight (about %d); SQS hands out no more until others are deleted or "
                "fall due: look for consumers that hide messages and do not end them",
                queue,
                self._limit,
            )
        elif one.full and not full:
            log.info("queue %s: below its limit of messages in flight again", queue)
        one.full = full
