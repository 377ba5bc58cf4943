"""``app.amqp``: from a call's options to one sealed message on one queue.

Owns: ``AMQP`` (the app's queues and router, serialization, the publish signals). Runs in whatever thread calls a task.
Never talks to SQS itself: ``publisher`` does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyqs.errors import NotSerializable, SqsError
from pyqs.message import EMPTY, MessageAttribute, OutgoingMessage
from pyqs_celery_compat import outgoing, publisher, serialization, signals
from pyqs_celery_compat.app.queues import DeclaredQueue, QueueTable
from pyqs_celery_compat.app.routes import Router, prepare_routes
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.forms import Form

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: Options of a publish that steer it and do not travel in the message.
_STEERING = frozenset({
    "exchange_type", "exchange", "routing_key", "queue", "declare", "retry", "retry_policy", "serializer", "compression",
    "delivery_mode", "mandatory", "immediate", "timeout", "confirm_timeout", "event_dispatcher", "connection", "priority",
    "message_attributes", "content_type", "content_encoding",
})  # fmt: skip
#: Options that a plain call may have, and types whose equal values are written alike.
_PLAIN_OPTIONS = frozenset({"queue", "priority", "serializer"})
_ARGUMENTS, _TEXTS = frozenset({tuple, list}), frozenset({str, type(None)})
_SAME_IF_EQUAL = frozenset({int, bool, type(None)})
#: Forms kept; task names are few, but nobody promises it.
_MOST_FORMS = 1024


class AMQP:
    """The sending side of an app."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        # Of plain calls, and of so many writes of the configuration as are counted here.
        self._forms: dict[tuple[Any, ...], Form] = {}
        self._mode: Any = None
        self._writes = -1

    @cached_property
    def queues(self) -> QueueTable:
        """The queues the app knows."""
        conf = self.app.conf
        return QueueTable(
            conf.task_queues, default=str(conf.task_default_queue), create_missing=bool(conf.task_create_missing_queues)
        )

    @cached_property
    def routes(self) -> list[Any]:
        """``task_routes``, prepared."""
        return prepare_routes(self.app.conf.task_routes)

    @cached_property
    def router(self) -> Router:
        """Picks a call's queue."""
        return Router(self.routes, self.queues, self.app)

    @property
    def default_queue(self) -> Any:
        """The queue of calls that nothing routes."""
        return self.queues[self.app.conf.task_default_queue]

    as_task_v1 = staticmethod(outgoing.as_task_v1)
    as_task_v2 = staticmethod(outgoing.as_task_v2)

    def create_task_message(self, task_id: str, name: str, args: Any, kwargs: Any, **fields: Any) -> outgoing.TaskMessage:
        """The message in the app's protocol (``task_protocol``). Steering options among ``fields`` are left out of it."""
        for key in _STEERING.intersection(fields):
            del fields[key]
        if not fields.get("now") and (fields.get("countdown") or fields.get("expires") is not None):
            fields["now"] = self.app.now()
        if int(self.app.conf.task_protocol) == 1:
            return outgoing.as_task_v1(task_id, name, args, kwargs, utc=bool(self.app.conf.enable_utc), **fields)
        return outgoing.as_task_v2(task_id, name, args, kwargs, **fields)

    def send_task_message(self, name: str, message: outgoing.TaskMessage, **options: Any) -> None:
        """Seal and publish.

        Parameters:
            name: the task's. options: what ``apply_async`` takes, the queue looked up already.

        Raises:
            kombu.exceptions.EncodeError, OperationalError; pyqs.errors.MessageError for what SQS would not take.
        """
        conf, headers, properties, body = self.app.conf, message.headers, message.properties, message.body
        queue, exchange, routing_key = self._destination(options)
        if signals.before_task_publish.receivers:
            options["retry_policy"] = self._retry_policy(options)
            signals.before_task_publish.send(
                sender=name, body=body, exchange=exchange, routing_key=routing_key, headers=headers, properties=properties,
                declare=options.get("declare") or [queue.to_kombu() if isinstance(queue, DeclaredQueue) else queue],
                retry_policy=options["retry_policy"],
            )  # fmt: skip
        serializer = options.get("serializer") or conf.task_serializer
        try:
            text = outgoing.seal_task(
                message,
                routing_key=routing_key,
                exchange=exchange,
                serializer=serializer,
                compression=options.get("compression") or conf.task_compression,
                priority=options.get("priority"),
                delivery_mode=options.get("delivery_mode") or conf.task_default_delivery_mode,
                outer_base64=self.app.publisher.transport.outer_base64,
            )
        except NotSerializable as exc:
            raise serialization.encode_error(_named(name, body, serializer, exc)) from exc
        group_id, dedup_id = properties.get("MessageGroupId"), properties.get("MessageDeduplicationId")
        sqs_message = OutgoingMessage(
            text,
            delay=self._delay(headers, body, properties),
            message_attributes=_attributes(given) if (given := options.get("message_attributes")) else EMPTY,
            group_id=None if group_id is None else str(group_id),
            dedup_id=None if dedup_id is None else str(dedup_id),
        )
        about = {"body": body, "headers": headers, "exchange": exchange, "routing_key": routing_key}
        task_id = str(properties.get("correlation_id") or "")
        self._publish(
            queue.name, sqs_message, name, task_id, lambda: self._wanted_retry_policy(options),
            lambda: signals.after_task_publish.send(sender=name, **about),
        )  # fmt: skip

    def send_plain_call(
        self,
        task_id: str,
        name: str,
        args: Any,
        kwargs: Any,
        options: Mapping[str, Any],
        root_id: str | None,
        parent_id: str | None,
        **headers: Any,
    ) -> bool:
        """Publish a call that says nothing but its arguments.

        Parameters:
            options: the queue looked up already. headers: ``ignore_result``, ``time_limit`` and ``soft_time_limit``.

        Returns:
            False, and nothing is done, where it says more, or where somebody may look at its message or change it.

        Raises:
            As ``send_task_message``.
        """
        args, kwargs, mode = args or (), kwargs or {}, self._plain_delivery_mode()
        priority, serializer = options.get("priority"), options.get("serializer") or self.app.conf.task_serializer
        if (
            mode is None
            or serializer != "json"
            or not options.keys() <= _PLAIN_OPTIONS
            or type(args) not in _ARGUMENTS
            or type(kwargs) is not dict
            or not {type(priority), *map(type, headers.values())} <= _SAME_IF_EQUAL
            or not {type(task_id), type(root_id), type(parent_id)} <= _TEXTS
        ):
            return False
        queue, exchange, routing_key = self._destination(options)
        publish = self.app.publisher
        values = (priority, *headers.values())
        key = (name, exchange, routing_key, mode, os.getpid(), *values, *map(type, values))
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            form = self._forms[key] = Form(
                name, exchange=exchange, routing_key=routing_key, delivery_mode=mode, priority=priority, **headers
            )
        try:
            text = form.filled(
                task_id, args, kwargs, root_id=root_id, parent_id=parent_id, reply_to=self.app.thread_oid,
                outer_base64=publish.transport.outer_base64,
            )  # fmt: skip
        except NotSerializable:
            return False  # the long way names the argument
        self._publish(queue.name, OutgoingMessage(text), name, task_id, lambda: self._wanted_retry_policy(options))
        return True

    def round_trip(self, args: Any, kwargs: Any, serializer: str | None) -> tuple[Any, Any]:
        """The arguments as a worker would get them, for eager calls."""
        try:
            sent = serialization.dumps((args, kwargs), serializer or self.app.conf.task_serializer)
        except NotSerializable as exc:
            raise serialization.encode_error(exc) from exc
        accept = serialization.Accept(frozenset({sent.content_type}), pickle_full=True)
        args, kwargs = serialization.loads(sent.payload, sent.content_type, sent.content_encoding, None, accept)
        return args, kwargs

    # -- parts ----------------------------------------------------------------------------------------------------
    def _plain_delivery_mode(self) -> Any:
        """The delivery mode of plain calls; None where there are none: the message is looked at, or written in another way."""
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            return None
        cls, own = type(self), self.__dict__
        if (cls.create_task_message, cls.send_task_message) != _LONG_WAY or not own.keys().isdisjoint(_LONG_WAY_NAMES):
            return None
        conf = self.app.conf
        if self._writes != conf.writes:
            self._forms.clear()
            plain = int(conf.task_protocol) == 2 and not conf.task_compression
            self._mode = conf.task_default_delivery_mode if plain else None
            self._writes = conf.writes  # reading may have loaded the configuration
        return self._mode

    def _destination(self, options: Mapping[str, Any]) -> tuple[Any, str, str]:
        """The queue, and what the message says of exchange and routing key (as kombu's direct exchanges do)."""
        queue, exchange, routing_key = options.get("queue"), options.get("exchange"), options.get("routing_key")
        if isinstance(queue, str):
            queue = self.queues[queue]
        exchange = getattr(exchange, "name", exchange)
        if queue is None:
            queue = self.default_queue
        if exchange and routing_key:
            bound = self.queues.bound_to(exchange, routing_key)
            if bound is None:
                raise ImproperlyConfigured(
                    f"no queue in task_queues is bound to exchange {exchange!r} with routing key {routing_key!r}; "
                    "SQS has no exchanges, so name the queue instead"
                )
            return bound, exchange, routing_key
        kind = getattr(getattr(queue, "exchange", None), "type", None) or "direct"
        if kind != "direct":
            raise ImproperlyConfigured(f"queue {queue.name!r} has a {kind} exchange, which SQS has not")
        return queue, "", queue.name

    def _retry_policy(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.app.conf.task_publish_retry_policy, **(options.get("retry_policy") or {})}

    def _wanted_retry_policy(self, options: Mapping[str, Any]) -> dict[str, Any] | None:
        retry = options.get("retry")
        wanted = self.app.conf.task_publish_retry if retry is None else retry
        return self._retry_policy(options) if wanted else None

    def _delay(self, headers: Mapping[str, Any], body: Any, properties: Mapping[str, Any]) -> int | None:
        explicit = publisher.explicit_delay(properties)
        if explicit is not None:
            return explicit
        eta = headers.get("eta") or (body.get("eta") if isinstance(body, Mapping) else None)
        return publisher.delay_until(_timestamp(eta), now=time.time())

    def _publish(
        self,
        queue: str,
        message: OutgoingMessage,
        name: str,
        task_id: str,
        policy: Callable[[], Mapping[str, Any] | None],
        sent: Callable[[], object] = publisher.nothing,
    ) -> None:
        try:
            self.app.publisher.send(queue, message, task=name, task_id=task_id, retry_policy=policy, sent=sent)
        except publisher.UndefinedQueue:
            raise
        except SqsError as exc:
            from kombu.exceptions import OperationalError

            raise OperationalError(str(exc)) from exc


#: What plain calls leave out. Where somebody has put something in its place, there are none.
_LONG_WAY = (AMQP.create_task_message, AMQP.send_task_message)
_LONG_WAY_NAMES = frozenset({"create_task_message", "send_task_message"})


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


def _named(name: str, body: Any, serializer: str, cause: NotSerializable) -> NotSerializable:
    """The error with the argument in it that could not be written."""
    args, kwargs = (body["args"], body["kwargs"]) if isinstance(body, Mapping) else body[:2]
    places = [(f"positional argument {number}", value) for number, value in enumerate(args, 1)]
    places += [(f"keyword argument {key!r}", value) for key, value in kwargs.items()]
    for place, value in places:
        try:
            serialization.dumps(value, serializer)
        except NotSerializable as exc:
            return NotSerializable(f"{name}: {place} (a {type(value).__name__}) does not fit {serializer}: {exc}")
    return NotSerializable(f"{name}: {cause}")
