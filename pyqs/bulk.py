"""Many messages to one queue: cut into batches, several under way at once, and what was not accepted, by name.

Owns: how messages are cut into SendMessageBatch calls, which entries are sent again, and when no more are begun. Runs in the
caller's thread and, where order does not matter, in a few of its own for the time of the call. Never looks up a queue and never
calls a batch a success whose entries were not all accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pyqs import backoff
from pyqs.config import MAX_BATCH, MAX_MESSAGE
from pyqs.errors import SqsError
from pyqs.message import OutgoingMessage, SentMessage

#: Bytes of one message, and of one batch in sum, attributes included (SQS quotas, since August 2025).
MAX_BYTES = MAX_MESSAGE
#: Tries of a batch's entries that SQS refused for a passing reason, and the first pause in seconds.
BATCH_ATTEMPTS = 4
BATCH_PAUSE = 0.2
#: Batches under way at once, where order does not matter: at 20 ms to SQS one after the other is 500 messages/s.
ABREAST = 8

Answer = SentMessage | SqsError
#: Makes one SendMessageBatch call; raises SqsError when it fails as a whole.
SendBatch = Callable[[Sequence[OutgoingMessage]], Sequence[Answer]]


def send_all(
    messages: Sequence[OutgoingMessage], send_batch: SendBatch, *, ordered: bool, sleep: Callable[[float], None]
) -> list[Answer]:
    """SQS's answer to each message, or the error that kept it from being sent, in the messages' order.

    The first batch goes alone, because it finds or creates the queue. After a batch that could not be sent at all no further
    ones are begun.

    Parameters:
        ordered: one batch after the other, nothing is tried again, and nothing is sent after a refused entry.
    """
    stop: list[SqsError] = []

    def send(batch: Sequence[OutgoingMessage]) -> list[Answer]:
        if stop:
            return [stop[0]] * len(batch)
        answers, error = _send(batch, send_batch, ordered, sleep)
        if error is not None:
            stop.append(error)
        return answers

    parts = list(batches(messages))
    first, rest = parts[:1], parts[1:]
    answers = [answer for batch in first for answer in send(batch)]
    if len(rest) < 2 or ordered:
        return answers + [answer for batch in rest for answer in send(batch)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(ABREAST, len(rest)), "pyqs-send") as threads:
        return answers + [answer for part in threads.map(send, rest) for answer in part]


def _send(
    batch: Sequence[OutgoingMessage], send_batch: SendBatch, ordered: bool, sleep: Callable[[float], None]
) -> tuple[list[Answer], SqsError | None]:
    """The answers for one batch, and the error after which nothing more should be sent, if any."""
    results: dict[int, Answer] = {}
    todo = list(range(len(batch)))
    for attempt in range(1, BATCH_ATTEMPTS + 1):
        try:
            answers = send_batch([batch[index] for index in todo])
        except SqsError as exc:
            # The client has retried already. What an earlier round sent stays sent.
            results.update(dict.fromkeys(todo, exc))
            return [results[index] for index in range(len(batch))], exc
        results.update(zip(todo, answers, strict=True))
        failures = {index: error for index, error in results.items() if isinstance(error, SqsError)}
        if failures and ordered:
            return [results[index] for index in range(len(batch))], next(iter(failures.values()))
        todo = [index for index, error in failures.items() if error.retryable]
        if not todo or attempt == BATCH_ATTEMPTS:
            break
        sleep(backoff.exponential(attempt, base=BATCH_PAUSE, cap=5.0))
    return [results[index] for index in range(len(batch))], None


def batches(messages: Sequence[OutgoingMessage]) -> Iterator[list[OutgoingMessage]]:
    """Cut into runs that one SendMessageBatch takes: at most 10, at most 1 MiB in sum. Order is kept."""
    batch: list[OutgoingMessage] = []
    total = 0
    for message in messages:
        size = message_size(message)
        if batch and (len(batch) == MAX_BATCH or total + size > MAX_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(message)
        total += size
    if batch:
        yield batch


def message_size(message: OutgoingMessage) -> int:
    """Bytes that SQS counts: the body as UTF-8, and each attribute's name, type and value."""
    size = _utf8(message.body)
    for name, attribute in message.message_attributes.items():
        value = attribute.binary_value
        size += _utf8(name) + _utf8(attribute.data_type)
        size += len(value) if value is not None else _utf8(attribute.string_value or "")
    return size


def _utf8(text: str) -> int:
    # A lone surrogate cannot be sent; SQS's client says so, here it only must not hide the size.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
