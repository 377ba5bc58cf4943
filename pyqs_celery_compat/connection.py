"""``app.connection()``: what kombu's connection is to those who check the broker, on SQS.

Owns: ``Connection``, ``Channel`` and ``TransportFacts``. A connection is a view of a ``Publisher``, which has the sockets:
making one costs nothing, and it may cross a fork. Runs in the caller's thread. Never receives a message, never shows a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

from pyqs.errors import AccessDenied, QueueNotFound, SqsError, Unsupported
from pyqs_celery_compat.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.producing import Producer
    from pyqs_celery_compat.publisher import Publisher

T = TypeVar("T")

#: Of kombu's connections and channels, what would receive messages here, beside the worker.
_RECEIVING = frozenset(
    {"Consumer", "SimpleBuffer", "SimpleQueue", "basic_ack", "basic_cancel", "basic_consume", "basic_get", "basic_qos"}
    | {"basic_recover", "basic_reject", "drain_events"}
)
#: What is about exchanges, which SQS has not.
_EXCHANGES = frozenset({"exchange_bind", "exchange_delete", "exchange_unbind", "queue_unbind"})


class queue_declare_ok_t(NamedTuple):  # noqa: N801 - kombu's name
    """What a channel says of a queue."""

    queue: str
    message_count: int
    consumer_count: int


class TransportFacts:
    """What libraries read of ``connection.transport``."""

    default_port: int | None = None
    supports_ev = False

    def __init__(self, scheme: str) -> None:
        self.driver_name = scheme
        self.driver_type = scheme
        self.implements = {
            "asynchronous": False, "batch_publish": False, "exchange_type": frozenset({"direct"}), "heartbeats": False,
        }  # fmt: skip

    def driver_version(self) -> str:
        """The version of this package."""
        from pyqs_celery_compat import __version__

        return str(__version__)


class Connection:
    """A way to the broker.

    Parameters:
        app: whose queues and options count.
        publisher: has the sockets.
    """

    heartbeat = 0
    supports_heartbeats = False
    is_evented = False
    virtual_host = "/"

    def __init__(self, app: Celery, publisher: Publisher) -> None:
        self.app = app
        self.publisher = publisher
        self.connected = False
        self._channel: Channel | None = None

    # -- what it says of itself ------------------------------------------------------------------------------------------
    @property
    def transport(self) -> TransportFacts:
        """The kind of broker."""
        return TransportFacts(self.transport_cls)

    @property
    def transport_cls(self) -> str:
        """The scheme of the broker's URL. Tracing asks for it of eager tasks, too, whose app may have no broker, or another."""
        try:
            return "memory" if self.publisher.transport.in_memory else "sqs"
        except ImproperlyConfigured:
            return str(self.app.conf.broker_url or "").partition("://")[0] or "sqs"

    @property
    def hostname(self) -> str | None:
        """The host of the broker's URL; None for AWS."""
        return self._endpoint.hostname

    @property
    def port(self) -> int | None:
        """The port of the broker's URL."""
        return self._endpoint.port

    @property
    def _endpoint(self) -> SplitResult:
        return urlsplit(self.publisher.transport.connection.endpoint_url or "")

    @property
    def userid(self) -> str | None:
        """The access key's id."""
        return self.publisher.transport.connection.access_key_id

    @property
    def transport_options(self) -> dict[str, Any]:
        """``broker_transport_options``."""
        return dict(self.app.conf.broker_transport_options or {})

    @property
    def connection_errors(self) -> tuple[type[BaseException], ...]:
        """What the methods here raise when SQS is not there."""
        from kombu.exceptions import OperationalError

        return (OperationalError, SqsError, OSError)

    recoverable_connection_errors = connection_errors

    @property
    def channel_errors(self) -> tuple[type[BaseException], ...]:
        """What they raise when SQS does not like what it is asked."""
        return (QueueNotFound,)

    recoverable_channel_errors = channel_errors

    def as_uri(self, include_password: bool = False, mask: str = "**", getfields: Any = None) -> str:
        """The broker's URL; never with the secret, which an environment or a role may have given."""
        host = (self.hostname or "localhost") + (f":{self.port}" if self.port else "")
        return f"{self.transport_cls}://{quote(self.userid or '', safe='')}:{mask}@{host}//"

    def info(self) -> dict[str, Any]:
        """The same in parts."""
        return {
            "hostname": self.hostname, "userid": self.userid, "password": "**", "virtual_host": self.virtual_host,
            "port": self.port, "transport": self.transport_cls, "transport_options": self.transport_options,
            "heartbeat": self.heartbeat, "uri_prefix": None, "alternates": [],
        }  # fmt: skip

    # -- life ------------------------------------------------------------------------------------------------------------
    def connect(self) -> Connection:
        """See whether SQS answers. Raises kombu.exceptions.OperationalError."""
        return self.ensure_connection(max_retries=0)

    def ensure_connection(
        self,
        errback: Callable[[BaseException, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float = 2,
        interval_step: float = 2,
        interval_max: float = 30,
        callback: Callable[[], object] | None = None,
        reraise_as_library_errors: bool = True,
        timeout: float | None = None,
    ) -> Connection:
        """Ask SQS something until it answers.

        It asks for the names of queues, or for an attribute of the first predefined one. Who may not ask is connected, too.

        Parameters:
            errback: called with each failure and the pause after it.
            max_retries: None tries on without end, as kombu does; a failure that does not pass by itself is the last.
            timeout: seconds after which there is no further try.

        Raises:
            kombu.exceptions.OperationalError: SQS did not answer.
        """
        started, tried, pause = time.monotonic(), 0, interval_start
        while True:
            try:
                with self._library_errors(reraise_as_library_errors):
                    self._ask()
                break
            except self.connection_errors as exc:
                cause = exc.__cause__ if isinstance(exc.__cause__, SqsError) else exc
                late = timeout is not None and time.monotonic() - started + pause > timeout
                last = max_retries is not None and tried >= max_retries
                if late or last or not getattr(cause, "retryable", False):
                    raise
                tried += 1
                if errback is not None:
                    errback(exc, pause)
                if callback is not None:
                    callback()
                time.sleep(pause)
                pause = min(pause + interval_step, interval_max)
        self.connected = True
        return self

    def _ask(self) -> None:
        transport = self.publisher.transport
        try:
            if transport.predefined:
                name = transport.sqs_name(transport.predefined[0].name)
                self.publisher.on_queue(name, lambda client, url: client.queue_attributes(url, ("QueueArn",)))
            else:
                next(iter(self.publisher.client_for("").list_queues(transport.sqs_name(""))), None)
        except AccessDenied:
            pass  # by SQS, which is there, then

    def release(self) -> None:
        """Done with it. The sockets are the app's and stay. (A pool that lends it puts its own in this place.)"""
        self.connected = False

    close = release

    def collect(self, socket_timeout: float | None = None) -> None:
        """Forget it."""
        self.connected = False

    def clone(self, **changes: Any) -> Connection:
        """Another one to the same broker."""
        if changes:
            raise Unsupported("a clone of a connection is to the same broker; app.connection(url) makes one to another")
        return type(self)(self.app, self.publisher)

    @property
    def default_channel(self) -> Channel:
        """The connection's channel."""
        if self._channel is None:
            self._channel = Channel(self)
        return self._channel

    def channel(self) -> Channel:
        """A channel."""
        return Channel(self)

    def maybe_close_channel(self, channel: Any) -> None:
        """Close it."""
        channel.close()

    def Producer(self, channel: Any = None, *args: Any, **kwargs: Any) -> Producer:  # noqa: N802 - kombu's name
        """A producer on this connection."""
        return self.app.amqp.Producer(channel or self, *args, **kwargs)

    @contextmanager
    def _reraise_as_library_errors(self) -> Iterator[None]:
        with self._library_errors(True):
            yield

    @contextmanager
    def _library_errors(self, as_kombus: bool, but: type[SqsError] | tuple[()] = ()) -> Iterator[None]:
        from kombu.exceptions import OperationalError

        try:
            yield
        except SqsError as exc:
            if not as_kombus or isinstance(exc, but):
                raise
            raise OperationalError(str(exc)) from exc

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        _refuse("connection", name)

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


class Channel:
    """The queues of a connection.

    Parameters:
        connection: whose.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.closed = False

    def queue_declare(self, queue: str | None = None, passive: bool = False, **kwargs: Any) -> queue_declare_ok_t:
        """How many messages are visible in a queue, which is created if it is missing.

        Parameters:
            queue: the name as the app says it.
            passive: create nothing; a missing queue has no messages, as under kombu, which creates it in this case, too.

        Raises:
            kombu.exceptions.OperationalError: SQS did not answer.
            pyqs.errors.QueueNotFound: it is not in ``predefined_queues``.
        """
        if not queue:
            raise Unsupported("queue_declare needs a name: SQS makes none up")
        with self.connection._library_errors(True, but=QueueNotFound):
            return queue_declare_ok_t(queue, self._visible(queue, create=not passive), 0)

    def queue_purge(self, queue: str, **kwargs: Any) -> int:
        """Delete all messages of a queue; answers how many were visible before. It takes SQS up to a minute."""
        with self.connection._library_errors(True, but=QueueNotFound):
            visible = self._visible(queue, create=False)
            self._call(queue, lambda client, url: client.purge_queue(url))
        return visible

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Delete a queue, with ``if_empty`` only where no message is visible."""
        with self.connection._library_errors(True, but=QueueNotFound):
            if not (if_empty and self._visible(queue, create=False)):
                self._call(queue, lambda client, url: client.delete_queue(url))

    def exchange_declare(self, exchange: str = "", type: str = "direct", **kwargs: Any) -> None:
        """See whether there can be such an exchange: a direct one, which is nothing but the queues bound to it."""
        if type != "direct":
            raise Unsupported(f"{exchange!r} is a {type} exchange, which SQS has not")

    def queue_bind(self, queue: str, exchange: str = "", routing_key: str = "", **kwargs: Any) -> None:
        """Have what this app publishes to a direct exchange with this key go to the queue, in this process."""
        if exchange:
            self.connection.app.amqp.queues.bind(queue, exchange, routing_key)

    def prepare_queue_arguments(self, arguments: Any, **kwargs: Any) -> Any:
        """As they are: a queue that is created has the attributes of ``broker_transport_options``."""
        return arguments

    def _size(self, queue: str) -> int:
        return self.queue_declare(queue, passive=True).message_count

    def _visible(self, queue: str, *, create: bool) -> int:
        name = "ApproximateNumberOfMessages"
        try:
            return int(self._call(queue, lambda client, url: client.queue_attributes(url, (name,)), create=create)[name])
        except QueueNotFound:
            if create or self.connection.publisher.transport.predefined:
                raise
            return 0

    def _call(self, queue: str, call: Callable[[Any, str], T], *, create: bool = False) -> T:
        publisher = self.connection.publisher
        return publisher.on_queue(publisher.transport.sqs_name(queue), call, create=create)

    def close(self) -> None:
        """Done with it."""
        self.closed = True

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        _refuse("channel", name)

    def __repr__(self) -> str:
        return f"<Channel: {self.connection.as_uri()}>"


def _refuse(what: str, name: str) -> NoReturn:
    """An AttributeError, so that hasattr() has its answer."""
    if name in _RECEIVING:
        raise AttributeError(f"{what}.{name}: messages are received by `pyqs worker` only, or with boto3")
    if name in _EXCHANGES:
        raise AttributeError(f"{what}.{name}: SQS has no exchanges; a message goes to a queue by its name")
    raise AttributeError(f"a {what} on SQS has no {name!r}; docs/differences.md says what it has")
