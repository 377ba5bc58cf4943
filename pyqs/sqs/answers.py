"""Making values of an answer that may not be SQS's: a proxy's page, another service's JSON.

Owns: the guard around it, what a batch's answer says of each entry, and the check that a message's texts are texts. Pure; any
thread. Never stands around more than the reading itself: an error of ours elsewhere is a bug and must be seen as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyqs.message import ReceivedMessage
from pyqs.sqs.failures import MALFORMED, error_from_answer, error_from_code


@contextmanager
def reading(action: str, queue: str) -> Iterator[None]:
    """For the lines that make values of an answer, and nothing else.

    Raises:
        Unreachable: there is none to be made.
    """
    try:
        yield
    except MALFORMED as exc:
        raise error_from_answer(exc, queue=queue, action=action) or exc from None


_TEXT = {str}


def checked(message: ReceivedMessage) -> ReceivedMessage:
    """It, when its texts are texts.

    Raises:
        TypeError: they are not.
    """
    texts = (message.message_id, message.receipt_handle, message.body, *message.attributes.values())
    if {*map(type, texts)} != _TEXT:
        raise TypeError("a message with a value that is no text")
    return message


def by_entry(answer: Mapping[str, Any], action: str, queue: str) -> dict[str, Any]:
    """A batch's answer by the entries' ids: what is said of each that was done, the error of each other.

    Raises:
        Unreachable: there is no reading it.
    """
    with reading(action, queue):
        found: dict[str, Any] = {entry["Id"]: entry for entry in answer.get("Successful") or ()}
        for failed in answer.get("Failed") or ():
            error = error_from_code(str(failed.get("Code", "")), str(failed.get("Message", "")), queue=queue, action=action)
            if not failed.get("SenderFault", True):
                error.retryable = True
            found[failed["Id"]] = error
        return found
