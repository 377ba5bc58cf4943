"""One delivery after the other, each from its decoding to its verdict.

Owns: ``Work``, what every thread of an executor does that runs tasks; an executor that runs one at a time has one, in its main
thread. Never reads the pipe, never keeps the time, never ends because of what a task raised.
"""

from __future__ import annotations

import logging
import math
import os

from pyqs import log_fields
from pyqs.clock import boottime
from pyqs.executor import lifeline, process
from pyqs.executor.endings import after_early_ack, broken, end_of_fork, flush, over_limit
from pyqs.executor.inbox import Inbox
from pyqs.executor.limits import Limit
from pyqs.executor.process import Pipe
from pyqs.executor.retirement import Counts
from pyqs.interruption import Shutdown
from pyqs.message import Delivery
from pyqs.runtime import Outcome, Prepared, TaskRuntime
from pyqs.start_note import StartNote
from pyqs.wire import Admitted, MayStart, Postponed, Run, Started

log = logging.getLogger(__name__)


class Work:
    """What is done with deliveries in one thread.

    Parameters:
        pipe: to the worker.
        runtime: booted; other threads may have the same.
        inbox: where the deliveries of this thread come in.
        counts: hears of each task that begins.
        limit: of this thread's runs. shutdown: whether they are to stop.
        note: where a start is noted, instead of being told.
    """

    def __init__(
        self,
        pipe: Pipe,
        runtime: TaskRuntime,
        inbox: Inbox,
        counts: Counts,
        limit: Limit,
        shutdown: Shutdown,
        note: StartNote | None = None,
    ) -> None:
        self._pipe = pipe
        self._runtime = runtime
        self._inbox = inbox
        self._counts = counts
        self._limit = limit
        self._shutdown = shutdown
        self._note = note
        self._pid = os.getpid()

    def run_one(self) -> bool:
        """Run the next delivery, waited for; False after Stop."""
        run = self._inbox.take()
        if run is None:
            return False
        delivery = run.delivery
        log_fields.begin(delivery.queue, delivery.message.message_id)
        try:
            self._handle(run)
        finally:
            log_fields.end()
        return True

    def _handle(self, run: Run) -> None:
        """One delivery from its decoding to its verdict. Nothing of it is referred to when this returns."""
        delivery = run.delivery
        prepared = self._prepare(delivery)
        wait = 0.0
        if not isinstance(prepared, Outcome):
            log_fields.name(prepared.task, prepared.call_id)
        if not isinstance(prepared, Outcome) and prepared.rate_key is not None:
            answer = self._ask(delivery, prepared, prepared.rate_key)
            if answer is None:
                return
            if isinstance(answer, Postponed):
                prepared = over_limit(prepared, answer)
            else:
                wait = answer.wait
        seconds: float | None = None
        if isinstance(prepared, Outcome):
            outcome = prepared
        elif self._inbox.start(prepared.start_at, wait):
            began = boottime()
            self._counts.task_began()
            outcome = self._call(delivery, prepared, began)
            seconds = boottime() - began
        else:
            return
        self._clean_up()
        self._inbox.finish()
        self._say_done(delivery, outcome, seconds)

    def _say_done(self, delivery: Delivery, outcome: Outcome, seconds: float | None) -> None:
        try:
            self._pipe.send(process.done(delivery.id, outcome, seconds))
        except (TypeError, ValueError) as exc:
            log.exception("%s: its outcome cannot be sent", delivery)
            self._pipe.send(process.done(delivery.id, broken(delivery, "failed", exc), seconds))

    def _clean_up(self) -> None:
        """What is this process's, as it was before a task."""
        flush()
        lifeline.keep_signals()

    def _ask(self, delivery: Delivery, prepared: Prepared, rate_key: str) -> Admitted | Postponed | None:
        """Whether its rate limit lets it start; None if it went back meanwhile. No time limit runs yet."""
        frame = MayStart(delivery.id, rate_key, prepared.rate)
        return self._inbox.ask(prepared.start_at, lambda: self._pipe.send(frame))

    def _prepare(self, delivery: Delivery) -> Prepared | Outcome:
        try:
            return self._runtime.prepare(delivery)
        except BaseException as exc:
            log.exception("%s: cannot be prepared", delivery)
            return broken(delivery, "failed", exc)  # a fault of ours is no fact about the message

    def _call(self, delivery: Delivery, prepared: Prepared, began: float) -> Outcome:
        outcome: Outcome | None = None
        try:
            started = _started(delivery.id, prepared, began)
            if self._note is None or not self._note.write(started):
                self._pipe.send(started)
            self._limit.arm(prepared.soft_time_limit, prepared.soft_limit_error)
            try:
                outcome = prepared.run()
            finally:
                self._limit.disarm()
                self._shutdown.task_ended()
        except BaseException as exc:
            if os.getpid() != self._pid:
                end_of_fork(exc)
            if outcome is None:  # else the limit or the stop came between the task's end and disarm()
                log.exception("%s: %s ended outside its runtime's guard", delivery, prepared.task)
                outcome = broken(delivery, "failed", exc, prepared)
        if os.getpid() != self._pid:
            end_of_fork(None)
        return after_early_ack(delivery, prepared, outcome)  # also if the worker has not heard of its start yet


def _countable(seconds: float | None) -> float | None:
    """A limit as the worker takes it; a task may have been given anything. What is no number of seconds raises."""
    if seconds is None or seconds == math.inf:
        return None
    number = float(seconds)
    if number != number:
        raise ValueError("a time limit that is no number")
    return number


def _started(delivery_id: int, prepared: Prepared, began: float) -> Started:
    return Started(
        delivery_id,
        prepared.task,
        prepared.call_id,
        _countable(prepared.time_limit),
        _countable(prepared.soft_time_limit),
        prepared.ack_early,
        prepared.if_killed,
        prepared.tells,
        began,
    )
