"""Queues on which leases may not be renewed, for the time being.

Owns: what is known of each queue's answers to renewals: how often it refused in a row, how long its own timeout is, and
when it is asked again. Used by ``Leases`` under its lock. Never talks to SQS.

A policy can be changed, and a single refusal can come from anywhere between here and SQS. So only whole batches that are
refused one after the other count, and even then a queue is asked again every ten minutes, by one renewal of what is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyqs.errors import AccessDenied, SqsError

#: Whole batches refused in a row after which a queue's leases are not renewed.
IN_A_ROW = 2
#: Seconds until a queue that refuses is asked again.
ASK_AGAIN = 600.0


@dataclass(slots=True)
class _Refusal:
    own_seconds: int
    ask_at: float


class Refusals:
    """What queues said to renewals."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = {}
        self._refusals: dict[str, _Refusal] = {}
        #: Own timeouts, kept after the end of a refusal: a receive that was begun before it may still answer.
        self._own: dict[str, int] = {}

    def __contains__(self, queue: str) -> bool:
        return queue in self._refusals

    def answered(self, queue: str, answers: Sequence[SqsError | None]) -> bool:
        """Take in a batch's answers; True when the queue has now refused often enough and is not known to."""
        if not all(isinstance(one, AccessDenied) for one in answers):
            if any(one is None for one in answers):
                self._in_a_row.pop(queue, None)
            return False
        if queue in self._refusals:
            return False
        self._in_a_row[queue] = self._in_a_row.get(queue, 0) + 1
        return self._in_a_row[queue] >= IN_A_ROW

    def add(self, queue: str, own_seconds: int, now: float) -> bool:
        """The queue refuses, and its own timeout is so long; False when that was known."""
        if queue in self._refusals:
            return False
        self._own[queue] = own_seconds
        self._refusals[queue] = _Refusal(own_seconds, now + ASK_AGAIN)
        return True

    def end(self, queue: str) -> bool:
        """A renewal was accepted; True when the queue had refused."""
        return self._refusals.pop(queue, None) is not None

    def own_seconds(self, queue: str, otherwise: int) -> int:
        """The timeout that the queue has of itself, as far as it was ever asked for."""
        return self._own.get(queue, otherwise)

    def due(self, now: float) -> list[str]:
        """Queues that should be asked again."""
        return [queue for queue, one in self._refusals.items() if one.ask_at <= now]

    def asked(self, queue: str, now: float) -> None:
        """It is being asked; the next time is a while from now."""
        self._refusals[queue].ask_at = now + ASK_AGAIN
