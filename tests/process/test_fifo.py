"""FIFO queues: order within a group, groups beside each other, and a failing head that goes first when it comes back."""

from __future__ import annotations

from typing import Any


def test_order_within_groups_with_several_executors(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs.fifo")
    for n in range(20):
        for group in "abc":
            sqs.native("jobs.fifo", "nap", 0.005, f"{group} {n:02}", group=group)
    worker = start_worker("-Q", "jobs.fifo", "-c", "3")
    worker.wait_until(lambda: len([line for line in worker.ran("nap") if line.endswith("ends")]) == 60)
    for group in "abc":
        notes = worker.ran(f"nap {group} ")
        assert notes == [f"nap {group} {n:02} {what}" for n in range(20) for what in ("begins", "ends")]
    sqs.wait_counts("jobs.fifo")


def test_groups_run_beside_each_other(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs.fifo")
    worker = start_worker("-Q", "jobs.fifo", "-c", "2")
    sqs.native("jobs.fifo", "meet", "left", "right", group="a")
    sqs.native("jobs.fifo", "meet", "right", "left", group="b")
    worker.wait_ran("met", 2)
    sqs.wait_counts("jobs.fifo")


def test_a_failing_head_keeps_the_order_of_its_group_and_no_other_waits(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs.fifo")
    sqs.native("jobs.fifo", "fail", "a0", group="a")
    for n in range(1, 6):
        sqs.native("jobs.fifo", "fail", f"a{n}", group="a")
    for n in range(5):
        sqs.native("jobs.fifo", "noop", n, group="b")
    worker = start_worker("-Q", "jobs.fifo", "-c", "2")
    worker.wait_ran("noop", 5)
    worker.wait_ran("fail a0")
    worker.touch("calm")
    sqs.advance_until(lambda: len(worker.ran("calm")) == 6)
    assert worker.ran("calm") == [f"calm a{n}" for n in range(6)]
    assert worker.ran("fail") == ["fail a0"], "nothing behind the failing head was started"
    assert worker.ran("noop") == [f"noop {n}" for n in range(5)]
    sqs.wait_counts("jobs.fifo")


def test_a_head_that_kills_its_executor_comes_first_again(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs.fifo")
    sqs.native("jobs.fifo", "crash", "kill", "a0", group="a")
    for n in range(3):
        sqs.native("jobs.fifo", "noop", n, group="a")
    worker = start_worker("-Q", "jobs.fifo", "-c", "2")
    worker.wait_ran("crash")
    worker.wait_log("(?=.*tasks.crash)(?=.*(died|killed))")
    worker.touch("calm")
    sqs.advance_until(lambda: len(worker.ran("noop")) == 3)
    assert worker.ran() == ["crash kill a0", "calm kill a0", "noop 0", "noop 1", "noop 2"]
    sqs.wait_counts("jobs.fifo")


def test_the_head_goes_to_the_dead_letter_queue_and_the_group_goes_on(start_worker: Any, sqs: Any) -> None:
    sqs.create("dead.fifo")
    arn = sqs.store.queue_attributes("dead.fifo", ["QueueArn"])["QueueArn"]
    sqs.create("jobs.fifo", RedrivePolicy=f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "2"}}')
    sqs.native("jobs.fifo", "fail", "head", group="a")
    for n in range(3):
        sqs.native("jobs.fifo", "noop", n, group="a")
    worker = start_worker("-Q", "jobs.fifo", "-c", "1")
    worker.wait_ran("fail head", 1)
    sqs.advance_until(lambda: len(worker.ran("noop")) == 3)
    # Twice, unless the clock of the test went on while the second receive was in the worker's hands: its lease is over then.
    assert worker.ran("fail") in (["fail head"], ["fail head", "fail head"])
    assert worker.ran("noop") == ["noop 0", "noop 1", "noop 2"]
    sqs.wait_counts("jobs.fifo")
    sqs.wait_counts("dead.fifo", visible=1)


def test_sigterm_releases_a_group_in_order(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs.fifo")
    sqs.native("jobs.fifo", "gate", "open", group="a")
    for n in range(5):
        sqs.native("jobs.fifo", "noop", n, group="a")
    first = start_worker("-Q", "jobs.fifo", "-c", "2")
    first.wait_ran("gate  begins")
    first.send_signal(15)
    first.wait_log("stopping")
    first.touch("open")
    second = start_worker("-Q", "jobs.fifo", "-c", "2")
    second.wait_ran("noop", 5)
    assert second.ran() == ["gate  begins", "gate  ends", *(f"noop {n}" for n in range(5))]
    sqs.wait_counts("jobs.fifo")
