"""Door to the engine's sending side: one sealed message to one queue, named as Celery names it.

Owns: ``Publisher`` (the app's SQS client, queue URLs, creation of missing queues) and the outbox of a running task. Runs
in whatever thread publishes; inside a worker what a task's end brings about is collected instead of sent (``collecting``,
``into_outbox``), because the worker sends it before it settles the parent's message. Never encodes an argument.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pyqs.bulk import send_all
from pyqs.config import MAX_DELAY, ConnectionConfig
from pyqs.errors import BadMessageOption, QueueNotFound, SendFailed, SqsError
from pyqs.message import FollowUp, OutgoingMessage, SentMessage
from pyqs.payloads import Payloads
from pyqs.producer import CREATED_PAUSES, elsewhere, guard_queues
from pyqs.queues.names import FIFO, name_problem
from pyqs.sqs import Sqs, connect
from pyqs.value import value
from pyqs_celery_compat import _state as state
from pyqs_celery_compat import of_task
from pyqs_celery_compat.conf import PredefinedQueue, Transport, with_overrides, with_region
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.publish_retries import PublishRetries

if TYPE_CHECKING:
    pass

log = logging.getLogger("pyqs_celery_compat.publisher")

#: Group of a FIFO message that names none, as kombu's.
DEFAULT_GROUP = "default"
#: Calls that could not be sent and are named in one error, at most.
MOST_NAMED = 10

T = TypeVar("T")

_batch: contextvars.ContextVar[list[_Waiting] | None] = contextvars.ContextVar("batch", default=None)


_worker: ConnectionConfig | None = None


def in_worker(connection: ConnectionConfig) -> None:
    """Called when this process becomes an executor: its apps publish over the worker's connection, options included, so
    that a task's own ``.delay()`` reaches the SQS that the worker consumes."""
    global _worker
    _worker = connection


def default_broker() -> str:
    """The broker of an app that names none: in an executor the worker's SQS, elsewhere there is none."""
    return "" if _worker is None else "sqs://"


def nothing() -> None:
    """Nobody wants to know, or no policy."""


@value
class _Waiting:
    """A message that is sent at the end of a ``with app.batch()``.

    Parameters:
        queue: the SQS queue's name.
        call: the call, as an error names it.
        sent: called once it is accepted.
    """

    publisher: Publisher
    queue: str
    message: OutgoingMessage
    call: str
    sent: Callable[[], object]


class UndefinedQueue(QueueNotFound):
    """The queue is not in ``predefined_queues``, which replace lookup and creation."""


class Publisher:
    """Sends an app's messages. For any number of threads, and for children forked after its making.

    Parameters:
        transport: the app's broker settings; read on first use.
        create_missing: whether a missing queue is created (``task_create_missing_queues``).
        connector: makes a client.
        sleep: waits; for tests.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        *,
        create_missing: Callable[[], bool],
        connector: Callable[[ConnectionConfig], Sqs] = connect,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read = transport
        self._create_missing = create_missing
        self.connector = connector
        self._sleep = sleep
        self._transport: Transport | None = None
        self._payloads: Payloads | None = None
        self._clients: dict[ConnectionConfig, Sqs] = {}
        self._urls: dict[str, str] = {}
        self._warned: set[str] = set()
        self._lock = threading.RLock()
        self._pid = os.getpid()

    @property
    def transport(self) -> Transport:
        """The broker settings."""
        if self._transport is None:
            transport = self._read()
            self._transport = transport if _worker is None else with_overrides(transport, _worker)
        return self._transport

    @property
    def _large(self) -> Payloads:
        """Where bodies go that are too large."""
        if self._payloads is None:
            self._payloads = Payloads(self.transport.connection)
        return self._payloads

    def close(self) -> None:
        """Forget the connections; the next send makes new ones."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._urls.clear()

    # -- sending --------------------------------------------------------------------------------------------------
    def send(
        self,
        queue: str,
        message: OutgoingMessage,
        *,
        task: str = "",
        task_id: str = "",
        retry_policy: Callable[[], Mapping[str, Any] | None] = nothing,
        sent: Callable[[], object] = nothing,
    ) -> None:
        """Send one message, or put it into the running task's outbox, or leave it to the end of the batch around.

        Parameters:
            queue: the logical name; prefix and mapping are applied here.
            task, task_id: for error texts.
            sent: called once it is accepted, or in the outbox.
            retry_policy: asked after a first failure, for errors that may pass; see ``PublishRetries``. It comes on top of the
                client's own retries.

        Raises:
            BadMessageOption: a queue name or an option that SQS does not take.
            TooLarge: over 1 MiB, and no bucket is named for that. PayloadUnavailable: S3 has not taken its body.
            UndefinedQueue, SqsError: see there.
        """
        task_end = of_task.collector.get()
        if task_end is not None and (into := of_task.destination.get()) is not None:
            task_end.outbox.append(self._follow_up(task_end, queue, message, task, back=into.back))
            sent()
            return
        name = self.transport.sqs_name(queue)
        message = self._checked(name, message, task)
        batch = _batch.get()
        if batch is not None:
            batch.append(_Waiting(self, name, message, f"{task}[{task_id}]", sent))
            return
        retries = PublishRetries(retry_policy)
        while True:
            try:
                self.on_queue(name, lambda client, url: client.send(url, message))
                break
            except SqsError as exc:
                pause = retries.pause(exc)
                if pause is None:
                    raise
                log.warning("task %s to queue %s was not sent, trying again in %.1f s: %s", task, name, pause, exc)
                self._sleep(pause)
        sent()

    def _follow_up(
        self, task_end: of_task.collecting, queue: str, message: OutgoingMessage, task: str, *, back: bool
    ) -> FollowUp:
        """The message for the running task's outbox."""
        origin = task_end.origin
        if back and origin is not None and queue == task_end.queue:
            # Where it came from it may go again, whatever prefix, mapping or permission a look-up by name would meet.
            return FollowUp(origin.queue_url, self._checked(origin.queue, message, task))
        name = self.transport.sqs_name(queue)
        message = self._checked(name, message, task)
        predefined = self._predefined(name)
        return FollowUp(predefined.url if predefined else name, message, predefined is None and self._create_missing())

    def send_waiting(self, queue: str, waiting: Sequence[_Waiting]) -> list[SentMessage | SqsError]:
        """Send what a batch has for one queue; the answer to each, in order."""
        return send_all(
            [one.message for one in waiting],
            lambda part: self.on_queue(queue, lambda client, url: client.send_batch(url, part)),
            ordered=queue.endswith(FIFO),
            sleep=self._sleep,
        )

    def on_queue(self, name: str, call: Callable[[Sqs, str], T], *, create: bool = True) -> T:
        """Make the call with the queue's URL; again when the queue has just been created or moved.

        Parameters:
            create: False creates no missing queue, whatever the settings say.
        """
        if elsewhere() is not None:  # its URL is of that place, and nothing to remember
            client = self.client_for(name)
            return call(client, client.queue_url(name))
        url, created = self._url(name, create)
        client = self.client_for(name)
        try:
            return call(client, url)
        except QueueNotFound:
            if self._predefined(name) is not None:
                raise
            self._urls.pop(name, None)
            url, created = (url, True) if created else self._url(name, create)
            # SQS asks for a second between creating a queue and using it.
            for pause in CREATED_PAUSES if created else ():
                self._sleep(pause)
                try:
                    return call(client, url)
                except QueueNotFound:
                    continue
            return call(client, url)

    # -- queues ---------------------------------------------------------------------------------------------------
    def _url(self, name: str, create: bool) -> tuple[str, bool]:
        """The queue's URL, and whether it was created just now."""
        predefined = self._predefined(name)
        if predefined is not None:
            return predefined.url, False
        known = self._urls.get(name)
        if known:
            return known, False
        client, created = self.client_for(name), False
        try:
            url = client.queue_url(name)
        except QueueNotFound:
            if not (create and self._create_missing()):
                raise
            url, created = self._create(client, name), True
        self._urls[name] = url
        return url, created

    def _create(self, client: Sqs, name: str) -> str:
        attributes = dict(self.transport.create_attributes)
        if name.endswith(FIFO):
            attributes.setdefault("FifoQueue", "true")
        url = client.create_queue(name, attributes, dict(self.transport.tags) or None)
        log.info("created queue %s", name)
        return url

    def _predefined(self, name: str) -> PredefinedQueue | None:
        known = self.transport.predefined
        if not known:
            return None
        for queue in known:
            # kombu wants the mapped name as the key; the name as the app says it is taken too.
            if name in (queue.name, self.transport.sqs_name(queue.name)):
                return queue
        raise UndefinedQueue(
            f"Queue with name '{name}' must be defined in 'predefined_queues'.",
            code="AWS.SimpleQueueService.NonExistentQueue",
            queue=name,
        )

    # -- clients --------------------------------------------------------------------------------------------------
    def client_for(self, name: str) -> Sqs:
        """The client of the queue with this SQS name; "" for that of the broker URL."""
        predefined = self._predefined(name) if name else None
        return self._connected(predefined.connection if predefined else self.transport.connection)

    def _connected(self, connection: ConnectionConfig) -> Sqs:
        if (place := elsewhere()) is not None:
            return place.client(_store() if self.transport.in_memory else None)
        client = self._clients.get(connection)
        if client is not None:
            return client
        if self._pid != os.getpid():  # a thread of the parent may have held the lock when this child was forked
            self._pid, self._lock = os.getpid(), threading.RLock()
        with self._lock:
            if connection not in self._clients:
                self._clients[connection] = self.new_client(connection)
            return self._clients[connection]

    def new_client(self, connection: ConnectionConfig) -> Sqs:
        """A client for a connection, which is the caller's alone."""
        # A connector of a test's needs no region, and no SDK to find one.
        if self.connector is not connect:
            return self.connector(connection)
        if (place := elsewhere()) is not None:
            return place.client(_store() if self.transport.in_memory else None)
        return _in_memory() if self.transport.in_memory else connect(with_region(connection))

    def _checked(self, name: str, message: OutgoingMessage, task: str) -> OutgoingMessage:
        problem = name_problem(name)
        if problem:
            raise BadMessageOption(f"queue {name!r} of task {task} is not possible: {problem}")
        message = self._large.put_away(message, f"task {task} for queue {name!r}")
        if not name.endswith(FIFO):
            # kombu keeps a deduplication id in the properties; SQS itself takes one on FIFO queues only.
            return message if message.dedup_id is None else replace(message, dedup_id=None)
        if message.delay and name not in self._warned:
            self._warned.add(name)
            log.warning(
                "queue %s is FIFO, where SQS has no delay for a single message: a worker gets %s at once and hides it until "
                "it is due, which holds up its message group",
                name,
                task,
            )
        return replace(
            message, delay=None, group_id=message.group_id or DEFAULT_GROUP, dedup_id=message.dedup_id or str(uuid.uuid4())
        )


@functools.cache
def _store() -> Any:
    from pyqs.local.store import Store

    return Store(pause=0.0)  # each test may purge


def _in_memory() -> Sqs:
    """A client of this process's own SQS, which all its ``memory://`` apps share; a forked child has a copy."""
    from pyqs.local.inprocess import InProcessSqs

    return InProcessSqs(_store())


def delay_until(eta: float | None, *, now: float) -> int | None:
    """DelaySeconds for a task due at ``eta`` (seconds since the epoch): rounded up, at most 900; None for one that is due.

    Celery's workers keep to the message's eta in any case, so an early arrival harms nobody.
    """
    if eta is None or eta <= now:
        return None
    return min(MAX_DELAY, math.ceil(eta - now))


def explicit_delay(properties: Mapping[str, Any]) -> int | None:
    """DelaySeconds as kombu takes it from ``delay_seconds=`` or ``DelaySeconds=``: whole, clamped to 900; None for none."""
    for key in ("delay_seconds", "DelaySeconds"):
        value = properties.get(key)
        if value is None:
            continue
        try:
            delay = int(value)
        except (TypeError, ValueError, OverflowError):
            raise BadMessageOption(f"{key} must be a number of seconds, not {value!r}") from None
        if delay < 0:
            raise BadMessageOption(f"{key} must not be negative: {value!r}")
        return min(delay, MAX_DELAY)
    return None


def native_refusal(queue: str) -> str:
    """Why a native message may not go to the queue with this SQS name, or ""; asked by ``pyqs.tasks``."""
    for app in state.active_apps():
        try:
            refused = queue in app.native_refused_on
        except ImproperlyConfigured:  # an app of another broker has no queue on SQS
            continue
        if refused:
            return (
                f"the Celery app {app.main or '__main__'!r} declares it, and a Celery worker there would delete a message it "
                "does not know; use a queue of its own, or set allow_native=True on the app if only pyqs workers consume it"
            )
    return ""


guard_queues(native_refusal)


@contextlib.contextmanager
def batching() -> Iterator[None]:
    """What this thread publishes inside is sent when it ends, also by an exception: ten to a request, several at once.

    Raises:
        SendFailed: not all was accepted; names the calls, and ``.results`` has for each, in order, the answer or the error.
    """
    if _batch.get() is not None:  # the outer one sends
        yield
        return
    waiting: list[_Waiting] = []
    token = _batch.set(waiting)
    try:
        yield
    finally:
        _batch.reset(token)
        _flush(waiting)


def _flush(waiting: Sequence[_Waiting]) -> None:
    queues: dict[tuple[Publisher, str], list[int]] = {}
    for index, one in enumerate(waiting):
        queues.setdefault((one.publisher, one.queue), []).append(index)
    results: dict[int, SentMessage | SqsError] = {}
    for (publisher, queue), indices in queues.items():
        results.update(zip(indices, publisher.send_waiting(queue, [waiting[index] for index in indices]), strict=True))
    failed = []
    for index, one in enumerate(waiting):
        answer = results[index]
        if isinstance(answer, SqsError):
            failed.append(f"{one.call} to queue {one.queue}: {answer}")
        else:
            one.sent()
    if failed:
        more = f"; and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
        text = f"{len(failed)} of {len(waiting)} calls were not sent: {'; '.join(failed[:MOST_NAMED])}{more}"
        raise SendFailed(text, [results[index] for index in range(len(waiting))])
