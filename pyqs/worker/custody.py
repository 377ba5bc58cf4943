"""The deliveries that the pool answers for, from the moment they are offered until their verdict is on its way.

Owns: the buffer, who is let in, what is released and when, and the order within a FIFO group after a verdict. Used by the
pool thread only, ``release`` excepted. Never talks to an executor or to SQS: verdicts go to the acker.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pyqs.backoff import clamp_visibility
from pyqs.clock import boottime
from pyqs.config import MAX_DELAY, MAX_VISIBILITY, WorkerConfig
from pyqs.message import Delete, Delivery, FollowUp, Hide, Resend, Verdict
from pyqs.queues.names import FIFO
from pyqs.wire import Done
from pyqs.worker import rates
from pyqs.worker.acker import Acker
from pyqs.worker.buffer import Buffer, group_of
from pyqs.worker.credit import Credit
from pyqs.worker.facts import Facts
from pyqs.worker.leases import CEILING_NEAR, Leases
from pyqs.worker.slot import Slot
from pyqs.worker.surplus import LONG, Surplus

log = logging.getLogger(__name__)

#: Deliveries that wait here for a moment to come, at most.
MOST_KEPT = 1000


class Custody:
    """What waits here, and what becomes of it.

    Parameters:
        later: has a function called in the pool thread.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        leases: Leases,
        acker: Acker,
        credit: Credit,
        facts: Facts,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self._config = config
        self._leases = leases
        self._acker = acker
        self._credit = credit
        self._facts = facts
        self._later = later
        self._buffer = Buffer(credit.shares)
        self._surplus = Surplus(credit, facts, config.lease)
        #: Queue, seconds and whether it ran for long, of those that have ended since the credit was told.
        self._ends: list[tuple[str, float | None, bool]] = []
        #: Ids of those that run for long, of which the credit was told.
        self._long: set[int] = set()
        #: Standard queues of which something is kept for a moment to come.
        self._keeping: set[str] = set()
        #: The worker stops: only what is on its last life still starts.
        self.draining = False
        #: Nothing starts any more.
        self.over = False

    def __len__(self) -> int:
        return len(self._buffer)

    # -- in -------------------------------------------------------------------------------------------------------

    def admit(self, delivery: Delivery, slots: Iterable[Slot]) -> None:
        """One that was received just now."""
        message_id = delivery.message.message_id
        if self._acker.only_delete(message_id) and not delivery.is_fifo:  # on FIFO in its turn, when it would start
            log.info("%s was done before; it is only deleted", delivery)
            self._acker.settle(delivery, Delete())
            self._credit.ended(delivery.queue)
        elif delivery.receive_count > 1 and (runner := _runner(message_id, slots)) is not None:
            self._adopt(delivery, *runner)
        elif self._may_start(delivery):
            # A last life is not spent on waiting: it goes first where order does not matter.
            first = not delivery.is_fifo and self._facts.is_last_life(delivery)
            (self._buffer.put_back if first else self._buffer.add)((delivery,))
            self._tell_blocked(delivery.queue)
        else:
            self.release(delivery)

    def _adopt(self, delivery: Delivery, slot: Slot, running: Delivery) -> None:
        """Its lease was lost, and its task still runs: from now on that run holds the message by this newer receipt.

        Hidden until the end, it would lose one of its lives each time it comes. Held beside the other, it would take up the
        room of a task that could run.
        """
        log.warning("%s: an earlier receipt of its message still runs here, as %s; it goes on with this one", delivery, running)
        newer = replace(delivery, id=running.id)
        self._leases.end([delivery])
        self._leases.hold([newer])
        slot.held[newer.id] = newer
        self._credit.ended(delivery.queue)

    def give_back(self, delivery: Delivery) -> None:
        """An executor held it and has not started it."""
        self._buffer.gone(delivery, 0.0)
        self._buffer.free(delivery)
        if self._may_start(delivery):
            self._buffer.put_back((delivery,))
        else:
            self.release(delivery)

    def _may_start(self, delivery: Delivery) -> bool:
        return not self.over and (not self.draining or self._facts.is_last_life(delivery))

    # -- to an executor -------------------------------------------------------------------------------------------

    def candidates(self) -> Iterator[Delivery]:
        """The next delivery of each queue; none any more when all is over."""
        return iter(()) if self.over else self._buffer.candidates()

    def patience(self, delivery: Delivery) -> float:
        """How long it may wait in its executor for its rate limit, seconds."""
        if self.draining and self._would_be_its_end(delivery):
            return rates.LAST_LIFE  # nothing is kept any more
        return rates.HURRY if any(one.queue != delivery.queue for one in self.candidates()) else rates.PATIENCE

    def longest_pause(self, delivery: Delivery) -> int:
        """The most seconds for which it can be sent away at once: a copy's delay, or what SQS hides a message for."""
        if self._acker.copies.allowed(delivery):
            return MAX_DELAY
        return clamp_visibility(MAX_VISIBILITY, held=boottime() - delivery.received_at)

    def _would_be_its_end(self, delivery: Delivery) -> bool:
        """Whether it would come back in the dead-letter queue: on its last life, where no copy can take its place."""
        return self._facts.is_last_life(delivery) and not self._acker.copies.allowed(delivery)

    def take(self, delivery: Delivery) -> float | None:
        """It goes to an executor, which must start it before the answer (boot-time clock); None when it must not start."""
        start_before = self._leases.start_before(delivery)
        if start_before is None:
            self.drop(delivery)
        elif self._acker.only_delete(delivery.message.message_id):
            log.info("%s was done while it waited; it is only deleted", delivery)
            self._buffer.take(delivery, 0.0)
            self.settle(delivery, Delete())
            return None
        else:
            self._buffer.take(delivery, self._credit.duration(delivery.queue))
        return start_before

    # -- out ------------------------------------------------------------------------------------------------------

    def settle(
        self, delivery: Delivery, verdict: Verdict, follow_ups: Sequence[FollowUp] = (), seconds: float | None = None
    ) -> None:
        """Its task has ended, after ``seconds`` if it ran to an end."""
        self._buffer.gone(delivery, seconds)
        if group_of(delivery) is None:
            self._acker.settle(delivery, verdict, follow_ups)
        else:  # the next of its group waits until this verdict is carried out
            self._acker.settle(
                delivery, verdict, follow_ups, lambda final: self._settled_later(delivery, final)
            )  # fmt: skip
        self._ends.append((delivery.queue, seconds, delivery.id in self._long))
        self._long.discard(delivery.id)

    def report(self) -> None:
        """Tell the credit what has ended: once for all that the executors have said at a time."""
        if self._ends:
            ends, self._ends = self._ends, []
            self._credit.all_ended(ends)

    def ended(self, delivery: Delivery, frame: Done, *, ran: bool) -> None:
        """What its executor says of it; ``ran``: its task had begun."""
        if frame.status == "postponed":
            self._postpone(delivery, frame.verdict)
        else:
            self.settle(delivery, frame.verdict, frame.follow_ups, frame.seconds if ran else None)

    def _postpone(self, delivery: Delivery, verdict: Verdict) -> None:
        """It may not start yet, for its eta or its rate limit. It is sent on or hidden, which costs no life or one; on its last
        one it stays here, its lease renewed, until its moment has come."""
        seconds = _seconds_of(verdict)
        near = boottime() - delivery.received_at + seconds >= CEILING_NEAR
        if near or self.draining or not self._would_be_its_end(delivery) or self._buffer.kept_in_all >= MOST_KEPT:
            self.settle(delivery, verdict)
            return
        self._buffer.gone(delivery, 0.0)
        self._buffer.keep(delivery, boottime() + seconds)
        self._tell_blocked(delivery.queue)

    def _settled_later(self, head: Delivery, verdict: Verdict) -> None:
        self._later(lambda: self._group_settled(head, verdict))

    def _group_settled(self, head: Delivery, verdict: Verdict) -> None:
        """Keep a FIFO group in order: on a failure what is held of it is hidden to the same moment (decision 15)."""
        if isinstance(verdict, Delete):
            self._credit.widen(head.queue, head.message.message_id)
        else:
            seconds = verdict.seconds if isinstance(verdict, Hide) else 0.0
            self._credit.narrow(head.queue, head.message.message_id, boottime() + seconds + 2 * self._config.lease)
            for one in self._buffer.remove_group(head):
                self._acker.settle(one, Hide(seconds))
                self._credit.ended(one.queue)
        self._buffer.free(head)
        self._tell_blocked(head.queue)

    def _tell_blocked(self, queue: str) -> None:
        """What waits for its group, or for its moment, needs no executor: others may use it."""
        kept = self._buffer.kept(queue)
        if queue.endswith(FIFO):
            self._credit.blocked(queue, self._buffer.blocked(queue), kept)
        elif kept or queue in self._keeping:
            self._credit.blocked(queue, 0, kept)
            (self._keeping.add if kept else self._keeping.discard)(queue)

    def release(self, delivery: Delivery) -> None:
        """Give it back unstarted. From any thread."""
        self._acker.release(delivery)
        self._credit.ended(delivery.queue)

    def release_all(self) -> None:
        """Give back everything that waits and may not start any more."""
        for one in self._buffer.clear():
            if self._may_start(one):
                self._buffer.add((one,))
            else:
                self.release(one)

    def look(self, now: float, slots: Sequence[Slot]) -> None:
        """See which tasks run for long, and release what cannot start here soon (decision 5)."""
        for slot in slots:
            for number, running in slot.running.items():
                delivery, ran = slot.held[number], boottime() - running.at
                if ran >= LONG:
                    self._credit.shares.runs(delivery, ran)
                    if number not in self._long:
                        self._long.add(number)
                        self._credit.lasts(delivery.queue)
        for queue in {one.queue for one in self._buffer.take_due(now)}:
            self._tell_blocked(queue)
        waiting = [one for one in self._buffer if not self._buffer.is_waiting_for_group(one)]
        surplus = self._surplus.find(now, waiting, slots)
        for one in surplus:
            self._buffer.remove(one)
            self.release(one)
        for queue, count in Counter(one.queue for one in surplus).items():
            log.info("queue %s: %d deliveries are released, they cannot start here soon", queue, count)

    def drop(self, delivery: Delivery) -> None:
        """No longer held: not started, not hidden. Nor is what waits behind it in a FIFO group."""
        if self._buffer.remove(delivery):
            self._leases.end([delivery])
            self._credit.ended(delivery.queue)
            for one in self._buffer.remove_group(delivery):
                self.release(one)
            self._tell_blocked(delivery.queue)


def _seconds_of(verdict: Verdict) -> float:
    """For how long this sends a message away."""
    if isinstance(verdict, Resend):
        return float(verdict.delay if verdict.left is None else verdict.left)
    return float(verdict.seconds) if isinstance(verdict, Hide) else 0.0


def _runner(message_id: str, slots: Iterable[Slot]) -> tuple[Slot, Delivery] | None:
    """The executor that runs a task of this message, and the delivery that it runs."""
    running = ((slot, slot.held[number]) for slot in slots for number in slot.running)
    return next((found for found in running if found[1].message.message_id == message_id), None)
