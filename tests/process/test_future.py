"""Tasks that are not due: never run early, never held in memory, the same message hopping until its time has come."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from pyqs_celery_compat.outgoing import as_task_v2, seal_task


def test_a_far_eta_hops_with_the_same_body(start_worker: Any, sqs: Any) -> None:
    def sends() -> int:
        return int(sqs.server.seen["SendMessage"] + sqs.server.seen["SendMessageBatch"])

    sqs.create("jobs")
    body = sqs.celery("jobs", "dated", "far", eta_in=7200)
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.wait_counts("jobs", delayed=1)
    sqs.advance(890)
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")
    sqs.wait_counts("jobs", delayed=1)
    sent = sends()
    sqs.advance(20)
    worker.wait_until(lambda: sends() > sent)  # the second hop
    sqs.wait_counts("jobs", delayed=1)
    worker.terminate(2)
    sqs.advance(901)
    found = sqs.receive("jobs")
    assert [message.body for message in found] == [body]
    assert not worker.ran("dated")


def test_due_soon_runs_on_time(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "2")
    due = time.time() + 1.5
    sqs.celery("jobs", "dated", "soon", eta_in=1.5)
    later = time.time() + 3.5
    sqs.celery("jobs", "dated", "later", eta_in=3.5)
    sqs.celery("jobs", "dated", "past", eta_in=-60)
    worker.wait_ran("dated", 3)
    ran = {note.split()[1]: float(note.split()[2]) for note in worker.ran("dated")}
    assert due - 0.01 <= ran["soon"] < due + 1.0
    assert later - 0.01 <= ran["later"] < later + 2.5, "delays are whole seconds, rounded up"
    assert ran["past"] < later
    sqs.wait_counts("jobs")


def test_where_sends_are_refused_it_is_hidden_and_said_once(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.store.faults.add("access-denied:action=SendMessage*")
    worker = start_worker("-Q", "jobs", "-c", "1")
    for n in range(3):
        sqs.celery("jobs", "dated", str(n), eta_in=7200)
    worker.wait_until(lambda: sqs.server.seen["ChangeMessageVisibilityBatch"] and len(worker.lines("postponed")) == 3)
    worker.wait_log("queue jobs: messages are hidden instead")
    sqs.wait_counts("jobs", hidden=3)
    for passed in (880, 6000):
        sqs.advance(passed)
        sqs.native("jobs", "noop", passed)
        worker.wait_ran(f"noop {passed}")
        sqs.wait_counts("jobs", hidden=3)
    assert len(worker.lines("postponed")) == 3, "hidden once for all that is left: each step would cost a life"
    assert len(worker.lines("queue jobs: messages are hidden instead")) == 1, worker.log()
    assert not worker.ran("dated")


def test_an_eta_on_a_fifo_queue_is_no_way_into_the_dead_letter_queue(start_worker: Any, sqs: Any) -> None:
    """One life a message: hidden until its eta, it would come back there without having started."""
    sqs.create("dead.fifo")
    arn = sqs.store.queue_attributes("dead.fifo")["QueueArn"]
    sqs.create("jobs.fifo", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1}))
    worker = start_worker("-Q", "jobs.fifo", "-c", "1")
    due = math.ceil(time.time() + 5)
    eta = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(due))
    sqs.send("jobs.fifo", seal_task(as_task_v2("x", "dated", ("f",), {}, eta=eta), routing_key="jobs.fifo"), group="a")
    worker.wait_ran("dated")
    ran = float(worker.ran("dated")[0].split()[2])
    assert due - 0.01 <= ran < due + 2.0
    sqs.wait_counts("jobs.fifo")
    assert sqs.counts("dead.fifo").total == 0


def test_an_eta_on_a_fifo_queue_hides_it(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs.fifo")
    worker = start_worker("-Q", "jobs.fifo", "-c", "1")
    sqs.native("jobs.fifo", "noop", 1, group="other")
    worker.wait_ran("noop 1")
    eta = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 3600))
    sqs.send("jobs.fifo", seal_task(as_task_v2("x", "dated", ("f",), {}, eta=eta), routing_key="jobs.fifo"), group="a")
    sqs.wait_counts("jobs.fifo", hidden=1)
    assert not worker.ran("dated")


def test_a_lost_answer_to_the_hop_runs_the_task_at_most_when_it_is_due(start_worker: Any, sqs: Any) -> None:
    """The copy was accepted and its answer lost, or the delete fails: it may be copied twice, and still never runs early."""
    sqs.create("jobs")
    sqs.store.faults.add("drop=after:action=SendMessage:times=1")
    sqs.store.faults.add("error=500:action=DeleteMessageBatch:times=2")
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.celery("jobs", "dated", "far", eta_in=7200)
    worker.wait_until(lambda: sqs.counts("jobs").delayed >= 1)
    worker.wait_until(lambda: (found := sqs.counts("jobs")).visible == 0 and found.hidden == 0)
    assert not worker.ran("dated")
    assert worker.process.poll() is None
