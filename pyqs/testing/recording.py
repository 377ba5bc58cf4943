"""What was enqueued: a place for all that a test sends, and what can be asked about it.

Owns: ``Place`` (an SQS in memory that notes each message), ``Sent`` and ``Enqueued``. Runs in tests; messages may be sent from
any thread. Never notes a message that was refused, and never receives one: what was sent is noted, whoever has run it since.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyqs.cli import COMPAT_SENT
from pyqs.codec import decode_call
from pyqs.config import ConnectionConfig
from pyqs.errors import PyQSError, QueueNotFound, SqsError, Undecodable
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import Call, OutgoingMessage, SentMessage
from pyqs.producer import Producer
from pyqs.queues.names import FIFO, canonical_name
from pyqs.registry import registry

#: Most messages that an error tells of.
_SHOWN = 20


@dataclass(frozen=True)
class Sent:
    """One message that SQS has accepted, and the call in it.

    Parameters:
        task: the task's name, "" where the message holds no call.
        args, kwargs: of the call.
        queue: the SQS queue's name.
        delay: whole seconds from the sending until it may run: of its eta if it has one, else SQS's delay.
        id: the task id of a Celery call, else SQS's message id.
        call: all that the message says of it (a Celery call has ``headers``, ``eta``, ``retries``, ``chain`` and so on); None
            where it holds none.
        message: as it was sent.
    """

    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    queue: str
    delay: int
    id: str
    call: Call | None = field(repr=False)
    message: OutgoingMessage = field(repr=False)

    def __str__(self) -> str:
        words = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        wait = f" in {self.delay} s" if self.delay else ""
        return f"{self.task or 'a message without a call'}({', '.join(words)}) on {self.queue}{wait}"


class Place:
    """An SQS in memory of which is known what was sent to it. Missing queues are created. A ``pyqs.producer.Elsewhere``."""

    def __init__(self) -> None:
        self.store = Store(pause=0.0)
        self.producer = Producer(ConnectionConfig(), connector=lambda _: self.client())
        self._lock = threading.Lock()
        self._sent: list[Sent] = []

    def client(self, store: Store | None = None) -> InProcessSqs:
        """A client that notes what is sent with it: to this place, or to another store of this process."""
        return _Recorder(store or self.store, self._note)

    def plain_client(self) -> InProcessSqs:
        """A client for a worker: what that one sends again, because it is not due, is nothing new."""
        return InProcessSqs(self.store)

    @property
    def sent(self) -> list[Sent]:
        """All messages, in the order in which they were accepted."""
        with self._lock:
            return list(self._sent)

    def forget(self) -> None:
        """What was sent so far is not asked for any more; it stays on its queues."""
        with self._lock:
            self._sent.clear()

    def left(self) -> dict[str, int]:
        """Queue name -> messages on it in any state, for queues that have some."""
        client = self.plain_client()
        found = {url.rpartition("/")[2]: client.queue_attributes(url) for url in client.list_queues()}
        kinds = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        counts = {name: sum(int(attributes[kind]) for kind in kinds) for name, attributes in found.items()}
        return {name: count for name, count in counts.items() if count}

    def _note(self, queue: str, message: OutgoingMessage, answer: SentMessage) -> None:
        one = _read(queue, message, answer)
        with self._lock:
            self._sent.append(one)


class _Recorder(InProcessSqs):
    def __init__(self, store: Store, note: Callable[[str, OutgoingMessage, SentMessage], None]) -> None:
        super().__init__(store)
        self._note = note

    def queue_url(self, name: str) -> str:
        try:
            return super().queue_url(name)
        except QueueNotFound:
            return self.create_queue(name, {"FifoQueue": "true"} if name.endswith(FIFO) else None)

    def send(self, queue_url: str, message: OutgoingMessage) -> SentMessage:
        name = queue_url.rpartition("/")[2]
        self.queue_url(name)
        answer = super().send(queue_url, message)
        self._note(name, message, answer)
        return answer

    def send_batch(self, queue_url: str, messages: Sequence[OutgoingMessage]) -> list[SentMessage | SqsError]:
        name = queue_url.rpartition("/")[2]
        self.queue_url(name)
        answers = super().send_batch(queue_url, messages)
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, SentMessage):
                self._note(name, message, answer)
        return answers


def _read(queue: str, message: OutgoingMessage, answer: SentMessage) -> Sent:
    call = _call(queue, message, answer)
    if call is None:
        return Sent("", (), {}, queue, message.delay or 0, answer.message_id, None, message)
    delay = message.delay or 0
    if call.eta is not None:
        delay = max(0, round(call.eta - time.time()))
    return Sent(call.task, tuple(call.args), dict(call.kwargs), queue, delay, call.id, call, message)


def _call(queue: str, message: OutgoingMessage, answer: SentMessage) -> Call | None:
    """The call in it, native or Celery's; None for what is neither."""
    try:
        return decode_call(message.body, answer.message_id)
    except Undecodable:
        pass
    module, _, name = COMPAT_SENT.partition(":")
    read: Callable[[str, str], Call] = getattr(importlib.import_module(module), name)
    try:
        return read(message.body, queue)
    except PyQSError:
        return None


def name_of(task: Any) -> str:
    """The name of a task: of a native function, of a Celery task, or as it is.

    Raises:
        TypeError: it is none.
    """
    if isinstance(task, str):
        return task
    for name in registry.names():
        if registry.get(name) is task:
            return name
    celerys = getattr(task, "name", None)
    if isinstance(celerys, str) and hasattr(task, "apply_async"):
        return celerys
    raise TypeError(f"{task!r} is no task: give a function with @task, a Celery task, or a name")


class Enqueued:
    """Asks what was sent. ``enqueued(task)`` is a list of ``Sent``, in order; ``enqueued()`` all there is."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __call__(self, task: Any = None, *, queue: str | None = None) -> list[Sent]:
        """What was enqueued: of this task (a task or its name), on this queue."""
        name = None if task is None else name_of(task)
        wanted = None if queue is None else canonical_name(queue)
        return [
            one for one in self._place.sent if (name is None or one.task == name) and (wanted is None or one.queue == wanted)
        ]

    def clear(self) -> None:
        """From now on only what is sent from now on counts."""
        self._place.forget()

    def assert_enqueued(
        self,
        task: Any,
        *args: Any,
        queue: str | None = None,
        delay: int | None = None,
        count: int | None = None,
        with_args: Sequence[Any] | None = None,
        with_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Sent:
        """The task was enqueued: with these arguments, if any are given.

        Parameters:
            args, kwargs: the call's arguments, all of them; without any, every call counts.
            with_args, with_kwargs: the same, where a name is one of this method's own, or for none: ``with_args=()``.
            queue: the queue's name. delay: whole seconds until it may run.
            count: how many such calls, 1 or more; without it one at least. ``assert_nothing`` is for none.

        Returns:
            the last of them.

        Raises:
            AssertionError: it was not; says what was. ValueError: a ``count`` below 1.
        """
        if count is not None and count < 1:
            raise ValueError(f"count={count}: enqueued.assert_nothing(task) is for none")
        name = name_of(task)
        positional = list(args if with_args is None else with_args)
        keyword = dict(kwargs if with_kwargs is None else with_kwargs)
        says = bool(args or kwargs) or with_args is not None or with_kwargs is not None
        found = [
            one
            for one in self(name, queue=queue)
            if (delay is None or one.delay == delay)
            and (not says or (list(one.args) == positional and dict(one.kwargs) == keyword))
        ]
        if found and count in (None, len(found)):
            return found[-1]
        looked_for = Sent(name, tuple(positional), keyword, queue or "any queue", delay or 0, "", None, OutgoingMessage("-"))
        often = "was not enqueued" if count is None else f"was enqueued {len(found)} times, not {count}"
        shown = str(looked_for) if says else f"{name} on {queue or 'any queue'}" + (f" in {delay} s" if delay else "")
        raise AssertionError(f"{shown} {often}; {self._told()}")

    def assert_nothing(self, task: Any = None, *, queue: str | None = None) -> None:
        """Nothing was enqueued, or no call of this task, or nothing on this queue. Raises AssertionError."""
        found = self(task, queue=queue)
        if found:
            raise AssertionError(f"{len(found)} calls were enqueued: {_list(found)}")

    def _told(self) -> str:
        sent = self._place.sent
        return f"enqueued were: {_list(sent)}" if sent else "nothing was enqueued"


def _list(sent: Sequence[Sent]) -> str:
    more = f" and {len(sent) - _SHOWN} more" if len(sent) > _SHOWN else ""
    return ", ".join(map(str, sent[:_SHOWN])) + more
