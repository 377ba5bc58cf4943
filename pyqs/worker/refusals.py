"""Queues on which leases may not be renewed, for the time being.

Owns: what is known of each queue's answers to renewals: since when it refuses, whether other calls on it work meanwhile, how
long what is received from it should be ours, and when it is asked again. Used by ``Leases`` under its lock. Never talks to SQS.

A policy can be changed, and refusals can come from anywhere between here and SQS: while everything is refused, nothing is known
about this permission. So whole batches that are refused one after the other count only when another call on the queue was
accepted meanwhile, or when they go on for a while. Even then the queue is asked again, soon and then less and less often, by
one renewal of what is held, and any change of visibility that it accepts ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyqs.errors import AccessDenied, SqsError

#: Whole batches refused in a row after which a queue's leases are not renewed, if other calls on it are accepted.
IN_A_ROW = 2
#: Seconds of refusals after which they count whatever becomes of other calls; and between two that belong together.
A_WHILE = 60.0
_TOGETHER = 300.0
#: Seconds until a queue that refuses is asked again: at first, and at most.
ASK_SOON = 10.0
ASK_SELDOM = 600.0


@dataclass(slots=True)
class _Streak:
    """Refusals in a row."""

    since: float
    last: float
    batches: int = 0
    others_work: bool = False


@dataclass(slots=True)
class _Refusal:
    """What counts as: not allowed."""

    seconds: int
    ask_at: float
    pause: float = ASK_SOON


class Refusals:
    """What queues said to renewals."""

    def __init__(self) -> None:
        self._streaks: dict[str, _Streak] = {}
        self._refusals: dict[str, _Refusal] = {}

    def __contains__(self, queue: str) -> bool:
        return queue in self._refusals

    def answered(self, queue: str, answers: Sequence[SqsError | None], now: float) -> bool:
        """Take in a batch's answers; True when the queue has now refused for long enough and is not known to."""
        if not all(isinstance(one, AccessDenied) for one in answers):
            if any(one is None for one in answers):
                self._streaks.pop(queue, None)
            return False
        if queue in self._refusals:
            return False
        streak = self._streaks.get(queue)
        if streak is None or now - streak.last > _TOGETHER:
            streak = self._streaks[queue] = _Streak(now, now)
        streak.batches += 1
        streak.last = now
        return streak.batches >= IN_A_ROW and (streak.others_work or now - streak.since >= A_WHILE)

    def others_work(self, queue: str, begun_at: float) -> None:
        """Another call on the queue, begun then, was accepted."""
        streak = self._streaks.get(queue)
        if streak is not None and begun_at > streak.since:
            streak.others_work = True

    def add(self, queue: str, seconds: int, now: float) -> bool:
        """The queue refuses; its messages are to be ours for so long when received. False when that was known."""
        if queue in self._refusals:
            return False
        self._refusals[queue] = _Refusal(seconds, now + ASK_SOON)
        return True

    def end(self, queue: str) -> bool:
        """A change was accepted; True when the queue had refused."""
        self._streaks.pop(queue, None)
        return self._refusals.pop(queue, None) is not None

    def seconds(self, queue: str, otherwise: int) -> int:
        """What a receive should ask for."""
        refusal = self._refusals.get(queue)
        return otherwise if refusal is None else refusal.seconds

    def due(self, now: float) -> list[str]:
        """Queues that should be asked again."""
        return [queue for queue, one in self._refusals.items() if one.ask_at <= now]

    def asked(self, queue: str, now: float) -> None:
        """It is being asked; the next time is a while from now."""
        refusal = self._refusals[queue]
        refusal.pause = min(ASK_SELDOM, refusal.pause * 2)
        refusal.ask_at = now + refusal.pause
