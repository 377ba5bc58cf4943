"""Who may receive next: claims of receives under way, sharing between queues, batches for short tasks, being stopped."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import Any

import pytest

from pyqs.message import Delivery, OutgoingMessage, ReceivedMessage
from pyqs.queues.queue_options import QueueOptions
from pyqs.wire import Run
from pyqs.worker.buffer import Buffer
from pyqs.worker.credit import CLAIM, Credit, Grant


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


NEVER = threading.Event()


def ask(credit: Credit, queue: str = "q", most: int = 10) -> Grant | None:
    """Ask without waiting."""
    return credit.acquire(queue, most=most, timeout=0.0, stopping=NEVER)


def hold(credit: Credit, queue: str, number: int) -> None:
    grant = ask(credit, queue, number)
    assert grant is not None
    credit.received(grant, number)


def test_a_receive_under_way_counts_only_while_it_may_still_bring_something_at_once(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(1)
    assert ask(credit, "empty") is not None
    assert ask(credit, "full") is None
    clock.now += CLAIM + 0.01
    assert ask(credit, "full") is not None, "a long poll of an empty queue holds up nobody"


def test_a_poll_that_was_given_up_counts_no_longer_and_what_it_still_brings_is_held(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.learn({"q": QueueOptions(max=1)})
    credit.executors(4)
    lost = ask(credit)
    assert lost is not None
    clock.now += CLAIM + 0.01
    assert ask(credit) is None
    credit.abandoned(lost)
    assert not credit.polls("q")
    other = ask(credit)
    assert other is not None
    credit.received(lost, 1)  # late
    assert credit.held == 1
    credit.ended("q")
    credit.received(other, 0)
    assert ask(credit) is not None, "nothing was counted twice"


def test_one_long_task_ends_the_depth(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(1)
    for seconds, expected in ((0.001, 101), (20.0, 1)):
        hold(credit, "q", 1)
        credit.ended("q", seconds)
        grant = ask(credit, most=1000)
        assert grant is not None
        assert grant.count == expected
        credit.received(grant, 0)


def test_queues_that_want_some_at_the_same_time_share_it(clock: Clock, until: Any) -> None:
    credit = Credit(clock=clock)
    granted: dict[str, int] = {}

    def wait(queue: str) -> threading.Thread:
        def run() -> None:
            grant = credit.acquire(queue, timeout=10.0, stopping=NEVER)
            granted[queue] = grant.count if grant is not None else 0

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    credit.executors(4)
    hold(credit, "busy", 4)
    threads = [wait("busy"), wait("calm")]
    until(lambda: len(credit._line) == 2)
    credit.executors(10)
    for thread in threads:
        thread.join(5)
    assert granted == {"calm": 3, "busy": 3}


def test_the_queue_that_holds_less_comes_first(clock: Clock, until: Any) -> None:
    credit = Credit(clock=clock)
    stopping = threading.Event()
    granted: list[str] = []

    def wait(queue: str) -> threading.Thread:
        def run() -> None:
            if credit.acquire(queue, timeout=10.0, stopping=stopping) is not None:
                granted.append(queue)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    credit.executors(4)
    hold(credit, "busy", 4)
    threads = [wait("busy"), wait("calm")]
    until(lambda: len(credit._line) == 2)
    credit.ended("busy", 30.0)
    until(lambda: granted)
    stopping.set()
    credit.wake()
    for thread in threads:
        thread.join(5)
    assert granted == ["calm"]


def test_short_tasks_are_received_in_batches(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(1)
    hold(credit, "q", 1)
    credit.ended("q", 0.001)
    for number in (10,) * 9 + (5,):
        hold(credit, "q", number)
    assert ask(credit) is None, "a call for six messages is not worth it while 95 wait"
    for _ in range(4):
        credit.ended("q", 0.001)
    grant = ask(credit)
    assert grant is not None
    assert grant.count == 10


@pytest.mark.parametrize(("bound", "most"), [(None, None), (6, None), (None, 4)], ids=["plain", "bound", "max"])
@pytest.mark.parametrize("elsewhere", [0, 2], ids="{}-elsewhere".format)
@pytest.mark.parametrize("long", [1, 3], ids="{}-long".format)
@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.05, 0.4])
def test_executors_that_are_left_over_by_long_tasks_go_on_with_short_ones(
    clock: Clock, seconds: float, long: int, elsewhere: int, most: int | None, bound: int | None
) -> None:
    """A queue of which three of four executors run a long task each, although its tasks take 50 ms on average."""
    credit = Credit(clock=clock, bound=bound)
    credit.learn({"q": QueueOptions(max=most), "other": QueueOptions()})
    credit.executors(long + elsewhere + 1)
    hold(credit, "q", 1)
    credit.ended("q", seconds)
    for name in ["q"] * long + ["other"] * elsewhere:
        hold(credit, name, 1)
        credit.lasts(name)
    held = 0
    for _ in range(50):
        grant = ask(credit)
        if grant is not None:
            credit.received(grant, grant.count)
            held += grant.count
        assert held, "an executor is idle, and nothing is asked for"
        credit.ended("q", seconds)
        held -= 1


def test_who_waits_is_given_something_when_it_turns_out_that_nothing_ends_soon(until: Any) -> None:
    credit = Credit()
    credit.executors(4)
    hold(credit, "q", 1)
    credit.ended("q", 0.05)
    hold(credit, "q", 9)  # three executors hold one each that turns out to be long, and what waits behind ends elsewhere
    given = granted_later(credit, "q", threading.Event())
    until(lambda: len(credit._line) == 1)
    for _ in range(3):
        credit.lasts("q")
    for _ in range(6):
        credit.ended("q")
    assert given.wait(5)


def test_a_fifo_group_that_waits_for_a_long_head_holds_up_no_other_group(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(4)
    hold(credit, "q.fifo", 1)
    credit.ended("q.fifo", 0.05)
    hold(credit, "q.fifo", 9)
    credit.blocked("q.fifo", 8, 0)
    credit.lasts("q.fifo")
    grant = ask(credit, "q.fifo")
    assert grant is not None
    assert grant.count == 1


def test_stopping_ends_the_wait() -> None:
    credit = Credit()
    stopping = threading.Event()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(credit.acquire("q", timeout=60.0, stopping=stopping)))
    thread.start()
    stopping.set()
    credit.wake()
    thread.join(5)
    assert answers == [None]


def granted_later(credit: Credit, queue: str, stopping: threading.Event) -> threading.Event:
    """Ask in a thread of its own; set when it is given something."""
    given = threading.Event()

    def run() -> None:
        if credit.acquire(queue, timeout=60.0, stopping=stopping) is not None:
            given.set()

    threading.Thread(target=run, daemon=True).start()
    return given


def test_a_poll_begun_while_others_wait_holds_them_up_no_longer_than_its_claim(until: Any) -> None:
    credit = Credit()
    stopping = threading.Event()
    credit.executors(1)
    hold(credit, "busy", 1)
    first = granted_later(credit, "empty", stopping)
    until(lambda: len(credit._line) == 1)
    second = granted_later(credit, "full", stopping)
    until(lambda: len(credit._line) == 2)
    credit.ended("busy", 30.0)
    assert first.wait(5)
    assert second.wait(5), "the first one's long poll of an empty queue has held it up"


def test_it_goes_on_by_itself_when_the_verdicts_have_been_carried_out(until: Any) -> None:
    pending = 1_000_000
    credit = Credit(backlog=lambda _: pending)
    credit.executors(4)
    given = granted_later(credit, "q", threading.Event())
    until(lambda: len(credit._line) == 1)
    assert not given.is_set()
    pending = 0
    assert given.wait(5), "nobody reports that a backlog has gone down"


def test_a_queue_with_a_limit_receives_no_more_than_it_can_soon_run(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.learn({"q": QueueOptions(max=2), "other": QueueOptions()})
    credit.executors(8)
    hold(credit, "q", 2)
    assert ask(credit) is None
    assert credit.hungry("other"), "what it may not use is for others"
    credit.ended("q", 30.0)
    grant = ask(credit)
    assert grant is not None
    assert grant.count == 1
    clock.now += CLAIM + 1
    assert ask(credit) is None, "what an open poll may bring counts, however long it has been open"
    credit.received(grant, 0)
    assert ask(credit) is not None


def test_a_queue_with_a_limit_holds_a_share_of_the_buffer_while_its_tasks_are_short(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.learn({"q": QueueOptions(max=2)})
    credit.executors(8)
    hold(credit, "q", 1)
    credit.ended("q", 0.01)
    total = 0
    while (grant := ask(credit)) is not None:
        credit.received(grant, grant.count)
        total += grant.count
    assert 18 <= total <= 22


@pytest.mark.parametrize(("executors", "seconds"), [(1, 5.0), (4, 5.0), (2, 0.05), (4, 0.01)])
def test_weights_share_the_time_of_queues_that_have_enough(executors: int, seconds: float) -> None:
    """A worker played by hand: executors take what the buffer proposes from three full queues, for 400 s or 8,000 tasks."""
    clock = Clock()
    credit = Credit(clock=clock)
    credit.learn({"a": QueueOptions(weight=3), "b": QueueOptions(), "c": QueueOptions(weight=0.5)})
    credit.executors(executors)
    buffer = Buffer(credit.shares)
    numbers = itertools.count(1)
    took: Counter[str] = Counter()
    running: list[tuple[float, Delivery]] = []
    while clock.now < 1400 and took.total() < 8000:
        # All three wait, as their fetchers would.
        threads_asked = [credit.acquire(name, timeout=0.0, stopping=NEVER) for name in sorted("abc", key=credit.shares.clock)]
        for grant in filter(None, threads_asked):
            credit.received(grant, grant.count)
            for _ in range(grant.count):
                number = next(numbers)
                buffer.add([Delivery(number, grant.queue, "", ReceivedMessage(f"m{number}", "h", "{}"), clock.now, 0.0, 60)])
        while len(running) < executors and (one := next(buffer.candidates(), None)) is not None:
            buffer.take(one, credit.duration(one.queue))
            running.append((clock.now + seconds, one))
        running.sort(key=lambda pair: pair[0])
        clock.now, ended = running.pop(0)
        took[ended.queue] += 1
        buffer.gone(ended, seconds)
        credit.ended(ended.queue, seconds)
    whole = sum(took.values())
    shares = {name: took[name] / whole * 4.5 for name in "abc"}
    assert shares == pytest.approx({"a": 3.0, "b": 1.0, "c": 0.5}, rel=0.15)


def test_open_polls_of_long_tasks_do_not_each_ask_for_everything(clock: Clock) -> None:
    credit = Credit(clock=clock)
    credit.executors(4)
    asked = []
    for number in range(10):
        clock.now += CLAIM + 1  # the polls before this one wait on empty queues
        grant = ask(credit, f"q{number}")
        assert grant is not None
        asked.append(grant.count)
    assert asked == [4, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    credit.received(Grant("short", 0, clock.now, fresh=False), 1)
    credit.ended("short", 0.01)
    grant = ask(credit, "short")
    assert grant is not None
    assert grant.count == 10, "a batch of short tasks is soon done"


def test_a_fifo_group_that_waits_for_its_head_leaves_the_other_executors_to_others(
    start: Any, stage: Any, sqs: Any, until: Any
) -> None:
    url = sqs.create_queue("jobs.fifo", {"FifoQueue": "true"})
    running = start("jobs.fifo", concurrency=4)
    credit = running.worker._credit
    actors = [stage.next() for _ in range(4)]
    until(lambda: credit._queue("jobs.fifo").asked == 4)  # while nothing is known of a queue, it is received from one by one
    sqs.send_batch(url, [OutgoingMessage("{}", group_id="g", dedup_id=str(number)) for number in range(4)])
    until(lambda: running.worker.held == 4)
    until(lambda: credit.hungry("other"))
    assert not credit.hungry("jobs.fifo"), "of its own it holds enough"
    until(lambda: any(not actor.frames.empty() for actor in actors))
    assert sum(not actor.frames.empty() for actor in actors) == 1


def test_one_executor_of_four_goes_on_when_the_others_run_long_tasks(
    start: Any, stage: Any, sqs: Any, send: Any, until: Any
) -> None:
    sqs.create_queue("jobs")
    running = start(concurrency=4)
    actors = [stage.next() for _ in range(4)]

    def next_run() -> tuple[Any, Run]:
        found: list[tuple[Any, Run]] = []

        def look() -> bool:
            actor = next((one for one in actors if not one.frames.empty()), None)
            if actor is not None:
                found.append((actor, actor.expect(Run)))
            return bool(found)

        until(look)
        actor, run = found[0]
        actor.started(run)
        return actor, run

    send("jobs")
    actor, run = next_run()
    actor.done(run, seconds=0.05)
    for _ in range(3):
        send("jobs")
        next_run()
    until(lambda: running.worker._credit._queue("jobs").long == 3)
    for _ in range(20):
        send("jobs")
    for _ in range(20):
        actor, run = next_run()
        actor.done(run, seconds=0.05)
