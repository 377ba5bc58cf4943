"""How much may be asked for, and in which order it is started: one while tasks are long, many while short, fair, FIFO kept."""

from __future__ import annotations

import threading
from typing import Any

from pyqs.queues.queue_options import QueueOptions
from pyqs.worker.buffer import Buffer
from pyqs.worker.burst import Burst
from pyqs.worker.credit import Credit, Grant
from pyqs.worker.shares import Shares


def ask(credit: Credit, queue: str, most: int = 10) -> int:
    """What a fetcher of this queue would be given now."""
    never = threading.Event()
    grant = credit.acquire(queue, most=most, timeout=0.0, stopping=never)
    if grant is None:
        return 0
    credit.received(grant, grant.count)
    return grant.count


def test_nothing_without_executors(clock: Any) -> None:
    assert ask(Credit(clock=clock), "jobs") == 0


def test_one_for_each_executor_while_nothing_is_known_or_tasks_are_long(clock: Any) -> None:
    credit = Credit(clock=clock)
    credit.executors(3)
    assert ask(credit, "jobs") == 3
    assert ask(credit, "jobs") == 0
    credit.ended("jobs", 30.0)
    assert ask(credit, "jobs") == 1


def test_many_while_tasks_are_short(clock: Any) -> None:
    credit = Credit(clock=clock)
    credit.executors(2)
    ask(credit, "jobs", 1)
    credit.ended("jobs", 0.001)
    total = 0
    while more := ask(credit, "jobs"):
        total += more
    assert 100 <= total <= 220


def test_the_bound_is_kept(clock: Any) -> None:
    credit = Credit(bound=4, clock=clock)
    credit.executors(10)
    total = 0
    while more := ask(credit, "jobs"):
        total += more
    assert total == 4


def test_no_more_while_verdicts_pile_up(clock: Any) -> None:
    credit = Credit(backlog=lambda _: 1_000_000, clock=clock)
    credit.executors(4)
    assert ask(credit, "jobs") == 0


def test_a_failing_fifo_head_lets_one_message_through_at_a_time(clock: Any) -> None:
    credit = Credit(clock=clock)
    credit.executors(4)
    credit.narrow("a.fifo", "head", until=1100)
    assert ask(credit, "a.fifo") == 1
    credit.ended("a.fifo", 0.5)
    credit.widen("a.fifo", "head")
    assert ask(credit, "a.fifo") > 1
    credit.narrow("b.fifo", "gone-to-the-dlq", until=1100)
    clock.now = 1101
    for _ in range(credit.held):
        credit.ended("a.fifo", 0.5)
    assert ask(credit, "b.fifo") > 1, "a head that went elsewhere does not narrow its queue for ever"


def test_the_buffer_keeps_groups_in_order_and_lets_others_pass(make_delivery: Any) -> None:
    buffer = Buffer()
    a1, a2, b1 = (make_delivery("jobs.fifo", group) for group in ("a", "a", "b"))
    buffer.add([a1, a2, b1])
    assert list(buffer.candidates()) == [a1]
    buffer.take(a1)
    assert list(buffer.candidates()) == [b1]
    assert buffer.is_waiting_for_group(a2)
    buffer.take(b1)
    assert list(buffer.candidates()) == []
    buffer.gone(a1)
    assert list(buffer.candidates()) == [], "until its verdict is carried out"
    buffer.free(a1)
    assert list(buffer.candidates()) == [a2]


def test_the_rest_of_a_group_leaves_with_its_head(make_delivery: Any) -> None:
    buffer = Buffer()
    head, second, third, other = (make_delivery("jobs.fifo", group) for group in ("a", "a", "a", "b"))
    buffer.add([head, second, third, other])
    buffer.take(head)
    assert buffer.remove_group(head) == [second, third]
    assert buffer.clear() == [other]


def test_group_ids_on_a_standard_queue_hold_up_nothing(make_delivery: Any) -> None:
    buffer = Buffer()
    one, two = make_delivery("jobs", "a"), make_delivery("jobs", "a")
    buffer.add([one, two])
    buffer.take(one)
    assert list(buffer.candidates()) == [two]


def test_queues_take_turns(make_delivery: Any) -> None:
    buffer = Buffer()
    buffer.add([make_delivery("full") for _ in range(10)])
    buffer.add([make_delivery("small")])
    taken = []
    while len(taken) < 3:
        delivery = next(iter(buffer.candidates()))
        buffer.take(delivery)
        taken.append(delivery.queue)
    assert "small" in taken[:2]


def test_what_comes_back_is_first(make_delivery: Any) -> None:
    buffer = Buffer()
    one, two, three = (make_delivery() for _ in range(3))
    buffer.add([one, two, three])
    buffer.take(one)
    buffer.take(two)
    buffer.put_back([one, two])
    assert buffer.clear() == [one, two, three]


def test_a_burst_counts_only_receives_begun_after_the_last_event() -> None:
    from pyqs.clock import boottime

    burst = Burst()
    burst.answered("a", boottime(), 0)
    early = boottime()
    burst.settled()
    burst.answered("a", early, 0)
    assert not burst.drained(["a"])
    burst.answered("a", boottime(), 0)
    burst.answered("a", boottime(), 0)
    assert burst.drained(["a"])
    assert not burst.drained(["a", "b"])
    burst.answered("b", boottime(), 3)
    assert not burst.drained(["a"])


def test_a_burst_goes_on_through_a_moments_failures_of_many_fetchers_and_ends_when_none_has_worked_for_long(clock: Any) -> None:
    burst = Burst(clock=clock)
    assert not any(burst.failed() for _ in range(50))
    clock.now += 60.0
    burst.answered("a", clock.now, 0)
    assert not burst.failed(), "an answer between two failures"
    clock.now += 60.0
    assert not burst.failed(), "two tries that were long in failing"
    assert [burst.failed() for _ in range(4)] == [False, False, False, True]


def test_a_queue_with_a_limit_has_no_more_in_executors_and_lets_others_pass(make_delivery: Any) -> None:
    shares = Shares()
    shares.learn({"a": QueueOptions(max=1), "b": QueueOptions()})
    buffer = Buffer(shares)
    a1, a2, b1 = make_delivery("a"), make_delivery("a"), make_delivery("b")
    buffer.add([a1, a2, b1])
    assert list(buffer.candidates()) == [a1, b1]
    buffer.take(a1)
    assert list(buffer.candidates()) == [b1]
    buffer.gone(a1, 0.0)
    buffer.put_back([a1])
    assert [one.queue for one in buffer.candidates()].count("a") == 1
    buffer.take(a1)
    buffer.gone(a1, 3.0)
    assert a2 in list(buffer.candidates())


def test_a_queue_whose_task_runs_and_runs_does_not_get_the_next_executor(make_delivery: Any) -> None:
    buffer = Buffer(shares := Shares())
    long, short = make_delivery("long"), make_delivery("short")
    buffer.add([long, short])
    buffer.take(long, 0.05)
    buffer.take(short, 0.05)
    buffer.add([make_delivery("long"), make_delivery("short")])
    shares.runs(long, 10.0)
    for _ in range(100):
        one = next(iter(buffer.candidates()))
        assert one.queue == "short"
        buffer.take(one, 0.05)
        buffer.gone(one, 0.05)
        buffer.add([make_delivery("short")])


def test_nothing_is_saved_up_while_there_is_no_work(make_delivery: Any) -> None:
    buffer = Buffer(Shares())
    for _ in range(1000):
        one = make_delivery("busy")
        buffer.add([one])
        buffer.take(one, 1.0)
        buffer.gone(one, 1.0)
    for queue in ("busy", "new"):
        buffer.add([make_delivery(queue) for _ in range(20)])
    taken = []
    for _ in range(20):
        one = next(iter(buffer.candidates()))
        buffer.take(one, 1.0)
        buffer.gone(one, 1.0)
        taken.append(one.queue)
    assert 9 <= taken.count("new") <= 11


def test_what_waits_for_its_group_is_counted(make_delivery: Any) -> None:
    buffer = Buffer()
    a1, a2, a3, b1, b2 = (make_delivery("jobs.fifo", group) for group in "aaabb")
    buffer.add([a1, a2, a3, b1, b2])
    assert buffer.blocked("jobs.fifo") == 3
    buffer.take(a1)
    assert buffer.blocked("jobs.fifo") == 3
    assert buffer.blocked("other.fifo") == 0


def test_what_waits_for_its_group_takes_nothing_from_other_queues(clock: Any) -> None:
    credit = Credit(clock=clock)
    credit.executors(4)
    assert ask(credit, "jobs.fifo", 4) == 4
    assert ask(credit, "other") == 0
    credit.blocked("jobs.fifo", 3, 0)
    assert ask(credit, "jobs.fifo") == 0, "of its own it holds enough"
    assert ask(credit, "other") == 3


def test_five_hundred_idle_queues_are_all_polled_at_the_same_time(clock: Any) -> None:
    """A poll of a queue that was empty keeps nobody from asking; one that has failed says nothing about its queue."""
    credit = Credit(clock=clock)
    credit.executors(2)
    never = threading.Event()
    names = [f"q{number}" for number in range(500)]
    for name in names:
        grant = credit.acquire(name, timeout=0.0, stopping=never)
        assert grant is not None
        credit.received(grant, 0)  # at once: the first poll does not wait
    open_polls = [credit.acquire(name, timeout=0.0, stopping=never) for name in names]
    assert all(open_polls)
    failed = credit.acquire("new", timeout=0.0, stopping=never)
    assert failed is not None
    credit.received(failed, 0, answered=False)
    for name in ("new", "another"):
        assert credit.acquire(name, timeout=0.0, stopping=never) is not None
    assert credit.acquire("third", timeout=0.0, stopping=never) is None, "those two may be full"


def test_a_queue_is_crowded_when_more_is_held_than_can_run(clock: Any) -> None:
    credit = Credit(clock=clock)
    credit.executors(2)
    credit.received(Grant("jobs", 0, clock.now, fresh=False), 2)
    assert not credit.crowded("jobs")
    credit.received(Grant("jobs", 0, clock.now, fresh=False), 1)
    assert credit.crowded("jobs")
    assert not credit.crowded("other")
    credit.ended("jobs")
    assert not credit.crowded("jobs")
