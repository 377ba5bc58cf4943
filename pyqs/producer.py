"""From a message to SendMessage: which queue, is it legal, is it too large, did SQS take it.

Owns: ``Producer`` (queue URLs known, queues created) and the process's default one behind ``.delay()``. Runs in
whatever thread of whatever process publishes. Never encodes arguments, never imports botocore before the first send,
and never calls a batch a success whose entries were not all accepted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from pyqs.bulk import send_all
from pyqs.config import MAX_DELAY, ConnectionConfig, process_defaults
from pyqs.errors import AccessDenied, BadMessageOption, QueueNotFound, SendFailed, SqsError
from pyqs.message import OutgoingMessage, SentMessage
from pyqs.payloads import Payloads
from pyqs.queues.names import FIFO, canonical_name, is_arn, is_url, name_from_url, name_problem
from pyqs.sqs import Sqs, connect

log = logging.getLogger(__name__)

#: Group of a FIFO message that names none; the same as Celery's, so that both keep one order.
DEFAULT_GROUP = "default"
#: Seconds before each further try on a queue created just now: SQS asks for one second before its first use.
CREATED_PAUSES = (1.0, 2.0)

T = TypeVar("T")


class Producer:
    """Sends messages over one connection. For any number of threads, and for children forked after its making.

    Parameters:
        connection: how to reach SQS; the client is made on the first send.
        create_queues: create a queue that does not exist, as PyQS does; else say so with an error.
        connector: makes the client.
        sleep: waits; for tests.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        *,
        create_queues: bool = True,
        connector: Callable[[ConnectionConfig], Sqs] = connect,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.connection = connection
        self.create_queues = create_queues
        self._connector = connector
        self._sleep = sleep
        self._payloads = Payloads(connection)
        self._sqs: Sqs | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._urls: dict[str, str] = {}
        self._warned: set[str] = set()

    def learn(self, queue: str, url: str) -> None:
        """The URL of the queue with this name, which need not be looked up while it works."""
        self._urls[_queue_name(queue)] = url

    def send(self, queue: str, message: OutgoingMessage, *, task: str = "") -> SentMessage:
        """Send one message.

        Parameters:
            queue: a name (mapped as Celery maps names), a URL or an ARN.
            task: the task's name, for error texts.

        Raises:
            BadMessageOption: an impossible queue name, or a delay that SQS does not take there.
            TooLarge: more than 1 MiB with its attributes, and the connection names no bucket for that.
            PayloadUnavailable: S3 has not taken its body.
            SqsError: SQS refused it or did not answer; QueueNotFound when the queue is missing and may not be created.
        """
        name = _queue_name(queue)
        ready = self._ready(name, message, task)
        return self._on_queue(queue, name, lambda url: self._client().send(url, ready))

    def send_many(self, queue: str, messages: Sequence[OutgoingMessage], *, task: str = "") -> list[SentMessage]:
        """Send any number in batches of up to 10 and 1 MiB, several at once; entries refused for a passing reason are retried.

        On a FIFO queue one batch goes after the other, nothing is retried and nothing further is sent after a refused entry, to
        keep the order. After a batch that could not be sent at all no further ones are begun.

        Returns:
            SQS's answers, in the messages' order.

        Raises:
            SendFailed: not all were accepted; ``.results`` has an answer or an error for each.
            BadMessageOption, TooLarge: as ``send``, before anything is sent.
        """
        name = _queue_name(queue)
        ready = [self._ready(name, message, task) for message in messages]
        results = send_all(
            ready,
            lambda batch: self._on_queue(queue, name, lambda url: self._client().send_batch(url, batch)),
            ordered=name.endswith(FIFO),
            sleep=self._sleep,
        )
        sent = [result for result in results if isinstance(result, SentMessage)]
        if len(sent) < len(results):
            first = next(result for result in results if isinstance(result, SqsError))
            failed = len(results) - len(sent)
            raise SendFailed(
                f"{failed} of {len(results)} messages to queue {name!r} were not sent; the first: {first}", results, queue=name
            )
        return sent

    def _ready(self, name: str, message: OutgoingMessage, task: str) -> OutgoingMessage:
        """The message as it is sent: all of it is legal, and a body that is too large lies in S3."""
        checked = _checked(name, message)
        return self._payloads.put_away(checked, f"task {task} for queue {name!r}" if task else f"message for queue {name!r}")

    def _on_queue(self, queue: str, name: str, call: Callable[[str], T]) -> T:
        """Run ``call`` with the queue's URL; once more with a fresh one when the known one is gone."""
        if is_url(queue) or is_arn(queue):
            return call(self._client().locate(queue))
        url, created = self._url(name)
        if not created:
            try:
                return call(url)
            except QueueNotFound:
                self._urls.pop(name, None)
                url, created = self._url(name)
        for pause in CREATED_PAUSES if created else ():
            try:
                return call(url)
            except QueueNotFound:
                self._sleep(pause)
        return call(url)

    def _url(self, name: str) -> tuple[str, bool]:
        """The queue's URL, and whether it was created just now."""
        known = self._urls.get(name)
        if known:
            return known, False
        sqs = self._client()
        created = False
        try:
            url = sqs.queue_url(name)
        except QueueNotFound as exc:
            if not self.create_queues:
                raise QueueNotFound(
                    f"queue {name!r} does not exist and may not be created here (create_queues is off); "
                    f"create it, correct the name, or allow it with PYQS_CREATE_QUEUES=1",
                    code=exc.code,
                    queue=name,
                ) from exc
            url, created = self._create(sqs, name), True
        except AccessDenied as exc:
            raise AccessDenied(f"{exc}; allow it, or give the queue's URL as its name", code=exc.code, queue=name) from exc
        self._urls[name] = url
        return url, created

    def _create(self, sqs: Sqs, name: str) -> str:
        url = sqs.create_queue(name, {"FifoQueue": "true"} if name.endswith(FIFO) else None)
        if name not in self._warned:
            self._warned.add(name)
            log.warning(
                "created queue %s, which has no dead-letter queue: a message whose task keeps failing comes back until "
                "its retention ends; give the queue a RedrivePolicy",
                name,
            )
        return url

    def _client(self) -> Sqs:
        sqs = self._sqs
        if sqs is not None:
            return sqs
        if self._pid != os.getpid():  # another thread of the parent may have held the lock when this child was forked
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if self._sqs is None:
                self._sqs = self._connector(self.connection)
            return self._sqs


def check_delay(delay: object, queue: str) -> int | None:
    """A per-message delay as SQS takes it: whole seconds 0-900, or None for the queue's own.

    On a FIFO queue, which has no per-message delay, only None and 0 pass (as None).

    Raises:
        BadMessageOption: anything else; names the queue.
    """
    if delay is None:
        return None
    if isinstance(delay, bool) or not isinstance(delay, int):
        raise BadMessageOption(f"queue {queue!r}: a delay is a whole number of seconds, not {type(delay).__name__}")
    if not 0 <= delay <= MAX_DELAY:
        raise BadMessageOption(f"queue {queue!r}: a delay is 0 to {MAX_DELAY} seconds, not {delay}")
    if queue.endswith(FIFO):
        if delay:
            raise BadMessageOption(f"queue {queue!r} is FIFO: SQS has no delay for a single message there")
        return None
    return delay


def guard_queues(refusal: Callable[[str], str]) -> None:
    """Have ``refusal(queue name)`` asked before a native message is sent; text, the reason, refuses it, "" lets it pass."""
    if refusal not in _guards:
        _guards.append(refusal)


def check_guards(queue: str) -> None:
    """Raises BadMessageOption if native messages may not go to the queue of this name."""
    for refusal in _guards:
        reason = refusal(_queue_name(queue))
        if reason:
            raise BadMessageOption(f"queue {queue!r} takes no native task: {reason}")


_guards: list[Callable[[str], str]] = []


class Elsewhere(Protocol):
    """Where messages go in place of the SQS that the settings name, in tests: see ``pyqs.testing.recording``."""

    @property
    def producer(self) -> Producer:
        """For native tasks."""
        ...

    def client(self, store: Any = None) -> Sqs:
        """For others; ``store`` is where theirs would have gone, if that is in this process."""
        ...


@contextlib.contextmanager
def sending_elsewhere(place: Elsewhere) -> Iterator[None]:
    """All that this process sends in this block goes there; connections that an app has named are not used."""
    global _elsewhere
    before, _elsewhere = _elsewhere, place
    try:
        yield
    finally:
        _elsewhere = before


def elsewhere() -> Elsewhere | None:
    """Where messages go now, None for where they should."""
    return _elsewhere


_elsewhere: Elsewhere | None = None


def default_producer() -> Producer:
    """The process's producer, made from its settings (``pyqs.config.process_defaults``, ``PYQS_*``) on first use."""
    global _default
    if _elsewhere is not None:
        return _elsewhere.producer
    generation, producer = _default
    # Two threads may both make one; each works, and the last stays.
    if producer is None or generation != process_defaults.generation:
        generation = process_defaults.generation
        producer = Producer(process_defaults.connection, create_queues=process_defaults.create_queues)
        _default = (generation, producer)
    return producer


_default: tuple[int, Producer | None] = (0, None)


def _queue_name(queue: str) -> str:
    """The SQS name that a queue given by name, URL or ARN has."""
    if is_url(queue):
        return name_from_url(queue)
    if is_arn(queue):
        return queue.rpartition(":")[2]
    name = canonical_name(queue)
    problem = name_problem(name)
    if problem:
        raise BadMessageOption(f"queue name {queue!r} is not possible: {problem}")
    return name


def _checked(name: str, message: OutgoingMessage) -> OutgoingMessage:
    """The message with what a FIFO queue needs, once everything about it is legal."""
    delay = check_delay(message.delay, name)
    if not name.endswith(FIFO):
        if message.dedup_id is not None:
            raise BadMessageOption(f"queue {name!r}: a deduplication id is for FIFO queues only")
        return message
    # One id per call, so that a send repeated after a lost answer is not a second message.
    return replace(
        message,
        delay=delay,
        group_id=message.group_id or DEFAULT_GROUP,
        dedup_id=message.dedup_id or str(uuid.uuid4()),
    )
