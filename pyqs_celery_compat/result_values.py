"""Results as a backend keeps them: states and values to bytes, and back.

Owns: ``Values``, a part of every backend: serializer, accepted content, compression (``result_compression``, in Celery 5.7's
form), exceptions as data. Pure; runs where a task ends and where its result is read. Reads what any setting of the writer's
made, as far as its content is accepted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyqs.errors import ConfigError, NotSerializable, Refused, Undecodable
from pyqs_celery_compat import compression, serialization, states, stored_failures
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: What a compressed result begins with; the MIME type of its compression and a NUL follow (observed on Celery 5.7).
COMPRESSED_PAYLOAD_MAGIC = b"\x00celery-compressed\x00"
#: Bytes that a compressed result may become.
_MOST_BYTES = 512 * 1024 * 1024


class Values:
    """How a backend writes and reads values."""

    if TYPE_CHECKING:
        app: Celery

    EXCEPTION_STATES = states.EXCEPTION_STATES
    #: Whether its store takes bytes that are no text.
    supports_result_compression = False

    def _set_up_values(self, serializer: str | None, accept: Iterable[str] | None) -> None:
        conf = self.app.conf
        self.serializer: str = serializer or conf.result_serializer
        form = serialization.dumps(None, self.serializer)
        self.content_type, self.content_encoding = form.content_type, form.content_encoding
        self.compression = self.prepare_compression(conf.result_compression)
        names = accept if accept is not None else conf.result_accept_content
        self._accept = serialization.Accept.from_names(conf.accept_content if names is None else names)
        #: Content types that are read.
        self.accept = set(self._accept.content_types)

    def prepare_compression(self, name: str | None) -> str | None:
        """The compression to write with; None where there is none, or none that the store could hold.

        Raises:
            ImproperlyConfigured: it is unknown, or its library is not installed.
        """
        if not name:
            return None
        if not self.supports_result_compression:
            said = f"result_compression is ignored: {type(self).__name__} cannot store compressed payloads"
            warnings.warn(said, UserWarning, stacklevel=5)
            return None
        try:
            compression.compress(b"", name)
        except ConfigError as exc:
            raise ImproperlyConfigured(f"Unknown compression method {name!r} in result_compression: {exc}") from None
        return name

    # -- results --------------------------------------------------------------------------------------------------
    def encode_result(self, result: Any, state: str) -> Any:
        """A result as it is kept: an exception as data, unless the serializer has a place for it."""
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return self.prepare_value(result)

    def prepare_value(self, result: Any) -> Any:
        """A return value as it is kept; a result among them as what finds it again."""
        as_tuple: Any = getattr(result, "as_tuple", None)
        is_result = self.serializer != "pickle" and as_tuple is not None and hasattr(result, "supports_native_join")
        return as_tuple() if is_result else result

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """An exception as it is kept."""
        return stored_failures.as_data(exc, serializer or self.serializer)

    def exception_to_python(self, exc: Any) -> Any:
        """What was kept of an exception as one.

        Raises:
            SecurityError: what it names is no exception.
        """
        return stored_failures.as_exception(exc)

    def meta_from_decoded(self, meta: dict[str, Any]) -> dict[str, Any]:
        """What is known of a task, its exception made again."""
        if meta.get("status") in self.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta.get("result"))
        return meta

    def decode_result(self, payload: bytes | str) -> dict[str, Any]:
        """What is known of a task, from bytes."""
        return self.meta_from_decoded(self.decode(payload))

    # -- bytes ------------------------------------------------------------------------------------------------------
    def encode(self, data: Any) -> bytes | str:
        """A value as the store gets it, text where it is text; kombu's EncodeError where the serializer has no place for it."""
        payload = self._encode(data)[2]
        return compress_payload(as_bytes(payload), self.compression) if self.compression else payload

    def _encode(self, data: Any) -> tuple[str, str, str | bytes]:
        """Content type, encoding, and the value as text where it is text: what subclasses of others' keep in columns."""
        written = self._written(data)
        is_binary = written.content_encoding == "binary"
        payload = written.payload if is_binary else written.payload.decode(written.content_encoding)
        return written.content_type, written.content_encoding, payload

    def _written(self, data: Any) -> serialization.Serialized:
        try:
            return serialization.dumps(data, self.serializer)
        except NotSerializable as exc:
            said = NotSerializable(f"a result cannot be written as {self.serializer}: {exc.__cause__ or exc}")
            raise serialization.encode_error(said) from exc

    def decode(self, payload: Any) -> Any:
        """What ``encode`` wrote, compressed or not. Text and None, as stores may have them, are read, too.

        Raises:
            kombu.exceptions.DecodeError: it cannot be read; ContentDisallowed: it is not to be.
        """
        if payload is None:
            return None
        try:
            payload = decompress_payload(as_bytes(payload))
            return serialization.loads(payload, self.content_type, self.content_encoding, None, self._accept)
        except Undecodable as exc:
            from kombu.exceptions import DecodeError  # backends of others' catch it: a row may hold something older

            raise DecodeError(str(exc)) from exc
        except Refused as exc:
            from kombu.exceptions import ContentDisallowed

            raise ContentDisallowed(str(exc)) from exc


def as_bytes(payload: Any) -> bytes:
    """What ``encode`` has made, for a store of bytes."""
    return payload.encode() if isinstance(payload, str) else bytes(payload)


def compress_payload(payload: bytes, name: str) -> bytes:
    """A result that says by which compression it is read."""
    body, kind = compression.compress(payload, name)
    return b"".join((COMPRESSED_PAYLOAD_MAGIC, kind.encode(), b"\0", body))


def decompress_payload(payload: Any) -> Any:
    """What ``compress_payload`` was given; what it has not made, as it is. Raises Undecodable."""
    if isinstance(payload, memoryview):
        payload = payload.tobytes()
    if not isinstance(payload, (bytes, bytearray)) or not payload.startswith(COMPRESSED_PAYLOAD_MAGIC):
        return payload
    kind, _, body = bytes(payload[len(COMPRESSED_PAYLOAD_MAGIC) :]).partition(b"\0")
    return compression.decompress(body, kind.decode("ascii", "replace"), _MOST_BYTES)
