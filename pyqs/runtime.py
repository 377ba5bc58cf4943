"""What turns a delivery into a verdict: the contract between an executor and whatever decodes and runs calls.

Owns: the TaskRuntime protocol and the values it answers with; ``native`` has the runtime of native tasks, the compat
package that of Celery's. Runs in an executor's main thread only.
Never talks to SQS: what must be sent goes into the outcome's outbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pyqs.message import Delivery, FollowUp, Verdict

#: How a delivery can end. The worker logs and counts by these words.
STATUSES = (
    "succeeded",  # ran to its end
    "failed",  # raised; native: hidden by backoff, compat: by Celery's matrix
    "retried",  # asked to run again later (self.retry)
    "ignored",  # raised Ignore
    "rejected",  # raised Reject
    "expired",  # too late to run
    "postponed",  # not due yet: hop or hide
    "undecodable",
    "unknown",  # names no task this worker may run
    "refused",  # content type not accepted
    "unsupported",  # needs a feature that is not there yet
    "timed-out",
    "exhausted",  # received more often than its task allows: not run any more
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery ended: its verdict, what must be sent before it, and one line for the log (no arguments, no body)."""

    verdict: Verdict
    status: str
    follow_ups: tuple[FollowUp, ...] = ()
    task: str = ""
    call_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BootReport:
    """What was loaded: task names, how many of them are acked before they run, lines to log once."""

    tasks: tuple[str, ...]
    at_most_once: int = 0
    notes: tuple[str, ...] = ()


class Prepared(Protocol):
    """A call that may start: decoded, allowed, due (or due within two seconds)."""

    @property
    def task(self) -> str:
        """The task's name."""
        ...

    @property
    def call_id(self) -> str:
        """The task id (for native messages, the SQS message id)."""
        ...

    @property
    def start_at(self) -> float | None:
        """Wall-clock second before which it must not start (at most two seconds ahead), or None."""
        ...

    @property
    def time_limit(self) -> float | None:
        """Hard limit in seconds, kept by the worker with a SIGKILL."""
        ...

    @property
    def soft_time_limit(self) -> float | None:
        """Soft limit in seconds, kept by the executor with ``soft_limit_error`` raised in the task."""
        ...

    @property
    def soft_limit_error(self) -> type[BaseException]:
        """Raised in the task, in the main thread, when its soft limit has passed."""
        ...

    @property
    def ack_early(self) -> bool:
        """True if the message is to be deleted when the task starts."""
        ...

    @property
    def rate_key(self) -> str | None:
        """Names the token bucket of a rate-limited task, None for one without a limit."""
        ...

    @property
    def rate(self) -> float:
        """Tokens per second that the bucket gains: how many such tasks may start in this worker."""
        ...

    @property
    def if_timed_out(self) -> Verdict | None:
        """The verdict if the worker has to kill the task at its hard limit; None for a growing hide."""
        ...

    @property
    def if_lost(self) -> Verdict | None:
        """The verdict if the executor dies with the task; None for a growing hide."""
        ...

    def run(self) -> Outcome:
        """Run it in this thread. Never raises for what the task does, SystemExit and KeyboardInterrupt included."""
        ...


class TaskRuntime(Protocol):
    """Loads tasks and turns deliveries into outcomes. Made in the executor as ``Class(RuntimeConfig)``."""

    def boot(self) -> BootReport:
        """Import the app and the tasks. Raises ConfigError or whatever the import raises; called once, maybe before a fork."""
        ...

    def after_fork(self) -> None:
        """Called once in the executor before its first delivery (hooks, django, connections)."""
        ...

    def prepare(self, delivery: Delivery) -> Prepared | Outcome:
        """Decode and decide: a call to run, or at once an outcome (undecodable, unknown, refused, not due, expired)."""
        ...

    def close(self) -> None:
        """Called once when the executor leaves in order."""
        ...
