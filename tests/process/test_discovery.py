"""Queues that come and go while a worker runs, globs over many, and what a glob leaves alone."""

from __future__ import annotations

from typing import Any


def test_queues_that_appear_and_disappear(project: Any, sqs: Any) -> None:
    sqs.create("email-a")
    worker = project.start_custom(queues=["email.*"], refresh=0.5, wait=2, concurrency=1)
    sqs.native("email-a", "noop", 1)
    worker.wait_ran("noop 1")
    sqs.create("email-b")
    sqs.native("email-b", "noop", 2)
    worker.wait_ran("noop 2")
    worker.wait_log("email-b.*consuming")
    sqs.wait_counts("email-a")
    sqs.store.delete_queue("email-a")
    worker.wait_log("email-a.*(does not exist|gone|deleted|no longer)")
    sqs.native("email-b", "noop", 3)
    worker.wait_ran("noop 3")
    sqs.wait_counts("email-b")
    assert worker.terminate() < 5
    assert len(worker.lines("email-a.*(does not exist|gone|deleted|no longer)")) == 1
    assert not worker.lines("Traceback|ERROR")


def test_a_strict_worker_outlives_a_queue_that_was_there_at_its_start(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", f"{sqs.server.endpoint_url}/000000000000/jobs", "-c", "1", "--strict")
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")
    sqs.wait_counts("jobs")
    sqs.store.delete_queue("jobs")
    worker.wait_log("jobs: no longer consumed, it is gone")
    assert worker.process.poll() is None
    worker.terminate()


def test_a_literal_name_is_waited_for(project: Any, sqs: Any) -> None:
    worker = project.start_custom(queues=["later"], refresh=0.5, wait=1, concurrency=1, ready="'later' does not exist")
    sqs.create("later")
    sqs.native("later", "noop", 1)
    worker.wait_ran("noop 1")
    assert len(worker.lines("does not exist")) == 1


def test_one_among_1200_queues_is_found_over_pages(start_worker: Any, sqs: Any) -> None:
    sqs.create(*(f"many-{n:04}" for n in range(1200)))
    sqs.create("many-zz-last")
    sqs.native("many-zz-last", "noop", 1)
    worker = start_worker("-Q", "many*last", "-c", "1")
    worker.wait_ran("noop 1")
    assert sqs.server.seen["ListQueues"] >= 2
    assert len(worker.lines("consuming")) == 1


def test_a_glob_spares_dead_letter_queues_fifo_and_excluded_ones(start_worker: Any, sqs: Any) -> None:
    sqs.create("email-dead", "email-x", "email.fifo", "other")
    arn = sqs.store.queue_attributes("email-dead", ["QueueArn"])["QueueArn"]
    sqs.create("email-send", RedrivePolicy=f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "5"}}')
    for name in ("email-dead", "email-x", "other"):
        sqs.native(name, "noop", 1)
    sqs.native("email.fifo", "noop", 1, group="a")
    sqs.native("email-send", "noop", 2)
    worker = start_worker("-Q", "email.*", "-X", "email-x", "-c", "1")
    worker.wait_ran("noop 2")
    sqs.wait_counts("email-send")
    for name in ("email-dead", "email-x", "other", "email.fifo"):
        sqs.wait_counts(name, visible=1, timeout=1)
    assert worker.ran() == ["noop 2"]
