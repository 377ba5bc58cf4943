"""Leases seen from outside: a task three times as long runs once, a lost one is said, and without permission work goes on."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any


def test_a_task_longer_than_its_lease_and_what_goes_wrong_with_renewals(start_worker: Any, sqs: Any) -> None:
    """One run of 16 s, because the shortest lease is 10 s."""
    sqs.create("long", "lossy", "denied", "buffered")
    sqs.store.faults.add("expired-handle:action=ChangeMessageVisibility:queue=lossy")
    sqs.store.faults.add("access-denied:action=ChangeMessageVisibility*:queue=denied")
    queues = [part for name in ("long", "lossy", "denied", "buffered") for part in ("-Q", name)]
    worker = start_worker(*queues, "-c", "5", "--lease", "10")
    sqs.native("long", "nap", 15, "long")
    sqs.native("lossy", "nap", 7, "lossy")
    sqs.native("denied", "nap", 7, "denied-1")
    sqs.native("denied", "nap", 7, "denied-2")
    worker.wait_ran("nap", 4)

    def denied() -> list[str]:
        sqs.native("denied", "noop", 0)  # deletes are accepted on the same queue: it is that permission
        return worker.lines("queue denied.*cannot be renewed")

    worker.wait_until(denied)
    worker.wait_ran("nap long ends")
    sqs.wait_counts("long")
    assert worker.ran("nap long") == ["nap long begins", "nap long ends"], "it was renewed, and ran once"
    assert len(worker.lines("queue denied.*cannot be renewed")) == 1
    for tag in ("denied-1", "denied-2"):
        assert worker.ran(f"nap {tag} ends")
    sqs.wait_counts("denied")
    assert len(worker.lines(r"\(lossy .*lease.* lost")) >= 1, worker.log()
    assert worker.ran("nap lossy ends"), "a task whose lease was lost runs to its end"
    sqs.wait_counts("lossy")
    assert not worker.lines("Traceback")
    worker.terminate(signal.SIGINT)


def test_refused_permission_to_hide_is_said_once_and_failing_tasks_come_back(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs", VisibilityTimeout="30")
    sqs.store.faults.add("access-denied:action=ChangeMessageVisibility*")
    worker = start_worker("-Q", "jobs", "-c", "1")
    for n in range(5):
        sqs.native("jobs", "fail", n)
    sqs.many("jobs", range(20))
    worker.wait_ran("fail", 5)
    worker.wait_ran("noop", 20)
    sqs.wait_counts("jobs", hidden=5)
    worker.wait_log("queue jobs: .*refused")
    said = [line for line in worker.lines("WARNING|ERROR|CRITICAL") if "on purpose" not in line and "tasks.fail" not in line]
    assert len(said) <= 2, said
    worker.touch("calm")
    sqs.advance_until(lambda: len(worker.ran("calm")) == 5, step=40)
    sqs.wait_counts("jobs")


def test_a_lease_that_ran_out_before_the_delete_is_a_line_and_no_error(start_worker: Any, sqs: Any) -> None:
    sqs.create("jobs")
    sqs.store.faults.add("expired-handle:action=DeleteMessage:times=1")
    worker = start_worker("-Q", "jobs", "-c", "1")
    sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")
    worker.wait_log("lease was lost|lease is lost|lease.*lost")
    sqs.native("jobs", "noop", 2)
    worker.wait_ran("noop 2")
    sqs.wait_counts("jobs", hidden=1)
    assert Path(f"/proc/{worker.pid}").exists()


def test_the_visibility_timeout_of_an_app_is_not_the_lease(project: Any, sqs: Any) -> None:
    """It is hours where people have etas on Celery; a worker that vanishes holds its messages for one lease."""
    sqs.create("jobs", VisibilityTimeout="7200")
    options = "{'region': 'us-east-1', 'visibility_timeout': 7200}"
    (project.folder / "proj.py").write_text(
        f"from pyqs_celery_compat import Celery\nfrom tasks import ran\n"
        f"app = Celery('proj', broker='sqs://', broker_transport_options={options})\n"
        "@app.task(acks_late=True)\ndef hold():\n    ran('hold')\n    import time\n    time.sleep(600)\n"
    )
    worker = project.start("-A", "proj", "-Q", "jobs", "-c", "1")
    sqs.celery("jobs", "proj.hold")
    worker.wait_ran("hold")
    worker.send_signal(signal.SIGKILL)
    worker.wait_exit()
    sqs.wait_counts("jobs", hidden=1)
    sqs.advance(60)
    sqs.wait_counts("jobs", hidden=1)
    sqs.advance(65)
    sqs.wait_counts("jobs", visible=1)
    assert sqs.store.queue_attributes("jobs")["VisibilityTimeout"] == "7200"
