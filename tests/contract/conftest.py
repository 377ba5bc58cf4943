"""What stands behind ``pyqs.sqs.Sqs`` in the contract suite, and what each emulator is known to get wrong.

Backends are chosen by ``PYQS_CONTRACT_BACKENDS`` (comma list): ``inprocess`` and ``local`` (ours; the default), ``moto`` and
``ministack`` (need those packages; ``PYQS_CONTRACT_PYTHON`` names an interpreter that has them, if this one has not), each with
the lean client or, as ``local+boto3``, the other, and
``aws`` (real SQS with your credentials, only with ``PYQS_TEST_AWS=1``; queues are deleted at the end and the number of
requests is printed).
"""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import emulators
from pyqs.config import ConnectionConfig
from pyqs.errors import QueueNotFound, SqsError
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage, ReceivedMessage
from pyqs.sqs import Sqs, connect

ALL = ("inprocess", "local", "moto", "ministack", "aws")
CHOSEN = [
    name.strip()
    for name in os.environ.get("PYQS_CONTRACT_BACKENDS", "inprocess,local+lean,local+boto3").split(",")
    if name.strip()
]
#: AWS's price per million requests to a standard queue after the free million, in us-east-1 (FIFO: 0.50).
DOLLARS_PER_MILLION = 0.40

_ACCEPTS = "accepts it"
_TOO_FEW_CHECKS = {
    "test_a_deduplication_id_on_a_standard_queue_is_refused": _ACCEPTS,
    "test_a_delete_after_the_lease_ran_out_is_refused": "deletes it",
    "test_a_deleted_name_rests_for_a_minute": _ACCEPTS,
    "test_a_repeated_receive_attempt_brings_the_same_messages": "ignores ReceiveRequestAttemptId",
    "test_an_unknown_attribute": _ACCEPTS,
    "test_attributes_count_towards_the_size": "counts the body only",
    "test_hiding_what_is_visible_again_is_a_lost_lease": "hides it",
    "test_illegal_message_attributes[eleven]": _ACCEPTS,
    "test_illegal_message_attributes[empty]": _ACCEPTS,
    "test_illegal_message_attributes[dots]": _ACCEPTS,
    "test_illegal_message_attributes[reserved]": _ACCEPTS,
    "test_the_fifo_ending_needs_the_attribute": _ACCEPTS,
}
#: Neither has move tasks.
_NO_MOVES = {
    f"test_{name}": "has no StartMessageMoveTask"
    for name in (
        "a_group_keeps_its_order",
        "a_handle_that_is_none",
        "a_rate_out_of_range",
        "messages_go_back_to_where_they_came_from_as_new_ones",
        "one_at_a_time_and_it_can_be_cancelled",
        "only_a_dead_letter_queue_is_emptied_so",
        "queues_that_are_not_there",
        "they_go_to_another_queue_if_that_is_named",
        "what_was_sent_there_by_hand_does_not_know_its_way",
    )
}
#: backend -> test (or "test[parameters]") -> what it does instead. Observed with moto 5.2.5 and ministack 1.5.33.
DEVIATIONS: Mapping[str, Mapping[str, str]] = {
    "moto": {
        **_TOO_FEW_CHECKS,
        **_NO_MOVES,
        "test_a_delay_out_of_range[-1]": _ACCEPTS,
        "test_a_group_comes_in_order_with_growing_sequence_numbers": "random sequence numbers",
        "test_a_moved_message_names_where_it_came_from": "does not",
        "test_an_attribute_out_of_range": "checks few attributes of CreateQueue",
        "test_an_empty_body_is_refused": _ACCEPTS,
        "test_characters_that_sqs_refuses": _ACCEPTS,
        "test_deduplication_outlives_the_delete": "forgets the id with the message",
        "test_eleven_are_too_many": "does not count changes of visibility",
        "test_eleven_deletes_are_too_many": "does not count",
        "test_one_deduplication_id_is_one_message": "answers a new message id each time",
        "test_size_is_counted_in_bytes": "counts characters",
        "test_the_attributes_of_a_new_queue": "CreatedTimestamp has a fraction",
    },
    "ministack": {
        **_TOO_FEW_CHECKS,
        **_NO_MOVES,
        "test_a_batch_of_changes_answers_each_in_order": "accepts 43201 seconds",
        "test_a_dead_letter_queue_knows_its_sources": "has no ListDeadLetterSourceQueues",
        "test_a_delay_out_of_range": _ACCEPTS,
        "test_a_receive_out_of_range[options2]": _ACCEPTS,
        "test_a_receive_out_of_range[options3]": _ACCEPTS,
        "test_an_illegal_name": _ACCEPTS,
        "test_an_unknown_attribute_name_is_refused_on_reading": _ACCEPTS,
        "test_deleting_twice_is_no_error": "says ReceiptHandleIsInvalid",
        "test_emptying_twice_in_a_minute_is_refused": _ACCEPTS,
        "test_hiding_for_longer_than_twelve_hours": _ACCEPTS,
        "test_illegal_message_attributes[type]": _ACCEPTS,
        "test_one_bad_delay_fails_alone": "sends it",
    },
}


class Clock:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Backend:
    """One implementation of ``Sqs``, its time, and short ways to use it."""

    name: str
    sqs: Sqs
    client: Callable[[], Sqs]
    advance: Callable[[float], None]
    jumps: bool
    prefix: str = field(default_factory=lambda: f"pyqs-contract-{uuid.uuid4().hex[:8]}")
    urls: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def exact(self) -> bool:
        """Whether one receive brings all there is and counts are true at once: everywhere but on real SQS."""
        return self.name != "aws"

    def fresh_name(self, ending: str = "") -> str:
        return f"{self.prefix}-{next(self._numbers)}{ending}"

    def queue(self, name: str | None = None, **attributes: str) -> str:
        """A new standard queue's URL."""
        url = self.sqs.create_queue(name or self.fresh_name(), attributes or None)
        self.urls.append(url)
        return url

    def fifo(self, **attributes: str) -> str:
        """A new FIFO queue's URL."""
        return self.queue(self.fresh_name(".fifo"), **{"FifoQueue": "true", **attributes})

    def send(self, url: str, *bodies: str, **options: Any) -> list[str]:
        """Send each; answer the message ids."""
        return [self.sqs.send(url, OutgoingMessage(body=body, **options)).message_id for body in bodies]

    def take(self, url: str, count: int = 1, **options: Any) -> list[ReceivedMessage]:
        """Exactly this many messages: one receive where that brings all, else as many as it takes."""
        found: list[ReceivedMessage] = []
        options.setdefault("wait", 0 if self.exact else 5)
        for _ in range(1 if self.exact else 10):
            found += self.sqs.receive(url, max_messages=min(10, count - len(found)), **options)
            if len(found) >= count:
                break
        assert len(found) == count, f"{len(found)} messages came, not {count}"
        return found

    def one(self, url: str, **options: Any) -> ReceivedMessage:
        return self.take(url, 1, **options)[0]

    def nothing(self, url: str) -> bool:
        """Whether a receive brings nothing now."""
        return self.sqs.receive(url, wait=0 if self.exact else 2) == []

    def delete(self, url: str, *messages: ReceivedMessage) -> list[SqsError | None]:
        return self.sqs.delete_batch(url, [message.receipt_handle for message in messages])

    def hide(self, url: str, message: ReceivedMessage, seconds: int) -> SqsError | None:
        return self.sqs.change_visibility_batch(url, [(message.receipt_handle, seconds)])[0]

    def arn(self, url: str) -> str:
        return self.sqs.queue_attributes(url, ("QueueArn",))["QueueArn"]

    def beside(self, function: Callable[[], Any]) -> Callable[[float], Any]:
        """Run it in a thread; the answer waits for its result."""
        results: list[Any] = []

        def run() -> None:
            try:
                results.append(function())
            except Exception as exc:
                results.append(exc)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def result(timeout: float) -> Any:
            thread.join(timeout)
            assert not thread.is_alive(), f"no answer within {timeout} s"
            return results[0]

        return result


@contextmanager
def inprocess(_: str) -> Iterator[Backend]:
    clock = Clock()
    store = Store(clock=clock)
    yield Backend("inprocess", InProcessSqs(store), lambda: InProcessSqs(store), _mover(clock, store), True)


@contextmanager
def local(client: str) -> Iterator[Backend]:
    clock = Clock()
    store = Store(clock=clock)
    with LocalServer(store) as server:
        connection = ConnectionConfig(endpoint_url=server.endpoint_url, client=client)
        yield Backend("local", connect(connection), lambda: connect(connection), _mover(clock, store), True)


def _mover(clock: Clock, store: Store) -> Callable[[float], None]:
    def advance(seconds: float) -> None:
        clock.now += seconds
        store.wake()

    return advance


@contextmanager
def moto(client: str) -> Iterator[Backend]:
    with emulators.listening(emulators.MOTO) as url:
        yield _emulated("moto", client, url)


@contextmanager
def ministack(client: str) -> Iterator[Backend]:
    with emulators.ministack("sqs") as url:
        yield _emulated("ministack", client, url)


def _emulated(name: str, client: str, url: str) -> Backend:
    connection = ConnectionConfig(endpoint_url=url, client=client)
    return Backend(name, connect(connection), lambda: connect(connection), time.sleep, False)


@contextmanager
def aws(chosen: str) -> Iterator[Backend]:
    assert os.environ.get("PYQS_TEST_AWS") == "1", "real SQS only with PYQS_TEST_AWS=1"
    connection = ConnectionConfig(client=chosen)
    client = _Counted(connect(connection))
    backend = Backend("aws", client, lambda: _Counted(connect(connection)), time.sleep, False)  # type: ignore[arg-type]
    try:
        yield backend
    finally:
        for url in set(backend.urls):
            try:
                client.delete_queue(url)
            except QueueNotFound:
                continue


class _Counted:
    """Counts calls to real SQS, each of which is one request to pay."""

    requests = 0

    def __init__(self, sqs: Sqs) -> None:
        self._sqs = sqs

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._sqs, name)
        if callable(attribute) and name not in {"locate", "abort", "close"}:
            _Counted.requests += 1
        return attribute


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _Counted.requests:
        dollars = _Counted.requests * DOLLARS_PER_MILLION / 1_000_000
        terminalreporter.write_line(f"real SQS: about {_Counted.requests} requests, ${dollars:.4f} beyond the free million")


@pytest.fixture(scope="session", params=CHOSEN)
def running(request: pytest.FixtureRequest) -> Iterator[Backend]:
    name, _, client = request.param.partition("+")
    if name not in ALL:
        raise pytest.UsageError(f"PYQS_CONTRACT_BACKENDS: {request.param!r} is none of {', '.join(ALL)}")
    with ExitStack() as stack:
        yield stack.enter_context(globals()[name](client or "lean"))


@pytest.fixture
def backend(running: Backend, request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The backend, unless it is known to be wrong on what this test asks."""
    known = DEVIATIONS.get(running.name, {})
    name = re.sub(rf"\[{running.name}(\+\w+)?\]", "", re.sub(rf"{running.name}(\+\w+)?-", "", request.node.name))
    reason = known.get(name) or known.get(request.node.originalname)
    if reason and not os.environ.get("PYQS_CONTRACT_ALL"):
        pytest.skip(f"{running.name}: {reason}")
    yield running
    if running.name != "aws":
        for url in running.urls:
            try:
                running.sqs.delete_queue(url)
            except QueueNotFound:
                continue
        running.urls.clear()
