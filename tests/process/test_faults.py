"""SQS and the network at their worst: everything drains in the end, in few log lines; what cannot run stays where it is."""

from __future__ import annotations

import socket
from typing import Any

from pyqs.local.server import LocalServer


def test_errors_throttling_and_dropped_connections(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    for fault in ("error=500:rate=0.1", "throttle:rate=0.05", "drop=before:rate=0.05", "drop=after:rate=0.05:action=Delete*"):
        sqs.store.faults.add(fault)
    sqs.many("jobs", range(400))
    worker = start_worker("-Q", "jobs", "-c", "2", "-l", "warning", ready=None)
    worker.wait_ran("noop", 200)
    sqs.store.faults.clear()
    worker.wait_until(lambda: len(set(worker.ran("noop"))) == 400)
    sqs.wait_counts("jobs", timeout=60)
    assert len(worker.lines("WARNING|ERROR|CRITICAL")) <= 20, worker.log()
    assert not worker.lines("Traceback")
    assert worker.process.poll() is None


def test_an_outage_of_everything_is_said_in_few_lines(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.native("jobs", "gate", "open")
    worker.wait_ran("gate")
    sqs.store.faults.add("error=503")
    worker.touch("open")
    worker.wait_ran("gate  ends")
    seen = sum(sqs.server.seen.values())
    worker.wait_until(lambda: sum(sqs.server.seen.values()) > seen + 3)
    sqs.store.faults.clear()
    sqs.many("jobs", range(10))
    worker.wait_ran("noop", 10)
    sqs.wait_counts("jobs", timeout=60)
    assert worker.ran("gate") == ["gate  begins", "gate  ends"]
    assert len(worker.lines("WARNING|ERROR|CRITICAL")) <= 4, worker.log()


def test_no_network_at_the_start_is_waited_out(project: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.native("jobs", "noop", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    worker = project.start("-Q", "jobs", "-c", "1", "--endpoint-url", f"http://127.0.0.1:{port}", ready="tried again")
    with LocalServer(sqs.store, port=port):
        worker.wait_ran("noop 1")
        sqs.wait_counts("jobs")
        worker.terminate(2)


def test_messages_that_cannot_run_are_kept_and_reported_once(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    junk = sqs.send("jobs", "junk")
    unknown = sqs.send("jobs", '{"task": "os.system", "args": ["touch hacked"], "kwargs": {}}')
    plain = sqs.native("jobs", "ran", "hacked")
    sqs.celery("jobs", "not.there")
    worker = start_worker("-Q", "jobs", "-c", "1", "--accept", "json")
    sqs.wait_counts("jobs", hidden=4)
    receives = []
    for ahead in (31, 29, 32):
        sqs.advance(ahead)
        sqs.native("jobs", "noop", ahead)
        worker.wait_ran(f"noop {ahead}")
        sqs.wait_counts("jobs", hidden=4)
        receives.append(worker.log())
    for message_id in (junk, unknown, plain):
        assert len(worker.lines(f"ERROR.*{message_id}")) == 1, worker.log()
    assert len(worker.lines("ERROR")) == 4
    assert not worker.ran("hacked")
    worker.terminate(2)
    sqs.advance(4000)
    found = sqs.receive("jobs")
    counts = {int(message.attributes["ApproximateReceiveCount"]) for message in found}
    assert len(found) == 4
    assert max(counts) <= 4, "hidden for longer each time"
    assert min(counts) >= 3


def test_refused_content_is_kept_and_the_line_says_what_would_read_it(start_worker: Any, sqs: Any) -> None:
    from pyqs_celery_compat.outgoing import as_task_v2, seal_task

    sqs.create("jobs")
    body = seal_task(as_task_v2("x", "dated", ("p",), {}), routing_key="jobs", serializer="pickle")
    sqs.send("jobs", body)
    worker = start_worker("-Q", "jobs", "-c", "1", "--accept", "json")
    assert "--accept" in worker.wait_log("ERROR.*pickle")
    sqs.wait_counts("jobs", hidden=1)
    assert not worker.ran()


def test_a_message_that_comes_back_after_its_delete_is_not_run_again(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.store.faults.add("undelete:times=10")
    sqs.many("jobs", range(30))
    worker = start_worker("-Q", "jobs", "-c", "2")
    worker.wait_ran("noop", 30)
    sqs.advance_until(lambda: sqs.counts("jobs").total == 0, step=130)
    assert len(worker.ran("noop")) == len(set(worker.ran("noop"))) == 30


def test_receives_that_are_refused_hold_up_no_other_queue(start_worker: Any, sqs: Any) -> None:
    sqs.create("closed", "jobs")
    sqs.store.faults.add("access-denied:action=ReceiveMessage:queue=closed")
    sqs.native("closed", "noop", 0)
    worker = start_worker("-Q", "closed", "-Q", "jobs", "-c", "1")
    worker.wait_log("queue closed: .*AccessDenied|queue closed: .*not authorized")
    sqs.many("jobs", range(1, 11))
    worker.wait_ran("noop", 10)
    seen = sqs.server.seen["ReceiveMessage"]
    worker.wait_until(lambda: sqs.server.seen["ReceiveMessage"] > seen)
    assert len(worker.lines("queue closed: .*(refused|fails)")) == 1
    sqs.store.faults.clear()
    worker.wait_ran("noop 0")
