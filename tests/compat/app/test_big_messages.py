"""Messages that are too large for SQS, as an app publishes them, and a Lambda function runs them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from lambdas import Context, Mapping, event_of
from pyqs.errors import ConfigError, TooLarge
from pyqs.local.inprocess import InProcessSqs
from pyqs.pointers import is_pointer
from pyqs_celery_compat import Celery, conf, publisher
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from small_s3 import SmallS3

BLOB = "x" * 5000


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    made = SmallS3()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(publisher, "_worker", None)
    yield made
    made.close()


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def app(make_app: Callable[..., Celery], s3: SmallS3, ran: list[Any]) -> Celery:
    options = {"large_payload_bucket": "big", "large_payload_threshold": 4000}
    app = make_app(broker_transport_options=options, task_acks_late=True)

    @app.task(name="take")
    def take(blob: str) -> str:
        ran.append(len(blob))
        return blob

    @app.task(name="again", bind=True, max_retries=1)
    def again(self: Any, blob: str) -> None:
        ran.append(self.request.retries)
        if not self.request.retries:
            raise self.retry(countdown=0)

    return app


def bodies(sqs: InProcessSqs) -> list[bool]:
    """Of each message that is visible, whether its body is a pointer."""
    return [is_pointer(one.body) for one in sqs.receive(sqs.queue_url("celery"), wait=0, visibility=0)]


def test_large_calls_go_to_the_bucket_and_small_ones_to_the_queue(app: Celery, sqs: InProcessSqs, s3: SmallS3) -> None:
    app.tasks["take"].delay("small")
    app.tasks["take"].delay(BLOB)
    with app.batch():
        app.tasks["take"].delay(BLOB)
        app.tasks["take"].apply_async((BLOB,), compression="zlib")
    assert sorted(bodies(sqs)) == [False, False, True, True]
    assert len(s3.objects) == 2


def test_without_a_bucket_the_error_names_task_and_size(make_app: Callable[..., Celery], sqs: InProcessSqs) -> None:
    app = make_app()

    @app.task(name="take")
    def take(blob: str) -> None: ...

    with pytest.raises(TooLarge, match=r"task take for queue 'celery' has \d{7} bytes, SQS takes 1048576; compress it"):
        take.delay("x" * (1 << 20))


def test_s3_that_does_not_take_it_is_an_operational_error(app: Celery, sqs: InProcessSqs, s3: SmallS3) -> None:
    s3.refused["put"] = "AccessDenied"
    with pytest.raises(
        OperationalError, match=r"cannot put task take for queue 'celery', \d+ bytes, in s3://big/.*AccessDenied"
    ):
        app.tasks["take"].delay(BLOB)


def test_the_options_reach_a_worker(make_app: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(broker_transport_options={"large_payload_bucket": ["new", "old"], "large_payload_threshold": "9000"})
    settings = conf.worker_settings(app)
    assert settings.connection.large_payload_buckets == ("new", "old")
    assert settings.connection.payload_threshold == 9000
    assert not [note for note in settings.notes if "large_payload" in note]
    monkeypatch.setenv("PYQS_LARGE_PAYLOAD_BUCKET", "environment")
    assert conf.worker_settings(make_app()).connection.large_payload_buckets == ("environment",)
    assert conf.worker_settings(app).connection.large_payload_buckets == ("new", "old")


@pytest.mark.parametrize(("threshold", "error"), [("much", ImproperlyConfigured), (0, ConfigError), (2 << 20, ConfigError)])
def test_a_threshold_that_makes_no_sense(make_app: Callable[..., Celery], threshold: Any, error: type[Exception]) -> None:
    app = make_app(broker_transport_options={"large_payload_bucket": "big", "large_payload_threshold": threshold})
    with pytest.raises(error, match=r"large.payload.threshold"):
        app.send_task("take")


# -- in a Lambda function ---------------------------------------------------------------------------------------------


def test_a_function_runs_them_and_deletes_both_parts(app: Celery, sqs: InProcessSqs, s3: SmallS3, ran: list[Any]) -> None:
    app.tasks["take"].delay(BLOB)
    (message,) = sqs.receive(sqs.queue_url("celery"), wait=0)
    assert app.lambda_handler(event_of("celery", [message]), Context()) == {"batchItemFailures": []}
    assert ran == [5000]
    assert not s3.objects
    found = sqs.queue_attributes(sqs.queue_url("celery"))
    assert found["ApproximateNumberOfMessagesNotVisible"] == "0", "first the message, by us, then its body"


def test_a_function_keeps_the_body_of_a_message_that_it_could_not_delete(
    app: Celery, sqs: InProcessSqs, s3: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyqs.errors import Unreachable

    def away(*_: Any) -> Any:
        raise Unreachable("nobody answers")

    app.tasks["take"].delay(BLOB)
    (message,) = sqs.receive(sqs.queue_url("celery"), wait=0)
    monkeypatch.setattr(sqs, "delete_batch", away)
    assert app.lambda_handler(event_of("celery", [message]), Context()) == {"batchItemFailures": []}
    assert len(s3.objects) == 1


def test_retries_and_hops_in_a_function(app: Celery, sqs: InProcessSqs, s3: SmallS3, ran: list[Any]) -> None:
    app.tasks["again"].delay(BLOB)
    mapping = Mapping(sqs, "celery", app.lambda_handler)
    mapping.poll()
    assert len(s3.objects) == 1, "the retry's"
    mapping.poll()
    assert (ran, s3.objects) == ([0, 1], {})
    app.tasks["take"].apply_async((BLOB,), eta=_in(5000), delay_seconds=0)
    assert len(mapping.poll()[0]) == 1
    assert len(s3.objects) == 1, "the copy points to it"
    assert ran == [0, 1]


def test_a_function_refuses_other_buckets(app: Celery, sqs: InProcessSqs, s3: SmallS3, ran: list[Any]) -> None:
    s3.objects["secrets/key"] = b"{}"
    app.tasks["take"].delay(BLOB)
    (message,) = sqs.receive(sqs.queue_url("celery"), wait=0)
    record = event_of("celery", [message])["Records"][0]
    pointer = json.loads(record["body"])
    pointer[1] = {"s3BucketName": "secrets", "s3Key": "key"}
    answer = app.lambda_handler({"Records": [{**record, "body": json.dumps(pointer)}]}, Context())
    assert len(answer["batchItemFailures"]) == 1
    assert not ran
    assert not s3.calls["get"]
    assert "secrets/key" in s3.objects


def _in(seconds: float) -> Any:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(time.time() + seconds, timezone.utc)
