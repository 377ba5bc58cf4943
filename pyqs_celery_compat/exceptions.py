"""Celery's exceptions, with Celery's names and places in the tree.

Owns: the classes below. Pure; used in every process. Their ``__module__`` is the one Celery's (or billiard's) classes
have, because that name is what travels in results and what a peer looks up. They are not PyQSErrors where they are
control flow (Retry, Ignore, Reject); errors that say what the operator or the producer did are both.

::

    CeleryError
    ├── TaskPredicate            how a task ends, said by the task itself
    │   ├── Retry
    │   ├── Ignore
    │   └── Reject
    ├── TaskError
    │   ├── TimeoutError, MaxRetriesExceededError, TaskRevokedError, InvalidTaskError
    │   ├── ChordError, IncompleteStream, AlreadyRegistered
    │   └── NotRegistered, QueueNotFound          (KeyErrors too)
    ├── ImproperlyConfigured     (a pyqs ConfigError too)
    └── SecurityError
    BackendError
    ├── BackendGetMetaError
    └── BackendStoreError
"""

from __future__ import annotations

import numbers
from datetime import datetime
from types import TracebackType
from typing import Any, NoReturn

from pyqs.errors import ConfigError
from pyqs_celery_compat.naming import belongs_to

UNREGISTERED_FMT = "Task of kind {0} never registered, please make sure it's imported."


class CeleryError(Exception):
    """Root of Celery's errors."""


class TaskPredicate(CeleryError):
    """Raised by a task to say how it ends. An Exception, so a bare ``except Exception`` in a task swallows it."""


class Retry(TaskPredicate):
    """The task will be run again later.

    Parameters:
        message: text, or None.
        exc: the exception that was the reason, or text about it.
        when: seconds from now, or the moment.
        is_eager: it happened under ``apply()``.
        sig: the signature that runs it again.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        if isinstance(exc, str):
            self.exc, self.excs = None, exc
        else:
            self.exc, self.excs = exc, _safe_repr(exc) if exc is not None else None  # type: ignore[assignment]
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(self, exc, when, **kwargs)

    def humanize(self) -> str:
        """``in 5s`` or ``at 2031-05-17 00:00:00``."""
        if isinstance(self.when, numbers.Number):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.message, self.exc, self.when)


RetryTaskError = Retry


class Ignore(TaskPredicate):
    """The task ends with no state: nothing is stored, no handler is called."""


class Reject(TaskPredicate):
    """The message is given back.

    Parameters:
        reason: anything, for the log.
        requeue: True makes it visible again; False leaves it to the queue's redrive policy, or drops it where there is none.
    """

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class ImproperlyConfigured(CeleryError, ConfigError):
    """A setting is wrong."""


class SecurityError(CeleryError):
    """Something that security forbids."""


class TaskError(CeleryError):
    """Something is wrong with a task."""


class QueueNotFound(KeyError, TaskError):
    """The queue is not in ``task_queues`` and may not be created."""


class IncompleteStream(TaskError):
    """The end of a data stream was reached too early."""


class NotRegistered(KeyError, TaskError):
    """No task of this name."""

    def __repr__(self) -> str:
        return UNREGISTERED_FMT.format(self)


class AlreadyRegistered(TaskError):
    """The task is there already."""


class TimeoutError(TaskError):
    """The operation took too long."""


class MaxRetriesExceededError(TaskError):
    """The task has been retried as often as it may; carries ``task_args`` and ``task_kwargs``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args = kwargs.pop("task_args", [])
        self.task_kwargs = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked."""


class InvalidTaskError(TaskError):
    """The message is not a task call."""


class ChordError(TaskError):
    """A task in the header of a chord failed."""


class BackendError(Exception):
    """Something is wrong with the result backend."""


class BackendGetMetaError(BackendError):
    """A result could not be read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_id = kwargs.get("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} task_id:{self.task_id}"


class BackendStoreError(BackendError):
    """A result could not be written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state = kwargs.get("state", "")
        self.task_id = kwargs.get("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} state:{self.state} task_id:{self.task_id}"


class WorkerTerminate(SystemExit):
    """Ends the worker at once."""


SystemTerminate = WorkerTerminate


class WorkerShutdown(SystemExit):
    """Ends the worker in order."""


class CeleryWarning(UserWarning):
    """Root of Celery's warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """``send_task`` publishes even with ``task_always_eager``."""


class DuplicateNodenameWarning(CeleryWarning):
    """Two workers with one name."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Two functions with one task name: the first stays."""


class FixupWarning(CeleryWarning):
    """A fixup could not be applied."""


class NotConfigured(CeleryWarning):
    """No configuration was found."""


class SecurityWarning(CeleryWarning):
    """Possible, but not safe."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Will be deprecated."""


class CDeprecationWarning(DeprecationWarning):
    """Deprecated."""


class SoftTimeLimitExceeded(Exception):
    """The soft time limit has passed: raised in the task, so that it can clean up."""

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{tuple(self.args)!r}"


class TimeLimitExceeded(Exception):
    """The hard time limit has passed."""

    def __str__(self) -> str:
        return f"TimeLimitExceeded{tuple(self.args)!r}"


class WorkerLostError(Exception):
    """The process that ran the task is gone."""


class Terminated(Exception):
    """The task was terminated by request."""


def reraise(tp: type[BaseException], value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raise an exception with this traceback."""
    if value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


def __getattr__(name: str) -> Any:
    """What is in the modules of others, and costs something to load."""
    if name == "OperationalError":
        from kombu.exceptions import OperationalError

        return OperationalError
    if name == "get_pickleable_exception":
        from pyqs_celery_compat.utils.serialization import get_pickleable_exception

        return get_pickleable_exception
    if name == "CeleryCommandException":
        from pyqs_celery_compat.bin.base import CeleryCommandException

        return CeleryCommandException
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as exc:
        return f"<{type(value).__name__}: repr failed with {type(exc).__name__}>"


#: Celery takes these from billiard, and so do its users.
OF_BILLIARD = ("SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError", "Terminated")

belongs_to(
    "celery.exceptions",
    *(found for found in list(globals().values()) if isinstance(found, type) and found.__module__ == __name__),
)
belongs_to("billiard.exceptions", *OF_BILLIARD)
