"""``--burst``: drains what is there, waits for what that brings, waits for nothing that is hidden or delayed, and exits 0."""

from __future__ import annotations

from typing import Any


def test_an_empty_queue(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1", "--burst", ready=None)
    assert worker.wait_exit(10) == 0, worker.log()


def test_work_beside_delayed_hidden_failing_and_unreadable_messages(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs", "other", "hidden")
    sqs.many("jobs", range(50))
    sqs.native("jobs", "noop", 1000, delay=600)
    sqs.native("jobs", "fail", "x")
    sqs.native("jobs", "crash", "exit")
    sqs.send("jobs", "junk")
    sqs.many("other", range(50, 60))
    sqs.native("hidden", "noop", 2000)
    assert len(sqs.receive("hidden")) == 1
    worker = start_worker("-Q", "jobs", "-Q", "other", "-Q", "hidden", "-c", "2", "--burst", ready=None)
    assert worker.wait_exit() == 0, worker.log()
    assert sorted(worker.ran("noop"), key=lambda note: int(note[5:])) == [f"noop {n}" for n in range(60)]
    assert worker.ran("fail") == ["fail x"]
    assert worker.ran("crash") == ["crash exit "]
    sqs.wait_counts("jobs", hidden=3, delayed=1, timeout=1)
    sqs.wait_counts("other", timeout=1)
    sqs.wait_counts("hidden", hidden=1, timeout=1)


def test_follow_ups_that_appear_late_are_drained_too(start_worker: Any, sqs: Any) -> None:
    """A chain over two queues whose first task runs longer than two empty receives take."""
    sqs.create("first", "second")
    chain = [{"task": "next.link", "args": [], "kwargs": {}, "options": {"queue": "second"}, "subtask_type": None}]
    sqs.celery("first", "slow.link", 3, chain=chain)
    worker = start_worker("-Q", "first", "-Q", "second", "-c", "2", "--burst", ready=None)
    assert worker.wait_exit() == 0, worker.log()
    assert worker.ran() == ["link begins", "next done"]
    sqs.wait_counts("first", timeout=1)
    sqs.wait_counts("second", timeout=1)


def test_a_burst_survives_faults(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.many("jobs", range(200))
    for fault in ("error=500:rate=0.1", "throttle:rate=0.1", "short", "empty:rate=0.2"):
        sqs.store.faults.add(fault)
    worker = start_worker("-Q", "jobs", "-c", "2", "--burst", "-l", "warning", ready=None)
    assert worker.wait_exit() == 0, worker.log()
    left = sqs.counts("jobs")
    # An empty answer with messages waiting can look like the end; what is left is visible, not lost and not hidden.
    assert left.hidden == 0
    assert len(set(worker.ran("noop"))) + left.visible == 200


def test_a_burst_ends_when_deletes_are_refused(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.store.faults.add("access-denied:action=DeleteMessage*")
    sqs.many("jobs", range(3))
    worker = start_worker("-Q", "jobs", "-c", "1", "--burst", ready=None)
    worker.wait_exit(12)
    ran = worker.ran()  # not all of them where the first refusal comes soon
    assert "noop 0" in ran
    assert len(set(ran)) == len(ran), "they are not run again meanwhile"
    assert 1 <= len(worker.lines("(WARNING|ERROR).*DeleteMessage")) <= 2, worker.log()
