"""What a pause, an outage or a second thread must not do: act on what is no longer held, receive after a stop, end a burst
too early."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pyqs.clock import boottime
from pyqs.errors import Unreachable
from pyqs.message import Delete, Hide, ReceivedMessage, Resend
from pyqs.worker import acker as acker_module
from pyqs.worker import fetcher as fetcher_module
from pyqs.worker import fetchers as fetchers_module
from pyqs.worker.credit import Credit
from pyqs.worker.fetcher import Fetcher, QueueState
from pyqs.worker.fetchers import Fetchers


class Outage:
    """SQS that refuses until it is told to work, and moves the clock past every lease while it does not."""

    def __init__(self, bench: Any, monkeypatch: pytest.MonkeyPatch, *calls: str) -> None:
        self.tried = threading.Event()
        self.over = False
        self.later = 0.0
        for call in calls:
            monkeypatch.setattr(bench.sqs, call, self._unless_down(getattr(bench.sqs, call)))
        monkeypatch.setattr(bench.leases, "_clock", self._clock)
        monkeypatch.setattr(acker_module, "boottime", self._clock)

    def _clock(self) -> float:
        return boottime() + self.later

    def _unless_down(self, real: Any) -> Any:
        def call(*args: Any) -> Any:
            if not self.over:
                self.tried.set()
                raise Unreachable("no network", code="x")
            return real(*args)

        return call

    def ends_after(self, seconds: float) -> None:
        assert self.tried.wait(5)
        self.later, self.over = seconds, True


def test_a_copy_is_not_sent_once_the_lease_is_lost(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.create_queue("jobs", {})
    outage = Outage(bench, monkeypatch, "send_batch")
    (delivery,) = bench.deliver("jobs", "later")
    bench.acker.settle(delivery, Resend(60))
    outage.ends_after(180)
    bench.settled()
    assert bench.counts("jobs") == (0, 1, 0)


@pytest.mark.parametrize(("pause", "left"), [(180, (0, 1, 0)), (1, (1, 0, 0))])
def test_a_hide_is_tried_again_while_the_lease_would_last_only(
    bench: Any, monkeypatch: pytest.MonkeyPatch, pause: float, left: tuple[int, int, int]
) -> None:
    bench.store.create_queue("jobs", {})
    outage = Outage(bench, monkeypatch, "change_visibility_batch")
    (delivery,) = bench.deliver("jobs", "released")
    bench.acker.settle(delivery, Hide(0))
    outage.ends_after(pause)
    bench.settled()
    assert bench.counts("jobs") == left


def test_what_is_settled_is_told_before_nothing_is_pending(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pending_when_told: list[int] = []
    monkeypatch.setattr(bench.acker, "_on_change", lambda: pending_when_told.append(bench.acker.pending))
    bench.store.create_queue("jobs", {})
    bench.acker.settle(bench.deliver("jobs", "done")[0], Delete())
    bench.settled()
    assert pending_when_told == [1]


def test_a_grant_that_comes_with_the_stop_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    credit = Credit()
    credit.executors(1)
    tools: Any = SimpleNamespace(
        config=SimpleNamespace(wait=20, lease=120, burst=False, idle_cadence=None, shutdown_timeout=None, batch_size=10),
        credit=credit, facts=SimpleNamespace(comes_singly=lambda _: False), on_crash=lambda *_: None,
    )  # fmt: skip
    fetcher = Fetcher(QueueState("jobs", "url"), 0, tools, extra=False, grow=lambda: None)
    acquire = credit.acquire

    def stopped_meanwhile(*args: Any, **options: Any) -> Any:
        grant = acquire(*args, **options)
        fetcher.stop()
        return grant

    monkeypatch.setattr(credit, "acquire", stopped_meanwhile)
    fetcher.run()  # a receive would fail: there is no client
    assert credit.hungry("jobs")


class Pauses(threading.Event):
    """A stop that comes after so many receives, and a note of each pause: nobody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seen.append(timeout or 0.0)
        return self.is_set()


def receives(answers: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch, **config: Any) -> list[float]:
    """The pauses of a fetcher whose receives are answered after so many seconds with so many messages."""
    now = [1000.0]
    monkeypatch.setattr(fetcher_module, "boottime", lambda: now[0])
    credit = Credit(clock=lambda: now[0])
    credit.executors(1000)
    settings = {"wait": 20, "lease": 120, "burst": False, "idle_cadence": None, "shutdown_timeout": None, "batch_size": 10}
    settings |= config

    class Answers:
        def receive(self, url: str, *, wait: int, **_: Any) -> list[ReceivedMessage]:
            spent, count = answers.pop(0)
            now[0] += spent
            if not answers:
                fetcher.stop()
            return [ReceivedMessage(f"m{number}", "h", "{}") for number in range(count)]

    def nothing(*_: Any) -> None:
        """It does not matter here."""

    tools: Any = SimpleNamespace(
        config=SimpleNamespace(**settings),
        sqs=Answers(),
        credit=credit,
        facts=SimpleNamespace(comes_singly=lambda _: False),
        in_flight=SimpleNamespace(answered=nothing),
        leases=SimpleNamespace(visibility=lambda _: 60, length=lambda *_: 60, hold=nothing),
        line=SimpleNamespace(offer=nothing),
        totals=SimpleNamespace(count_received=nothing),
        on_crash=nothing,
        on_answer=nothing,
        ids=iter(range(999)),
    )
    fetcher = Fetcher(QueueState("jobs", "url"), 0, tools, extra=False, grow=nothing)
    fetcher.stopping = pauses = Pauses()
    fetcher.run()
    return pauses.seen


def test_receives_that_are_answered_at_once_with_nothing_become_few_and_are_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = receives([(0.001, 0)] * 100, monkeypatch)
    assert len(pauses) == 97, "all but the first, which waits for nothing, the next, and the one that a stop has ended"
    assert all(0.9 < pause <= 5.0 for pause in pauses)
    assert sum(pauses) > 200
    assert len(caplog.messages) == 1
    assert "does this endpoint know long polls" in caplog.text.lower()


def test_a_burst_is_not_held_up_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = receives([(0.001, 0)] * 10, monkeypatch, burst=True)
    assert max(pauses) <= 1.0


@pytest.mark.parametrize(
    "answers",
    [
        [(1.0, 0), *[(20.0, 0)] * 9],
        [(0.001, 1)] * 10,
        [(0.001, 0), (0.001, 1)] * 5,
        [(0.001, 0), (20.0, 0)] * 5,
        [(7.0, 0)] * 10,
    ],
    ids=["full-waits", "messages", "one-now-and-then", "one-early-now-and-then", "cut-short"],
)
def test_receives_that_wait_or_bring_something_follow_each_other(
    answers: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert receives(answers, monkeypatch) == []
    assert not caplog.messages


def test_short_polls_that_take_their_time_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert receives([(1.0, 0)] * 10, monkeypatch, wait=1) == []
    assert receives([(0.001, 0)] * 10, monkeypatch, wait=0) == []


def test_an_idle_queue_is_polled_as_often_as_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first poll does not wait for messages; after two that did, and brought nothing, the queue is idle."""
    long = [(0.001, 0), (20.0, 0), (20.0, 0), (20.0, 0), (20.0, 3), (20.0, 0), (20.0, 0), (20.0, 0)]
    assert receives(long[:], monkeypatch, idle_cadence=60) == [40.0, 40.0, 40.0, 40.0]
    assert receives(long[:], monkeypatch) == []


def test_a_burst_knows_no_idle_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(receives([(1.0, 0)] * 10, monkeypatch, burst=True, idle_cadence=60), default=0.0) <= 1.0


def test_a_process_that_was_stopped_for_minutes_replaces_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(fetchers_module, "boottime", lambda: now[0])
    tools: Any = SimpleNamespace(
        config=SimpleNamespace(
            wait=20, lease=120, burst=False, idle_cadence=None, shutdown_timeout=None, batch_size=10, fetchers_per_queue=8
        ),
        credit=Credit(), facts=SimpleNamespace(learn=lambda _: None), on_crash=lambda *_: None,
    )  # fmt: skip
    fetchers = Fetchers(tools)
    monkeypatch.setattr(Fetcher, "start", lambda self: None)
    fetchers.sync({"jobs": "url"})
    group = fetchers._groups["jobs"]
    group.fetchers += [Fetcher(group.state, number, tools, extra=True, grow=lambda: None) for number in range(3)]
    for one in group.fetchers:
        one.polling_since = now[0]
    polls = list(group.fetchers)
    now[0] += 180
    assert fetchers.watch() is None
    assert group.fetchers == polls
    answers = []
    for _ in range(60):
        now[0] += 1
        answers.append(fetchers.watch())
    assert any(answers)  # they are still silent although this process is awake


@pytest.mark.parametrize(("waited", "spent", "leaves"), [(0.02, 0.005, True), (0.001, 0.02, False)])
def test_an_extra_fetcher_that_mostly_waits_for_credit_leaves(waited: float, spent: float, leaves: bool) -> None:
    tools: Any = SimpleNamespace(
        config=SimpleNamespace(wait=20, lease=120, burst=False, idle_cadence=None, shutdown_timeout=None), on_crash=print
    )
    fetcher = Fetcher(QueueState("jobs", "url"), 0, tools, extra=True, grow=lambda: None)
    answers = [fetcher._is_one_too_many(waited, spent) for _ in range(16)]
    assert answers == [False] * 15 + [leaves]


def test_nobody_is_hungry_while_a_fetcher_waits_for_credit() -> None:
    """Room that one of those who wait can use is no reason for one more."""
    credit, grants = Credit(), []
    waiter = threading.Thread(
        target=lambda: grants.append(credit.acquire("jobs", timeout=60, stopping=threading.Event())), daemon=True
    )
    waiter.start()
    while not credit._line:
        pass
    credit._executors = 4  # room that nobody was told of
    assert not credit.hungry("jobs")
    credit.executors(4)
    waiter.join(10)
    credit.received(grants[0], 0)
    assert credit.hungry("jobs")
