"""What the queues' own attributes say: how often SQS hands a message out, and where it goes then.

Owns: those facts, when they are read again, and what is said about them once. A thread of its own reads them in the
background, an acker may read them on the spot; the pool and the fetchers only look at what is known. Never needed to
consume: where GetQueueAttributes is not allowed the worker goes on without, said once. Never changes a queue.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pyqs.backoff import NetworkBackoff
from pyqs.clock import boottime
from pyqs.errors import AccessDenied, QueueNotFound, SqsError
from pyqs.message import Delivery
from pyqs.queues.names import FIFO
from pyqs.sqs import Sqs
from pyqs.worker.service import OnCrash, Service

log = logging.getLogger(__name__)

#: Seconds after which a queue's attributes are read again, and the part by which that is shortened at random.
REFRESH = 600.0
JITTER = 0.2
#: Seconds for which a refusal counts: the first; doubled for each further one in a row, up to ``REFRESH``.
REFUSED = 60.0
#: maxReceiveCount up to which a FIFO queue's messages are received one by one.
FEW_LIVES = 10
_NAMES = ("RedrivePolicy", "VisibilityTimeout")


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue's attributes, as far as they matter to a worker.

    Parameters:
        max_receive_count: after so many receives SQS moves a message to the dead-letter queue; None without one.
        dead_letter_arn: that queue, None without one.
        visibility_timeout: the queue's own, seconds.
    """

    max_receive_count: int | None = None
    dead_letter_arn: str | None = None
    visibility_timeout: int | None = None


@dataclass(slots=True)
class _Refusal:
    """Its attributes may not be read, until they are tried again."""

    pause: float
    until: float


class Facts(Service):
    """The facts about every queue of a worker."""

    def __init__(self, sqs: Sqs, on_crash: OnCrash, *, clock: Callable[[], float] = boottime) -> None:
        super().__init__("facts", on_crash)
        self._sqs = sqs
        self._clock = clock
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._known: dict[str, QueueFacts] = {}
        self._refused: dict[str, _Refusal] = {}
        self._due: dict[str, tuple[float, str]] = {}
        self._changed = threading.Event()
        self._backoff = NetworkBackoff()
        self._said: set[str] = set()

    # -- any thread -----------------------------------------------------------------------------------------------

    def learn(self, queues: Mapping[str, str]) -> None:
        """Find out about exactly these queues (name -> URL), in the background, and keep it fresh."""
        with self._lock:
            self._due = {name: self._due.get(name, (0.0, url)) for name, url in queues.items()}
        self._changed.set()

    def known(self, queue: str) -> QueueFacts | None:
        """What is known now; None while nothing is, or where it may not be read."""
        return self._known.get(queue)

    def wait(self, queue: str, timeout: float) -> None:
        """Wait until this queue's facts are known or refused, at most so many seconds."""
        with self._news:
            self._news.wait_for(lambda: self.stopping.is_set() or queue in self._known or queue in self._refused, timeout)

    def url_of(self, queue: str) -> str | None:
        """The URL of one of the worker's own queues; None for any other."""
        due = self._due.get(queue)
        return None if due is None else due[1]

    def is_refused(self, queue: str) -> bool:
        """Whether this queue's attributes may not be read, as was found out a while ago at most."""
        refusal = self._refused.get(queue)
        return refusal is not None and refusal.until > self._clock()

    def of(self, queue: str, url: str) -> QueueFacts | None:
        """What is known, or is found out by asking SQS now; None where it may not be read.

        Raises:
            SqsError: SQS did not answer, or the queue is gone.
        """
        known = self._known.get(queue)
        return known if known is not None else self._read(queue, url)

    def attributes(self, queue: str, url: str, names: Sequence[str]) -> dict[str, str] | None:
        """These attributes as they are now; None where they may not be read.

        Raises:
            SqsError: SQS did not answer, or the queue is gone.
        """
        if self.is_refused(queue):
            return None
        try:
            found = self._sqs.queue_attributes(url, names)
            self._refused.pop(queue, None)
            return found
        except AccessDenied as exc:
            with self._news:
                before = self._refused.get(queue)
                pause = REFUSED if before is None else min(REFRESH, before.pause * 2)
                self._refused[queue] = _Refusal(pause, self._clock() + pause)
                self._news.notify_all()
            if self._say("refused"):
                log.warning(
                    "queue %s: its attributes cannot be read, so deliveries on their last life are not known as such, "
                    "and nothing can be moved to a dead-letter queue (other queues may follow, this is said once): %s",
                    queue,
                    exc,
                )
            return None

    def is_last_life(self, delivery: Delivery) -> bool:
        """Whether SQS will move this message to the dead-letter queue instead of handing it out once more."""
        known = self._known.get(delivery.queue)
        return known is not None and known.max_receive_count is not None and delivery.receive_count >= known.max_receive_count

    def comes_singly(self, queue: str) -> bool:
        """Whether messages should be received one by one: on FIFO queues that count few receives, or may.

        A batch holds several messages of a group. When its first one fails, or the worker is killed, the others have lost
        one of their lives without having run (design decision 15).
        """
        if not queue.endswith(FIFO):
            return False
        known = self._known.get(queue)
        if known is None:
            return queue not in self._refused
        return known.max_receive_count is not None and known.max_receive_count <= FEW_LIVES

    # -- the thread -----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the thread to end."""
        super().stop()
        self._changed.set()
        with self._news:
            self._news.notify_all()

    def run(self) -> None:
        """Read what is due, one queue after the other."""
        while not self.stopping.is_set():
            self._changed.clear()
            name, url, at = self._next()
            if at > (now := self._clock()):
                self._changed.wait(at - now if at != float("inf") else None)
                continue
            again = REFRESH * (1 - JITTER * random.random())
            try:
                if self._read(name, url) is None:
                    again = self._refused_for(name)
                self._backoff.succeeded()
            except QueueNotFound:
                pass  # the fetchers notice, and say so
            except SqsError as exc:
                log.debug("queue %s: its attributes could not be read: %s", name, exc)
                again = self._backoff.failed()
            with self._lock:
                if name in self._due:
                    self._due[name] = (self._clock() + again, url)

    def _refused_for(self, name: str) -> float:
        """Seconds until a queue that has refused is tried again."""
        refusal = self._refused.get(name)
        return 0.0 if refusal is None else max(0.0, refusal.until - self._clock())

    def _next(self) -> tuple[str, str, float]:
        with self._lock:
            due = [(at, name, url) for name, (at, url) in self._due.items()]
        at, name, url = min(due, default=(float("inf"), "", ""))
        return name, url, at

    # -- reading --------------------------------------------------------------------------------------------------

    def _read(self, queue: str, url: str) -> QueueFacts | None:
        attributes = self.attributes(queue, url, _NAMES)
        if attributes is None:
            return None
        facts = read_facts(attributes)
        with self._news:
            self._known[queue] = facts
            self._news.notify_all()
        self._warn(queue, facts)
        return facts

    def _warn(self, queue: str, facts: QueueFacts) -> None:
        if facts.dead_letter_arn is None and self._say(f"dlq {queue}"):
            log.warning(
                "queue %s: it has no dead-letter queue; a message that keeps failing is tried until its retention ends", queue
            )
        elif facts.max_receive_count == 1 and self._say(f"one {queue}"):
            log.warning(
                "queue %s: maxReceiveCount is 1: a message that a stopping or crashing worker held goes to the dead-letter "
                "queue without another try",
                queue,
            )

    def _say(self, what: str) -> bool:
        with self._lock:
            news = what not in self._said
            self._said.add(what)
        return news


def read_facts(attributes: Mapping[str, str]) -> QueueFacts:
    """SQS's attributes (API: GetQueueAttributes) as facts; what is malformed counts as absent."""
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    except ValueError:
        policy = {}
    arn = policy.get("deadLetterTargetArn") if isinstance(policy, dict) else None
    count = _whole(policy.get("maxReceiveCount")) if arn else None
    return QueueFacts(count, arn if isinstance(arn, str) else None, _whole(attributes.get("VisibilityTimeout")))


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None
