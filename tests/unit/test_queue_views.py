"""The pure parts of the commands that look into queues: warnings, forms of values, copies, rates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyqs.commands.anatomy import anatomy
from pyqs.commands.dead_letters import Choice, original
from pyqs.commands.shown import age, printable, size, span
from pyqs.commands.stats_client import url_of
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import MessageAttribute, ReceivedMessage
from pyqs.queues.census import Redrive, redrive_of, take_census
from pyqs.worker.memory import Reader
from pyqs.worker.pace import Pace
from pyqs.worker.report import Totals


def warnings(source: dict[str, str], dead: dict[str, str] | None = None, receives: int = 5) -> list[str]:
    sqs = InProcessSqs(Store())
    fifo = "FifoQueue" in source
    name = "q.fifo" if fifo else "q"
    if dead is not None:
        url = sqs.create_queue("dead.fifo" if fifo else "dead", {**dead, **({"FifoQueue": "true"} if fifo else {})})
        arn = sqs.queue_attributes(url)["QueueArn"]
        source = {**source, "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})}
    url = sqs.create_queue(name, source)
    return list(take_census(sqs, {name: url})[0].warnings)


LONG = {"MessageRetentionPeriod": "1209600"}
CALM = {"VisibilityTimeout": "120"}


def test_a_queue_that_is_set_up_well_has_no_warning() -> None:
    assert warnings(CALM, LONG) == []


@pytest.mark.parametrize(
    ("source", "dead", "receives", "words"),
    [
        ({}, LONG, 5, "SQS's default of 30 s"),
        (CALM, None, 5, "no RedrivePolicy"),
        (CALM, LONG, 1, "maxReceiveCount is 1"),
        (CALM, {}, 5, "keeps messages for 4 days, this queue for 4 days"),
        (CALM, {"MessageRetentionPeriod": "3600"}, 5, "keeps messages for 1 h, this queue for 4 days"),
    ],
)
def test_each_surprise_is_one_line(source: dict[str, str], dead: dict[str, str] | None, receives: int, words: str) -> None:
    (line,) = warnings(source, dead, receives)
    assert words in line


def test_on_a_fifo_queue_a_messages_time_begins_anew_when_it_is_moved() -> None:
    assert warnings({**CALM, "FifoQueue": "true"}, {}) == []


def test_a_dead_letter_queue_needs_none_of_its_own_and_one_that_is_gone_is_said() -> None:
    sqs = InProcessSqs(Store())
    dead = sqs.create_queue("dead")
    arn = sqs.queue_attributes(dead)["QueueArn"]
    url = sqs.create_queue("q", {**CALM, "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})})
    assert take_census(sqs, {"dead": dead})[0].warnings == ()
    sqs.delete_queue(dead)
    found, gone = take_census(sqs, {"q": url, "was": dead})
    assert "its dead-letter queue dead does not exist" in found.warnings[0]
    assert "does not exist" in gone.problem


@pytest.mark.parametrize("policy", ["", "no json", "[]", "{}", '{"deadLetterTargetArn": 5}'])
def test_a_policy_that_is_none(policy: str) -> None:
    assert redrive_of({"RedrivePolicy": policy}) is None


def test_a_policy() -> None:
    found = redrive_of({"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:r:1:dead", "maxReceiveCount": "7"}'})
    assert found == Redrive("arn:aws:sqs:r:1:dead", 7)
    assert found.name == "dead"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0 s"), (0.44, "0.4 s"), (30, "30 s"), (150, "2.5 min"), (7200, "2 h"), (345600, "4 days")],
)
def test_lengths_of_time(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(None, "-"), (512, "512 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB")])
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


def test_nothing_that_a_terminal_obeys_is_printable() -> None:
    assert printable("a\x1b[2J\n\u202eb\x9b") == "a\\x1b[2J\\n\\u202eb\\x9b"
    assert printable("x" * 10, 3) == "xxx... (10 characters)"


@pytest.mark.parametrize(("sent", "wanted"), [("1000", 9.0), (None, None), ("x", None), ("99999", 0.0)])
def test_the_age_of_a_message(sent: str | None, wanted: float | None) -> None:
    assert age(sent, now=10.0) == wanted


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("8080", "http://127.0.0.1:8080/stats"),
        ("10.0.0.7:8080", "http://10.0.0.7:8080/stats"),
        ("[::1]:80", "http://[::1]:80/stats"),
        ("http://pod:8080", "http://pod:8080/stats"),
        ("https://x/worker-1/stats?a=1", "https://x/worker-1/stats"),
    ],
)
def test_addresses_of_workers(address: str, url: str) -> None:
    assert url_of(address) == url


def received(body: str = "b", **attributes: MessageAttribute) -> ReceivedMessage:
    system = {"MessageGroupId": "g", "MessageDeduplicationId": "d", "AWSTraceHeader": "t", "SentTimestamp": "0"}
    return ReceivedMessage("id", "handle", body, system, attributes)


def test_a_copy_on_fifo_never_has_the_deduplication_id_under_which_it_was_sent_before() -> None:
    again = original(received(), fifo=True)
    assert (again.group_id, again.dedup_id, again.delay, again.trace_header) == ("g", "pyqs-retry-id", None, "t")
    standard = original(received(), fifo=False)
    assert (standard.dedup_id, standard.delay) == (None, 0)


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice("id"), True),
        (Choice("other"), False),
        (Choice(task="a.*"), True),
        (Choice(task="b"), False),
        (Choice(reason="unknown*"), True),
        (Choice(task="a.b", reason="exhausted"), False),
    ],
)
def test_which_messages_are_meant(choice: Choice, taken: bool) -> None:
    message: Any = received('{"task": "a.b"}', **{"pyqs.reason": MessageAttribute("String", "unknown: a.b")})
    assert choice.takes(anatomy(message, "q")) is taken


def test_rates_are_taken_over_a_window_that_moves() -> None:
    now = [0.0]
    totals = Totals()
    pace = Pace(totals, lambda: now[0])
    assert pace.rates().seconds == 0
    for second in range(1, 31):
        now[0] = float(second)
        totals.count_received("q", 5)
        totals.count_ended("q", "succeeded", 0.1)
        pace.sample()
    rates = pace.rates()
    assert 10 <= rates.seconds <= 11
    assert (rates.received, rates.started, rates.ended) == (5.0, 0.0, {"succeeded": 1.0})
    now[0] = 60.0
    for _ in range(3):
        pace.sample()
    now[0] = 75.0
    pace.sample()
    assert pace.rates().received == 0


def test_memory_of_nobody_is_not_known_and_pss_ends_with_its_budget() -> None:
    import os

    now = [0.0]
    reader = Reader(lambda: now[0])
    assert reader.of(None) is None
    assert reader.of(2**22 + 1) is None
    first = reader.of(os.getpid())
    now[0] = 1.0
    later = reader.of(os.getpid())
    assert first is not None
    assert later is not None
    assert later.pss is None
    assert min(first.rss, later.rss) > 1 << 20
