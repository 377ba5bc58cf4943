"""Every error pyqs raises, grouped by who has to act.

::

    PyQSError
    ├── ConfigError              the operator: a setting, an option, an app that does not import
    ├── SqsError                 AWS refused or did not answer; has .code, .queue, .retryable
    │   ├── QueueNotFound
    │   ├── AccessDenied         one action on one queue is not allowed
    │   ├── CredentialsError     no, wrong or expired credentials
    │   ├── LeaseLost            the receipt handle is no longer ours
    │   ├── Throttled            slow down
    │   ├── QueueFull            OverLimit: too many messages in flight
    │   ├── Unreachable          network, timeout, DNS, 5xx: nobody answered
    │   ├── PayloadUnavailable   S3 instead of SQS, which holds the body of a large message
    │   └── SendFailed           some of many messages were not accepted; has .results
    ├── MessageError             the producer, or whoever wrote the message
    │   ├── Undecodable          a layer of the body cannot be read; has .layer
    │   ├── Refused              readable, but its content type is not accepted
    │   │   └── PayloadRefused   its body lies in a bucket that was not named
    │   ├── UnknownTask          names no task this worker may run
    │   ├── Unsupported          a message that needs a feature that is not there yet
    │   ├── NotSerializable      an argument that does not fit the format
    │   ├── TooLarge             over SQS's size limit
    │   └── BadMessageOption     an illegal delay, group or queue name at .delay()
    └── ExecutorError            a child process
        └── BootFailed           it could not load the app or the tasks

Owns: the classes above, and the text of an app's own traceback. Runs in every process. Imports nothing of pyqs. Never holds a
credential or a message body in a message text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence


class PyQSError(Exception):
    """Root of everything pyqs raises on purpose."""


class ConfigError(PyQSError):
    """A setting, an option or an app is wrong; the operator can mend it."""


class SqsError(PyQSError):
    """SQS refused a call or did not answer.

    Parameters:
        message: one sentence for a person, with the action and the queue in it.
        code: SQS's error code, the part after the last ``#`` or ``.`` prefix kept as SQS spells it ("" if none).
        queue: the queue's name or URL, "" where the call names none.
        retryable: True when the same call may succeed later with nothing changed.
    """

    default_retryable = False

    def __init__(self, message: str, *, code: str = "", queue: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.queue = queue
        self.retryable = self.default_retryable if retryable is None else retryable


class QueueNotFound(SqsError):
    """The queue does not exist (or did a moment ago)."""


class AccessDenied(SqsError):
    """IAM or the queue's policy does not allow this action."""


class CredentialsError(SqsError):
    """No credentials, wrong ones, or ones that have expired."""

    default_retryable = True


class LeaseLost(SqsError):
    """The receipt handle is expired or stale: the message is not ours any more."""


class Throttled(SqsError):
    """SQS asks for fewer calls."""

    default_retryable = True


class QueueFull(SqsError):
    """OverLimit: the queue has as many messages in flight as SQS allows."""

    default_retryable = True


class Unreachable(SqsError):
    """Connection, timeout, DNS or a 5xx: no usable answer came."""

    default_retryable = True


class PayloadUnavailable(SqsError):
    """S3 does not give, take or delete the body of a large message."""


class SendFailed(SqsError):
    """Some messages of a ``send_many`` were not accepted.

    Parameters:
        results: one entry per message in order: SQS's answer, or the SqsError that kept it from being sent.
    """

    def __init__(self, message: str, results: Sequence[object], *, queue: str = "") -> None:
        errors = [result for result in results if isinstance(result, SqsError)]
        code = errors[0].code if errors else ""
        super().__init__(message, code=code, queue=queue, retryable=all(error.retryable for error in errors))
        self.results = tuple(results)


class MessageError(PyQSError):
    """What is wrong with one message, or with the call that would become one."""


class Undecodable(MessageError):
    """A body that cannot be read.

    Parameters:
        layer: which layer failed: "envelope", "base64", "compression", "content" or "protocol".
        reason: one sentence; never holds the body.
    """

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"undecodable {layer}: {reason}")
        self.layer = layer
        self.reason = reason


class Refused(MessageError):
    """A content type this worker does not accept; says which ``--accept`` would read it."""

    def __init__(self, content_type: str, hint: str) -> None:
        super().__init__(f"content type {content_type!r} is not accepted; {hint}")
        self.content_type = content_type
        self.hint = hint


class PayloadRefused(Refused):
    """A message that points to an object in a bucket that this worker was not told to read."""

    def __init__(self, bucket: str, buckets: Sequence[str]) -> None:
        said = f"only {', '.join(buckets)} may be read" if buckets else "no bucket may be read"
        MessageError.__init__(self, f"its body lies in the S3 bucket {bucket!r}, and {said} here (--large-payload-bucket)")
        self.content_type, self.hint = "pointer", said


class UnknownTask(MessageError):
    """The message names no task that this worker has or may import."""

    def __init__(self, task: str, hint: str = "") -> None:
        super().__init__(f"unknown task {task!r}" + (f": {hint}" if hint else ""))
        self.task = task


class Unsupported(MessageError):
    """The message needs a feature that this version does not have; it is left on the queue."""


class NotSerializable(MessageError):
    """An argument cannot be written in the message's format."""


class TooLarge(MessageError):
    """The message is larger than SQS takes."""


class BadMessageOption(MessageError, ValueError):
    """An illegal delay, group id or queue name given when a task is called."""


class ExecutorError(PyQSError):
    """Something happened to a child process."""


class BootFailed(ExecutorError):
    """A child could not load the app or the tasks; ``details`` holds its traceback."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def app_traceback(exc: BaseException) -> str:
    """The traceback of what an app raised while we imported it: its own frames, not ours or importlib's that led there.

    An error of ours has the traceback of its cause, or none ("") when nothing of the app caused it.
    """
    if isinstance(exc, PyQSError):
        return "" if exc.__cause__ is None else app_traceback(exc.__cause__)
    import traceback  # here, as nothing else needs it and everybody imports this module

    text = traceback.TracebackException.from_exception(exc)
    while text.stack and _leads_there(text.stack[0].filename):
        del text.stack[0]
    return "".join(text.format())


def _leads_there(filename: str) -> bool:
    home = os.path.dirname(os.path.abspath(__file__))
    ours = (home + os.sep, home + "_celery_compat" + os.sep)
    return filename.startswith(
        (*ours, "<frozen importlib", os.path.dirname(os.path.abspath(os.__file__)) + os.sep + "importlib" + os.sep)
    )
