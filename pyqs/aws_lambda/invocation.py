"""One invocation: the records of an SQS event, one after the other, as an executor runs deliveries.

Owns: ``LambdaHandler``: the order of a batch, which record may start, what Lambda is told. Runs in the function's main thread;
the clockwork's thread ends what has run for too long. Never lets one record's failure be that of another, but within a FIFO
group.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pyqs import logs
from pyqs.aws_lambda.books import Books, Running
from pyqs.aws_lambda.clockwork import Clockwork, Estimates
from pyqs.aws_lambda.event import Misshapen, read_event
from pyqs.aws_lambda.settings import LambdaConfig
from pyqs.aws_lambda.settling import Settling
from pyqs.backoff import clamp_visibility, retry_seconds
from pyqs.clock import boottime
from pyqs.config import MAX_DELAY, MAX_VISIBILITY
from pyqs.executor.endings import after_early_ack, broken, end_of_fork, flush, over_limit
from pyqs.interruption import shutdown
from pyqs.message import Death, Delete, Delivery, Hide, Leave, Verdict
from pyqs.payloads import Payloads
from pyqs.runtime import Outcome, Prepared, TaskRuntime
from pyqs.sqs import Sqs, connect
from pyqs.wire import Admitted, Done, MayStart
from pyqs.worker.policy import applied
from pyqs.worker.rates import PATIENCE, Rates
from pyqs.worker.report import Journal, Totals

log = logging.getLogger(__name__)

#: Exit code of a function's process whose task has run over its hard limit.
EXIT_OVER_LIMIT = 1


class LambdaHandler:
    """What a function's ``Handler`` names. Made when the function starts: what is wrong with it is raised then.

    Parameters:
        config: all settings.
        runtime: not booted; None makes the one that ``config`` names.
        connector: makes the SQS client, when it is needed.

    Raises:
        ConfigError, BootFailed: the tasks or a setting. Whatever their import raises.
    """

    def __init__(
        self, config: LambdaConfig, runtime: TaskRuntime | None = None, *, connector: Callable[[], Sqs] | None = None
    ) -> None:
        worker = config.worker
        self.config = config
        self._runtime = _make(worker.runtime.runtime)(worker.runtime) if runtime is None else runtime
        report = self._runtime.boot()
        for note in report.notes:
            log.info(note)
        connection = worker.connection
        logs.know((connection.secret_access_key, connection.session_token))
        logs.calm("DEBUG" if log.isEnabledFor(logging.DEBUG) else "INFO")
        self._runtime.after_fork()
        self._settling = Settling(connector or (lambda: connect(worker.connection)), Payloads(worker.connection))
        self._clockwork = Clockwork(self._over_hard_limit)
        self._estimates = Estimates()
        self._rates = Rates()
        self._journal = Journal(Totals())
        self._numbers = itertools.count(1)
        self._books = Books(())
        self._one_at_a_time = threading.Lock()
        self._time_up: float | None = None
        self._whole = math.inf

    def __call__(self, event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
        """Run the records of one event.

        Parameters:
            event: of an event source mapping of an SQS queue, with ReportBatchItemFailures.
            context: Lambda's; without one there is no end to the invocation's time.

        Returns:
            the records that have failed or not started: ``{"batchItemFailures": [{"itemIdentifier": message id}, ...]}``.

        Raises:
            ConfigError: it is no event of SQS's.
        """
        with self._one_at_a_time:
            records = read_event(event, self.config.worker.connection, self._numbers)
            for one in records:
                if isinstance(one, Misshapen):
                    log.error("message %s comes back, its record cannot be read: %s", one.message_id, one.reason)
            self._books = books = Books(records)
            self._set_time(context, books)
            try:
                while (delivery := books.next()) is not None:
                    self._take(books, delivery)
            finally:
                self._clockwork.end()
                with books.lock:  # what the clockwork does about the end of the time is done, or will not be
                    books.over = True
                    shutdown.over()
            return books.answer()

    def _set_time(self, context: Any, books: Books) -> None:
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        self._time_up, self._whole = None, math.inf
        if remaining is not None:
            seconds = remaining() / 1000
            self._whole = seconds - min(self.config.margin, seconds / 4)
            self._time_up = boottime() + self._whole
        self._clockwork.begin(self._time_up, lambda: self._time_is_up(books))

    # -- one record ---------------------------------------------------------------------------------------------------
    def _take(self, books: Books, delivery: Delivery) -> None:
        """It, from its decoding to its verdict; whatever happens is its own affair."""
        try:
            verdict = self._handle(books, delivery)
        except Exception:
            log.exception("%s: it comes back, its handling failed", delivery)
            verdict = Leave()
        books.ended(delivery, verdict)

    def _handle(self, books: Books, delivery: Delivery) -> Verdict:
        if books.holds_up(delivery):
            pause = books.behind(delivery)
            if pause is not None:  # to the same moment: while one of a group is hidden, SQS hands out none of it
                self._settling.hide([delivery], pause)
            log.info("%s waits for an earlier one of its group", delivery)
            return Leave()
        if self._settling.only_delete(delivery):
            log.info("%s was done before; it is only deleted", delivery)
            return Delete()
        self._runtime.look()
        prepared = self._prepare(delivery)
        seconds: float | None = None
        if isinstance(prepared, Outcome):
            outcome = prepared
        else:
            wait = self._may_start(delivery, prepared)
            if isinstance(wait, Outcome):
                outcome = wait
            elif not self._has_time(books, prepared, wait) or (ran := self._run(books, delivery, prepared, wait)) is None:
                log.info("%s: too little of the function's time is left for %s; it is given back", delivery, prepared.task)
                return self._settling.release([delivery])[0]
            else:
                outcome, seconds = ran
        return self._end(delivery, outcome, seconds)

    def _prepare(self, delivery: Delivery) -> Prepared | Outcome:
        try:
            return self._runtime.prepare(delivery)
        except BaseException as exc:
            log.exception("%s: cannot be prepared", delivery)
            return broken(delivery, "failed", exc)  # a fault of ours is no fact about the message

    def _may_start(self, delivery: Delivery, prepared: Prepared) -> float | Outcome:
        """Seconds to wait for its time and its rate limit, or what becomes of it for that."""
        wait = 0.0 if prepared.start_at is None else max(0.0, prepared.start_at - time.time())
        if prepared.rate_key is None:
            return wait
        longest = MAX_DELAY
        if not self._settling.copies_allowed(delivery):
            longest = clamp_visibility(MAX_VISIBILITY, held=boottime() - delivery.received_at)
        answer = self._rates.ask(MayStart(delivery.id, prepared.rate_key, prepared.rate), PATIENCE, longest)
        return max(wait, answer.wait) if isinstance(answer, Admitted) else over_limit(prepared, answer)

    def _has_time(self, books: Books, prepared: Prepared, wait: float) -> bool:
        """Whether it will end in time. The first of an invocation has all the time that there will ever be."""
        if self._time_up is None:
            return True
        left = self._time_up - boottime() - wait
        return left > 0 and (not books.started or left >= self._estimates.expected(prepared, self._whole))

    def _run(self, books: Books, delivery: Delivery, prepared: Prepared, wait: float) -> tuple[Outcome, float] | None:
        """How it ended and after how many seconds; None if it may not start any more."""
        outcome: Outcome | None = None
        time.sleep(wait)
        pid, began = os.getpid(), boottime()
        if not books.begin(Running(delivery, prepared, began)):
            return None
        self._rates.started(prepared.task)
        try:
            self._clockwork.arm(prepared)
            try:
                outcome = prepared.run()
            finally:
                self._clockwork.disarm()
                shutdown.task_ended()
        except BaseException as exc:
            if os.getpid() != pid:
                end_of_fork(exc)
            if outcome is None:  # else the limit came between the task's end and disarm()
                log.exception("%s: %s ended outside its runtime's guard", delivery, prepared.task)
                outcome = broken(delivery, "failed", exc, prepared)
        if os.getpid() != pid:
            end_of_fork(None)
        with books.lock:  # if its hard limit came first, this process ends while we wait here
            books.running = None
        seconds = boottime() - began
        self._estimates.ran(prepared.task, seconds)
        return after_early_ack(delivery, prepared, outcome), seconds

    def _end(self, delivery: Delivery, outcome: Outcome, seconds: float | None) -> Verdict:
        frame = Done(
            delivery.id, outcome.verdict, outcome.follow_ups, outcome.status, outcome.task, outcome.call_id, outcome.reason,
            seconds,
        )  # fmt: skip
        if not isinstance(frame.verdict, Delete):
            last_life = frame.status == "stopped" and self._settling.is_last_life(delivery)
            frame = applied(self.config.worker, frame, last_life=last_life)
        self._journal.done(delivery, frame, ran=seconds is not None)
        return self._settling.settle(delivery, frame.verdict, frame.follow_ups)

    # -- the clockwork's thread ---------------------------------------------------------------------------------------
    def _time_is_up(self, books: Books) -> None:
        """Lambda may kill us any moment now, and then calls the whole batch failed: what is done must not run again for it."""
        with books.lock:
            if books.over:
                return
            books.closing = True
            if (running := books.running) is not None:
                log.warning("%s: %s still runs, and the function's time is nearly up", running.delivery, running.prepared.task)
                shutdown.begin()
            self._close(books)

    def _close(self, books: Books) -> None:
        """Delete what is done, give back what has not started."""
        waiting = books.take_waiting()
        self._settling.delete(books.take_done())
        for delivery, verdict in zip(waiting, self._settling.release(waiting), strict=True):
            books.ended(delivery, verdict)

    def _over_hard_limit(self, prepared: Prepared) -> None:
        """There is no other process that could kill the task's: settle everything, and end."""
        books = self._books
        with books.lock:
            running = books.running
            if running is None or running.prepared is not prepared:
                return
            delivery, limit = running.delivery, prepared.time_limit
            log.error("%s: %s has run over its hard limit of %s s; this process ends", delivery, prepared.task, limit)
            try:
                outcome = self._killed(delivery, prepared)
                verdict = self._end(delivery, outcome, boottime() - running.began)
                books.ended(delivery, verdict)
                if isinstance(verdict, Delete):
                    log.info("%s: its settings say that it has failed for good; its message is deleted", delivery)
                self._close(books)
            except BaseException:
                log.exception("%s: not all could be settled; what was not comes back", delivery)
            finally:
                _leave()

    def _killed(self, delivery: Delivery, prepared: Prepared) -> Outcome:
        how = "ran over its hard limit"
        if prepared.tells:
            return self._runtime.killed(delivery, Death(how, prepared.time_limit))
        again = Hide(retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at))
        return Outcome(prepared.if_killed or again, "timed-out", (), prepared.task, prepared.call_id, how)


def _make(name: str) -> Callable[..., TaskRuntime]:
    module, _, attribute = name.partition(":")
    made: Callable[..., TaskRuntime] = getattr(importlib.import_module(module), attribute)
    return made


def _leave() -> NoReturn:
    """End this process, whatever it does; Lambda starts another."""
    flush()
    try:
        logging.shutdown()
    finally:
        os._exit(EXIT_OVER_LIMIT)
