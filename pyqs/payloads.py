"""Bodies that are too large for SQS, in S3: putting them there, fetching them, and deleting them when they are done with.

Owns: ``Payloads`` and its S3 client, which is made on the first use. Used by whoever publishes, by executors (``body_of``), who
fetch what they run, and by the worker, which deletes. For any thread, and for children of a fork. Never reads or deletes an
object outside of the buckets that the operator has named: whoever can write to a queue chooses what a pointer says.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from pyqs.bulk import MAX_BYTES, message_size
from pyqs.clock import boottime
from pyqs.config import ConnectionConfig
from pyqs.errors import BadMessageOption, PayloadRefused, PayloadUnavailable, TooLarge, Undecodable, Unsupported
from pyqs.message import OutgoingMessage, ReceivedMessage
from pyqs.pointers import Pointer, is_pointer, pointing, read_pointer

log = logging.getLogger(__name__)

#: Attributes of one message (SQS developer guide, "message metadata"); ours is one of them.
MOST_ATTRIBUTES = 10
#: Seconds for a connection, for one answer, and for one whole body: an executor that prepares for a minute passes for hung.
_CONNECT, _READ, PATIENCE = 5.0, 10.0, 40.0
_TRIES = 3
_CHUNK = 1 << 20


class Payloads:
    """The bodies of one connection's messages that lie in S3.

    Parameters:
        connection: its ``large_payload_bucket`` names the buckets; without one nothing is put away, and no pointer followed.
        make_client: makes boto3's S3 client; for tests.
    """

    def __init__(self, connection: ConnectionConfig, make_client: Callable[[ConnectionConfig], Any] | None = None) -> None:
        self._connection = connection
        self.buckets = connection.large_payload_buckets
        self._make = make_client or _client
        self._made: Any = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._said = False

    def put_away(self, message: OutgoingMessage, who: str) -> OutgoingMessage:
        """The message as it is sent: itself, or, if it is over the threshold, one that points to where its body now lies.

        An object whose message is then not sent stays until the bucket's lifecycle rule removes it: whether SQS has taken a
        message is not always known, and deleting it could lose one.

        Parameters:
            who: the task and its queue, for error texts.

        Raises:
            TooLarge: over SQS's limit, and there is no bucket. PayloadUnavailable: S3 has not taken it.
            BadMessageOption: it has ten attributes already.
        """
        size = message_size(message)
        if not self.buckets:
            if size > MAX_BYTES:
                raise TooLarge(
                    f"{who} has {size} bytes, SQS takes {MAX_BYTES}; compress it, put the data elsewhere and pass its address, "
                    "or name a bucket for such messages (docs/big-messages.md)"
                )
            return message
        if size <= self._connection.payload_threshold:
            return message
        if len(message.message_attributes) >= MOST_ATTRIBUTES:
            raise BadMessageOption(f"{who} has {size} bytes and {MOST_ATTRIBUTES} attributes: none is left for a pointer to S3")
        body = message.body.encode()
        pointer = Pointer(self.buckets[0], str(uuid.uuid4()))
        self._tell()
        self._call(f"put {who}, {size} bytes,", pointer, "put_object", Body=body)
        sent = pointing(message, pointer, len(body))
        if message_size(sent) > MAX_BYTES:
            raise TooLarge(f"{who} has attributes of {size - len(body)} bytes, SQS takes {MAX_BYTES} with the rest")
        return sent

    def body_of(self, message: ReceivedMessage, most: int) -> str:
        """The body of a message, from wherever it lies.

        Parameters:
            most: bytes that an object may have.

        Raises:
            PayloadRefused: it points to a bucket that was not named. Undecodable: no pointer, no text, too much, or not there.
            Unsupported: S3 does not answer, or not to us; the message stays on its queue.
        """
        if not is_pointer(message.body):
            return message.body
        pointer = read_pointer(message.body)
        if pointer.bucket not in self.buckets:
            raise PayloadRefused(pointer.bucket, self.buckets)
        try:
            data = self._fetch(pointer, most)
        except PayloadUnavailable as exc:
            if exc.code in ("NoSuchKey", "404"):
                raise Undecodable("pointer", f"its body is not in S3 any more ({pointer})") from None
            raise Unsupported(f"{exc}; the message stays on its queue") from None
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Undecodable("content", f"its body in S3 ({pointer}) is no UTF-8 text") from None

    def delete(self, pointers: Sequence[Pointer]) -> None:
        """Delete these objects, up to 1000 of one bucket of ours. One that is not there is deleted already.

        Raises:
            PayloadUnavailable: S3 does not answer, or does not delete all of them.
        """
        bucket = pointers[0].bucket
        assert bucket in self.buckets, "only what body_of has let pass"
        objects = {"Objects": [{"Key": one.key} for one in pointers], "Quiet": True}
        answer = self._call("delete", Pointer(bucket, f"({len(pointers)} objects)"), "delete_objects", Delete=objects)
        for error in answer.get("Errors") or ():
            code = str(error.get("Code", ""))
            raise PayloadUnavailable(f"s3://{bucket}: an object is not deleted: {code}", code=code, retryable=_passes(code))

    # -- parts --------------------------------------------------------------------------------------------------------
    def _tell(self) -> None:
        if not self._said:
            self._said = True
            log.warning(
                "messages over %d bytes lie in s3://%s from now on: who cannot read AWS's pointers to S3, as Celery's workers, "
                "must not consume their queues", self._connection.payload_threshold, self.buckets[0],
            )  # fmt: skip

    def _fetch(self, pointer: Pointer, most: int) -> bytes:
        until = boottime() + PATIENCE
        answer = self._call("get", pointer, "get_object")
        size = int(answer.get("ContentLength") or 0)
        if size > most:
            raise Undecodable("content", f"its body in S3 has {size} bytes, over the limit of {most} (--max-payload)")
        found: list[bytes] = []
        got = 0
        try:
            with answer["Body"] as stream:
                while chunk := stream.read(_CHUNK):
                    found.append(chunk)
                    got += len(chunk)
                    if got > most or boottime() > until:
                        break
        except Exception as exc:  # urllib3's and botocore's: the connection broke off, or came to no end in time
            raise PayloadUnavailable(f"cannot get {pointer}: {type(exc).__name__}", retryable=True) from exc
        if got > most:
            raise Undecodable("content", f"its body in S3 has more than {most} bytes, the limit (--max-payload)")
        if got != size:
            raise PayloadUnavailable(f"cannot get {pointer}: {got} of {size} bytes came in {PATIENCE:.0f} s", retryable=True)
        return b"".join(found)

    def _call(self, verb: str, pointer: Pointer, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        where = {"Bucket": pointer.bucket} | ({} if operation == "delete_objects" else {"Key": pointer.key})
        try:
            return getattr(self._client_here(), operation)(**where, **arguments)
        except ClientError as exc:
            error, code = exc.response.get("Error", {}), str(exc.response.get("Error", {}).get("Code", ""))
            text = f"cannot {verb} {'in' if operation == 'put_object' else ''} {pointer}".replace("  ", " ")
            raise PayloadUnavailable(f"{text}: {code}: {error.get('Message', '')}", code=code, retryable=_passes(code)) from exc
        except BotoCoreError as exc:
            raise PayloadUnavailable(f"cannot {verb} {pointer}: {type(exc).__name__}: {exc}", retryable=True) from exc

    def _client_here(self) -> Any:
        if self._made is not None and self._pid == os.getpid():
            return self._made
        if self._pid != os.getpid():  # sockets and locks of the parent are its own
            self._pid, self._lock, self._made = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._made is None:
                self._made = self._make(self._connection)
            return self._made


def _client(connection: ConnectionConfig) -> Any:
    """botocore's, which knows where S3 is (AWS_ENDPOINT_URL_S3 for another place); the connection's endpoint is SQS's."""
    from botocore.config import Config

    from pyqs.sqs.session import build_session, find_region

    session = build_session(connection)
    patience = Config(connect_timeout=_CONNECT, read_timeout=_READ, retries={"total_max_attempts": _TRIES, "mode": "standard"})
    return session.create_client("s3", region_name=find_region(connection, session), config=patience)


def _passes(code: str) -> bool:
    """Whether the same call may succeed later with nothing changed (S3 API reference, "Error responses")."""
    return code in ("InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "OperationAborted", "503", "500")
