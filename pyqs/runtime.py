"""What turns a delivery into a verdict: the contract between an executor and whatever decodes and runs calls.

Owns: the TaskRuntime protocol and the values it answers with; ``native`` has the runtime of native tasks, the compat
package that of Celery's. Runs in the main thread of an executor, or of the host, which runs no task; where an executor runs
several tasks at a time, ``prepare`` and ``run`` are called in as many threads.
Never talks to SQS: what must be sent goes into the outcome's outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pyqs.message import CalledOff, Death, Delivery, FollowUp, Verdict
from pyqs.value import value

#: How a delivery can end. The worker logs and counts by these words.
STATUSES = (
    "succeeded",  # ran to its end
    "failed",  # raised; native: hidden by backoff, compat: by Celery's matrix
    "retried",  # asked to run again later (self.retry)
    "ignored",  # raised Ignore
    "rejected",  # raised Reject
    "expired",  # too late to run
    "revoked",  # called off before it began, or while it ran
    "postponed",  # not due yet: hop or hide
    "undecodable",
    "unknown",  # names no task this worker may run
    "refused",  # content type not accepted
    "unsupported",  # needs a feature that is not there yet
    "timed-out",  # killed at its hard limit
    "lost",  # its executor died with it
    "stopped",  # ended by ShutdownRequested because the worker stops: given back
    "exhausted",  # received more often than its task allows: not run any more
)

#: What a host hears of its worker, in this order, each once; ``stopping`` (sig, how) only if a signal asked for it. Others
#: have concurrency, pid (of the worker) and log_level.
EVENTS = ("starting", "ready", "stopping", "stopped")
#: What it hears every two seconds from ``ready`` on, while no thread of its worker hangs.
ALIVE = "alive"
#: What the host of a worker with ``RuntimeConfig.beat`` is told: to send periodic tasks, and to stop doing so.
BEAT, BEAT_ENDS = "beat", "beat-ends"


@value
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
    """What was loaded: task names, how many of them are acked before they run, lines to log once; whether it ``watches``."""

    tasks: tuple[str, ...]
    at_most_once: int = 0
    notes: tuple[str, ...] = ()
    watches: bool = False


class Prepared(Protocol):
    """A call that may start: decoded, allowed, due (or due within two seconds at most)."""

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
        """Raised in the task when its soft limit has passed."""
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
    def if_killed(self) -> Verdict | None:
        """The verdict if the executor is killed at the hard limit, or dies, with the task; None for a growing hide."""
        ...

    @property
    def tells(self) -> bool:
        """Whether then the host must be asked instead, because somebody is to hear of it."""
        ...

    def run(self) -> Outcome:
        """Run it in this thread. Never raises for what the task does, SystemExit and KeyboardInterrupt included."""
        ...


class TaskRuntime(Protocol):
    """Loads tasks and turns deliveries into outcomes. Made in the executor as ``Class(RuntimeConfig)``."""

    def boot(self) -> BootReport:
        """Import the app and the tasks. Raises ConfigError or whatever the import raises; called once, maybe before a fork."""
        ...

    def set_up_logging(self, level: str) -> bool:
        """Called once in an executor or the host, first of all there: have it log as the app wants it. False leaves it to pyqs.

        What it raises is why the process cannot be used.
        """
        ...

    def after_fork(self) -> None:
        """Called once in the executor before its first delivery (hooks, django, connections)."""
        ...

    def prepare(self, delivery: Delivery) -> Prepared | Outcome:
        """Decode and decide: a call to run, or at once an outcome (undecodable, unknown, refused, not due, expired)."""
        ...

    def call_off(self, calls: Sequence[CalledOff]) -> None:
        """These calls must not start here. Called in the executor's reader thread, at any time after ``after_fork``."""
        ...

    def look(self) -> None:
        """Find out, now, which calls are called off. Called before a delivery where there is no host that does it."""
        ...

    def close(self) -> None:
        """Called once when the executor leaves in order."""
        ...

    # -- in the host ----------------------------------------------------------------------------------------------

    def become_host(self) -> None:
        """Called once in the host instead of ``after_fork``. No task is run there, and no ``close`` follows."""
        ...

    def watch(self, tell: Callable[[Sequence[CalledOff]], None]) -> None:
        """Called once in the host, where ``BootReport.watches``: from now on tell, in a thread of its own, which calls are
        called off. At once those that were before, be it none."""
        ...

    def killed(self, delivery: Delivery, death: Death) -> Outcome:
        """Tell who is to be told of a task that was killed or lost; the verdict, with what must be sent before it.

        A worker that is killed before the verdict is carried out has the message received again, and this is done once more.
        """
        ...

    def worker_event(self, name: str, details: Mapping[str, str | int]) -> None:
        """Something has happened to the worker, one of ``EVENTS``; or it is ``ALIVE``; or ``BEAT`` or ``BEAT_ENDS``."""
        ...
