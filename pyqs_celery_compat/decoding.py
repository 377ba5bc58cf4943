"""One door for whoever reads Celery messages: an SQS body in, a ``CeleryCall`` or a typed error out.

Owns: the order of the layers (envelope, compression, content, protocol). Runs in an executor's main thread. Never lets any
exception but pyqs's own out, whatever the body holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyqs.errors import PyQSError, Undecodable
from pyqs.message import EMPTY
from pyqs_celery_compat import serialization
from pyqs_celery_compat.envelope import Envelope, Native, open_envelope
from pyqs_celery_compat.protocol import CeleryCall, read_call
from pyqs_celery_compat.serialization import DATA, TEXT, TEXT_OLD, Accept


def decode(body: str, message_attributes: Mapping[str, Any] = EMPTY, *, accept: Accept, queue: str = "") -> CeleryCall:
    """Read one SQS body that Celery wrote.

    Parameters:
        body: exactly as received.
        message_attributes: as received; Celery keeps nothing of its own there, so nothing is read from them.
        accept: which content types may be read.
        queue: the queue's name, kept in the call.

    Raises:
        Undecodable: a layer cannot be read, or it is no Celery task; ``layer`` says which.
        Refused: it can be read, but is not accepted; the text says which ``--accept`` would.
    """
    try:
        opened = open_envelope(body)
        if isinstance(opened, Native):
            raise Undecodable("protocol", "a message in PyQS's own format, not Celery's")
        return decode_envelope(opened, accept=accept, queue=queue)
    except PyQSError:
        raise
    except Exception as error:  # RecursionError, MemoryError and what nobody thought of
        raise Undecodable("protocol", f"it cannot be read ({type(error).__name__})") from None


def read(body: str, queue: str = "") -> CeleryCall:
    """The same with every content type that runs no code: for tests, which ask what was sent. Raises as ``decode``."""
    return decode(body, accept=Accept.default(()), queue=queue)


def decode_envelope(envelope: Envelope, *, accept: Accept, queue: str = "") -> CeleryCall:
    """The same for an envelope that has been opened already (``open_envelope`` also tells native messages apart).

    Raises:
        Undecodable, Refused: as ``decode``.
    """
    kind, headers = envelope.content_type, envelope.headers
    if kind not in accept.content_types and kind in (TEXT, TEXT_OLD, DATA, ""):
        raise Undecodable("protocol", f"a message of type {kind or 'unknown'!r} holds no task")
    compressed = headers.get("compression")
    if compressed is not None and not isinstance(compressed, str):
        raise Undecodable("compression", "its compression header is no text")
    payload = serialization.loads(envelope.payload, kind, envelope.content_encoding, compressed, accept)
    return read_call(envelope, payload, queue)
