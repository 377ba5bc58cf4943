"""How a delivery ends that its runtime has not brought to an end, and how a process ends that a task has forked.

Owns: those outcomes, and the last of a forked child. Runs in the main thread of whatever runs tasks: an executor, or a Lambda
function. Never talks to SQS or to a worker.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import NoReturn

from pyqs import backoff
from pyqs.clock import boottime
from pyqs.config import MAX_DELAY
from pyqs.message import Delete, Delivery, Hide, Resend
from pyqs.runtime import Outcome, Prepared
from pyqs.wire import Postponed


def over_limit(prepared: Prepared, answer: Postponed) -> Outcome:
    """It is sent again, or hidden on a FIFO queue, and asks anew when it comes."""
    reason = f"over its rate limit, back in {answer.delay} s"
    verdict = Resend(min(MAX_DELAY, answer.delay), answer.delay)
    return Outcome(verdict, "postponed", (), prepared.task, prepared.call_id, reason)


def broken(delivery: Delivery, status: str, exc: BaseException, prepared: Prepared | None = None) -> Outcome:
    """What becomes of a delivery on which the runtime itself failed: it comes back, later each time."""
    verdict = Hide(backoff.retry_seconds(delivery.receive_count, held=boottime() - delivery.received_at))
    task, call_id = (prepared.task, prepared.call_id) if prepared else ("", "")
    return Outcome(verdict, status, (), task, call_id, f"the runtime raised {type(exc).__name__}")


def after_early_ack(delivery: Delivery, prepared: Prepared, outcome: Outcome) -> Outcome:
    """The start of a task that is acked early was its end, as far as its message goes."""
    if prepared.ack_early and not delivery.is_fifo and not isinstance(outcome.verdict, Delete):
        return replace(outcome, verdict=Delete())
    return outcome


def end_of_fork(exc: BaseException | None) -> NoReturn:
    """A process that a task forked has come back from the task: it is no executor, and ends as its code asked for."""
    flush()
    code = 0 if exc is None else 1
    if isinstance(exc, SystemExit):
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    os._exit(code & 0xFF)


def flush() -> None:
    """Let out what was printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # the task has closed it, or put anything at all in its place
