"""Looking at messages without taking them: received, held for a moment, and made visible again.

Owns: ``Look``, which holds what was received and gives all of it back at its end, whatever ends it; and what it costs. Runs
in the main thread of ``pyqs peek`` and ``pyqs dlq``. Never deletes.

A look is a receive, and SQS counts receives: a queue's RedrivePolicy takes a message to the dead-letter queue when it was
received too often, by whomever. What a process that is killed has not given back comes back when its visibility timeout is
over.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from pyqs.clock import boottime
from pyqs.commands.target import Target, say
from pyqs.config import MAX_BATCH
from pyqs.errors import ConfigError, LeaseLost, QueueFull, SqsError
from pyqs.message import ReceivedMessage
from pyqs.queues.census import Redrive, redrive_of
from pyqs.sqs import Sqs

#: Seconds for which what was received is hidden, should this process be killed.
HELD = 60
#: Seconds of one long poll: a short poll asks only some of SQS's servers and may bring nothing although there is something.
_WAIT = 1
#: Answers in a row with nothing new after which there is no more.
_EMPTY = 2
#: How often it is looked for what must be renewed, and when that is, in parts of the time for which a message is hidden.
_LOOK_PART, _RENEW_PART = 0.25, 0.6
#: A queue that gives a message so few receives loses something by each look.
FEW_RECEIVES = 2


@dataclass(slots=True)
class _Held:
    message: ReceivedMessage
    #: Boot-time second until which it is hidden.
    until: float


class Look:
    """Receives from one queue, and gives back at its end (a context manager).

    Parameters:
        held: seconds for which a message stays hidden if this process dies. What is held for longer is renewed.
    """

    def __init__(self, sqs: Sqs, target: Target, *, held: int = HELD) -> None:
        self._sqs = sqs
        self._target = target
        self._seconds = held
        self._held: dict[str, _Held] = {}
        self.seen: set[str] = set()
        self._stopping = False
        self._renew_at = 0.0

    def __enter__(self) -> Look:
        """From here on neither Ctrl-C nor SIGTERM is a reason to leave messages hidden."""
        self._before = {number: signal.signal(number, self._told_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.give_back()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def _told_to_stop(self, *_: object) -> None:
        """The first time it waits for a checkpoint: the answer of a receive that is under way may hold messages."""
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True

    def messages(self, count: int | None = None, *, at_a_time: int = MAX_BATCH) -> Iterator[list[ReceivedMessage]]:
        """What each receive brings that was not seen before, until that many, or until nothing more comes.

        Everything it yields is held until ``settled`` or the end. On a FIFO queue a group is locked while one of its messages
        is held: of each group at most the first ten are seen.
        """
        empty, left = 0, count
        while empty < _EMPTY and (left is None or left > 0):
            number = at_a_time if left is None else min(at_a_time, left)
            self.renew()
            try:
                found = self._receive(number)
            except QueueFull:
                say(f"{self._target.name}: more messages cannot be in flight there; what was not seen by now is not looked at")
                return
            new = [message for message in found if message.message_id not in self.seen]
            self.seen.update(message.message_id for message in new)
            empty = 0 if new else empty + 1
            if left is not None:
                left -= len(new)
            if new:
                yield new

    def _receive(self, number: int) -> list[ReceivedMessage]:
        """One receive, whose messages are held."""
        self.checkpoint()
        begun = boottime()
        found = self._sqs.receive(self._target.url, max_messages=number, wait=_WAIT, visibility=self._seconds)
        self._held.update({message.message_id: _Held(message, begun + self._seconds) for message in found})
        self.checkpoint()
        return found

    def checkpoint(self) -> None:
        """Raises KeyboardInterrupt if somebody has asked for the end by now: for moments in which nothing is half done."""
        if self._stopping:
            raise KeyboardInterrupt

    def settled(self, messages: Sequence[ReceivedMessage]) -> None:
        """These are gone from the queue: there is nothing to give back."""
        for message in messages:
            self._held.pop(message.message_id, None)

    def holds(self, message: ReceivedMessage, seconds: float) -> bool:
        """Whether it stays hidden for so many more seconds."""
        held = self._held.get(message.message_id)
        return held is not None and held.until - boottime() >= seconds

    def renew(self) -> None:
        """Hide for longer what is held and would come back soon. What cannot be renewed comes back and is known by its id."""
        now = boottime()
        if now < self._renew_at:  # there may be very many
            return
        self._renew_at = now + self._seconds * _LOOK_PART
        due = [one for one in self._held.values() if one.until - now < self._seconds * _RENEW_PART]
        for start in range(0, len(due), MAX_BATCH):
            batch = due[start : start + MAX_BATCH]
            changes = [(one.message.receipt_handle, self._seconds) for one in batch]
            for one, answer in zip(batch, self._change(changes), strict=True):
                if answer is None:
                    one.until = now + self._seconds
                elif isinstance(answer, LeaseLost):
                    self._held.pop(one.message.message_id, None)

    def give_back(self) -> None:
        """Make everything visible again now; what refuses comes back by itself."""
        held, self._held = [one.message for one in self._held.values()], {}
        refused: SqsError | None = None
        for start in range(0, len(held), MAX_BATCH):
            answers = self._change([(one.receipt_handle, 0) for one in held[start : start + MAX_BATCH]])
            refused = next((one for one in answers if one is not None and not isinstance(one, LeaseLost)), refused)
        if refused is not None:
            say(
                f"{self._target.name}: not all could be given back at once; they come back within {self._seconds} s ({refused})"
            )

    def _change(self, changes: list[tuple[str, int]]) -> list[SqsError | None]:
        try:
            return self._sqs.change_visibility_batch(self._target.url, changes)
        except SqsError as exc:
            return [exc] * len(changes)


def check_cost(sqs: Sqs, target: Target, *, force: bool) -> Redrive | None:
    """Say what a look costs on this queue; its RedrivePolicy, None where there is none or that may not be read.

    Raises:
        ConfigError: it could be a message's last receive, and ``force`` is not given.
    """
    try:
        redrive = redrive_of(sqs.queue_attributes(target.url, ("RedrivePolicy",)))
    except SqsError as exc:
        if exc.retryable or not force:
            raise _unknown_cost(target, exc) from exc
        redrive = None
    if redrive is None or redrive.max_receives is None:
        return redrive
    few, few_but_one = redrive.max_receives <= FEW_RECEIVES, redrive.max_receives != 1
    if few and not force:
        raise ConfigError(
            f"queue {target.name}: a message is received at most {redrive.max_receives} time{'s' * few_but_one}, "
            f"then it goes to {redrive.name} (maxReceiveCount), and looking is a receive: --force looks all the same"
        )
    say(
        f"{target.name}: looking at a message is one of its {redrive.max_receives} receives (maxReceiveCount); one that has no "
        f"more goes to {redrive.name}"
    )
    return redrive


def _unknown_cost(target: Target, exc: SqsError) -> Exception:
    if exc.retryable:
        return exc
    return ConfigError(f"queue {target.name}: what a receive costs there cannot be told ({exc}); --force looks all the same")


def of_receives(redrive: Redrive | None, receives: int) -> str:
    """What follows "receive 3": how many there are, and whether this was the last."""
    if redrive is None or redrive.max_receives is None:
        return ""
    last = f", its last: the next one takes it to {redrive.name}" if receives >= redrive.max_receives else ""
    return f" of {redrive.max_receives}{last}"
