"""``Producer``: what kombu's producer is to an app, on SQS.

Owns: ``Producer``, ``Accepted``, and the errors of a publish as those who know kombu catch them. Runs in whatever thread
calls a task. Never talks to SQS itself, which ``publisher`` does, and never guesses what an exchange would have done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyqs.errors import NotSerializable, SqsError
from pyqs.message import EMPTY, MessageAttribute, OutgoingMessage
from pyqs_celery_compat import outgoing, publisher, serialization
from pyqs_celery_compat.app.queues import is_bound
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.connection import Connection


class Accepted:
    """What a publish answers: whether SQS has the message already, which at the end of a batch or of a task comes later."""

    __slots__ = ("_callbacks", "ready")

    def __init__(self) -> None:
        self.ready = False
        self._callbacks: list[Callable[[], object]] = []

    def __call__(self) -> None:
        self.ready = True
        for callback in self._callbacks:
            callback()

    def then(self, callback: Callable[[], object]) -> None:
        """Call it once SQS, or the outbox of the running task, has the message."""
        if self.ready:
            callback()
        else:
            self._callbacks.append(callback)


class Producer:
    """Publishes over one connection. For any number of threads; it holds no socket.

    Parameters:
        channel: a connection, or a channel of one.
        exchange, routing_key, serializer, compression: of publishes that name none.
        auto_declare, on_return: as kombu's; queues are created when something is sent to them, and nothing is returned.
    """

    def __init__(
        self,
        channel: Any,
        exchange: Any = None,
        routing_key: str | None = None,
        serializer: str | None = None,
        auto_declare: bool | None = None,
        compression: str | None = None,
        on_return: Any = None,
    ) -> None:
        self.connection: Connection = getattr(channel, "connection", None) or channel
        self.exchange = exchange
        self.routing_key = routing_key or ""
        self.serializer = serializer
        self.compression = compression
        self.auto_declare = True if auto_declare is None else auto_declare
        self.on_return = on_return

    @property
    def channel(self) -> Any:
        """The connection's channel."""
        return self.connection.default_channel

    def publish(
        self,
        body: Any,
        routing_key: str | None = None,
        delivery_mode: int | None = None,
        mandatory: bool = False,
        immediate: bool = False,
        priority: int | None = 0,
        content_type: str | None = None,
        content_encoding: str | None = None,
        serializer: str | None = None,
        headers: Mapping[str, Any] | None = None,
        compression: str | None = None,
        exchange: Any = None,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        declare: Iterable[Any] = (),
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        message_attributes: Mapping[str, Mapping[str, Any]] | None = None,
        **properties: Any,
    ) -> Accepted:
        """Send one message in kombu's envelope.

        Parameters:
            exchange, routing_key: no exchange and a queue's name; or a direct exchange and the key of a declared queue.
            retry, retry_policy: whether and how a failure that may pass is tried again.
            content_type, mandatory, immediate, timeout, confirm_timeout: without a meaning on SQS, which always answers.
            message_attributes: as boto3 has them.
            properties: MessageGroupId, MessageDeduplicationId, delay_seconds; all of them travel in the envelope.

        Raises:
            kombu.exceptions.EncodeError, OperationalError; pyqs.errors.MessageError for what SQS would not take;
            ImproperlyConfigured for an exchange that SQS has not.
        """
        exchange = self.exchange if exchange is None else exchange
        routing_key = self.routing_key if routing_key is None else routing_key
        given = headers or {}
        queue = self._queue(exchange, routing_key, declare or ())
        task, task_id = _called(given, body)
        serializer = serializer or self.serializer or "json"
        try:
            text = outgoing.seal_task(
                outgoing.TaskMessage(dict(given), properties, body),
                routing_key=routing_key,
                exchange=_name(exchange),
                serializer=serializer,
                compression=compression or self.compression,
                priority=priority,
                delivery_mode=delivery_mode or outgoing.PERSISTENT,
                outer_base64=self.connection.publisher.transport.outer_base64,
            )
        except NotSerializable as exc:
            raise serialization.encode_error(_named(task, body, serializer, exc)) from exc
        message = OutgoingMessage(
            text,
            delay=_delay(given, body, properties),
            message_attributes=_attributes(message_attributes) if message_attributes else EMPTY,
            group_id=_text(properties.get("MessageGroupId")),
            dedup_id=_text(properties.get("MessageDeduplicationId")),
        )
        accepted = Accepted()
        send(
            self.connection.publisher, queue, message, task, task_id, lambda: (retry_policy or {}) if retry else None, accepted
        )
        return accepted

    def _queue(self, exchange: Any, routing_key: str | None, declare: Iterable[Any]) -> str:
        """The logical name of the queue that this leads to."""
        name = _name(exchange)
        if not name:
            if not routing_key:
                raise ImproperlyConfigured("neither a queue nor a routing key says where this message goes; name the queue")
            return routing_key
        queues, routing_key = self.connection.app.amqp.queues, routing_key or ""
        kind = getattr(exchange, "type", None) or queues.exchange_kind(name)
        if kind != "direct":
            raise ImproperlyConfigured(
                f"{name!r} is a {kind} exchange, which SQS has not: nothing would copy the message to the queues bound to it. "
                "Make the exchange direct, or send to each queue by its name"
            )
        bound = next((queue for queue in declare if is_bound(queue, name, routing_key)), None)
        bound = bound or queues.bound_to(name, routing_key)
        if bound is None:
            raise ImproperlyConfigured(
                f"no queue in task_queues is bound to exchange {name!r} with routing key {routing_key!r}; "
                "SQS has no exchanges, so name the queue instead"
            )
        return str(bound.name)

    def declare(self) -> None:
        """Nothing to do: there are no exchanges, and a missing queue is created when it is sent to."""

    def revive(self, channel: Any) -> None:
        """Publish over another connection from now on."""
        self.connection = getattr(channel, "connection", None) or channel

    def release(self) -> None:
        """Nothing to do, unless a pool has it, which puts itself here."""

    close = release

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.connection!r}>"


def send(
    to: publisher.Publisher,
    queue: str,
    message: OutgoingMessage,
    name: str,
    task_id: str,
    policy: Callable[[], Mapping[str, Any] | None],
    sent: Callable[[], object] = publisher.nothing,
) -> None:
    """``Publisher.send``, its failures as kombu's OperationalError."""
    try:
        to.send(queue, message, task=name, task_id=task_id, retry_policy=policy, sent=sent)
    except publisher.UndefinedQueue:
        raise
    except SqsError as exc:
        from kombu.exceptions import OperationalError

        raise OperationalError(str(exc)) from exc


def _named(name: str, body: Any, serializer: str, cause: NotSerializable) -> NotSerializable:
    """The error with the argument in it that could not be written."""
    try:
        args, kwargs = (body["args"], body["kwargs"]) if isinstance(body, Mapping) else body[:2]
        places = [(f"positional argument {number}", value) for number, value in enumerate(args, 1)]
        places += [(f"keyword argument {key!r}", value) for key, value in kwargs.items()]
    except (KeyError, TypeError, ValueError, AttributeError):  # no task's body
        places = []
    for place, value in places:
        try:
            serialization.dumps(value, serializer)
        except NotSerializable as exc:
            return NotSerializable(f"{name}: {place} (a {type(value).__name__}) does not fit {serializer}: {exc}")
    return NotSerializable(f"{name}: {cause}")


def _called(headers: Mapping[str, Any], body: Any) -> tuple[str, str]:
    """Name and id of the task that a message calls, for error texts."""
    source = headers if "task" in headers else body if isinstance(body, Mapping) else {}
    return str(source.get("task") or "message"), str(source.get("id") or "")


def _delay(headers: Mapping[str, Any], body: Any, properties: Mapping[str, Any]) -> int | None:
    explicit = publisher.explicit_delay(properties)
    if explicit is not None:
        return explicit
    eta = headers.get("eta") or (body.get("eta") if isinstance(body, Mapping) else None)
    return publisher.delay_until(_timestamp(eta), now=time.time())


def _timestamp(eta: Any) -> float | None:
    if not isinstance(eta, str):
        return None
    try:
        when = datetime.fromisoformat(eta[:-1] + "+00:00" if eta.endswith("Z") else eta)
    except ValueError:
        return None
    return (when.replace(tzinfo=timezone.utc) if when.tzinfo is None else when).timestamp()


def _attributes(given: Mapping[str, Mapping[str, Any]]) -> dict[str, MessageAttribute]:
    """boto3's form of message attributes as ours."""
    return {
        str(name): MessageAttribute(str(value.get("DataType", "String")), value.get("StringValue"), value.get("BinaryValue"))
        for name, value in given.items()
    }


def _name(exchange: Any) -> str:
    return str(getattr(exchange, "name", exchange) or "")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
