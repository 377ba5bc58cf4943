"""Messages whose bodies lie in S3, through a real worker: run, and deleted when, and only when, their messages are gone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from processes import wait_until
from pyqs.config import ConnectionConfig
from pyqs.message import OutgoingMessage
from pyqs.payloads import Payloads
from pyqs.pointers import is_pointer
from pyqs_celery_compat.outgoing import as_task_v2, seal_task
from small_s3 import SmallS3

BLOB = "x" * 5000


class Big:
    """Sends big messages, as producers of ours would, and starts workers that may read them."""

    def __init__(self, sqs: Any, s3: SmallS3, start_worker: Callable[..., Any]) -> None:
        self.sqs, self.s3, self._start = sqs, s3, start_worker
        self._payloads = Payloads(
            ConnectionConfig(region="us-east-1", large_payload_bucket="big", large_payload_threshold=1000)
        )

    def send(self, queue: str, body: str) -> None:
        message = self._payloads.put_away(OutgoingMessage(body), "a test")
        assert is_pointer(message.body)
        self.sqs.store.send(queue, message)

    def native(self, queue: str, task: str, *args: Any) -> None:
        self.send(queue, json.dumps({"task": f"tasks.{task}", "args": args, "kwargs": {}}))

    def celery(self, queue: str, task: str, *args: Any, **options: Any) -> None:
        self.send(queue, seal_task(as_task_v2(f"id-of-{task}", task, args, {}, **options), routing_key=queue))

    def worker(self, *args: str, **env: str) -> Any:
        settings = {"PYQS_LARGE_PAYLOAD_BUCKET": "big", "PYQS_LARGE_PAYLOAD_THRESHOLD": "1000"}
        return self._start(*args, env=settings | {"AWS_ENDPOINT_URL_S3": self.s3.url} | env)

    def wait_objects(self, count: int) -> None:
        wait_until(lambda: len(self.s3.objects) == count)


@pytest.fixture
def big(sqs: Any, start_worker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Big]:
    s3 = SmallS3()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    sqs.create("jobs")
    yield Big(sqs, s3, start_worker)
    s3.close()


def test_they_run_and_both_parts_are_deleted(big: Big) -> None:
    for number in range(10):
        big.native("jobs", "big", number, BLOB)
    big.celery("jobs", "dated", BLOB)
    big.sqs.native("jobs", "big", 10, "small")
    worker = big.worker("-Q", "jobs", "-c", "2")
    worker.wait_ran("big", 11)
    worker.wait_ran("dated " + BLOB)
    big.wait_objects(0)
    big.sqs.wait_counts("jobs")
    assert sorted(worker.ran("big"), key=lambda line: int(line.split()[1])) == [
        *(f"big {number} 5000" for number in range(10)), "big 10 5",
    ]  # fmt: skip
    worker.terminate(signal.SIGINT)


def test_what_is_done_at_the_end_is_deleted_before_the_worker_leaves(big: Big) -> None:
    for number in range(10):
        big.native("jobs", "big", number, BLOB)
    worker = big.worker("-Q", "jobs", "-c", "2", "--burst")
    assert worker.wait_exit() == 0
    assert big.s3.objects == {}


@pytest.mark.parametrize("policy", ["leave", "delete"])
def test_a_pointer_to_another_bucket_is_refused_and_its_object_never_touched(big: Big, policy: str) -> None:
    """Whoever can write to the queue must not have us read or delete what is not the queue's."""
    big.s3.objects["secrets/key"] = b'{"task": "tasks.noop", "args": ["hacked"], "kwargs": {}}'
    big.sqs.send("jobs", '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"secrets","s3Key":"key"}]')
    worker = big.worker("-Q", "jobs", "-c", "1", "--on-refused", policy)
    worker.wait_log(r"\(refused\): its body lies in the S3 bucket 'secrets', and only big may be read here")
    big.sqs.wait_counts("jobs", hidden=int(policy == "leave"))
    big.native("jobs", "big", 1, BLOB)
    worker.wait_ran("big 1")
    big.wait_objects(1)
    worker.terminate(signal.SIGINT)
    assert "secrets/key" in big.s3.objects
    assert big.s3.calls["get"] == 1
    assert not worker.ran("noop")


def test_without_a_bucket_they_stay(big: Big) -> None:
    big.native("jobs", "big", 1, BLOB)
    worker = big.worker("-Q", "jobs", "-c", "1", PYQS_LARGE_PAYLOAD_BUCKET="")
    worker.wait_log(r"\(refused\): its body lies in the S3 bucket 'big', and no bucket may be read here")
    big.sqs.wait_counts("jobs", hidden=1)
    assert len(big.s3.objects) == 1
    assert not big.s3.calls["get"]


def test_one_that_is_over_the_limit_stays(big: Big) -> None:
    big.native("jobs", "big", 1, "x" * (1 << 20))
    worker = big.worker("-Q", "jobs", "-c", "1", "--max-payload", "1")
    worker.wait_log(r"\(undecodable\): .* over the limit of 1048576 \(--max-payload\)")
    assert len(big.s3.objects) == 1


def test_a_hop_keeps_the_object_and_the_last_copy_deletes_it(big: Big) -> None:
    big.celery("jobs", "dated", BLOB, eta=_in(1000))
    worker = big.worker("-Q", "jobs", "-c", "1")
    big.sqs.wait_counts("jobs", delayed=1)
    big.native("jobs", "big", 1, BLOB)
    worker.wait_ran("big 1")
    big.wait_objects(1)  # the other one's is deleted, this one's is not
    worker.terminate(signal.SIGINT)
    (key,) = big.s3.objects
    big.sqs.advance(901)
    (message,) = big.sqs.receive("jobs")
    assert key.partition("/")[2] in message.body
    assert message.message_attributes["ExtendedPayloadSize"].data_type == "Number"


def test_a_failure_keeps_the_object_until_the_task_has_succeeded(big: Big) -> None:
    big.native("jobs", "fail", BLOB)
    worker = big.worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("fail")
    big.sqs.wait_counts("jobs", hidden=1)
    assert len(big.s3.objects) == 1
    worker.touch("calm")
    big.sqs.advance_until(lambda: worker.ran("calm"))
    big.wait_objects(0)
    big.sqs.wait_counts("jobs")


def test_a_retry_has_an_object_of_its_own(big: Big) -> None:
    big.celery("jobs", "again", BLOB)
    worker = big.worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("again 1")
    big.wait_objects(0)
    big.sqs.wait_counts("jobs")
    assert big.s3.calls["put"] == 2


def test_a_copy_in_the_dead_letter_queue_keeps_the_object(big: Big) -> None:
    big.sqs.create("dead")
    arn = big.sqs.store.queue_attributes("dead")["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "50"})
    big.sqs.store.set_queue_attributes("jobs", {"RedrivePolicy": policy})
    big.native("jobs", "nobody_knows_it", BLOB)
    big.worker("-Q", "jobs", "-c", "1", "--on-unknown", "dlq").wait_log("goes to the dead-letter queue dead")
    big.sqs.wait_counts("dead", visible=1)
    big.sqs.wait_counts("jobs")
    assert len(big.s3.objects) == 1


def test_of_a_task_that_was_acked_early_the_object_goes_at_its_end(big: Big) -> None:
    """Its message goes when it starts; who has to hear of its death needs the call until it has ended."""
    big.celery("jobs", "early.gate", "open", BLOB)
    worker = big.worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("early")
    big.sqs.wait_counts("jobs")
    assert len(big.s3.objects) == 1
    worker.touch("open")
    big.wait_objects(0)


def test_who_hears_of_a_killed_task_reads_the_body_once_more(big: Big) -> None:
    """The host, which decides by Celery's matrix that the message goes; then the object does, too."""
    big.celery("jobs", "timed.hard", shadow=BLOB)
    worker = big.worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("child")
    worker.wait_log("timed-out")
    big.sqs.wait_counts("jobs")
    big.wait_objects(0)
    assert big.s3.calls["get"] == 2


@pytest.mark.parametrize("code", ["AccessDenied", "ServiceUnavailable"])
def test_s3_that_does_not_answer_is_waited_out(big: Big, code: str) -> None:
    big.native("jobs", "big", 1, BLOB)
    big.s3.refused["get"] = code
    worker = big.worker(
        "-Q", "jobs", "-c", "1", "--on-undecodable", "delete", "--on-refused", "delete", "--on-unknown", "delete"
    )
    worker.wait_log(f"is left there .unsupported.: cannot get s3://big/.*: {code}")
    big.sqs.native("jobs", "noop", 1)
    worker.wait_ran("noop 1")
    big.s3.refused.clear()
    big.sqs.advance_until(lambda: worker.ran("big 1"), step=40)
    big.wait_objects(0)


def test_an_object_is_never_deleted_before_its_message(big: Big) -> None:
    """SQS does not accept the delete; a SIGKILL now must find both."""
    big.native("jobs", "big", 1, BLOB)
    big.sqs.store.faults.add("error=503:action=DeleteMessage*")
    worker = big.worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("big 1")
    worker.wait_log("a delete fails and is tried again")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.process.wait()
    assert not big.s3.calls["delete"]
    assert len(big.s3.objects) == 1
    big.sqs.store.faults.clear()
    big.sqs.advance(200)
    again = big.worker("-Q", "jobs", "-c", "1")
    again.wait_ran("big 1", 2)  # at least once
    big.wait_objects(0)
    big.sqs.wait_counts("jobs")


def test_a_sigkill_between_the_two_deletes_leaves_an_object_and_no_message(big: Big) -> None:
    big.s3.refused["delete"] = "SlowDown"
    big.native("jobs", "big", 1, BLOB)
    worker = big.worker("-Q", "jobs", "-c", "1")
    worker.wait_ran("big 1")
    wait_until(lambda: big.s3.calls["delete"])
    big.sqs.wait_counts("jobs")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.process.wait()
    assert len(big.s3.objects) == 1, "an orphan, which the lifecycle rule of the bucket removes"


def test_deletes_that_are_refused_are_said_once_and_hold_up_nothing(big: Big) -> None:
    big.s3.refused["delete"] = "AccessDenied"
    worker = big.worker("-Q", "jobs", "-c", "1")
    for number in range(5):
        big.native("jobs", "big", number, BLOB)
        worker.wait_ran(f"big {number}")
    big.sqs.wait_counts("jobs")
    worker.terminate(signal.SIGINT)
    assert len(worker.lines("stay in S3 until its lifecycle rule removes them")) == 1


APP = """
from pyqs_celery_compat import Celery

app = Celery("bigapp", broker="sqs://", task_default_queue="jobs", task_acks_late=True)
app.conf.broker_transport_options = {"large_payload_bucket": "big", "large_payload_threshold": 3000}

def ran(line):
    with open("ran.txt", "a") as ledger:
        ledger.write(line + "\\n")

@app.task(name="first")
def first(blob):
    second.delay(blob + blob)
    ran(f"first {len(blob)}")
    return blob * 3

@app.task(name="second")
def second(blob):
    ran(f"second {len(blob)}")

@app.task(name="third")
def third(blob):
    ran(f"third {len(blob)}")
"""


def test_an_apps_transport_options_are_its_workers(big: Big, project: Any) -> None:
    """What a task sends by itself, and what its end brings about, has bodies in S3, too."""
    (project.folder / "bigapp.py").write_text(APP)
    big.celery("jobs", "first", BLOB, callbacks=[{"task": "third", "args": [], "kwargs": {}, "options": {}}])
    worker = big.worker("-A", "bigapp", "-c", "1", PYQS_LARGE_PAYLOAD_BUCKET="", PYQS_LARGE_PAYLOAD_THRESHOLD="")
    worker.wait_ran("second 10000")
    worker.wait_ran("third 15000")
    big.wait_objects(0)
    big.sqs.wait_counts("jobs")
    assert worker.ran("first") == ["first 5000"]
    assert big.s3.calls["put"] == 3


def _in(seconds: float) -> Any:
    from datetime import datetime, timedelta, timezone

    return datetime.now(timezone.utc) + timedelta(seconds=seconds)
