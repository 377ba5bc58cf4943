"""``app.amqp``: from a call's options to one message on one queue.

Owns: ``AMQP`` (the app's queues and router, the message of a call, the publish signals). Runs in whatever thread calls a task.
Never seals or sends a message itself, but for plain calls: a ``Producer`` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyqs.errors import NotSerializable, Unsupported
from pyqs.message import OutgoingMessage
from pyqs_celery_compat import outgoing, serialization, signals
from pyqs_celery_compat.app import routes as routing
from pyqs_celery_compat.app.queues import Queues
from pyqs_celery_compat.argument_repr import MAX_CHARACTERS, MAX_LEVELS, argument_repr
from pyqs_celery_compat.forms import Form
from pyqs_celery_compat.producing import Accepted, send
from pyqs_celery_compat.producing import Producer as Sender

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

__all__ = ["AMQP", "Queues", "task_message"]

#: The name that Celery has for it.
task_message = outgoing.TaskMessage
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
#: Levels of nesting in ``argsrepr`` where ``task_repr_maxlevels`` says that there is no limit; 1024 characters hold no more.
_ALL_LEVELS = 200
#: Sizes and levels of the texts that forms write.
_USUAL_TEXTS = (MAX_CHARACTERS, MAX_CHARACTERS, MAX_LEVELS)


class utf8dict(dict[Any, Any]):  # noqa: N801 - Celery's name
    """A dict, as messages hold one; Python 2 needed it."""


class AMQP:
    """The sending side of an app."""

    queues_cls: Any = Queues
    #: The exchange of a queue that is not declared, by the queue's name; None for one of that name.
    autoexchange: Callable[[str], Any] | None = None
    #: Characters of ``argsrepr`` and ``kwargsrepr``.
    argsrepr_maxsize = kwargsrepr_maxsize = MAX_CHARACTERS

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._producer_pool: Any = None
        # Of plain calls, and of so many writes of the configuration as are counted here.
        self._forms: dict[tuple[Any, ...], Form] = {}
        self._mode: Any = None
        self._writes = -1
        app.conf.bind_to(self._conf_updated)

    # -- queues and routes ---------------------------------------------------------------------------------------------
    @cached_property
    def queues(self) -> Queues:
        """The queues the app knows."""
        return self.Queues(self.app.conf.task_queues)

    def Queues(  # noqa: N802 - Celery's name
        self,
        queues: Any,
        create_missing: bool | None = None,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Callable[[str], Any] | None = None,
        max_priority: int | None = None,
    ) -> Queues:
        """A table of queues with the app's defaults; of the default queue where ``queues`` is empty."""
        from kombu import Queue  # type: ignore[attr-defined]

        conf = self.app.conf
        if not queues and conf.task_default_queue:
            arguments = {"x-queue-type": "quorum"} if conf.task_default_queue_type == "quorum" else None
            queues = [Queue(
                conf.task_default_queue, exchange=self.default_exchange, routing_key=conf.task_default_routing_key,
                queue_arguments=arguments,
            )]  # type: ignore[no-untyped-call]  # fmt: skip
        table: Queues = self.queues_cls(
            queues,
            self.default_exchange,
            bool(conf.task_create_missing_queues) if create_missing is None else create_missing,
            create_missing_queue_type or conf.task_create_missing_queue_type,
            create_missing_queue_exchange_type or conf.task_create_missing_queue_exchange_type,
            self.autoexchange if autoexchange is None else autoexchange,
            conf.task_queue_max_priority if max_priority is None else max_priority,
            conf.task_default_routing_key,
        )
        return table

    @property
    def default_queue(self) -> Any:
        """The queue of calls that nothing routes."""
        return self.queues[self.app.conf.task_default_queue]

    @cached_property
    def default_exchange(self) -> Any:
        """The exchange of queues that name none."""
        from kombu import Exchange  # type: ignore[attr-defined]

        conf = self.app.conf
        return Exchange(conf.task_default_exchange, conf.task_default_exchange_type)  # type: ignore[no-untyped-call]

    @cached_property
    def routes(self) -> Any:
        """``task_routes``, prepared."""
        return routing.prepare(self.app.conf.task_routes)

    @cached_property
    def router(self) -> routing.Router:
        """Picks a call's queue."""
        return self.Router()

    def Router(self, queues: Any = None, create_missing: bool | None = None) -> routing.Router:  # noqa: N802 - Celery's name
        """A router with the app's routes."""
        create = self.app.conf.task_create_missing_queues if create_missing is None else create_missing
        return routing.Router(self.routes, self.queues if queues is None else queues, bool(create), app=self.app)

    def flush_routes(self) -> None:
        """Read ``task_routes`` again when the next call is routed."""
        for name in ("routes", "router"):
            self.__dict__.pop(name, None)

    def _conf_updated(self, changed: Mapping[str, Any]) -> None:
        if "task_routes" in changed:
            self.flush_routes()

    # -- producers ------------------------------------------------------------------------------------------------------
    def Producer(self, channel: Any, *args: Any, **kwargs: Any) -> Sender:  # noqa: N802 - Celery's name
        """A producer on a connection."""
        return Sender(channel, *args, **kwargs)

    @cached_property
    def producer(self) -> Sender:
        """The one of calls that bring none: for all threads, over the app's own connections."""
        return self.Producer(self.app.connection_for_write())

    @property
    def producer_pool(self) -> Any:
        """Producers to borrow; each is on the app's connections."""
        self.app.pool  # noqa: B018 - which forgets the producers of a parent process
        if self._producer_pool is None:
            from pyqs_celery_compat.pools import producers

            self._producer_pool = producers(self.app)
        return self._producer_pool

    publisher_pool = producer_pool

    def TaskConsumer(self, channel: Any, queues: Any = None, accept: Any = None, **kwargs: Any) -> Any:  # noqa: N802 - Celery's name
        """There is none: tasks are received by ``pyqs worker`` only."""
        raise Unsupported("app.amqp.TaskConsumer: messages are received by `pyqs worker` only; start one for these queues")

    # -- messages ------------------------------------------------------------------------------------------------------
    @cached_property
    def utc(self) -> bool:
        """``enable_utc``; what protocol 1 says of its times."""
        return bool(self.app.conf.enable_utc)

    def create_task_message(self, task_id: str, name: str, args: Any, kwargs: Any, **fields: Any) -> outgoing.TaskMessage:
        """The message in the app's protocol (``task_protocol``). Steering options among ``fields`` are left out of it."""
        make = self.as_task_v1 if int(self.app.conf.task_protocol) == 1 else self.as_task_v2  # no dict is made for each call
        return make(task_id, name, args, kwargs, **fields)

    @property
    def task_protocols(self) -> dict[int, Callable[..., outgoing.TaskMessage]]:
        """What makes the messages of each protocol."""
        return {1: self.as_task_v1, 2: self.as_task_v2}

    def as_task_v1(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *, create_sent_event: bool = False, **fields: Any
    ) -> outgoing.TaskMessage:
        """A call in protocol 1; ``fields`` as for ``outgoing.as_task_v1``."""
        self._check(fields)
        message = outgoing.as_task_v1(task_id, name, args, kwargs, utc=self.utc, **fields)
        body = message.body
        return message._replace(sent_event=self._sent_event(body, body["args"], body["kwargs"]) if create_sent_event else None)

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *, create_sent_event: bool = False, **fields: Any
    ) -> outgoing.TaskMessage:
        """A call in protocol 2; ``fields`` as for ``outgoing.as_task_v2``."""
        self._check(fields)
        message = outgoing.as_task_v2(
            task_id, name, args, kwargs, repr_sizes=(self.argsrepr_maxsize, self.kwargsrepr_maxsize),
            repr_levels=self._repr_levels(), **fields,
        )  # fmt: skip
        if not create_sent_event:
            return message
        headers = message.headers
        family = {"root_id": headers["root_id"], "parent_id": headers["parent_id"]}
        return message._replace(sent_event={**self._sent_event(headers, *message.body[:2]), **family})

    def send_task_message(
        self,
        producer: Any,
        name: str,
        message: outgoing.TaskMessage,
        exchange: Any = None,
        routing_key: str | None = None,
        queue: Any = None,
        event_dispatcher: Any = None,
        retry: bool | None = None,
        retry_policy: Mapping[str, Any] | None = None,
        serializer: str | None = None,
        delivery_mode: int | None = None,
        compression: str | None = None,
        declare: Any = None,
        headers: Mapping[str, Any] | None = None,
        exchange_type: str | None = None,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **properties: Any,
    ) -> Any:
        """Publish the message of a call, with its signals.

        Parameters:
            producer: of ours, or whatever has a ``publish`` like kombu's. event_dispatcher: is told of the call where the
                message has a ``sent_event``. The rest: what ``apply_async`` takes.

        Raises:
            kombu.exceptions.EncodeError, OperationalError; pyqs.errors.MessageError for what SQS would not take.
        """
        conf, body = self.app.conf, message.body
        queue, exchange, routing_key = self._destination(queue, exchange, routing_key, exchange_type)
        declare = declare or (None if queue is None else [queue])
        policy = {**conf.task_publish_retry_policy, **(retry_policy or {})}
        retry = bool(conf.task_publish_retry) if retry is None else retry
        sealed = {**message.headers, **(headers or {})}
        for stamp in properties.pop("stamped_headers", None) or ():
            properties.pop(stamp, None)  # they are headers
        properties.update(message.properties)
        if signals.before_task_publish.receivers:
            signals.before_task_publish.send(
                sender=name, body=body, exchange=exchange, routing_key=routing_key, declare=declare, headers=sealed,
                properties=properties, retry_policy=policy,
            )  # fmt: skip
        answer = producer.publish(
            body, exchange=exchange, routing_key=routing_key, serializer=serializer or conf.task_serializer,
            compression=compression or conf.task_compression, retry=retry, retry_policy=policy,
            delivery_mode=delivery_mode or conf.task_default_delivery_mode, declare=declare, headers=sealed, timeout=timeout,
            confirm_timeout=confirm_timeout, **properties,
        )  # fmt: skip
        if signals.after_task_publish.receivers or signals.task_sent.receivers:
            _once_accepted(answer, lambda: _tell(name, body, sealed, exchange, routing_key))
        if message.sent_event and event_dispatcher:
            event = {**message.sent_event, "queue": getattr(queue, "name", None), "routing_key": routing_key}
            event["exchange"] = getattr(exchange, "name", exchange)
            event_dispatcher.publish("task-sent", event, producer, retry=retry, retry_policy=policy)
        return answer

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
        _, exchange, queue = self._destination(options.get("queue"))
        if exchange:
            return False  # the long way says what is wrong with it
        publish = self.app.publisher
        values = (priority, *headers.values())
        key = (name, queue, mode, os.getpid(), *values, *map(type, values))
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            form = self._forms[key] = Form(
                name, exchange="", routing_key=queue, delivery_mode=mode, priority=priority, **headers
            )
        try:
            text = form.filled(
                task_id, args, kwargs, root_id=root_id, parent_id=parent_id, reply_to=self.app.thread_oid,
                outer_base64=publish.transport.outer_base64,
            )  # fmt: skip
        except NotSerializable:
            return False  # the long way names the argument
        send(publish, queue, OutgoingMessage(text), name, task_id, self._retry_policy)
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
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers or signals.task_sent.receivers:
            return None
        cls, own = type(self), self.__dict__
        if (cls.create_task_message, cls.send_task_message, cls.as_task_v2) != _LONG_WAY or not own.keys().isdisjoint(_WRITTEN):
            return None
        conf = self.app.conf
        if self._writes != conf.writes:
            self._forms.clear()
            usual = (self.argsrepr_maxsize, self.kwargsrepr_maxsize, self._repr_levels()) == _USUAL_TEXTS
            plain = int(conf.task_protocol) == 2 and not conf.task_compression and usual
            self._mode = conf.task_default_delivery_mode if plain else None
            self._writes = conf.writes  # reading may have loaded the configuration
        return self._mode

    def _destination(
        self, queue: Any, exchange: Any = None, routing_key: str | None = None, exchange_type: str | None = None
    ) -> tuple[Any, Any, Any]:
        """The queue, and exchange and routing key of the message: a direct exchange counts only where both are given."""
        if isinstance(queue, str):
            queue = self.queues[queue]
        elif queue is None and exchange is None:
            queue = self.default_queue
        own = getattr(queue, "exchange", None)
        kind = exchange_type or getattr(own, "type", None) or "direct"
        if kind == "direct" and not (exchange and routing_key):
            return queue, "", getattr(queue, "name", None)
        if exchange is None:
            exchange, routing_key = getattr(own, "name", ""), routing_key or queue.routing_key
        return queue, exchange, routing_key

    def _retry_policy(self) -> dict[str, Any] | None:
        return self.app.conf.task_publish_retry_policy if self.app.conf.task_publish_retry else None

    def _repr_levels(self) -> int:
        return int(self.app.conf.task_repr_maxlevels or _ALL_LEVELS)

    def _check(self, fields: dict[str, Any]) -> None:
        """Take out what does not travel, and put in the moment that times count from."""
        for key in _STEERING.intersection(fields):
            del fields[key]
        fields.pop("timezone", None)
        if not fields.get("now") and (fields.get("countdown") or fields.get("expires") is not None):
            fields["now"] = self.app.now()

    @staticmethod
    def _sent_event(source: Mapping[str, Any], args: Any, kwargs: Any) -> dict[str, Any]:
        texts = {"args": argument_repr(args), "kwargs": argument_repr(kwargs)}
        about = {key: source[key] for key in ("retries", "eta", "expires")}
        return {"uuid": source["id"], "name": source["task"], **texts, **about}


#: What plain calls leave out. Where somebody has put something in its place, there are none.
_LONG_WAY = (AMQP.create_task_message, AMQP.send_task_message, AMQP.as_task_v2)
_WRITTEN = frozenset({"create_task_message", "send_task_message", "as_task_v2", "argsrepr_maxsize", "kwargsrepr_maxsize"})


def _once_accepted(answer: Any, callback: Callable[[], object]) -> None:
    if isinstance(answer, Accepted):
        answer.then(callback)
    else:
        callback()


def _tell(name: str, body: Any, headers: Mapping[str, Any], exchange: Any, routing_key: Any) -> None:
    """The signals after a publish."""
    if signals.after_task_publish.receivers:
        signals.after_task_publish.send(sender=name, body=body, headers=headers, exchange=exchange, routing_key=routing_key)
    if signals.task_sent.receivers:
        source, old = (body, True) if isinstance(body, Mapping) else (headers, False)
        args, kwargs = (body["args"], body["kwargs"]) if old else body[:2]
        signals.task_sent.send(
            sender=name, task_id=source["id"], task=name, args=args, kwargs=kwargs, eta=source["eta"], taskset=source["group"]
        )
