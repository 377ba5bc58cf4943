"""Queues that are missing are created as Celery 5.7 creates them: with other attributes every Celery worker on them would
suffer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import boto3
import pytest

KEYS = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
#: Differ from queue to queue.
_OWN = {"QueueArn", "CreatedTimestamp", "LastModifiedTimestamp"}


@pytest.mark.parametrize(
    "transport",
    [
        {},
        {"visibility_timeout": 77},
        {"queue_name_prefix": "pre-", "wait_time_seconds": 5},
        {"sqs-creation-attributes": {"MessageRetentionPeriod": "1209600", "ReceiveMessageWaitTimeSeconds": "7"}},
        {"visibility_timeout": 90, "queue_tags": {"team": "mail", "stage": "prod"}},
    ],
    ids=["plain", "visibility", "prefix", "attributes", "tags"],
)
def test_by_producers(interop: Any, find_peer: Callable[[str], str], transport: dict[str, Any]) -> None:
    sqs = boto3.client("sqs", endpoint_url=interop.env["AWS_ENDPOINT_URL_SQS"], region_name="us-east-1", **KEYS)

    def created(maker: str) -> list[tuple[dict[str, str], dict[str, str]]]:
        found = []
        for name in (f"{maker}-made", f"{maker}-dotted", f"{maker}.fifo"):
            url = sqs.get_queue_url(QueueName=transport.get("queue_name_prefix", "") + name)["QueueUrl"]
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            kept = {key: value for key, value in attributes.items() if key not in _OWN and not key.startswith("Approximate")}
            found.append((kept, sqs.list_queue_tags(QueueUrl=url).get("Tags", {})))
        return found

    def asks(maker: str) -> str:
        return json.dumps([transport, [f"{maker}-made", f"{maker}.dotted", f"{maker}.fifo"]])

    interop.write(find_peer("PYQS_INTEROP_CELERY57"), "interop_create.py", asks("celery"), foreign=True)
    interop.write(sys.executable, "interop_create.py", asks("pyqs"), foreign=False)
    assert created("pyqs") == created("celery")
